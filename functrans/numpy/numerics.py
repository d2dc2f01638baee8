"""Differences, sums of areas, interpolation, convolution and polynomials."""

from __future__ import annotations

from math import prod
from operator import index
from typing import Any

import numpy as np

from functrans import lax
from functrans.core.aval import aval_of
from functrans.numpy.promotion import (
    broadcast_arrays,
    broadcast_to,
    filled,
    like,
    promote,
    result_type,
    same_dtype,
    strong,
)
from functrans.numpy.registry import as_operand, axes_of, axis_of, implements, lengths_of, record
from functrans.numpy.sorting import searchsorted
from functrans.ops.conversion import convert_element_type
from functrans.ops.linear_algebra import dot_general
from functrans.ops.shape import broadcast_in_dim, expand_dims, moveaxis, reduce_sum, reshape
from functrans.ops.slicing import slice_in_dim

__all__ = [
    "convolve",
    "correlate",
    "diff",
    "ediff1d",
    "gradient",
    "interp",
    "poly",
    "polyadd",
    "polyder",
    "polyint",
    "polymul",
    "polysub",
    "polyval",
    "trapezoid",
    "unwrap",
]

# --------------------------------------------------------------------------------------------------------------------
# Differences


def _neighbours(x: Any, axis: int) -> tuple[Any, Any]:
    """All elements along an axis but the first, and all but the last."""
    n = x.shape[axis]
    return slice_in_dim(x, min(1, n), n, axis=axis), slice_in_dim(x, 0, max(n - 1, 0), axis=axis)


def _difference(x: Any, axis: int) -> Any:
    upper, lower = _neighbours(x, axis)
    return lax.ne(upper, lower) if x.dtype.kind == "b" else lax.sub(upper, lower)


def _diff(*operands: Any) -> Any:
    *arrays, axis, times = operands
    arrays = same_dtype(arrays)
    x = arrays[0] if len(arrays) == 1 else lax.concatenate(arrays, axis)
    for _ in range(times):
        x = _difference(x, axis)
    return x


@implements(np.diff)
def diff(a: Any, n: Any = 1, axis: Any = -1, prepend: Any = np._NoValue, append: Any = np._NoValue) -> Any:
    """`numpy.diff`: the differences between neighbours along an axis, taken n times."""
    times, lengths = index(n), lengths_of(a)
    if times < 0:
        raise ValueError(f"order must be non-negative but got {times}")
    if not lengths:
        raise ValueError("diff requires input that is at least one dimensional")
    axis = axis_of(axis, len(lengths))
    ends = [x if x is np._NoValue else _end(x, lengths, axis) for x in (prepend, append)]
    pieces = [x for x in (ends[0], a, ends[1]) if x is not np._NoValue]
    return record(_diff, pieces, axis, times)


def _end(x: Any, lengths: tuple[int, ...], axis: int) -> Any:
    if lengths_of(x):
        return x
    return record(_spread, (x,), tuple([1 if d == axis else n for d, n in enumerate(lengths)]))


def _spread(x: Any, shape: tuple[int, ...]) -> Any:
    return broadcast_to(strong(x), shape)


def _number(x: Any) -> Any:
    if x.dtype.kind == "b":
        raise TypeError("booleans cannot be subtracted: convert them to a number before")
    return x


def _ediff1d(*operands: Any) -> Any:
    *arrays, has_end = operands
    x = _number(reshape(strong(arrays[0]), (prod(arrays[0].shape),)))
    ends = [convert_element_type(reshape(e, (prod(e.shape),)), x.dtype) for e in arrays[1:]]
    end, begin = ends[:has_end], ends[has_end:]
    pieces = [*begin, _difference(x, 0), *end]
    return lax.concatenate(pieces, 0) if len(pieces) > 1 else pieces[0]


@implements(np.ediff1d)
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    """`numpy.ediff1d`: the differences between neighbours of all elements."""
    ends = [x for x in (to_end, to_begin) if x is not None]
    return record(_ediff1d, (ary, *ends), int(to_end is not None))


