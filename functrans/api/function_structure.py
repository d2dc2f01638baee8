"""What a Python function is, by structure: two that do the same have equal keys, though each was defined anew.

A function is its code, its defaults, the contents of its closure and of the globals that it names, and so on
recursively. Where that cannot be told (an object of a class of no known kind) it is the identity of the object.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from operator import is_
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from functrans.api.transformed import Transformed
from functrans.caching import kept
from functrans.config import config
from functrans.core.params import fingerprint
from functrans.core.tracer import Tracer
from functrans.errors import is_internal
from functrans.ops.constant import Constant
from functrans.tree import TreeDef

__all__ = ["Structure", "StructureMemo", "structure_of"]

_LOOKED_AT_MOST, _DEEPEST = 1000, 60
"""Objects that are looked into, and how deep in each other; what is beyond is compared by identity."""

_SCALARS = (bool, int, float, complex, str, bytes)
_OPAQUE = (type, ModuleType, BuiltinFunctionType, np.ufunc, np.dtype, TreeDef)


class Structure(NamedTuple):
    """What `structure_of` finds."""

    key: Hashable
    reads_arrays: bool
    """Whether there is an array in it."""
    is_traced: bool
    """Whether there is a tracer in it."""


def structure_of(*values: Any) -> Structure:
    """The structure of functions, and of what they are called with.

    >>> def scaled(factor):
    ...     return lambda x: factor * x
    >>> structure_of(scaled(2.0)) == structure_of(scaled(2.0)), structure_of(scaled(2.0)) == structure_of(scaled(3.0))
    (True, False)
    """
    return _Walk().structure(values)


class StructureMemo:
    """The structure of some functions, kept until something changes that they are made of."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: tuple[tuple[Any, ...], _Walk, Structure, dict[Any, Any]] | None = None

    def of(self, values: tuple[Any, ...]) -> tuple[Structure, dict[Any, Any]]:
        """The structure, and a dict for what follows from it, which is kept as long.

        >>> memo, numbers = StructureMemo(), [1, 2]
        >>> memo.of((numbers,))[1] is memo.of((numbers,))[1]
        True
        >>> before = memo.of((numbers,))[0]
        >>> numbers.append(3)
        >>> memo.of((numbers,))[0] == before
        False
        """
        found = self._found
        if found is not None and _are_same(found[0], values) and found[1].is_unchanged():
            return found[2], found[3]
        walk = _Walk()
        structure = walk.structure(values)
        kept: dict[Any, Any] = {}
        self._found = (values, walk, structure, kept) if walk.is_checkable else None
        return structure, kept


class _Same:
    """An object compared by identity, which it keeps alive."""

    __slots__ = ("_object",)

    def __init__(self, x: Any) -> None:
        self._object = x

    def __hash__(self) -> int:
        return id(self._object)

    def __eq__(self, other: object) -> bool:
        return type(other) is _Same and self._object is other._object


def _are_same(a: Any, b: Any) -> bool:
    return len(a) == len(b) and all(map(is_, a, b))


_MISSING = object()


