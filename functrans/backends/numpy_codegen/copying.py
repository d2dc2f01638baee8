"""Python objects as source that needs nothing but NumPy: values by what they are, functions of functrans by a copy.

A function is copied as its syntax tree, without annotations and docstrings; what it refers to (other functions,
constants, the variables of a closure) is copied under a name of its own.
"""

from __future__ import annotations

import ast
import base64
import builtins
import functools
import inspect
import math
import textwrap
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from enum import Enum
from types import (
    BuiltinFunctionType,
    FunctionType,
    GenericAlias,
    MethodDescriptorType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

import numpy as np

from functrans.core.aval import Aval
from functrans.core.jaxpr import Jaxpr
from functrans.errors import NotPortableError

__all__ = ["Copier"]

_LONG = 64
"""Arrays of more elements are written as their bytes."""

_AVAL = '''class Aval:
    """A shape and a dtype."""

    def __init__(self, shape, dtype, weak=False):
        self.shape, self.dtype, self.weak = tuple(shape), np.dtype(dtype), weak
        self.ndim, self.size = len(self.shape), math.prod(self.shape)
        self.inexact = self.dtype.kind in "fc"

    def __eq__(self, other):
        return (self.shape, self.dtype, self.weak) == (other.shape, other.dtype, other.weak)

    def with_shape(self, shape):
        return Aval(shape, self.dtype, self.weak)

    @property
    def strong(self):
        return Aval(self.shape, self.dtype)'''


class Copier:
    """What is copied, in an order in which it can be executed."""

    def __init__(self, new_name: Callable[[str], str]) -> None:
        self.imports: set[str] = set()
        self.definitions: dict[str, str] = {}
        """The source of each name."""
        self._new_name = new_name
        self._names: dict[Hashable, str] = {}
        self._kept: list[Any] = []  # what is known by its id

    def define(self, value: Any, stem: str) -> str:
        """A name for a value."""
        text = self.expression(value)
        if text in self.definitions:
            return text
        name = self._new_name(stem)
        self.definitions[name] = f"{name} = {text}"
        return name

    def expression(self, value: Any) -> str:
        """A value as an expression.

        Raises:
            NotPortableError: if that takes more than Python and NumPy.
        """
        kind = type(value)
        if value is None or value is Ellipsis or kind in (bool, int, str, bytes):
            return repr(value)
        if kind is float or kind is complex:
            return _number(value)
        if isinstance(value, Enum):
            return f"{self.expression(kind)}.{value.name}"
        if isinstance(value, np.dtype):
            return f"np.dtype({value.descr!r})" if value.names else f"np.dtype({value.name!r})"
        if isinstance(value, np.generic):
            return f"np.{value.dtype.name}({_number(value.item())})"
        if kind is np.ndarray:
            return self._array(value)
        if kind is Aval:
            return f"{self._aval()}({value.shape}, {self.expression(value.dtype)}, {value.weak})"
        if isinstance(value, (tuple, list, dict, frozenset, set, slice, range)):
            return self._container(value)
        if isinstance(value, functools.partial):
            self.imports.add("import functools")
            parts = [self.expression(x) for x in (value.func, *value.args)]
            parts += [f"{name}={self.expression(x)}" for name, x in value.keywords.items()]
            return f"functools.partial({', '.join(parts)})"
        return self._callable(value)

    # ---- values

    def _array(self, array: np.ndarray[Any, Any]) -> str:
        if array.dtype.names:
            raise NotPortableError(f"an array of dtype {array.dtype} has no form as source")
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        if not _has_other_nans(array):
            if array.size > 1 and array.tobytes() == np.full(array.shape, array.flat[0]).tobytes():
                return f"np.full({array.shape}, {_number(array.flat[0].item())}, {array.dtype.name!r})"
            if array.size <= _LONG:
                return f"np.array({_nested(array.tolist())}, {array.dtype.name!r}).reshape({array.shape})"
        self.imports.add("import base64")
        text = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
        decoded = f"np.frombuffer(base64.b64decode({text!r}), {array.dtype.name!r})"
        return f"{decoded}.reshape({array.shape}).copy()"

    def _container(self, value: Any) -> str:
        kind = type(value)
        if kind is slice:
            return f"slice({', '.join([self.expression(x) for x in (value.start, value.stop, value.step)])})"
        if kind is range:
            return repr(value)
        if kind is dict:
            return f"{{{', '.join([f'{self.expression(k)}: {self.expression(v)}' for k, v in value.items()])}}}"
        items = [self.expression(x) for x in value]
        items = sorted(items) if kind in (set, frozenset) else items
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return f"{self.expression(kind)}({', '.join(items)})"
        if isinstance(value, tuple):
            return f"({', '.join(items)}{',' if len(items) == 1 else ''})"
        return f"[{', '.join(items)}]" if isinstance(value, list) else f"{kind.__name__}([{', '.join(items)}])"

    def _aval(self) -> str:
        if "Aval" not in self.definitions:
            self.imports.add("import math")
            self.definitions["Aval"] = _AVAL
        return "Aval"

    # ---- functions and classes

    def _callable(self, value: Any) -> str:
        value = inspect.unwrap(value) if isinstance(value, functools._lru_cache_wrapper) else value
        value = value.__origin__ if isinstance(value, GenericAlias) else value
        known = self._names.get(id(value))
        if known is not None:
            return known
        if value is Aval:
            return self._aval()
        if isinstance(value, (MethodDescriptorType, WrapperDescriptorType)):
            return f"{self.expression(value.__objclass__)}.{value.__name__}"
        owner, name = _public_place(value)
        if owner is not None:
            if owner != "np" and owner != "builtins":
                self.imports.add(f"import {owner}")
            return name if owner == "builtins" else f"{owner}.{name}"
        module = getattr(value, "__module__", None) or ""
        if isinstance(value, (FunctionType, type)) and module.partition(".")[0] == "functrans":
            return self._copied(value)
        if isinstance(value, Jaxpr):
            raise NotPortableError("it carries a program that its implementation compiles by itself")
        raise NotPortableError(
            f"{getattr(value, '__qualname__', repr(value)[:60])} of {module or 'an unknown module'} has no form as "
            "source that needs NumPy alone"
        )

    def _copied(self, value: Any) -> str:
        name = self._new_name(value.__name__ if value.__name__.isidentifier() else "function")
        self._names[id(value)] = name
        self._kept.append(value)
        node = _syntax_tree(value)
        rename = _Rename(self, value)
        if isinstance(value, type) and issubclass(value, tuple) and hasattr(value, "_fields"):
            self.imports.add("import collections")
            text = f"collections.namedtuple({name!r}, {value._fields!r})"
            if not any([isinstance(x, ast.FunctionDef) for x in node.body]):
                self.definitions[name] = f"{name} = {text}"
                return name
            node.bases = [_parsed(text)]
            node.body = [x for x in node.body if not isinstance(x, ast.AnnAssign)]
        if isinstance(node, ast.Lambda):
            self.definitions[name] = f"{name} = {ast.unparse(rename.visit(node))}"
            return name
        node.name = name
        tree = rename.visit(node)
        self.definitions[name] = ast.unparse(ast.fix_missing_locations(tree))
        return name


class _Rename(ast.NodeTransformer):
    """Makes what a function refers to outside of itself expressions of the copy."""

    def __init__(self, copier: Copier, value: Any) -> None:
        self.copier = copier
        functions = [value] if isinstance(value, FunctionType) else [_plain(x) for x in vars(value).values()]
        self.outside: dict[str, Any] = dict(inspect.getmodule(value).__dict__)
        for function in functions:
            if isinstance(function, FunctionType):
                cells = function.__closure__ or ()
                names = function.__code__.co_freevars
                self.outside.update({n: c.cell_contents for n, c in zip(names, cells, strict=True) if n != "__class__"})
        self.scopes: list[set[str]] = []

    # ---- scopes

    @contextmanager
    def scope(self, names: set[str]) -> Iterator[None]:
        """Within it the names are local."""
        self.scopes.append(names)
        yield
        self.scopes.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.decorator_list = [self.visit(x) for x in node.decorator_list if isinstance(x, ast.Name) and x.id in _KEPT]
        node.returns = None
        node.body = _without_docstring(node.body)
        self._defaults(node.args)
        with self.scope(_parameters(node.args) | _assigned(node.body)):
            node.body = [self.visit(x) for x in node.body]
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        self._defaults(node.args)
        with self.scope(_parameters(node.args)):
            node.body = self.visit(node.body)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.body = _without_docstring(node.body)
        node.decorator_list = []
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        if node.value is None:
            return None
        return ast.Assign([node.target], self.visit(node.value))

    def _comprehension(self, node: Any) -> ast.AST:
        names = {x.id for g in node.generators for x in ast.walk(g.target) if isinstance(x, ast.Name)}
        with self.scope(names):
            return self.generic_visit(node)

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension  # noqa: N815

    def _defaults(self, args: ast.arguments) -> None:
        for arg in [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]:
            if arg is not None:
                arg.annotation = None
        args.defaults = [self.visit(x) for x in args.defaults]
        args.kw_defaults = [x if x is None else self.visit(x) for x in args.kw_defaults]

    # ---- names

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if isinstance(node.value, ast.Name) and self._is_outside(node.value.id):
            owner = self.outside.get(node.value.id)
            if isinstance(owner, ModuleType) and owner.__name__.startswith("functrans"):
                return _parsed(self.copier.expression(getattr(owner, node.attr)))
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if not isinstance(node.ctx, ast.Load) or not self._is_outside(node.id) or node.id not in self.outside:
            return node
        value = self.outside[node.id]
        if isinstance(value, ModuleType):
            if value is not np:
                self.copier.imports.add(f"import {value.__name__}")
            return _parsed("np" if value is np else value.__name__)
        return _parsed(self._text(node.id, value))

    def _text(self, name: str, value: Any) -> str:
        if isinstance(value, (np.ndarray, dict, list, tuple, np.dtype, frozenset)):
            return self._constant(name, value)
        return self.copier.expression(value)

    def _constant(self, name: str, value: Any) -> str:
        known = self.copier._names.get(id(value))
        if known is None:
            known = self.copier.define(value, name.strip("_").lower() or "constant")
            self.copier._names[id(value)] = known
            self.copier._kept.append(value)
        return known

    def _is_outside(self, name: str) -> bool:
        return not any([name in scope for scope in self.scopes])


# --------------------------------------------------------------------------------------------------------------------
# Where things are


def _public_place(value: Any) -> tuple[str | None, str]:
    """The module of Python's or NumPy's under which a function or class can be had, and its name there."""
    name = getattr(value, "__name__", "")
    if getattr(np, name, None) is value and name:
        return "np", name
    if getattr(builtins, name, None) is value and name:
        return "builtins", name
    for path in ("linalg", "fft", "lib.stride_tricks", "_core.umath"):
        owner = functools.reduce(getattr, path.split("."), np)
        if name and getattr(owner, name, None) is value:
            return "np", f"{path}.{name}"
    module = inspect.getmodule(value)
    if name and module in (math, functools) and getattr(module, name, None) is value:
        return module.__name__, name
    is_standard = isinstance(value, (FunctionType, BuiltinFunctionType, type)) and module is not None
    if is_standard and module.__name__ in _STANDARD and getattr(module, name, None) is value:  # type: ignore[union-attr]
        return module.__name__, name  # type: ignore[union-attr]
    return None, name


_KEPT = ("property", "staticmethod", "classmethod", "cached_property")
"""The decorators that a copy keeps."""

_STANDARD = ("math", "operator", "_operator", "itertools", "functools", "collections", "enum")


def _plain(value: Any) -> Any:
    if isinstance(value, (property, functools.cached_property)):
        return value.fget if isinstance(value, property) else value.func
    return getattr(value, "__func__", value)


def _syntax_tree(value: Any) -> Any:
    """The definition of a function or class."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(value)))
    except (OSError, SyntaxError):
        tree = None
    if tree is not None and not (isinstance(value, FunctionType) and value.__name__ == "<lambda>"):
        return tree.body[0]
    for node in ast.walk(_module_tree(value)):
        if isinstance(node, ast.Lambda) and _is_code_of(value, node):
            return node
    raise NotPortableError(f"the source of {value.__qualname__} cannot be found")


def _module_tree(value: Any) -> ast.AST:
    module = inspect.getmodule(value)
    assert module is not None
    return ast.parse(inspect.getsource(module))


def _is_code_of(function: Any, node: ast.Lambda) -> bool:
    """Whether a lambda is where a function was made: its code has the positions of the node's body."""
    lines = {(p[0], p[2]) for p in function.__code__.co_positions() if p[0] is not None}
    start = (node.body.lineno, node.body.col_offset)
    end = (node.body.end_lineno, node.body.end_col_offset)
    ends = {(p[1], p[3]) for p in function.__code__.co_positions() if p[0] is not None}
    return start in lines and end in ends and function.__code__.co_firstlineno == node.lineno


# --------------------------------------------------------------------------------------------------------------------
# Syntax


def _parsed(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0]
    is_text = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    kept = body[1:] if is_text else body
    return kept or [ast.Pass()]


def _parameters(args: ast.arguments) -> set[str]:
    found = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
    return {arg.arg for arg in found if arg is not None}


def _assigned(body: list[ast.stmt]) -> set[str]:
    """The names that a body assigns to, not counting functions inside of it."""
    names: set[str] = set()
    pending: list[ast.AST] = list(body)
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif not isinstance(node, ast.Lambda):
            pending.extend(ast.iter_child_nodes(node))
    return names


def _has_other_nans(array: np.ndarray[Any, Any]) -> bool:
    """Whether there is a NaN whose bits are not those of `np.nan`."""
    if array.dtype.kind not in "fc":
        return False
    nans = array[np.isnan(array)]
    return bool(nans.tobytes() != np.full(nans.shape, np.nan, nans.dtype).tobytes())


def _number(value: Any) -> str:
    if isinstance(value, complex):
        return f"complex({_number(value.real)}, {_number(value.imag)})"
    if isinstance(value, float) and not math.isfinite(value):
        return "np.nan" if math.isnan(value) else "np.inf" if value > 0 else "-np.inf"
    return repr(value)


def _nested(values: Any) -> str:
    return f"[{', '.join(map(_nested, values))}]" if isinstance(values, list) else _number(values)
