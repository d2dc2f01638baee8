"""Functions that make arrays: of numbers, of ranges, of other arrays."""

from __future__ import annotations

from math import ceil
from operator import index
from typing import Any

import numpy as np

from functrans import lax
from functrans.core.aval import aval_of
from functrans.core.tracer import Tracer
from functrans.numpy.promotion import (
    broadcast_arrays,
    broadcast_to,
    filled,
    like,
    loop_dtypes,
    result_type,
    strong,
)
from functrans.numpy.registry import as_operand, dtype_of, implements, lengths_of, record, shape_of
from functrans.numpy.shapes import moveaxis, triangle
from functrans.ops.conversion import convert_element_type
from functrans.ops.shape import broadcast_in_dim, expand_dims, reshape

__all__ = [
    "angle",
    "arange",
    "array",
    "asanyarray",
    "asarray",
    "ascontiguousarray",
    "astype",
    "copy",
    "empty",
    "empty_like",
    "eye",
    "full",
    "full_like",
    "geomspace",
    "identity",
    "imag",
    "indices",
    "iscomplex",
    "iscomplexobj",
    "isreal",
    "isrealobj",
    "linspace",
    "logspace",
    "meshgrid",
    "ones",
    "ones_like",
    "real",
    "tri",
    "vander",
    "zeros",
    "zeros_like",
]

# --------------------------------------------------------------------------------------------------------------------
# One number