class _Walk:
    """Looks for the key of values, and remembers what it has read."""

    def __init__(self) -> None:
        self.reads_arrays = False
        self.is_traced = False
        self.is_checkable = True
        """Whether it can be told later that nothing has changed."""
        self._cells: list[tuple[CellType, Any]] = []
        self._attributes: list[tuple[Any, str, Any]] = []
        self._globals: list[tuple[dict[str, Any], str, Any]] = []
        self._contents_of: list[tuple[Any, list[Any]]] = []
        """Lists and dicts with what is in them."""
        self._seen: dict[int, int] = {}
        self._kept: list[Any] = []  # so that no id is used again
        self._depth = 0

    def structure(self, values: Sequence[Any]) -> Structure:
        """The structure of values."""
        key = tuple([self.key(value) for value in values])
        self.is_checkable &= not self.reads_arrays and not self.is_traced
        self._seen.clear()
        return Structure(key, self.reads_arrays, self.is_traced)

    def is_unchanged(self) -> bool:
        """Whether all that has been read would be the same again."""
        for cell, content in self._cells:
            if _content_of(cell) is not content:
                return False
        for known, name, value in self._globals:
            if known.get(name, _MISSING) is not value:
                return False
        for x, name, value in self._attributes:
            if getattr(x, name, None) is not value:
                return False
        return all([_are_same(_items(x), items) for x, items in self._contents_of])

    def key(self, x: Any) -> Hashable:
        """The key of a value."""
        kind = type(x)
        if x is None or kind in _SCALARS or isinstance(x, np.generic):
            return fingerprint(x)
        if kind is Tracer:
            self.is_traced = True
            return kind, x.aval
        if isinstance(x, _OPAQUE):
            return kind, _Same(x)
        if isinstance(x, Enum):
            return kind, x.name
        if id(x) in self._seen:
            return "again", self._seen[id(x)]
        if len(self._seen) == _LOOKED_AT_MOST or self._depth == _DEEPEST:
            return kind, _Same(x)
        self._seen[id(x)] = len(self._seen)
        self._kept.append(x)
        self._depth += 1
        try:
            return kind, self._contents(x)
        finally:
            self._depth -= 1

    def _keys(self, *values: Any) -> Hashable:
        return tuple([self.key(value) for value in values])

    def _contents(self, x: Any) -> Hashable:
        kind = type(x)
        if isinstance(x, np.ndarray):
            self.reads_arrays = True
            return Constant(x) if x.nbytes <= config.copy_captured_bytes and x.dtype.kind in "biufc" else _Same(x)
        if isinstance(x, (tuple, list, dict)):
            items = _items(x)
            if kind is not tuple:
                self._contents_of.append((x, items))
            return self._keys(*items)
        if isinstance(x, (set, frozenset)):
            self.is_checkable = False
            return self._keys(*sorted(x, key=repr))
        if isinstance(x, FunctionType):
            return self._function(x)
        if isinstance(x, MethodType):
            return self._keys(x.__func__, x.__self__)
        if isinstance(x, functools.partial):
            return self._keys(x.func, x.args, x.keywords)
        if isinstance(x, Transformed):
            return self._keys_of_attributes(x, ["fun", "options", "rules"])
        if is_dataclass(x):
            return self._keys_of_attributes(x, [field.name for field in fields(x)])
        if kind.__module__.partition(".")[0] in ("functrans", "numpy"):
            return _Same(x)
        return _Same(x), self._keys_of_attributes(x, ["__dict__"])

    def _keys_of_attributes(self, x: Any, names: Sequence[str]) -> Hashable:
        values = [getattr(x, name, None) for name in names]
        self._attributes += [(x, name, value) for name, value in zip(names, values, strict=True)]
        return self._keys(*values)

    def _function(self, function: FunctionType) -> Hashable:
        cells = [(cell, _content_of(cell)) for cell in function.__closure__ or ()]
        code = function.__code__
        named: dict[str, Any] = {}
        if not is_internal(code.co_filename):
            known = function.__globals__
            found = [(name, known.get(name, _MISSING)) for name in _names(code)]
            self._globals += [(known, name, value) for name, value in found]
            named = {name: value for name, value in found if value is not _MISSING}
        self._cells += cells
        self._attributes.append((function, "__code__", code))
        defaults = self._keys_of_attributes(function, ["__defaults__", "__kwdefaults__"])
        values = self._keys(*[content for _, content in cells], *named.values())
        return code, len(cells), tuple(named), defaults, values


def _items(x: Any) -> list[Any]:
    """What a tuple, a list or a dict contains."""
    return [*x.keys(), *x.values()] if isinstance(x, dict) else [*x]


def _content_of(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is empty: the variable is not set yet
        return None


@kept("names in functions", 4096)
def _names(code: CodeType) -> tuple[str, ...]:
    """The names of globals (and attributes) that a code object mentions, with those of the functions inside of it."""
    inner = [name for const in code.co_consts if isinstance(const, CodeType) for name in _names(const)]
    return tuple(dict.fromkeys([*code.co_names, *inner]))
