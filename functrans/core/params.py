"""Parameters of equations: canonical and interned, so that equal means identical in meaning.

Python says that `1 == True`, that `0.0 == -0.0` and that NaN differs from itself; a program that believed it would be
a wrong program. `fingerprint` tags every value with its type and floats with their bits.
"""

from __future__ import annotations

import struct
from collections.abc import Hashable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, NoReturn
from weakref import WeakValueDictionary

import numpy as np

from functrans.caching import register_table
from functrans.forking import fork_safe_lock

__all__ = ["Params", "fingerprint", "freeze"]


class Params(dict[str, Any]):
    """The parameters of an equation: a read-only dict, interned, compared by identity.

    >>> Params.of({"y": 2}) is Params.of({"y": 2}), Params.of({"y": 2}) is Params.of({"y": True})
    (True, False)
    """

    __slots__ = ("__weakref__",)

    @staticmethod
    def of(params: Mapping[str, Any]) -> Params:
        """The interned `Params` equal in meaning to the mapping."""
        if not params:
            return EMPTY
        key = tuple([(name, fingerprint(params[name])) for name in sorted(params)])
        found = _living.get(key)
        if found is None:
            fresh = Params({name: freeze(params[name]) for name in params})
            with _mutex:  # a weak dictionary's setdefault is not atomic
                found = _living.setdefault(key, fresh)
        return found

    def __hash__(self) -> int:  # type: ignore[override]
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __ne__(self, other: object) -> bool:
        return self is not other

    def __reduce__(self) -> tuple[Any, ...]:
        return Params.of, (dict(self),)

    def _read_only(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("the parameters of an equation cannot change")

    __setitem__ = __delitem__ = update = pop = popitem = clear = setdefault = __ior__ = _read_only


_living: WeakValueDictionary[Hashable, Params] = WeakValueDictionary()
register_table("parameters in use", _living)
_mutex = fork_safe_lock()
EMPTY = Params()


def freeze(value: Any) -> Any:
    """The value with lists turned into tuples, so that it can be shared."""
    if type(value) in (list, tuple):
        return tuple([freeze(v) for v in value])
    return value


def fingerprint(value: Any) -> Hashable:
    """A hashable that is equal for two values just if they mean the same in a program.

    Raises:
        TypeError: if the value is not hashable.

    >>> fingerprint(0.0) == fingerprint(-0.0), fingerprint(float("nan")) == fingerprint(float("nan"))
    (False, True)
    """
    kind = type(value)
    if kind is int or kind is str or kind is bool or value is None:
        return kind, value
    if kind is float:
        return kind, struct.pack("<d", value)
    if kind is complex:
        return kind, struct.pack("<dd", value.real, value.imag)
    if isinstance(value, np.generic):
        return kind, value.dtype.str, value.tobytes()
    if kind is list:
        kind = tuple
    if isinstance(value, (tuple, list)):
        return kind, tuple([fingerprint(v) for v in value])
    if isinstance(value, Enum):
        return kind, value.name
    if kind is frozenset:
        return kind, frozenset([fingerprint(v) for v in value])
    if is_dataclass(value) and not isinstance(value, type) and value.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        return kind, tuple([fingerprint(getattr(value, field.name)) for field in fields(value)])
    try:
        hash(value)
    except TypeError:
        raise TypeError(
            f"a parameter of an equation must be hashable, got {value!r:.80} of type {kind.__name__}"
        ) from None
    return kind, value
