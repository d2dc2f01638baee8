"""emit_source: a function as a file of NumPy source."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from functrans.api.arguments import Arguments, array_outputs, flatten_arguments, name_of, parameter_name, record
from functrans.backends.clusters import Clustered
from functrans.backends.numpy_codegen.function import FunctionWriter
from functrans.backends.numpy_codegen.portable import PortableModule
from functrans.backends.numpy_codegen.values import Value
from functrans.core.recording import UNKNOWN
from functrans.errors import NotPortableError, hide_frames
from functrans.passes.inline import inline
from functrans.passes.pipeline import finalize
from functrans.tree import TreeDef
from functrans.tree.registry import is_namedtuple

__all__ = ["emit_source"]

_LOCAL = re.compile(r"t\d+")
"""Names of local variables, as the generator makes them."""


def emit_source(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """The source of a Python file with a function that computes what `fun` does, by NumPy alone.

    It is the function as it runs when it has been jitted, for arguments of these shapes, dtypes and structure: calls
    are inlined, the program is simplified, arrays that are no longer needed are written to again. Executed, it gives
    the same bits. Arrays that `fun` reads from outside are part of the file.

    Its parameters have their names, but where Python or the source needs a name for something else: these end in `_`
    (those of keyword arguments never, which are then taken as `**keywords`).

    Args:
        fun: a function of arrays, numbers and pytrees of dicts, lists, tuples and named tuples; a transformed one too.
        args, kwargs: its arguments; `ShapeDtypeStruct`s may stand for arrays.

    Returns:
        The source. The function has the name of `fun`, and its parameters.

    Raises:
        NotPortableError: if the program calls a Python function of yours (a callback), or a ufunc of another library,
            or if an argument or the result is a class of your own.

    >>> import numpy as np
    >>> import functrans as ft
    >>> def loss(params, x):
    ...     return np.sum(np.tanh(x @ params["W"]) * params["b"])
    >>> print(ft.emit_source(ft.grad(loss), {"W": np.ones((3, 2)), "b": 2.0}, np.ones((4, 3))))
    import numpy as np
    <BLANKLINE>
    <BLANKLINE>
    def loss(params, x):
        params_W = params['W']  # float64[3,2]
        params_b = np.float64(params['b'])  # float64[]
        # x: float64[4,3]
        t0 = x.dot(params_W)  # float64[4,2]
        np.tanh(t0, out=t0)  # float64[4,2]
        t1 = np.add.reduce(t0, (0, 1))  # float64[]
        t0 *= t0  # float64[4,2]
        np.subtract(1.0, t0, out=t0)  # float64[4,2]
        np.multiply(params_b, t0, out=t0)  # float64[4,2]
        t2 = x.T.dot(t0)  # float64[3,2]
        return {'W': t2, 'b': t1}
    <BLANKLINE>
    """
    try:
        return _emit(fun, args, kwargs)
    except Exception as error:
        raise hide_frames(error)  # noqa: B904  (it is the same error)


def _emit(fun: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    arguments = flatten_arguments(fun, args, kwargs, shapes=True)
    unknown = [UNKNOWN] * len(arguments.avals)
    jaxpr, values, out_tree, _ = record(
        arguments, unknown, lambda out: array_outputs(fun, out), staging=True, literals=True
    )
    module = PortableModule()
    entry = _Entry(fun, arguments, module)
    consts = [module.constant(np.asarray(x), "k") for x in values[len(unknown) :]]
    texts, avals = [*entry.inputs, *consts], jaxpr.in_avals
    operands = [Value(text, aval, ("x", i)) for i, (text, aval) in enumerate(zip(texts, avals, strict=True))]
    outs = entry.writer.results(Clustered(finalize(inline(jaxpr)), {}), operands)
    entry.writer.line(f"return {entry.tree(out_tree, iter(outs))}")
    module.add(entry.writer.text(entry.head(name_of(fun))))
    return module.source


class _Entry:
    """The function that is called: it takes the arguments apart, and puts the results together."""

    def __init__(self, fun: Callable[..., Any], arguments: Arguments, module: PortableModule) -> None:
        self.module = module
        self.writer = FunctionWriter(module)
        self.inputs: list[str] = []
        """For each input of the program its expression."""
        self._arguments = arguments
        dynamic = range(len(arguments.leaves)) if arguments.places is None else arguments.places
        self._avals = dict(zip(dynamic, arguments.avals, strict=True))
        self._leaves = iter(range(len(arguments.leaves)))
        positional, by_name = arguments.treedef.children()
        names = [self.name(parameter_name(fun, i)) for i in range(len(positional.children()))]
        of_kwargs: Any = by_name.node_data()
        keywords = {key: self.name(key) for key in of_kwargs[1]}
        self._parameters = [*names, *self._keyword_parameters(keywords)]
        for name, node in zip(names, positional.children(), strict=True):
            self.unpack(node, name, name)
        for (key, name), node in zip(keywords.items(), by_name.children(), strict=True):
            self.unpack(node, name if name == key else f"{self._parameters[-1][2:]}[{key!r}]", name)

    def _keyword_parameters(self, names: dict[str, str]) -> list[str]:
        """Those of keyword arguments; one parameter takes all whose names are others in the source."""
        own = [name for key, name in names.items() if key == name]
        others = [f"**{self.name('keywords')}"] if len(own) < len(names) else []
        return [*(["*", *own] if own else []), *others]

    def head(self, wanted: str) -> str:
        """The first line of the function, when all else has a name."""
        self.module.taken.update([line.split()[1].partition(".")[0] for line in self.module.copier.imports])
        return f"def {self.name(wanted)}({', '.join(self._parameters)}):"

    def name(self, wanted: str) -> str:
        """A name that is free: letters, digits and underscores of the one wanted."""
        wanted = "function" if wanted == "<lambda>" else wanted
        if not (wanted.isidentifier() and wanted.isascii()):
            wanted = re.sub(r"\W+", "_", wanted, flags=re.ASCII).strip("_") or "function"
        name = f"_{wanted}" if wanted[0].isdigit() else wanted
        while name in self.module.taken or name in _RESERVED or keyword.iskeyword(name):
            name += "_"
        self.module.taken.add(name)
        return name

    def unpack(self, node: TreeDef, text: str, name: str) -> None:
        """Write what gives the leaves of an argument."""
        of_node = node.node_data()
        if of_node is None:
            self.leaf(text, name)
            return
        kind, data = of_node
        for access, part, child in zip(*_parts(kind, data, node, name), node.children(), strict=True):
            self.unpack(child, f"{text}{access}", f"{name}_{part}")

    def leaf(self, text: str, name: str) -> None:
        """Write what gives an input of the program; a leaf that is none is part of it."""
        place = next(self._leaves)
        aval = self._avals.get(place)
        if aval is None:
            return
        leaf = self._arguments.leaves[place]
        is_number = isinstance(leaf, (bool, int, float, complex)) and not isinstance(leaf, np.generic)
        comment = self.module.comment(aval)
        if text == name and not is_number:
            self.writer.line(f"# {name}: {aval.strong}")
            self.inputs.append(name)
            return
        local = name if text == name else self.name(name)
        self.writer.line(f"{local} = {f'{self.module.dtype(aval.dtype)}({text})' if is_number else text}{comment}")
        self.inputs.append(local)

    def tree(self, node: TreeDef, leaves: Iterator[str], depth: int = 0) -> str:
        """The expression of what the function returns."""
        if depth > _MOST_DEPTH:
            raise NotPortableError(
                f"the result is nested more than {_MOST_DEPTH} containers deep, which Python cannot parse"
            )
        of_node = node.node_data()
        if of_node is None:
            return next(leaves)
        kind, data = of_node
        parts = [self.tree(child, leaves, depth + 1) for child in node.children()]
        if kind is type(None):
            return "None"
        if kind is dict:
            keys = [_key(key, "the result") for key in data]
            return f"{{{', '.join([f'{key}: {part}' for key, part in zip(keys, parts, strict=True)])}}}"
        if kind is list:
            return f"[{', '.join(parts)}]"
        if kind is tuple:
            return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"
        if is_namedtuple(kind):
            return f"{self.named_tuple(kind)}({', '.join(parts)})"
        raise NotPortableError(f"the result has a {kind.__qualname__}, a class that the source would need: {_REMEDY}")

    def named_tuple(self, kind: Any) -> str:
        """The name of a class like a named tuple's."""
        self.module.copier.imports.add("import collections")
        definitions = self.module.copier.definitions
        stem = re.sub(r"\W+", "_", kind.__name__, flags=re.ASCII)
        rename = ", rename=True" if any([field.startswith("_") for field in kind._fields]) else ""
        text = f"collections.namedtuple({stem!r}, {list(kind._fields)!r}{rename})"
        known = next((key for key, value in definitions.items() if value.endswith(f"= {text}")), None)
        if known is None:
            known = self.name(f"{stem}_" if _LOCAL.fullmatch(stem) else stem)
            definitions[known] = f"{known} = {text}"
        return known


_RESERVED = frozenset({"np", "Aval", "base64", "collections", "enum", "functools", "itertools", "math", "operator"})
_RESERVED |= frozenset(dir(builtins))
"""What the source may need by this name."""
_MOST_DEPTH = 100
_REMEDY = "give and return dicts, lists, tuples, named tuples and arrays"


def _parts(kind: Any, data: Any, node: TreeDef, name: str) -> tuple[Sequence[str], Sequence[str]]:
    """How to reach the children of a node, and what to call them."""
    numbers = range(len(node.children()))
    if kind is dict:
        return [f"[{_key(key, name)}]" for key in data], [str(key) for key in data]
    if kind is tuple or kind is list:
        return [f"[{i}]" for i in numbers], [str(i) for i in numbers]
    if is_namedtuple(kind):
        return [f"[{i}]" for i in numbers], list(kind._fields)
    if kind is type(None):
        return [], []
    raise NotPortableError(f"argument {name} has a {kind.__qualname__}, a class that the source would need: {_REMEDY}")


def _key(key: Any, where: str) -> str:
    if type(key) in (str, int, bool, bytes):
        return repr(key)
    raise NotPortableError(f"{where} has the key {key!r:.40} of type {type(key).__name__}: use strings or integers")