def _gradient_along(x: Any, spacing: Any, axis: int, edge_order: int) -> Any:
    """The derivative along an axis, by central differences inside and one-sided ones at the ends."""
    x = _number(x)
    x = convert_element_type(x, np.float64) if x.dtype.kind in "iu" else strong(x)
    n = x.shape[axis]
    if n < edge_order + 1:
        raise ValueError(
            "Shape of array too small to calculate a numerical gradient, "
            "at least (edge_order + 1) elements are required."
        )
    x = moveaxis(x, axis, 0)
    steps = _steps(spacing, n, x)
    slopes = lax.div(_difference(x, 0), steps)
    h0, h1 = slice_in_dim(steps, 0, n - 2), slice_in_dim(steps, 1, n - 1)
    s0, s1 = slice_in_dim(slopes, 0, n - 2), slice_in_dim(slopes, 1, n - 1)
    both = lax.add(h0, h1)
    if spacing.ndim == 0:
        inner = lax.div(lax.sub(slice_in_dim(x, 2, n), slice_in_dim(x, 0, n - 2)), both)
    else:
        inner = lax.add(lax.mul(s0, lax.div(h1, both)), lax.mul(s1, lax.div(h0, both)))
    first, last = slice_in_dim(slopes, 0, 1), slice_in_dim(slopes, n - 2, n - 1)
    if edge_order == 2:
        first = (
            lax.sub(lax.mul(first, like(2, first)), slice_in_dim(inner, 0, 1))
            if spacing.ndim == 0
            else _edge(slopes, steps, 0)
        )
        last = (
            lax.sub(lax.mul(last, like(2, last)), slice_in_dim(inner, n - 3, n - 2))
            if spacing.ndim == 0
            else _edge(slopes, steps, n - 2)
        )
    return moveaxis(lax.concatenate([first, inner, last], 0), 0, axis)


def _edge(slopes: Any, steps: Any, at: int) -> Any:
    """The slope at an end, from the two nearest intervals."""
    other = 1 if at == 0 else at - 1
    s, t = slice_in_dim(slopes, at, at + 1), slice_in_dim(slopes, other, other + 1)
    h, k = slice_in_dim(steps, at, at + 1), slice_in_dim(steps, other, other + 1)
    return lax.add(s, lax.mul(lax.sub(s, t), lax.div(h, lax.add(h, k))))


def _steps(spacing: Any, n: int, x: Any) -> Any:
    """The lengths of the intervals, in the shape of the differences."""
    shape = (n - 1, *x.shape[1:])
    if spacing.ndim == 0:
        return broadcast_to(convert_element_type(spacing, x.dtype), shape)
    if spacing.shape != (n,):
        raise ValueError("when 1d, distances must match the length of the corresponding dimension")
    return broadcast_in_dim(_difference(convert_element_type(spacing, x.dtype), 0), shape, (0,))


@implements(np.gradient)
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """`numpy.gradient`: the derivative of samples along each axis, by differences."""
    axes = (
        axes_of(axis, len(lengths_of(f)))
        if axis is None
        else tuple([axis_of(d, len(lengths_of(f))) for d in (axis if isinstance(axis, (tuple, list)) else (axis,))])
    )
    spacings = list(varargs) if len(varargs) == len(axes) else list(varargs or (1.0,)) * len(axes)
    if len(spacings) != len(axes):
        raise TypeError("invalid number of arguments")
    results = [record(_gradient_along, (f, h), d, index(edge_order)) for d, h in zip(axes, spacings, strict=True)]
    return results[0] if len(results) == 1 else tuple(results)


def _trapezoid(*operands: Any) -> Any:
    y, spacing, axis = operands
    y = moveaxis(strong(y), axis, y.ndim - 1)
    last = y.ndim - 1
    if spacing.ndim == 1:
        steps = _difference(spacing, 0)
    elif spacing.ndim:
        steps = _difference(moveaxis(spacing, axis, last), last)
    else:
        steps = spacing
    upper, lower = _neighbours(y, last)
    sums = lax.bitwise_or(upper, lower) if y.dtype.kind == "b" else lax.add(upper, lower)
    areas = broadcast_arrays(*promote(steps, sums))
    areas = [convert_element_type(x, np.float64) if x.dtype.kind in "iub" else strong(x) for x in areas]
    return reduce_sum(lax.div(lax.mul(*areas), like(2, areas[0])), (last,))


