"""Guards: the short way from the arguments of a call to its results, for a call that is like one before.

A guard is a function, generated for one structure of arguments. It looks whether the arguments of a call have that
structure, by the types of containers and leaves, the keys of dicts, shapes and dtypes; then it runs the program on the
leaves and puts the results together. Else it returns `MISS`, and the call goes the long way: flatten, look the
program up, unflatten. That way leads to the same program, so a guard may be stricter than it, and never laxer.

The source of a guard of `f({"w": w}, 2.0)`, where `f` returns a pair:

    def guard(args, kwargs):
        if kwargs or len(args) != 2:
            return MISS
        a0, a1, = args
        if type(a0) is not dict or len(a0) != 1:
            return MISS
        a2, = a0
        if a2 is not C0 and (type(a2) is not C1 or a2 != C0):
            return MISS
        a3, = a0.values()
        if type(a3) is not ndarray or a3.dtype is not C2 or a3.shape != C3:
            return MISS
        if type(a1) is not float:
            return MISS
        y0, y1, = C5(a3, C4(a1))
        return (y0, y1, )

Nothing in it comes from the user: keys, types, the program and what else it is about are constants (`C0`) in the
function's globals. What does not depend on the arguments (settings, open recordings, named axes) is for the caller of
the guard to look at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from itertools import count
from types import CodeType
from typing import Any

import numpy as np

from functrans.api.arguments import value_of_leaf
from functrans.api.static_arguments import DeclaredParameters
from functrans.caching import kept
from functrans.core.aval import aval_of, aval_of_array
from functrans.core.tracer import Tracer
from functrans.errors import internal_filename
from functrans.tree import TreeDef
from functrans.tree.registry import NodeKind, is_namedtuple, kind_of
from functrans.tree.treedef import exact_key

__all__ = ["MISS", "guard_for"]

MISS: Any = object()
"""What a guard returns for a call that is not of its kind."""

_MOST_NODES = 2_000
"""How many leaves and containers, of arguments and results together, a guard is generated for: to compile its source
takes about 15 us for each."""

_MOST_DEPTH = 30
"""How deeply the results may be nested: Python's parser has a limit."""

_FILE = internal_filename("<guard>")
"""The name of the code, by which tracebacks know that it is not the user's."""

_KEYS = (str, int, bool, bytes, type(None))
"""The types of keys of dicts, and of static values, that are compared by value; a treedef tells their types apart."""

_SCALARS: dict[type, type] = {bool: np.bool_, float: np.float64, complex: np.complex128}


class _NotGuardedError(Exception):
    """There is no guard for this structure."""


def guard_for(
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    static: DeclaredParameters,
    run: Callable[..., Sequence[Any]],
    consts: Sequence[Any],
    out_tree: TreeDef,
) -> Callable[[tuple[Any, ...], dict[str, Any]], Any] | None:
    """A guard for calls like this one; None if it has to do with what only the long way knows.

    Args:
        args, kwargs: the call.
        static: the parameters of which the arguments are part of the program.
        run: the program, a function of the values of its inputs.
        consts: the values of its last inputs.
        out_tree: the structure of the results.
    """
    writer = _Writer()
    try:
        writer.arguments(args, kwargs, static)
        writer.results(run, consts, out_tree)
    except (_NotGuardedError, RecursionError):
        return None
    namespace = dict(writer.constants)
    exec(_compiled("\n    ".join(["def guard(args, kwargs):", *writer.lines])), namespace)
    guard: Callable[[tuple[Any, ...], dict[str, Any]], Any] = namespace["guard"]
    return guard


@kept("code of guards", 512)
def _compiled(source: str) -> CodeType:
    return compile(source, _FILE, "exec")