def _constant(value: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    return filled(value, shape, dtype)


def _constant_like(x: Any, value: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    return filled(0 if value == "zero" else 1, shape, dtype)


def _full(value: Any, shape: tuple[int, ...], dtype: np.dtype[Any] | None) -> Any:
    return broadcast_to(convert_element_type(value, value.dtype if dtype is None else dtype), shape)


def _full_like(x: Any, value: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    return broadcast_to(convert_element_type(value, dtype), shape)


@implements(np.zeros)
def zeros(shape: Any, dtype: Any = float, order: Any = "C") -> Any:
    """`numpy.zeros`: zeros."""
    return record(_constant, (), 0, shape_of(shape), np.dtype(dtype))


@implements(np.ones)
def ones(shape: Any, dtype: Any = None, order: Any = "C") -> Any:
    """`numpy.ones`: ones."""
    return record(_constant, (), 1, shape_of(shape), np.dtype(dtype))


@implements(np.empty)
def empty(shape: Any, dtype: Any = float, order: Any = "C") -> Any:
    """`numpy.empty`: zeros, inside of a program."""
    return record(_constant, (), 0, shape_of(shape), np.dtype(dtype))


@implements(np.full)
def full(shape: Any, fill_value: Any, dtype: Any = None, order: Any = "C") -> Any:
    """`numpy.full`: one value everywhere, or what can be broadcast to the shape."""
    return record(_full, (fill_value,), shape_of(shape), dtype_of(dtype))


def _like(a: Any, dtype: Any, shape: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    aval = aval_of(as_operand(a))
    return aval.shape if shape is None else shape_of(shape), aval.dtype if dtype is None else np.dtype(dtype)


@implements(np.zeros_like)
def zeros_like(a: Any, dtype: Any = None, order: Any = "K", subok: Any = True, shape: Any = None) -> Any:
    """`numpy.zeros_like`: zeros in the shape and dtype of an array."""
    return record(_constant_like, (a,), "zero", *_like(a, dtype, shape))


@implements(np.ones_like)
def ones_like(a: Any, dtype: Any = None, order: Any = "K", subok: Any = True, shape: Any = None) -> Any:
    """`numpy.ones_like`: ones in the shape and dtype of an array."""
    return record(_constant_like, (a,), "one", *_like(a, dtype, shape))


@implements(np.empty_like)
def empty_like(prototype: Any, dtype: Any = None, order: Any = "K", subok: Any = True, shape: Any = None) -> Any:
    """`numpy.empty_like`: zeros in the shape and dtype of an array, inside of a program."""
    return record(_constant_like, (prototype,), "zero", *_like(prototype, dtype, shape))


@implements(np.full_like)
def full_like(
    a: Any, fill_value: Any, dtype: Any = None, order: Any = "K", subok: Any = True, shape: Any = None
) -> Any:
    """`numpy.full_like`: one value everywhere, in the shape and dtype of an array."""
    return record(_full_like, (a, fill_value), *_like(a, dtype, shape))


# --------------------------------------------------------------------------------------------------------------------
# Conversion


def _converted(x: Any, dtype: np.dtype[Any] | None, ndmin: int = 0) -> Any:
    x = convert_element_type(x, x.dtype if dtype is None else dtype)
    return reshape(x, (1,) * (ndmin - x.ndim) + x.shape) if ndmin > x.ndim else x


@implements(np.asarray, np.asanyarray, np.ascontiguousarray)
def asarray(a: Any, dtype: Any = None, order: Any = None, *, device: Any = None, copy: Any = None) -> Any:
    """`numpy.asarray`: an array of a number, an array, or nested lists of them, of which any may be tracers."""
    return _as_array(a, dtype, 0)


@implements(np.array)
def array(
    object: Any, dtype: Any = None, *, copy: Any = True, order: Any = "K", subok: Any = False, ndmin: int = 0,
    device: Any = None,
) -> Any:  # fmt: skip
    """`numpy.array`: an array of a number, an array, or nested lists of them, of which any may be tracers."""
    return _as_array(object, dtype, index(ndmin))


asanyarray = ascontiguousarray = asarray


def _as_array(a: Any, dtype: Any, ndmin: int) -> Any:
    x = as_operand(a)
    aval = aval_of(x)
    wanted = aval.dtype if dtype is None else np.dtype(dtype)
    if type(x) is Tracer and not aval.weak and wanted == aval.dtype and aval.ndim >= ndmin:
        return x
    return record(_converted, (x,), wanted, ndmin)


@implements(np.astype)
def astype(x: Any, dtype: Any, /, *, copy: Any = True, device: Any = None) -> Any:
    """`numpy.astype`: the same elements in another dtype."""
    return record(_converted, (x,), np.dtype(dtype))


@implements(np.copy)
def copy(a: Any, order: Any = "K", subok: Any = False) -> Any:
    """`numpy.copy`: the array itself, inside of a program, where it cannot change."""
    return _as_array(a, None, 0)


# --------------------------------------------------------------------------------------------------------------------
# Matrices and grids


def _eye(rows: int, columns: int, offset: int, dtype: np.dtype[Any]) -> Any:
    i = lax.broadcasted_iota(np.int64, (rows, columns), 0)
    j = lax.broadcasted_iota(np.int64, (rows, columns), 1)
    return convert_element_type(lax.eq(lax.add(i, offset), j), dtype)


@implements(np.eye)
def eye(N: Any, M: Any = None, k: Any = 0, dtype: Any = float, order: Any = "C", *, device: Any = None) -> Any:
    """`numpy.eye`: ones on a diagonal of a matrix."""
    return record(_eye, (), index(N), index(N if M is None else M), index(k), np.dtype(dtype))


@implements(np.identity)
def identity(n: Any, dtype: Any = None) -> Any:
    """`numpy.identity`: the square matrix with ones on the diagonal."""
    return record(_eye, (), index(n), index(n), 0, np.dtype(dtype))


def _tri(rows: int, columns: int, offset: int, dtype: np.dtype[Any]) -> Any:
    return convert_element_type(triangle(rows, columns, offset), dtype)


@implements(np.tri)
def tri(N: Any, M: Any = None, k: Any = 0, dtype: Any = float) -> Any:
    """`numpy.tri`: ones at and below a diagonal of a matrix."""
    return record(_tri, (), index(N), index(N if M is None else M), index(k), np.dtype(dtype))


@implements(np.vander)
def vander(x: Any, N: Any = None, increasing: bool = False) -> Any:
    """`numpy.vander`: the powers of a vector as columns, the highest first."""
    if len(lengths_of(x)) != 1:
        raise ValueError("x must be a one-dimensional array or sequence.")
    return record(_vander, (x,), lengths_of(x)[0] if N is None else index(N), bool(increasing))


def _vander(x: Any, columns: int, increasing: bool) -> Any:
    x = convert_element_type(x, np.promote_types(x.dtype, np.int64))
    spread = broadcast_in_dim(x, (x.shape[0], columns), (0,))
    first = filled(1, (x.shape[0], 1), x.dtype)
    powers = lax.concatenate([first, lax.slice_in_dim(spread, 1, None, axis=1)], 1) if columns else spread
    powers = lax.cumprod(powers, 1) if columns else powers
    return powers if increasing else lax.rev(powers, (1,))


def _meshgrid(*operands: Any) -> Any:
    *axes, matrix = operands
    shape = [x.size for x in [a.aval for a in axes]]
    places = list(range(len(axes)))
    if matrix and len(axes) > 1:
        shape[0], shape[1], places[0], places[1] = shape[1], shape[0], 1, 0
    vectors = [reshape(strong(x), (x.aval.size,)) for x in axes]
    return [broadcast_in_dim(x, shape, (place,)) for x, place in zip(vectors, places, strict=True)]


@implements(np.meshgrid)
def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> Any:
    """`numpy.meshgrid`: the coordinates of all points of a grid, an array for each axis."""
    if indexing not in ("xy", "ij"):
        raise ValueError("Valid values for `indexing` are 'xy' and 'ij'.")
    if not xi:
        return ()
    if sparse:
        return tuple([_sparse_axis(x, i, len(xi), indexing == "xy") for i, x in enumerate(xi)])
    return tuple(record(_meshgrid, xi, indexing == "xy"))


def _sparse_axis(x: Any, i: int, n: int, matrix: bool) -> Any:
    place = 1 - i if matrix and n > 1 and i < 2 else i
    return record(_column, (x,), place, n)


def _column(x: Any, place: int, n: int) -> Any:
    return reshape(strong(x), [x.aval.size if d == place else 1 for d in range(n)])


@implements(np.indices)
def indices(dimensions: Any, dtype: Any = int, sparse: bool = False) -> Any:
    """`numpy.indices`: for each axis the index of every element along it."""
    shape, dtype = shape_of(dimensions), np.dtype(dtype)
    if sparse:
        n = len(shape)
        return tuple([record(_iota_column, (), d, n, shape[d], dtype) for d in range(n)])
    return record(_indices, (), shape, dtype)


def _iota_column(place: int, n: int, length: int, dtype: np.dtype[Any]) -> Any:
    return lax.broadcasted_iota(dtype, [length if d == place else 1 for d in range(n)], place)


def _indices(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    if not shape:
        return filled(0, (0,), dtype)
    parts = [lax.broadcasted_iota(dtype, shape, d) for d in range(len(shape))]
    return lax.concatenate([expand_dims(x, (0,)) for x in parts], 0)


# --------------------------------------------------------------------------------------------------------------------
# Ranges


@implements(np.arange)
def arange(start: Any, stop: Any = None, step: Any = None, dtype: Any = None, *, device: Any = None) -> Any:
    """`numpy.arange`: evenly spaced numbers. How many there are belongs to the program, so the limits must be known."""
    start, stop = (0, start) if stop is None else (start, stop)
    limits = [_known(x) for x in (start, stop, 1 if step is None else step)]
    dtype = result_type(*[aval_of(x).strong for x in limits]) if dtype is None else np.dtype(dtype)
    first, last, stride = [np.asarray(x)[()] for x in limits]
    length = max(0, ceil((last - first) / stride))
    return record(_arange, (limits[0], limits[0] + limits[2]), length, dtype)


def _known(x: Any) -> Any:
    return (index(x) if x.aval.dtype.kind in "iu" else x.item()) if type(x) is Tracer else x


def _arange(start: Any, second: Any, length: int, dtype: np.dtype[Any]) -> Any:
    # As NumPy does: the second number minus the first one is the step, in the dtype of the result.
    first, second = convert_element_type(start, dtype), convert_element_type(second, dtype)
    if dtype.kind == "b":
        return convert_element_type(lax.iota(np.int64, length), dtype)
    steps = lax.mul(lax.iota(dtype, length), broadcast_to(lax.sub(second, first), (length,)))
    return lax.add(broadcast_to(first, (length,)), steps)


@implements(np.linspace)
def linspace(
    start: Any, stop: Any, num: Any = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None,
    axis: int = 0, *, device: Any = None,
) -> Any:  # fmt: skip
    """`numpy.linspace`: numbers evenly spaced between two limits, which may be arrays of them."""
    num = index(num)
    if num < 0:
        raise ValueError(f"Number of samples, {num}, must be non-negative.")
    samples, step = record(_linspace, (start, stop), num, bool(endpoint), dtype_of(dtype))
    samples = moveaxis(samples, 0, axis) if axis != 0 else samples
    return (samples, step) if retstep else samples


def _linspace(start: Any, stop: Any, num: int, endpoint: bool, dtype: np.dtype[Any] | None) -> Any:
    parts = num - 1 if endpoint else num
    wide = result_type(start.aval, stop.aval)
    wide = wide if wide.kind in "fc" else np.dtype(np.float64)
    first, last = broadcast_arrays(convert_element_type(start, wide), convert_element_type(stop, wide))
    delta = lax.sub(last, first)
    step = lax.div(delta, like(parts, delta)) if parts > 0 else like(np.nan, delta)
    shape = (num, *first.shape)
    i = lax.broadcasted_iota(wide, shape, 0)
    spread = [broadcast_in_dim(x, shape, range(1, len(shape))) for x in (step if parts > 0 else delta, first)]
    samples = lax.add(lax.mul(i, spread[0]), spread[1])
    if endpoint and num > 1:
        body = lax.slice_in_dim(samples, 0, num - 1)
        samples = lax.concatenate([body, expand_dims(last, (0,))], 0)
    if dtype is not None and dtype.kind in "iu":
        samples = lax.floor(samples)
    return convert_element_type(samples, wide if dtype is None else dtype), step


def _weak_or_whole(*operands: Any) -> bool:
    return any([x.aval.weak or x.dtype.kind in "biu" for x in operands])


@implements(np.logspace)
def logspace(
    start: Any, stop: Any, num: Any = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None, axis: int = 0
) -> Any:
    """`numpy.logspace`: the powers of a base to evenly spaced exponents."""
    exponents = linspace(start, stop, num, endpoint)
    samples = record(_power_of, (base, exponents))
    samples = samples if dtype is None else astype(samples, dtype)
    return moveaxis(samples, 0, axis) if axis != 0 else samples


def _power_of(base: Any, exponents: Any) -> Any:
    dtypes = loop_dtypes(np.power, (base.aval, exponents.aval))
    base, exponents = (convert_element_type(x, d) for x, d in zip((base, exponents), dtypes, strict=False))
    return lax.pow(*broadcast_arrays(base, exponents))


@implements(np.geomspace)
def geomspace(start: Any, stop: Any, num: Any = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Any:
    """`numpy.geomspace`: numbers with one ratio between each two, between two limits of one sign."""
    samples = record(_geomspace, (start, stop), index(num), bool(endpoint))
    samples = samples if dtype is None else astype(samples, dtype)
    return moveaxis(samples, 0, axis) if axis != 0 else samples


def _geomspace(start: Any, stop: Any, num: int, endpoint: bool) -> Any:
    wide = np.result_type(start.dtype, stop.dtype, np.float64 if _weak_or_whole(start, stop) else np.float16)
    first, last = broadcast_arrays(convert_element_type(start, wide), convert_element_type(stop, wide))
    sign = lax.sign(first)
    exponents, _ = _linspace(like(0, first), lax.log10(lax.div(last, first)), num, endpoint, None)
    shape = (num, *first.shape)
    spread = [broadcast_in_dim(x, shape, range(1, len(shape))) for x in (lax.mul(first, sign), sign)]
    samples = lax.mul(lax.mul(lax.pow(like(10, exponents), exponents), spread[0]), spread[1])
    ends = [expand_dims(x, (0,)) for x in (first, last)]
    if num > 1 and endpoint:
        return lax.concatenate([ends[0], lax.slice_in_dim(samples, 1, num - 1), ends[1]], 0)
    return lax.concatenate([ends[0], lax.slice_in_dim(samples, 1, num)], 0) if num else samples


# --------------------------------------------------------------------------------------------------------------------
# Complex numbers


def _real(x: Any) -> Any:
    return lax.real(x) if x.dtype.kind == "c" else strong(x)


def _imag(x: Any) -> Any:
    return lax.imag(x) if x.dtype.kind == "c" else like(0, x)


def _angle(x: Any, degrees: bool) -> Any:
    if x.dtype.kind != "c":
        x = convert_element_type(x, loop_dtypes(np.arctan2, (aval_of(0), x.aval.strong))[0])
    out = lax.atan2(_imag(x), _real(x))
    return lax.mul(out, like(180 / np.pi, out)) if degrees else out


@implements(np.real)
def real(val: Any) -> Any:
    """`numpy.real`: the real part."""
    return record(_real, (val,))


@implements(np.imag)
def imag(val: Any) -> Any:
    """`numpy.imag`: the imaginary part; zero for real numbers."""
    return record(_imag, (val,))


@implements(np.angle)
def angle(z: Any, deg: bool = False) -> Any:
    """`numpy.angle`: the angle of complex numbers in the plane, in radians or degrees."""
    return record(_angle, (z,), bool(deg))


@implements(np.iscomplexobj)
def iscomplexobj(x: Any) -> bool:
    """`numpy.iscomplexobj`: whether the dtype is complex."""
    return aval_of(as_operand(x)).dtype.kind == "c"


@implements(np.isrealobj)
def isrealobj(x: Any) -> bool:
    """`numpy.isrealobj`: whether the dtype is not complex."""
    return not iscomplexobj(x)


def _is_complex(x: Any) -> Any:
    return lax.ne(_imag(x), like(0, _imag(x)))


@implements(np.iscomplex)
def iscomplex(x: Any) -> Any:
    """`numpy.iscomplex`: which elements have an imaginary part."""
    return record(_is_complex, (x,))


@implements(np.isreal)
def isreal(x: Any) -> Any:
    """`numpy.isreal`: which elements have no imaginary part."""
    return record(_is_real, (x,))


def _is_real(x: Any) -> Any:
    return lax.eq(_imag(x), like(0, _imag(x)))