@implements(np.trapezoid)
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: Any = -1) -> Any:
    """`numpy.trapezoid`: the area below samples, by the trapezoidal rule."""
    return record(_trapezoid, (y, dx if x is None else x), axis_of(axis, len(lengths_of(y))))


def _unwrap(x: Any, period: Any, *rest: Any) -> Any:
    *discont, axis = rest
    jump, n = _difference(x, axis), x.shape[axis]  # in the dtype of x, as NumPy takes it
    dtype = result_type(jump.aval, period.aval)
    whole = dtype.kind in "iu"
    x, jump = convert_element_type(x, dtype), convert_element_type(jump, dtype)
    period = broadcast_to(convert_element_type(period, dtype), jump.shape)
    half = lax.floor_divide(period, like(2, period)) if whole else lax.div(period, like(2, period))
    low = lax.neg(half)
    wrapped = lax.add(lax.mod(lax.sub(jump, low), period), low)
    at_end = lax.bitwise_and(lax.eq(wrapped, low), lax.gt(jump, like(0, jump)))
    if not whole:
        wrapped = lax.select(at_end, half, wrapped)
    correction = lax.sub(wrapped, jump)
    limit = broadcast_to(convert_element_type(discont[0], dtype), jump.shape) if discont else half
    correction = lax.select(lax.lt(lax.abs(jump), limit), like(0, jump), correction)
    if not n:
        return x
    rest_of = lax.add(slice_in_dim(x, 1, n, axis=axis), lax.cumsum(correction, axis))
    return lax.concatenate([slice_in_dim(x, 0, 1, axis=axis), rest_of], axis)


@implements(np.unwrap)
def unwrap(p: Any, discont: Any = None, axis: Any = -1, *, period: Any = 2 * np.pi) -> Any:
    """`numpy.unwrap`: angles without jumps of more than half a period."""
    axis = axis_of(axis, len(lengths_of(p)))
    return record(_unwrap, (p, period, *([] if discont is None else [discont])), axis)


# --------------------------------------------------------------------------------------------------------------------
# Interpolation


def _interp(x: Any, xp: Any, fp: Any, places: Any, *ends: Any) -> Any:
    *given, has_left, has_right = ends
    n = xp.shape[0]
    dtype = np.dtype(np.complex128 if fp.dtype.kind == "c" else np.float64)
    x, xp = convert_element_type(x, np.float64), convert_element_type(xp, np.float64)
    fp = convert_element_type(fp, dtype)
    lower = lax.min(lax.max(lax.sub(places, like(1, places)), like(0, places)), like(max(n - 2, 0), places))
    upper = lax.min(lax.add(lower, like(1, lower)), like(n - 1, lower))
    x0, x1, f0, f1 = (_elements(v, i) for v, i in ((xp, lower), (xp, upper), (fp, lower), (fp, upper)))
    gap = lax.sub(x1, x0)
    gap = lax.select(lax.eq(gap, like(0, gap)), like(1, gap), gap)
    slope = lax.div(lax.sub(f1, f0), convert_element_type(gap, dtype))
    out = lax.add(lax.mul(slope, convert_element_type(lax.sub(x, x0), dtype)), f0)
    first, last = (reshape(slice_in_dim(v, i, i + 1), ()) for v, i in ((fp, 0), (fp, n - 1)))
    left = given.pop(0) if has_left else first
    right = given.pop(0) if has_right else last
    left, right, start, stop, final = (
        broadcast_to(convert_element_type(v, d), x.shape)
        for v, d in (
            (left, dtype),
            (right, dtype),
            (reshape(slice_in_dim(xp, 0, 1), ()), xp.dtype),
            (reshape(slice_in_dim(xp, n - 1, n), ()), xp.dtype),
            (last, dtype),
        )
    )
    out = lax.select(lax.eq(x, stop), final, out)
    return lax.select(lax.lt(x, start), left, lax.select(lax.gt(x, stop), right, out))


