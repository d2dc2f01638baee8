"""Dtypes: JAX's names for asking about them, with NumPy's answers.

Promotion is NumPy's own (NEP 50): a Python scalar takes the dtype of what it meets, and counts as float64, int64 or
complex128 alone. There is no global precision flag.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans.caching import kept

__all__ = [
    "canonicalize_dtype",
    "finfo",
    "float0",
    "iinfo",
    "is_differentiable",
    "issubdtype",
    "opaque",
    "opaque_of",
    "result_type",
    "scalar_type_of",
]

float0: np.dtype[Any] = np.dtype([("float0", np.void, 0)])
"""The dtype of the tangents and cotangents of integers and booleans: it holds nothing.

It appears at the edge of the API only, in what `vjp` returns for an integer argument, as in JAX.
"""

opaque: np.dtype[Any] = np.dtype([("opaque", np.void, 1)])
"""The dtype in the aval of a value that is not an array: what a loop of unknown length keeps for its derivative.

Only primitives that carry programs make and read such values; no tangent belongs to them.
"""


def opaque_of(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype in the aval of a tape of arrays of a dtype (see `functrans.core.tapes`). It has a tangent if that has.

    >>> opaque_of(np.dtype("float32"))
    dtype([('opaque', '<f4')])
    """
    return np.dtype([("opaque", dtype)])


def is_differentiable(dtype: np.dtype[Any]) -> bool:
    """Whether values of a dtype have tangents: floats, complex numbers and tapes of them."""
    while dtype.names == ("opaque",):
        dtype = dtype[0]
    return dtype.kind in "fc"


finfo = np.finfo
iinfo = np.iinfo

_PYTHON_TYPES = {"b": bool, "i": int, "f": float, "c": complex}


def canonicalize_dtype(dtype: Any, allow_extended_dtype: bool = False) -> np.dtype[Any]:
    """The dtype that arrays have which are asked for with `dtype`, in the byte order of the machine.

    JAX narrows 64 bits to 32 here, unless told not to; NumPy and functrans keep them.

    Args:
        dtype: whatever `numpy.dtype` takes.
        allow_extended_dtype: for JAX's signature; there are no extended dtypes here.

    Raises:
        TypeError: for a dtype that functrans does not compute with.

    >>> canonicalize_dtype(float), canonicalize_dtype(">i4")
    (dtype('float64'), dtype('int32'))
    """
    found = np.dtype(dtype).newbyteorder("=")
    if found.kind not in "biufc" and found != float0:
        raise TypeError(
            f"{found} is not a dtype that functrans computes with: they are booleans, integers, floats "
            "and complex numbers"
        )
    return found


def issubdtype(a: Any, b: Any) -> bool:
    """Whether dtype `a` lies at or below `b` in NumPy's hierarchy (`numpy.floating`, `numpy.integer`, ...).

    >>> issubdtype(np.float32, np.floating), issubdtype("int8", np.inexact)
    (True, False)
    """
    return bool(np.issubdtype(_dtype_of(a), _dtype_of(b)))


def result_type(*args: Any, return_weak_type_flag: bool = False) -> Any:
    """The dtype that these arrays, tracers, dtypes and Python scalars have together.

    Args:
        *args: at least one of them.
        return_weak_type_flag: whether to return also if the result is weak, that is, of Python scalars alone.

    Raises:
        ValueError: without arguments.
        TypeError: for dtypes without a common one.

    >>> result_type(np.float32(1), 2.0), result_type(np.int8, np.uint8), result_type(1, 2.0)
    (dtype('float32'), dtype('int16'), dtype('float64'))
    """
    if not args:
        raise ValueError("result_type needs at least one array, dtype or scalar")
    parts = [_promotion_part(x) for x in args]
    weak = all([is_weak for _, is_weak in parts])
    dtype = _result_type(tuple([kind for kind, _ in parts]), weak)
    return (dtype, weak) if return_weak_type_flag else dtype


def scalar_type_of(x: Any) -> type:
    """The Python type that stands for the kind of an array, tracer, dtype or scalar: bool, int, float or complex.

    Raises:
        TypeError: for what is not a number.

    >>> scalar_type_of(np.float32(1)), scalar_type_of(np.zeros(3, "uint8")), scalar_type_of(2j)
    (<class 'float'>, <class 'int'>, <class 'complex'>)
    """
    kind = result_type(x).kind
    scalar_type = _PYTHON_TYPES.get("i" if kind == "u" else kind)
    if scalar_type is None:
        raise TypeError(f"{x!r:.80} is not a number")
    return scalar_type


@kept("promotions", 4096)
def _result_type(parts: tuple[Any, ...], weak: bool) -> np.dtype[Any]:
    # NumPy takes a type of Python's for a dtype, and a scalar for what gives way.
    return np.result_type(*[x() if isinstance(x, type) and not weak else x for x in parts])


def _promotion_part(x: Any) -> tuple[Any, bool]:
    """What an argument adds to the promotion, a dtype or a type of Python's, and whether it is weak."""
    aval = getattr(x, "aval", None)  # a tracer or a literal
    if aval is not None:
        return (_PYTHON_TYPES[aval.dtype.kind], True) if aval.weak else (aval.dtype, False)
    kind = type(x)
    if kind is int or kind is float or kind is complex:
        return kind, True
    dtype = getattr(x, "dtype", None)
    if isinstance(dtype, np.dtype):
        return dtype, False
    return np.dtype(kind if kind is bool else x), False


def _dtype_of(x: Any) -> Any:
    """An abstract type as it is, anything else as its dtype."""
    if isinstance(x, type) and issubclass(x, np.generic):
        return x
    dtype = getattr(x, "dtype", None)
    return dtype if isinstance(dtype, np.dtype) else x
