"""Means, variances, quantiles and correlations, in NumPy's dtypes and, as far as it matters, its order of steps."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from functrans import lax
from functrans.numpy.promotion import broadcast_to, filled, like, promote, same_dtype, strong
from functrans.numpy.reductions import sum_arrays, without_nans
from functrans.numpy.registry import axes_of, dtype_of, implements, lengths_of, record, reduced_axes
from functrans.ops.conversion import convert_element_type
from functrans.ops.linear_algebra import dot_general
from functrans.ops.shape import expand_dims, reduce_sum, reshape, transpose

__all__ = [
    "average",
    "corrcoef",
    "cov",
    "mean",
    "median",
    "nanmean",
    "nanmedian",
    "nanpercentile",
    "nanquantile",
    "nanstd",
    "nanvar",
    "percentile",
    "quantile",
    "std",
    "var",
]

Axes = tuple[int, ...]


def _count(x: Any, axes: Axes, mask: Any) -> Any:
    """How many elements are reduced to one: a number, or an array if some are masked."""
    if mask is None:
        return prod([x.shape[d] for d in axes])
    return sum_arrays(broadcast_to(mask, x.shape), axes)


def _divided(x: Any, count: Any) -> Any:
    if isinstance(count, int) and count == 1 and x.dtype.kind in "fc":
        return x
    n = like(count, x) if isinstance(count, int) else broadcast_to(convert_element_type(count, x.dtype), x.shape)
    if x.dtype.kind in "iub":
        x, n = convert_element_type(x, np.float64), convert_element_type(n, np.float64)
    return lax.div(x, n)


def _masked(x: Any, mask: Any) -> Any:
    return x if mask is None else lax.select(broadcast_to(mask, x.shape), x, like(0, x))


def _unpack(rest: tuple[Any, ...]) -> tuple[Any, ...]:
    """The mask, or None, and the static arguments, of which the last says whether there is a mask."""
    *operands_and_static, has_mask = rest
    mask = convert_element_type(operands_and_static.pop(0), np.bool_) if has_mask else None
    return (mask, *operands_and_static)


def _mean(x: Any, *rest: Any) -> Any:
    mask, axes, dtype, keepdims = _unpack(rest)
    return _mean_of(strong(x), axes, dtype, keepdims, mask)


def _mean_of(x: Any, axes: Axes, dtype: Any, keepdims: bool, mask: Any = None) -> Any:
    if mask is not None:
        x = broadcast_to(x, np.broadcast_shapes(x.shape, mask.shape))
    result = None
    if dtype is None:
        if x.dtype.kind in "iub":
            dtype = np.dtype(np.float64)
        elif x.dtype == np.float16:
            dtype, result = np.dtype(np.float32), x.dtype
    total = sum_arrays(_masked(x if dtype is None else convert_element_type(x, dtype), mask), axes, dtype)
    out = _divided(total, _count(x, axes, mask))
    out = convert_element_type(out, (out.dtype if dtype is None else dtype) if result is None else result)
    return expand_dims(out, axes) if keepdims else out


def _variance(root: bool, nans: bool = False) -> Callable[..., Any]:
    def function(x: Any, *rest: Any) -> Any:
        mask, axes, dtype, ddof, keepdims = _unpack(rest)
        x = strong(x)
        if nans:
            x, mask = _without(x, mask)
        return _variance_of(x, axes, dtype, ddof, keepdims, root, mask)

    function.__name__ = ("nan" if nans else "") + ("std" if root else "var")
    return function


def _variance_of(x: Any, axes: Axes, dtype: Any, ddof: float, keepdims: bool, root: bool, mask: Any = None) -> Any:
    if mask is not None:
        x = broadcast_to(x, np.broadcast_shapes(x.shape, mask.shape))
    if dtype is None and x.dtype.kind in "iub":
        dtype = np.dtype(np.float64)
    if dtype is not None and dtype.kind == "b":
        raise TypeError("a variance is no boolean: ask for another dtype")
    count = _count(x, axes, mask)
    total = sum_arrays(_masked(x if dtype is None else convert_element_type(x, dtype), mask), axes, dtype)
    center = _divided(total, count)
    center = center if dtype is None else convert_element_type(center, dtype)
    center = broadcast_to(expand_dims(center, axes), x.shape)
    deviation = lax.sub(*promote(x, center))
    if deviation.dtype.kind == "c":
        square = lax.add(lax.square(lax.real(deviation)), lax.square(lax.imag(deviation)))
    else:
        square = lax.square(deviation)
    out = sum_arrays(_masked(square, mask), axes, dtype)
    result = out.dtype
    out = _divided(out, _degrees(count, ddof, out))
    out = convert_element_type(out, result)  # integers, if they were asked for
    out = convert_element_type(lax.sqrt(_divided(out, 1)), result) if root else out
    return expand_dims(out, axes) if keepdims else out


def _degrees(count: Any, ddof: float, out: Any) -> Any:
    if isinstance(count, int):
        freedom = max(count - ddof, 0)
        return freedom if isinstance(freedom, int) else filled(freedom, out.shape, out.dtype)
    freedom = lax.sub(convert_element_type(count, out.dtype), like(ddof, convert_element_type(count, out.dtype)))
    return lax.max(freedom, like(0, freedom))


_VAR, _STD, _NANVAR, _NANSTD = _variance(False), _variance(True), _variance(False, True), _variance(True, True)


def _moment(
    function: Callable[..., Any], a: Any, axis: Any, dtype: Any, extra: tuple[Any, ...], keepdims: Any, where: Any
) -> Any:
    masked = where is not True
    axes = (reduced_axes if "nan" in function.__name__ else axes_of)(axis, len(lengths_of(a)))
    static = (axes, dtype_of(dtype), *extra, bool(keepdims), masked)
    return record(function, (a, where) if masked else (a,), *static)


def _ddof(ddof: Any, correction: Any, mean: Any) -> tuple[float]:
    if mean is not np._NoValue:
        raise TypeError("the keyword mean= is not supported inside of a program: leave it away")
    if correction is np._NoValue:
        return (ddof,)
    if ddof != 0:
        raise ValueError("ddof and correction can't be provided simultaneously.")
    return (correction,)


@implements(np.mean)
def mean(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = True
) -> Any:
    """`numpy.mean`: the mean over axes; of integers a float64."""
    return _moment(_mean, a, axis, dtype, (), keepdims, where)


@implements(np.var)
def var(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False, *,
    where: Any = True, mean: Any = np._NoValue, correction: Any = np._NoValue,
) -> Any:  # fmt: skip
    """`numpy.var`: the mean square of the deviations from the mean, over axes."""
    return _moment(_VAR, a, axis, dtype, _ddof(ddof, correction, mean), keepdims, where)


@implements(np.std)
def std(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False, *,
    where: Any = True, mean: Any = np._NoValue, correction: Any = np._NoValue,
) -> Any:  # fmt: skip
    """`numpy.std`: the root of the variance, over axes."""
    return _moment(_STD, a, axis, dtype, _ddof(ddof, correction, mean), keepdims, where)


# --------------------------------------------------------------------------------------------------------------------
# Without NaNs


def _without(x: Any, mask: Any) -> tuple[Any, Any]:
    """x with zeros for NaNs, and where there are none, of those that are counted."""
    if x.dtype.kind not in "fc":
        return x, mask
    there = lax.bitwise_not(lax.is_nan(x))
    if mask is not None:
        shape = np.broadcast_shapes(x.shape, mask.shape)
        x, there = broadcast_to(x, shape), lax.bitwise_and(broadcast_to(there, shape), broadcast_to(mask, shape))
    return without_nans(x, 0), there


def _nanmean(x: Any, *rest: Any) -> Any:
    mask, axes, dtype, keepdims = _unpack(rest)
    x, mask = _without(strong(x), mask)
    return _mean_of(x, axes, dtype, keepdims, mask)


@implements(np.nanmean)
def nanmean(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = True
) -> Any:
    """`numpy.nanmean`: the mean over axes of what is not NaN."""
    return _moment(_nanmean, a, axis, dtype, (), keepdims, where)


@implements(np.nanvar)
def nanvar(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False, *,
    where: Any = True, mean: Any = np._NoValue, correction: Any = np._NoValue,
) -> Any:  # fmt: skip
    """`numpy.nanvar`: the variance over axes of what is not NaN."""
    return _moment(_NANVAR, a, axis, dtype, _ddof(ddof, correction, mean), keepdims, where)


@implements(np.nanstd)
def nanstd(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False, *,
    where: Any = True, mean: Any = np._NoValue, correction: Any = np._NoValue,
) -> Any:  # fmt: skip
    """`numpy.nanstd`: the standard deviation over axes of what is not NaN."""
    return _moment(_NANSTD, a, axis, dtype, _ddof(ddof, correction, mean), keepdims, where)


# --------------------------------------------------------------------------------------------------------------------
# Weighted means and correlations


def _average(x: Any, weights: Any, axes: Axes, keepdims: bool) -> tuple[Any, Any]:
    dtype = np.result_type(x.dtype, weights.dtype, *([np.float64] if x.dtype.kind in "iub" else []))
    x, weights = convert_element_type(x, dtype), convert_element_type(weights, dtype)
    if weights.shape != x.shape:  # along the axes, in their order
        weights = expand_dims(weights, [d for d in range(x.ndim) if d not in axes])
    weights = broadcast_to(weights, x.shape)
    scale = reduce_sum(weights, axes)
    out = lax.div(reduce_sum(lax.mul(x, weights), axes), scale)
    return tuple([expand_dims(part, axes) if keepdims else part for part in (out, scale)])


@implements(np.average)
def average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = False) -> Any:
    """`numpy.average`: the mean over axes, weighted."""
    lengths = lengths_of(a)
    axes = axes_of(axis, len(lengths))
    if weights is None:
        out = mean(a, axis, keepdims=keepdims)
        return (out, record(_full_count, (out,), prod([lengths[d] for d in axes]))) if returned else out
    if lengths_of(weights) != lengths and lengths_of(weights) != tuple([lengths[d] for d in axes]):
        raise ValueError("Shape of weights must be consistent with shape of a along specified axis.")
    out, scale = record(_average, (a, weights), axes, bool(keepdims))
    return (out, scale) if returned else out


def _full_count(x: Any, count: int) -> Any:
    return like(count, x)


def _cov(x: Any, *rest: Any) -> Any:
    *operands, has_y, has_f, has_a, rowvar, bias, ddof, dtype, correlate = rest
    y = operands.pop(0) if has_y else None
    frequencies = operands.pop(0) if has_f else None
    importances = operands.pop(0) if has_a else None
    dtype = np.result_type(x.dtype, np.float64, *([] if y is None else [y.dtype])) if dtype is None else dtype
    x = _rows(convert_element_type(x, dtype), rowvar)
    if y is not None:
        x = lax.concatenate([x, _rows(convert_element_type(y, dtype), rowvar)], 0)
    ddof = (0 if bias else 1) if ddof is None else ddof
    given = [convert_element_type(w, np.float64) for w in (frequencies, importances) if w is not None]
    weights = lax.mul(*given) if len(given) == 2 else given[0] if given else None
    if weights is None:
        n = x.shape[1]
        center, freedom = _divided(reduce_sum(x, (1,)), n), filled(max(n - ddof, 0), (), dtype)
    else:
        center, freedom = _weighted(x, weights, importances, ddof)
    x = lax.sub(x, broadcast_to(expand_dims(center, (1,)), x.shape))
    other = x if weights is None else lax.mul(*_matched(x, weights))
    other = lax.conj(other) if dtype.kind == "c" else other
    out = dot_general(x, other, (((1,), (1,)), ((), ())))
    out = lax.div(out, broadcast_to(convert_element_type(freedom, dtype), out.shape))
    if correlate:
        out = _correlation(out)
    return reshape(out, ()) if out.shape == (1, 1) else out


def _rows(x: Any, rowvar: bool) -> Any:
    if x.ndim > 2:
        raise ValueError("m has more than 2 dimensions")
    x = reshape(x, (1, prod(x.shape))) if x.ndim < 2 else x
    return x if rowvar or x.shape[0] == 1 else transpose(x, (1, 0))


def _matched(x: Any, weights: Any) -> list[Any]:
    return same_dtype((x, broadcast_to(weights, x.shape)))


def _weighted(x: Any, weights: Any, importances: Any, ddof: float) -> tuple[Any, Any]:
    total = reduce_sum(weights, (0,))
    sums = reduce_sum(lax.mul(*_matched(x, weights)), (1,))
    center = lax.div(sums, broadcast_to(convert_element_type(total, sums.dtype), sums.shape))
    if ddof == 0:
        return center, total
    if importances is None:
        return center, lax.sub(total, like(ddof, total))
    second = reduce_sum(lax.mul(weights, convert_element_type(importances, weights.dtype)), (0,))
    return center, lax.sub(total, lax.div(lax.mul(like(ddof, total), second), total))


def _correlation(covariance: Any) -> Any:
    if not covariance.ndim or covariance.shape == (1, 1):
        return lax.div(covariance, covariance)
    n = covariance.shape[0]
    flat = reshape(covariance, (n * n,))
    deviation = lax.sqrt(_real(lax.slice_in_dim(flat, 0, n * n, n + 1)))
    for axis in (1, 0):
        spread = expand_dims(convert_element_type(deviation, covariance.dtype), (axis,))
        covariance = lax.div(covariance, broadcast_to(spread, covariance.shape))
    if covariance.dtype.kind == "c":
        parts = [_clipped(part) for part in (lax.real(covariance), lax.imag(covariance))]
        return lax.complex(*parts)
    return _clipped(covariance)


def _real(x: Any) -> Any:
    return lax.real(x) if x.dtype.kind == "c" else x


def _clipped(x: Any) -> Any:
    return lax.min(lax.max(x, like(-1, x)), like(1, x))


def _covariance(
    m: Any, y: Any, rowvar: Any, bias: Any, ddof: Any, fweights: Any, aweights: Any, dtype: Any, correlate: bool
) -> Any:
    operands = [x for x in (m, y, fweights, aweights) if x is not None]
    given = tuple([x is not None for x in (y, fweights, aweights)])
    return record(_cov, operands, *given, bool(rowvar), bool(bias), ddof, dtype_of(dtype), correlate)


@implements(np.cov)
def cov(
    m: Any, y: Any = None, rowvar: Any = True, bias: Any = False, ddof: Any = None, fweights: Any = None,
    aweights: Any = None, *, dtype: Any = None,
) -> Any:  # fmt: skip
    """`numpy.cov`: the covariances of variables, which are the rows."""
    return _covariance(m, y, rowvar, bias, ddof, fweights, aweights, dtype, False)


@implements(np.corrcoef)
def corrcoef(x: Any, y: Any = None, rowvar: Any = True, *, dtype: Any = None) -> Any:
    """`numpy.corrcoef`: the correlations of variables, which are the rows."""
    return _covariance(x, y, rowvar, False, None, None, None, dtype, True)


# --------------------------------------------------------------------------------------------------------------------
# Quantiles


def _quantile(x: Any, q: Any, axes: Axes, method: str, keepdims: bool, nans: bool, percent: bool) -> Any:
    x = strong(x)
    if x.dtype.kind == "c":
        raise TypeError("a must be an array of real numbers")
    if q.aval.weak and x.dtype.kind == "f":
        q = convert_element_type(q, x.dtype)
    q = convert_element_type(q, q.dtype if q.dtype.kind == "f" else np.float64)
    q = lax.div(q, like(100, q)) if percent else q
    kept = tuple([d for d in range(x.ndim) if d not in axes])
    shape = tuple([x.shape[d] for d in kept])
    x = lax.sort(reshape(transpose(x, (*axes, *kept)), (prod([x.shape[d] for d in axes]), *shape)), 0)
    if not x.shape[0]:
        raise ValueError("quantile of an empty axis")
    results = _quantiles_of_sorted(x, q, method, nans)
    return expand_dims(results, [d + q.ndim for d in axes]) if keepdims else results


def _quantiles_of_sorted(x: Any, q: Any, method: str, nans: bool) -> Any:
    n, shape, real = x.shape[0], (*q.shape, *x.shape[1:]), x.dtype.kind == "f"
    missing = lax.is_nan(x) if real else filled(False, x.shape, np.bool_)
    there = sum_arrays(lax.bitwise_not(missing), (0,))
    last = convert_element_type(lax.max(lax.sub(there, like(1, there)), like(0, there)), q.dtype)
    last = broadcast_to(last, shape) if nans else filled(n - 1, shape, q.dtype)
    place = lax.mul(lax.broadcast_in_dim(q, shape, range(q.ndim)), last)
    low, high = lax.floor(place), lax.ceil(place)
    if method in ("linear", "midpoint"):
        fraction = lax.sub(place, low)
        if method == "midpoint":
            fraction = lax.select(lax.eq(low, high), like(0, fraction), like(0.5, fraction))
        out = _between(_picked(x, low, shape), _picked(x, high, shape), fraction)
    else:
        out = _picked(x, {"lower": low, "higher": high, "nearest": lax.rint(place)}[method], shape)
    if not real:
        return out
    bad = lax.eq(there, like(0, there)) if nans else lax.reduce_or(missing, (0,))
    return lax.select(broadcast_to(bad, shape), like(np.nan, out), out)


def _between(low: Any, high: Any, fraction: Any) -> Any:
    """The number that lies at a fraction of the way, counted from the nearer end as NumPy does."""
    step = lax.ne(high, low) if low.dtype.kind == "b" else lax.sub(high, low)  # in the dtype of the array
    step, low, high, fraction = same_dtype((step, low, high, fraction))
    rest = lax.sub(like(1, fraction), fraction)
    from_low, from_high = lax.add(low, lax.mul(step, fraction)), lax.sub(high, lax.mul(step, rest))
    return lax.select(lax.ge(fraction, like(0.5, fraction)), from_high, from_low)


def _picked(x: Any, places: Any, shape: tuple[int, ...]) -> Any:
    """From each column of x the element at a place."""
    extra = len(shape) - (x.ndim - 1)
    flat = reshape(convert_element_type(places, np.int64), (prod(shape[:extra]), *shape[extra:]))
    return reshape(lax.taken_along_axis(x, flat, 0), shape)


_METHODS = ("linear", "lower", "higher", "midpoint", "nearest")


def _quantile_of(a: Any, q: Any, axis: Any, method: str, keepdims: Any, nans: bool, percent: bool) -> Any:
    if method not in _METHODS:
        raise TypeError(f"quantile: the method {method!r} is not supported inside of a program, only {_METHODS}")
    axes = axes_of(axis, len(lengths_of(a)))
    return record(_quantile, (a, q), axes, method, bool(keepdims), nans, percent)


@implements(np.quantile)
def quantile(
    a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: Any = False, method: str = "linear",
    keepdims: Any = False,
) -> Any:  # fmt: skip
    """`numpy.quantile`: the values below which given parts of the elements lie, over axes."""
    return _quantile_of(a, q, axis, method, keepdims, False, False)


@implements(np.percentile)
def percentile(
    a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: Any = False, method: str = "linear",
    keepdims: Any = False,
) -> Any:  # fmt: skip
    """`numpy.percentile`: quantiles, given in percent."""
    return _quantile_of(a, q, axis, method, keepdims, False, True)


@implements(np.nanquantile)
def nanquantile(
    a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: Any = False, method: str = "linear",
    keepdims: Any = False,
) -> Any:  # fmt: skip
    """`numpy.nanquantile`: quantiles of what is not NaN."""
    return _quantile_of(a, q, axis, method, keepdims, True, False)


@implements(np.nanpercentile)
def nanpercentile(
    a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: Any = False, method: str = "linear",
    keepdims: Any = False,
) -> Any:  # fmt: skip
    """`numpy.nanpercentile`: percentiles of what is not NaN."""
    return _quantile_of(a, q, axis, method, keepdims, True, True)


def _median(x: Any, axes: Axes, keepdims: bool, nans: bool) -> Any:
    x = convert_element_type(x, np.float64) if x.dtype.kind in "iub" else strong(x)
    return _quantile(x, filled(0.5, (), x.dtype), axes, "midpoint", keepdims, nans, False)


@implements(np.median)
def median(a: Any, axis: Any = None, out: Any = None, overwrite_input: Any = False, keepdims: Any = False) -> Any:
    """`numpy.median`: the middle element over axes, or the mean of the two in the middle."""
    return record(_median, (a,), axes_of(axis, len(lengths_of(a))), bool(keepdims), False)


@implements(np.nanmedian)
def nanmedian(a: Any, axis: Any = None, out: Any = None, overwrite_input: Any = False, keepdims: Any = False) -> Any:
    """`numpy.nanmedian`: the median of what is not NaN."""
    return record(_median, (a,), axes_of(axis, len(lengths_of(a))), bool(keepdims), True)