_ELEMENTS = lax.GatherDimensionNumbers(offset_dims=(), collapsed_slice_dims=(0,), start_index_map=(0,))


def _elements(x: Any, places: Any) -> Any:
    return lax.gather(x, expand_dims(places, (places.ndim,)), _ELEMENTS, (1,), mode="promise_in_bounds")


def _modulo(x: Any, period: Any) -> Any:
    x, period = same_dtype((x, period), np.dtype(np.float64))
    size = broadcast_to(lax.abs(period), x.shape)
    return lax.mod(x, size)


def _periodic(xp: Any, fp: Any, period: Any) -> tuple[Any, Any]:
    xp = _modulo(xp, period)
    order = lax.argsort(xp, 0)
    xp, fp = _elements(xp, order), _elements(strong(fp), order)
    n, size = xp.shape[0], expand_dims(lax.abs(convert_element_type(period, np.float64)), (0,))
    ends = [slice_in_dim(v, i, i + 1) for v in (xp, fp) for i in (n - 1, 0)]
    xp = lax.concatenate([lax.sub(ends[0], size), xp, lax.add(ends[1], size)], 0)
    return xp, lax.concatenate([ends[2], fp, ends[3]], 0)


@implements(np.interp)
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    """`numpy.interp`: values at x of the straight lines between points, whose abscissas rise."""
    if "c" in (aval_of(as_operand(x)).dtype.kind, aval_of(as_operand(xp)).dtype.kind):
        raise TypeError("np.interp takes no complex abscissas")
    if len(lengths_of(xp)) != 1 or lengths_of(xp) != lengths_of(fp):
        raise ValueError("fp and xp are not of the same length, or not one-dimensional.")
    if lengths_of(xp) == (0,):
        raise ValueError("array of sample points is empty")
    if period is not None:
        x = record(_modulo, (x, period))
        xp, fp = record(_periodic, (xp, fp, period))
        left = right = None
    ends = [v for v in (left, right) if v is not None]
    places = searchsorted(xp, record(_as_float, (x,)), side="right")
    return record(_interp, (x, xp, fp, places, *ends), left is not None, right is not None)


def _as_float(x: Any) -> Any:
    return convert_element_type(x, np.float64)


# --------------------------------------------------------------------------------------------------------------------
# Convolution