class _Writer:
    """The source of a guard in the making."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.constants: dict[str, Any] = {"MISS": MISS, "ndarray": np.ndarray, "exact_key": exact_key}
        self.inputs: list[str] = []
        """For each input of the program the expression of its value."""
        self._names: dict[int, str] = {}
        self._numbers = count()

    def constant(self, value: Any) -> str:
        """The name of a value."""
        name = self._names.get(id(value))
        if name is None:
            name = self._names[id(value)] = f"C{len(self._names)}"
            self.constants[name] = value  # which keeps its id its own
        return name

    def fail_if(self, condition: str) -> None:
        """Return `MISS` under a condition."""
        self.lines += [f"if {condition}:", "    return MISS"]

    def unpack(self, n: int, what: str) -> list[str]:
        """The names of the members of something of length n."""
        names = [f"a{next(self._numbers)}" for _ in range(n)]
        if names[-1:] and int(names[-1][1:]) > _MOST_NODES:
            raise _NotGuardedError
        if names:
            self.lines.append(f"{''.join([f'{name}, ' for name in names])}= {what}")
        return names

    # ---- arguments

    def arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any], static: DeclaredParameters) -> None:
        """Check the arguments of a call."""
        n = len(args)
        fixed = {p % n for p in static.positions if -n <= p < n}
        self.fail_if(f"{f'len(kwargs) != {len(kwargs)}' if kwargs else 'kwargs'} or len(args) != {n}")
        for i, (name, value) in enumerate(zip(self.unpack(n, "args"), args, strict=True)):
            if i in fixed:
                self.static(name, value)
            else:
                self.tree(name, value)
        for key, name in self.items("kwargs", kwargs):
            if key in static.names:
                self.static(name, kwargs[key])
            else:
                self.tree(name, kwargs[key])

    def tree(self, name: str, value: Any) -> None:
        """Check an argument, or a part of one; its leaves are inputs, in the order in which `flatten` gives them."""
        kind = type(value)
        if kind is np.ndarray:
            self.array(name, value)
        elif kind is dict:
            self.fail_if(f"type({name}) is not dict or len({name}) != {len(value)}")
            for key, part in self.items(name, value):
                self.tree(part, value[key])
        elif kind is tuple or kind is list or _is_namedtuple(kind):
            self.sequence(name, value, self.tree)
        elif value is None:
            self.fail_if(f"{name} is not None")
        elif kind in _SCALARS:
            self.fail_if(f"type({name}) is not {kind.__name__}")
            self.inputs.append(f"{self.constant(_SCALARS[kind])}({name})")
        elif kind is int:
            self.fail_if(f"type({name}) is not int or not {-(2**63)} <= {name} < {2**63}")
            self.inputs.append(f"{self.constant(np.int64)}({name})")
        elif issubclass(kind, np.generic):
            if aval_of(value).dtype is not value.dtype:
                raise _NotGuardedError
            self.fail_if(f"type({name}) is not {self.constant(kind)}")
            self.inputs.append(name)
        elif (known := kind_of(kind)) is not None:
            self.node(name, value, known)
        elif kind is not Tracer and value_of_leaf(value)[0] is None:
            self.static(name, value)
        else:
            raise _NotGuardedError

    def array(self, name: str, value: np.ndarray[Any, Any]) -> None:
        """Check an array."""
        aval = aval_of_array(value)
        if value.dtype is not aval.dtype:
            raise _NotGuardedError
        dtype, shape = self.constant(aval.dtype), self.constant(aval.shape)
        self.fail_if(f"type({name}) is not ndarray or {name}.dtype is not {dtype} or {name}.shape != {shape}")
        self.inputs.append(name)

    def sequence(self, name: str, value: tuple[Any, ...] | list[Any], check: Callable[[str, Any], None]) -> None:
        """Check a tuple, a list or a named tuple, and its members."""
        self.fail_if(f"type({name}) is not {self.constant(type(value))} or len({name}) != {len(value)}")
        for part, member in zip(self.unpack(len(value), name), value, strict=True):
            check(part, member)

    def node(self, name: str, value: Any, kind: NodeKind) -> None:
        """Check an instance of a class that is registered as a pytree, and its children."""
        children, data = kind.flatten(value)
        children = tuple(children)
        key, found = f"d{name}", f"c{name}"
        self.fail_if(f"type({name}) is not {self.constant(type(value))}")
        self.lines.append(f"{found}, {key} = {self.constant(kind.flatten)}({name})")
        self.lines.append(f"{found} = tuple({found})")
        self.constant(data)  # what a key has of it may be its id, which is its own as long as it is kept
        expected = self.constant(exact_key(data))
        self.fail_if(f"exact_key({key}) != {expected} or len({found}) != {len(children)}")
        for part, child in zip(self.unpack(len(children), found), children, strict=True):
            self.tree(part, child)

    def items(self, name: str, value: dict[Any, Any]) -> list[tuple[Any, str]]:
        """Check the keys of a dict, whose length is right; the sorted keys, each with the name of what it has."""
        for part, key in zip(self.unpack(len(value), name), value, strict=True):
            self.same(part, key)
        return sorted(zip(value, self.unpack(len(value), f"{name}.values()"), strict=True))

    def same(self, name: str, value: Any) -> None:
        """Check for an equal value of the same type."""
        if type(value) not in _KEYS:
            raise _NotGuardedError
        constant, kind = self.constant(value), self.constant(type(value))
        self.fail_if(f"{name} is not {constant} and (type({name}) is not {kind} or {name} != {constant})")

    def static(self, name: str, value: Any) -> None:
        """Check a value that is part of the program."""
        if type(value) in _KEYS:
            self.same(name, value)
        elif type(value) is tuple:
            self.sequence(name, value, self.static)
        elif _is_constant(value):
            self.fail_if(f"{name} is not {self.constant(value)}")
        else:
            raise _NotGuardedError

    # ---- results

    def results(self, run: Callable[..., Sequence[Any]], consts: Sequence[Any], out_tree: TreeDef) -> None:
        """Run the program, and return its results."""
        if out_tree.num_nodes > _MOST_NODES:
            raise _NotGuardedError
        inputs = ", ".join([*self.inputs, *map(self.constant, consts)])
        names = [f"y{i}" for i in range(out_tree.num_leaves)]
        targets = f"{''.join([f'{name}, ' for name in names])}= " if names else ""
        self.lines.append(f"{targets}{self.constant(run)}({inputs})")
        names.reverse()
        self.lines.append(f"return {self.result(out_tree, names)}")

    def result(self, node: TreeDef, names: list[str], depth: int = 0) -> str:
        """The expression of a tree of which the leaves have these names, the first one last."""
        if depth > _MOST_DEPTH:
            raise _NotGuardedError
        of_node = node.node_data()
        if of_node is None:
            return names.pop()
        kind, data = of_node
        parts = [self.result(child, names, depth + 1) for child in node.children()]
        if kind is type(None):
            return "None"
        if kind is list:
            return f"[{', '.join(parts)}]"
        if kind is dict:
            return f"{{{', '.join([f'{self.constant(key)}: {part}' for key, part in zip(data, parts, strict=True)])}}}"
        members = "".join([f"{part}, " for part in parts])
        if kind is tuple:
            return f"({members})"
        if _is_namedtuple(kind):
            return f"{self.constant(kind)}({members})"
        known: Any = kind_of(kind)
        return f"{self.constant(known.unflatten)}({self.constant(data)}, ({members}))"


def _is_namedtuple(kind: Any) -> bool:
    """Whether instances of a class are taken apart as named tuples, and iterated as tuples."""
    return is_namedtuple(kind) and kind.__iter__ is tuple.__iter__ and kind.__len__ is tuple.__len__


def _is_constant(value: Any) -> bool:
    """Whether a value means the same as long as it is the same object: the key of a program is then the same too."""
    kind: Any = type(value)
    if kind in _KEYS or kind in (float, complex) or isinstance(value, (np.dtype, Enum)):
        return True
    if kind is tuple or kind is frozenset:
        return all(map(_is_constant, value))
    if is_dataclass(value) and not isinstance(value, type) and value.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        return all([_is_constant(getattr(value, field.name)) for field in fields(value)])
    return kind.__eq__ is object.__eq__ and kind.__hash__ is object.__hash__
