"""The operators of tracers, as NumPy defines them for arrays.

Unlike the ufuncs, an operator keeps the result of Python scalars among themselves weak, as Python's own numbers are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

from functrans import lax
from functrans.core.aval import aval_of
from functrans.core.tracer import Tracer
from functrans.errors import user_location
from functrans.numpy.dispatch import record_binary, record_call, record_unary
from functrans.numpy.elementwise import TABLE
from functrans.numpy.linear import matmul_arrays
from functrans.numpy.promotion import loop_dtypes, promote_for
from functrans.numpy.registry import as_operand
from functrans.numpy.ufuncs import fitting, ufunc_function
from functrans.ops.conversion import convert_element_type
from functrans.ops.joining import split
from functrans.ops.shape import squeeze

__all__ = ["PLAIN_OPERANDS", "install_operators", "is_foreign"]

PLAIN_OPERANDS = frozenset({Tracer, np.ndarray, float, bool, complex})
"""The types of operands that are recorded as they are. Python ints are not: they must fit the other's dtype."""


def is_foreign(kind: type) -> bool:
    """Whether a type of array-likes is not ours to compute with: another array library's, or NumPy's own subclasses
    that redefine its functions.
    """
    if kind is Tracer or kind is np.ndarray:
        return False
    if issubclass(kind, np.generic):
        return False
    override = getattr(kind, "__array_ufunc__", np.ndarray.__array_ufunc__)
    return override is not np.ndarray.__array_ufunc__


def _other(x: Tracer, y: Any, ufunc: np.ufunc) -> Any:
    """The other operand, ready to be recorded; NotImplemented where it has to decide itself."""
    kind = type(y)
    if kind in PLAIN_OPERANDS:
        return y
    if kind is int:
        return fitting(y, x.aval, ufunc) if x.aval.dtype.kind in "iu" or abs(y) >> 62 else y
    if isinstance(y, (list, tuple)):
        if ufunc is np.multiply and not x.aval.shape and x.aval.dtype.kind in "iu":
            return NotImplemented  # an integer repeats a sequence, as NumPy's own integers do
        return as_operand(y)
    if isinstance(y, (np.generic, np.ndarray)) and not is_foreign(kind):
        return y
    return y if isinstance(y, (int, float, complex)) else NotImplemented


def _operator(ufunc: np.ufunc) -> tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]:
    """The methods of an operator, that for a tracer on its left and the reflected one."""
    function = ufunc_function(ufunc, TABLE[ufunc], weak=True)

    def method(x: Any, y: Any) -> Any:
        other = y if type(y) in PLAIN_OPERANDS else _other(x, y, ufunc)
        return other if other is NotImplemented else record_binary(function, x, other)

    def reflected(x: Any, y: Any) -> Any:
        other = y if type(y) in PLAIN_OPERANDS else _other(x, y, ufunc)
        return other if other is NotImplemented else record_binary(function, other, x)

    return method, reflected


_BINARY = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "truediv": np.true_divide,
    "floordiv": np.floor_divide,
    "mod": np.remainder,
    "divmod": np.divmod,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "lshift": np.left_shift,
    "rshift": np.right_shift,
}
_COMPARING = {
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
}  # fmt: skip
_UNARY = {"neg": np.negative, "pos": np.positive, "abs": np.absolute, "invert": np.invert}

# --------------------------------------------------------------------------------------------------------------------
# Powers and products

_power, _reflected_power = _operator(np.power)


_LARGEST_POWER = (64, 3)
"""Up to which power numbers are multiplied; not so many times in 16 bits, which NumPy computes in 32."""


def _integer_power(x: Any, n: int) -> Any:
    squares_booleans = n == 2 and x.dtype.kind == "b"  # NumPy takes x**2 for np.square(x), whose least loop is int8
    dtype = loop_dtypes(np.square, (x.aval,))[0] if squares_booleans else loop_dtypes(np.power, (x.aval, aval_of(n)))[0]
    if dtype.kind in "iu" and n < 0:
        raise ValueError("Integers to negative integer powers are not allowed.")
    return lax.integer_pow(convert_element_type(x, dtype, x.aval.weak), n)


def _root(x: Any) -> Any:
    (operand,) = promote_for(np.sqrt, x, weak=True)
    return lax.sqrt(operand)


def _pow(x: Any, y: Any, modulus: Any = None) -> Any:
    if modulus is not None:
        return NotImplemented
    if type(y) is int:
        if abs(y) <= _LARGEST_POWER[x.aval.dtype.itemsize == 2]:
            return record_unary(_integer_power, x, (y,))
        if x.aval.dtype.kind in "iu" and y < 0:
            raise ValueError("Integers to negative integer powers are not allowed.")
    if type(y) is float and y in (2.0, 0.5) and x.aval.dtype.kind in "fc":  # as NumPy's arrays do
        return record_unary(_root, x) if y == 0.5 else record_unary(_integer_power, x, (2,))
    return _power(x, y)


def _matmul(x: Any, y: Any) -> Any:
    other = y if type(y) is Tracer else _other(x, y, np.matmul)
    return other if other is NotImplemented else record_binary(matmul_arrays, x, other)


def _reflected_matmul(x: Any, y: Any) -> Any:
    other = _other(x, y, np.matmul)
    return other if other is NotImplemented else record_binary(matmul_arrays, other, x)


# --------------------------------------------------------------------------------------------------------------------
# What Python asks of a sequence


def _unstack(x: Any) -> list[Any]:
    return [squeeze(part, (0,)) for part in split(x, (1,) * x.shape[0], 0)]


def _iter(x: Any) -> Iterator[Any]:
    if not x.aval.shape:
        raise TypeError("iteration over a 0-d array")
    return iter(record_call(_unstack, (x,)) if x.aval.shape[0] else ())


def _contains(x: Any, y: Any) -> bool:
    equal = x == y
    return equal is not False and bool(record_call(_any, (equal,)))


def _any(x: Any) -> Any:
    return lax.reduce_or(x, tuple(range(x.ndim)))


def _setitem(x: Any, key: Any, value: Any) -> NoReturn:
    raise TypeError(
        f"x[...] = v at {user_location()}: a tracer cannot be written to, since the program keeps its value. Write "
        f"x = x.at[i].set(v), or x = x.at[i].add(v) for x[i] += v."
    )


def _round(x: Any, ndigits: int | None = None) -> Any:
    """round(x): the nearest integers, as floats; NumPy's scalars give a Python int here, which has no derivative."""
    return x.round(0 if ndigits is None else ndigits)


def install_operators() -> None:
    """Give tracers their operators."""
    methods: dict[str, Callable[..., Any]] = {}
    for name, ufunc in _BINARY.items():
        methods[name], methods[f"r{name}"] = _operator(ufunc)
    for name, ufunc in _COMPARING.items():
        methods[name] = _operator(ufunc)[0]
    for name, ufunc in _UNARY.items():
        methods[name] = _unary(ufunc)
    methods.update(pow=_pow, rpow=_reflected_power, matmul=_matmul, rmatmul=_reflected_matmul)
    methods.update(iter=_iter, contains=_contains, setitem=_setitem, round=_round)
    for name, method in methods.items():
        method.__name__ = f"__{name}__"
        setattr(Tracer, f"__{name}__", method)


def _unary(ufunc: np.ufunc) -> Callable[[Any], Any]:
    function = ufunc_function(ufunc, TABLE[ufunc], weak=True)
    return lambda x: record_unary(function, x)