def _correlation(x: Any, y: Any, mode: str, convolution: bool) -> Any:
    """Sums of products of one vector with the other, shifted: a matrix of windows times the shorter vector."""
    x, y = same_dtype((x, y))
    if not x.shape[0] or not y.shape[0]:
        raise ValueError("convolve and correlate need vectors that are not empty")
    if not convolution and y.dtype.kind == "c":
        y = lax.conj(y)
    swapped = y.shape[0] > x.shape[0]
    long, short = (y, x) if swapped else (x, y)
    if convolution:
        short, swapped = lax.rev(short, (0,)), False
    n, m = long.shape[0], short.shape[0]
    low, high = {"full": (m - 1, m - 1), "valid": (0, 0), "same": (m // 2, m - 1 - m // 2)}[mode]
    padded = lax.pad(long, 0, [(low, high, 0)])
    count = n + low + high - m + 1
    starts = lax.add(lax.broadcasted_iota(np.int64, (count, m), 0), lax.broadcasted_iota(np.int64, (count, m), 1))
    out = dot_general(_elements(padded, starts), short, (((1,), (0,)), ((), ())))
    return lax.rev(out, (0,)) if swapped else out


@implements(np.convolve)
def convolve(a: Any, v: Any, mode: str = "full") -> Any:
    """`numpy.convolve`: the convolution of two vectors, of which all, the middle, or the inner part is wanted."""
    return _correlate(a, v, mode, True)


@implements(np.correlate)
def correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    """`numpy.correlate`: the sums of products of a vector with another, conjugated and shifted."""
    return _correlate(a, v, mode, False)


def _correlate(a: Any, v: Any, mode: str, convolution: bool) -> Any:
    if mode not in ("full", "same", "valid"):
        raise ValueError(f"mode must be one of 'valid', 'same', or 'full' (got {mode!r})")
    a, v = (record(_vector, (x,)) if not lengths_of(x) else as_operand(x) for x in (a, v))
    if len(lengths_of(a)) != 1 or len(lengths_of(v)) != 1:
        raise ValueError("object too deep for desired array")
    return record(_correlation, (a, v), mode, convolution)


def _vector(x: Any) -> Any:
    return reshape(strong(x), (1,))


# --------------------------------------------------------------------------------------------------------------------
# Polynomials, the highest power first


def _polyval(p: Any, x: Any) -> Any:
    p, x = same_dtype((p, x))
    out = like(0, x)
    for i in range(p.shape[0]):
        coefficient = broadcast_to(reshape(slice_in_dim(p, i, i + 1), ()), x.shape)
        out = lax.add(lax.mul(out, x), coefficient)
    return strong(out)


@implements(np.polyval)
def polyval(p: Any, x: Any) -> Any:
    """`numpy.polyval`: the values of a polynomial, of which p has the coefficients, the highest power first."""
    return record(_polyval, (p, x))


def _poly_sum(x: Any, y: Any, subtract: bool) -> Any:
    x, y = (reshape(v, (prod(v.shape),)) for v in same_dtype((x, y)))
    n = max(x.shape[0], y.shape[0])
    x, y = (lax.pad(v, 0, [(n - v.shape[0], 0, 0)]) for v in (x, y))
    return lax.sub(x, y) if subtract else lax.add(x, y)


@implements(np.polyadd)
def polyadd(a1: Any, a2: Any) -> Any:
    """`numpy.polyadd`: the sum of polynomials."""
    return record(_poly_sum, (a1, a2), False)


@implements(np.polysub)
def polysub(a1: Any, a2: Any) -> Any:
    """`numpy.polysub`: the difference of polynomials."""
    return record(_poly_sum, (a1, a2), True)


@implements(np.polymul)
def polymul(a1: Any, a2: Any) -> Any:
    """`numpy.polymul`: the product of polynomials. Leading zeros of traced ones are kept."""
    return convolve(a1, a2)


def _polyder(p: Any, times: int) -> Any:
    p = strong(p)
    for _ in range(times):
        n = max(p.shape[0] - 1, 0)
        powers = lax.sub(filled(n, (n,), np.int64), lax.iota(np.int64, n))
        p = lax.mul(*promote(slice_in_dim(p, 0, n), powers))
    return p


@implements(np.polyder)
def polyder(p: Any, m: Any = 1) -> Any:
    """`numpy.polyder`: the derivative of a polynomial."""
    return record(_polyder, (p,), index(m))


def _polyint(p: Any, constant: Any, times: int) -> Any:
    p = convert_element_type(p, np.float64) if p.dtype.kind in "iub" else strong(p)
    constants = broadcast_to(convert_element_type(constant, p.dtype), (times,))
    for i in range(times):
        n = p.shape[0]
        powers = lax.sub(filled(n, (n,), np.int64), lax.iota(np.int64, n))
        p = lax.concatenate([lax.div(p, convert_element_type(powers, p.dtype)), slice_in_dim(constants, i, i + 1)], 0)
    return p


@implements(np.polyint)
def polyint(p: Any, m: Any = 1, k: Any = None) -> Any:
    """`numpy.polyint`: an integral of a polynomial, with constants k."""
    return record(_polyint, (p, 0 if k is None else k), index(m))


def _poly(roots: Any) -> Any:
    roots = convert_element_type(roots, np.float64) if roots.dtype.kind in "iub" else strong(roots)
    out = filled(1, (1,), roots.dtype)
    for i in range(roots.shape[0]):
        root = slice_in_dim(roots, i, i + 1)
        shifted = lax.mul(out, broadcast_to(root, out.shape))
        out = lax.sub(lax.pad(out, 0, [(0, 1, 0)]), lax.pad(shifted, 0, [(1, 0, 0)]))
    return out


@implements(np.poly)
def poly(seq_of_zeros: Any) -> Any:
    """`numpy.poly`: the polynomial with the given roots."""
    if len(lengths_of(seq_of_zeros)) != 1:
        raise ValueError("poly: inside of a program the roots must be a vector")
    return record(_poly, (seq_of_zeros,))
