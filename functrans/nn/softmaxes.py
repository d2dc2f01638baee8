"""Softmax, logarithms of sums of exponentials, one-hot vectors, standardization.

All are stable: the largest element is subtracted before the exponential. Where `where` leaves no element, or all are
-inf in `logsumexp`, the result is the limit (0 or -inf), and the derivative is 0.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from functrans import lax
from functrans.nn.composing import axes_of, axis_of, call, fitting_mask, floating, matching, public, shape_of, with_jvp
from functrans.numpy.promotion import broadcast_to, like
from functrans.ops.conversion import convert_element_type

__all__ = ["log_softmax", "logmeanexp", "logsumexp", "one_hot", "softmax", "standardize"]

Axes = tuple[int, ...]


def _over(reduced: Any, axes: Axes, like_: Any) -> Any:
    """A reduced array, stretched over the axes again."""
    return lax.broadcast_in_dim(reduced, like_.shape, [d for d in range(like_.ndim) if d not in axes])


def _less_sum(x: Any, summed: Any, axes: Axes) -> Any:
    """x less a sum over axes. It is the sum that is negated, which is small, so that transposing negates that too."""
    return lax.add(x, _over(lax.neg(lax.reduce_sum(summed, axes)), axes, x))


def _safe(x: Any, bad: Any, value: Any) -> Any:
    return lax.select(bad, like(value, x), x)


# --------------------------------------------------------------------------------------------------------------------
# softmax


def exponentials(x: Any, mask: Any, axes: Axes, safe: bool) -> tuple[Any, Any, Any]:
    """x less its maximum; the exponentials of that, and their sums.

    If `safe`, x may be -inf everywhere: then the maximum that is subtracted is 0.
    """
    if mask:
        x = lax.select(mask[0], x, like(-np.inf, x))
    largest = _level(x, axes) if safe else _largest(x, axes)
    shifted = lax.sub(x, _over(largest, axes, x))
    terms = lax.exp(shifted)
    return shifted, terms, lax.reduce_sum(terms, axes)


def one_if_zero(total: Any) -> Any:
    return _safe(total, lax.eq(total, like(0, total)), 1)


def _shares(x: Any, *mask_and_static: Any) -> Any:
    *mask, axes, safe = mask_and_static
    _, terms, total = exponentials(x, mask, axes, safe)
    return lax.div(terms, _over(one_if_zero(total) if safe else total, axes, x))


def _shares_jvp(primals: Any, tangents: Any, axes: Axes, safe: bool) -> Any:
    out = with_jvp(_shares, _shares_jvp, axes, safe)(*primals)
    return lax.mul(out, _less_sum(tangents[0], lax.mul(out, tangents[0]), axes))


def shares(x: Any, axes: Axes, *mask: Any, safe: bool = False) -> Any:
    """The softmax, inside of a composition."""
    return with_jvp(_shares, _shares_jvp, axes, safe or bool(mask))(x, *mask)


def _operands(name: str, x: Any, *mask: Any) -> list[Any]:
    x = floating(name, x)
    return [x, *[fitting_mask(name, m, x) for m in mask]]


def _softmax(x: Any, *mask_and_axes: Any) -> Any:
    *mask, axes = mask_and_axes
    x, *mask = _operands("softmax", x, *mask)
    return shares(x, axes, *mask) if x.size else x


@public
def softmax(x: Any, axis: Any = -1, where: Any = None) -> Any:
    """exp(x) divided by its sum over an axis.

    Args:
        x: an array of real numbers.
        axis: an axis, or several; None for all.
        where: booleans that broadcast to x: elements to leave away, whose result is 0. Where none is left, all are 0.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.softmax(np.array([1e4, 1e4, -1e4]))
    array([0.5, 0.5, 0. ])
    >>> ft.nn.softmax(np.array([1.0, 1.0, 9.0]), where=np.array([True, True, False]))
    array([0.5, 0.5, 0. ])
    """
    axes = axes_of("softmax", axis, len(shape_of(x)))
    return call(_softmax, (x,) if where is None else (x, where), axes)


def _log_shares(x: Any, *mask_and_axes: Any) -> Any:
    *mask, axes = mask_and_axes
    shifted, _, total = exponentials(x, mask, axes, bool(mask))
    return lax.sub(shifted, _over(lax.log(one_if_zero(total) if mask or not x.size else total), axes, x))


def _log_shares_jvp(primals: Any, tangents: Any, axes: Axes) -> Any:
    (x, *mask), t = primals, tangents[0]
    if mask:
        t = lax.select(mask[0], t, like(0, t))
    out = _less_sum(t, lax.mul(shares(x, axes, *mask), t), axes)
    return lax.select(mask[0], out, like(0, out)) if mask else out


def log_shares(x: Any, axes: Axes, *mask: Any) -> Any:
    """The logarithm of the softmax, inside of a composition."""
    return with_jvp(_log_shares, _log_shares_jvp, axes)(x, *mask)


def _log_softmax(x: Any, *mask_and_axes: Any) -> Any:
    *mask, axes = mask_and_axes
    x, *mask = _operands("log_softmax", x, *mask)
    return log_shares(x, axes, *mask) if x.size else x


@public
def log_softmax(x: Any, axis: Any = -1, where: Any = None) -> Any:
    """The logarithm of `softmax`, exact where that is nearly 0.

    Args:
        x: an array of real numbers.
        axis: an axis, or several; None for all.
        where: booleans that broadcast to x: elements to leave away, whose result is -inf.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.log_softmax(np.array([1e4, -1e4]))
    array([     0., -20000.])
    """
    axes = axes_of("log_softmax", axis, len(shape_of(x)))
    return call(_log_softmax, (x,) if where is None else (x, where), axes)


# --------------------------------------------------------------------------------------------------------------------
# logsumexp


def _log_total(x: Any, *mask_and_axes: Any) -> Any:
    *mask, axes = mask_and_axes
    if mask:
        x = lax.select(mask[0], x, like(-np.inf, x))
    level = _level(x, axes)
    total = lax.reduce_sum(lax.exp(lax.sub(x, _over(level, axes, x))), axes)
    return _log_of(total, level)


def _largest(x: Any, axes: Axes) -> Any:
    """The maximum; 0 of nothing."""
    return lax.reduce_max(x, axes) if all([x.shape[axis] for axis in axes]) else lax.reduce_sum(x, axes)


def _level(x: Any, axes: Axes) -> Any:
    """The maximum, or 0 where that is infinite."""
    largest = _largest(x, axes)
    return lax.select(lax.is_finite(largest), largest, like(0, largest))


def _log_of(total: Any, level: Any) -> Any:
    """log(total) + level, without a warning where the total is 0."""
    return lax.select(lax.eq(total, like(0, total)), like(-np.inf, total), lax.add(lax.log(one_if_zero(total)), level))


def _log_total_jvp(primals: Any, tangents: Any, axes: Axes) -> Any:
    x, *mask = primals
    return lax.reduce_sum(lax.mul(shares(x, axes, *mask, safe=True), tangents[0]), axes)


def log_total(x: Any, axes: Axes, *mask: Any) -> Any:
    """The logarithm of the sum of exponentials, inside of a composition."""
    return with_jvp(_log_total, _log_total_jvp, axes)(x, *mask)


def _log_of_weighted(x: Any, weights: Any, mask: list[Any], axes: Axes) -> tuple[Any, Any]:
    """The logarithm of the size of a weighted sum of exponentials, and its sign."""
    counted = lax.ne(weights, like(0, weights))
    if mask:
        counted = lax.bitwise_and(counted, mask[0])
    x = lax.select(counted, x, like(-np.inf, x))
    weights = lax.select(counted, weights, like(0, weights))
    level = lax.stop_gradient(_level(x, axes))
    total = lax.reduce_sum(lax.mul(weights, lax.exp(lax.sub(x, _over(level, axes, x)))), axes)
    return _log_of(lax.abs(total), level), lax.sign(total)


def _logsumexp(*operands_and_static: Any) -> Any:
    *operands, has_b, has_mask, axes, keepdims, return_sign = operands_and_static
    mask = [operands.pop()] if has_mask else []
    x, *weights = matching("logsumexp", *operands) if has_b else [floating("logsumexp", *operands)]
    mask = [fitting_mask("logsumexp", m, x) for m in mask]
    if not x.size:
        out = like(-np.inf, lax.reduce_sum(x, axes))
        sign = like(0, out)
    elif weights:
        out, sign = _log_of_weighted(x, weights[0], mask, axes)
    else:
        out = log_total(x, axes, *mask)
        sign = lax.select(lax.eq(out, like(-np.inf, out)), like(0, out), like(1, out))
    if weights and not return_sign:
        out = lax.select(lax.lt(sign, like(0, sign)), like(np.nan, out), out)
    results = [lax.expand_dims(y, axes) if keepdims else y for y in (out, sign)]
    return tuple(results) if return_sign else results[0]


@public
def logsumexp(
    a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False, where: Any = None
) -> Any:
    """log(sum(b * exp(a))) over axes, without overflow.

    Args:
        a: an array of real numbers.
        axis: an axis, or several; None for all.
        b: factors of the exponentials, which broadcast with a; they may be 0 or negative.
        keepdims: whether the axes stay, with length 1.
        return_sign: whether to return the logarithm of the absolute value and the sign of the sum, as a pair.
        where: booleans that broadcast to a: elements to leave away.

    Returns:
        The array without the axes. -inf where the sum is 0, NaN where it is negative (without `return_sign`).

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.logsumexp(np.array([1e4, 1e4]))
    np.float64(10000.69314718056)
    >>> ft.nn.logsumexp(np.array([-np.inf, -np.inf]))
    np.float64(-inf)
    """
    operands = [a, *([] if b is None else [b]), *([] if where is None else [where])]
    ndim = len(np.broadcast_shapes(shape_of(a), () if b is None else shape_of(b)))
    axes = axes_of("logsumexp", axis, ndim)
    return call(_logsumexp, operands, b is not None, where is not None, axes, bool(keepdims), bool(return_sign))


def _logmeanexp(x: Any, *mask_and_static: Any) -> Any:
    *mask, axes, keepdims = mask_and_static
    x, *mask = _operands("logmeanexp", x, *mask)
    total = log_total(x, axes, *mask) if x.size else like(-np.inf, lax.reduce_sum(x, axes))
    if mask:
        count = lax.reduce_sum(convert_element_type(mask[0], x.dtype), axes)
    else:
        count = like(x.size // max(total.size, 1), total)
    out = lax.select(lax.eq(count, like(0, count)), like(np.nan, total), lax.sub(total, lax.log(one_if_zero(count))))
    return lax.expand_dims(out, axes) if keepdims else out


@public
def logmeanexp(x: Any, axis: Any = None, where: Any = None, keepdims: bool = False) -> Any:
    """log(mean(exp(x))) over axes, without overflow; NaN where there are no elements.

    Args:
        x: an array of real numbers.
        axis: an axis, or several; None for all.
        where: booleans that broadcast to x: elements to leave away.
        keepdims: whether the axes stay, with length 1.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.logmeanexp(np.array([1e4, 1e4]))
    np.float64(10000.0)
    """
    axes = axes_of("logmeanexp", axis, len(shape_of(x)))
    return call(_logmeanexp, (x,) if where is None else (x, where), axes, bool(keepdims))


# --------------------------------------------------------------------------------------------------------------------
# one_hot


def _one_hot(x: Any, num_classes: int, dtype: np.dtype[Any], axis: int) -> Any:
    if x.dtype.kind not in "biuf":
        raise TypeError(f"one_hot takes integers, got {x.aval.strong}")
    if x.dtype != np.uint64:  # so that all classes are numbers of the dtype
        x = convert_element_type(x, np.float64 if x.dtype.kind == "f" else np.int64)
    shape = (*x.shape[:axis], num_classes, *x.shape[axis:])
    classes = lax.broadcasted_iota(x.dtype, shape, axis)
    found = lax.broadcast_in_dim(x, shape, [d for d in range(len(shape)) if d != axis])
    return convert_element_type(lax.eq(found, classes), dtype)


def _is_own_number(x: Any, index: Any, dtype: np.dtype[Any]) -> Any:
    return convert_element_type(lax.eq(convert_element_type(x, index.dtype), broadcast_to(index, x.shape)), dtype)


@public
def one_hot(x: Any, num_classes: int, *, dtype: Any = None, axis: Any = -1) -> Any:
    """Vectors that are 1 at the place that a class number says, else 0.

    Args:
        x: class numbers. One that is out of range (negative, too) gives a vector of zeros.
        num_classes: the length of the vectors.
        dtype: that of the result; float64 if not given.
        axis: the new axis of the result; or the name of an axis of `vmap`, of that length: each member then gets its
            own element.

    Raises:
        ValueError: if `num_classes` is negative, or is not the length of a named axis.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.one_hot(np.array([1, 0, 5]), 2)
    array([[0., 1.],
           [1., 0.],
           [0., 0.]])
    """
    try:
        n_classes = operator.index(num_classes)
    except TypeError:
        raise TypeError(
            f"one_hot: num_classes decides the shape of the result, so it must be an int, got {num_classes!r}"
        ) from None
    if n_classes < 0:
        raise ValueError(f"one_hot: num_classes must not be negative, got {n_classes}")
    found = np.dtype(np.float64 if dtype is None else dtype)
    try:
        place = operator.index(axis)
    except TypeError:
        if lax.axis_size(axis) != n_classes:
            raise ValueError(
                f"one_hot: the axis {axis!r} has {lax.axis_size(axis)} members, and num_classes={n_classes}"
            ) from None
        return call(_is_own_number, (x, lax.axis_index(axis)), found)
    place = axis_of("one_hot", place, len(shape_of(x)) + 1)
    return call(_one_hot, (x,), n_classes, found, place)


# --------------------------------------------------------------------------------------------------------------------
# standardize


def mean_over(x: Any, axes: Axes, *mask: Any) -> Any:
    """The mean over axes, which stay with length 1, inside of a composition."""
    if mask:
        count = lax.reduce_sum(convert_element_type(mask[0], x.dtype), axes)
        mean = lax.div(lax.reduce_sum(lax.select(mask[0], x, like(0, x)), axes), one_if_zero(count))
    else:
        total = lax.reduce_sum(x, axes)
        mean = lax.mul(total, like(total.size / max(x.size, 1), total))
    return lax.expand_dims(mean, axes)


def _deviations(x: Any, axes: Axes, epsilon: float) -> tuple[Any, Any]:
    """x less its mean, and one over its standard deviation."""
    centred = lax.sub(x, broadcast_to(mean_over(x, axes), x.shape))
    variance = mean_over(lax.square(centred), axes)
    return centred, broadcast_to(lax.rsqrt(lax.add(variance, like(epsilon, variance))), x.shape)


def _standardized(x: Any, axes: Axes, epsilon: float) -> Any:
    return lax.mul(*_deviations(x, axes, epsilon))


def _standardized_jvp(primals: Any, tangents: Any, axes: Axes, epsilon: float) -> Any:
    (x,), (t,) = primals, tangents
    inverse = _deviations(x, axes, epsilon)[1]
    out = with_jvp(_standardized, _standardized_jvp, axes, epsilon)(x)
    along, mean = [broadcast_to(lax.neg(mean_over(y, axes)), x.shape) for y in (lax.mul(out, t), t)]
    return lax.mul(lax.add(lax.add(t, mean), lax.mul(out, along)), inverse)


def standardized(x: Any, axes: Axes, epsilon: float) -> Any:
    """x less its mean, over its standard deviation, inside of a composition."""
    return with_jvp(_standardized, _standardized_jvp, axes, epsilon)(x)


def _standardize(*operands_and_static: Any) -> Any:
    *operands, has_mean, has_variance, has_mask, axes, epsilon = operands_and_static
    mask = [operands.pop()] if has_mask else []
    found = floating("standardize", *operands)
    x, *rest = found if isinstance(found, list) else [found]
    mask = [fitting_mask("standardize", m, x) for m in mask]
    if not (has_mean or has_variance or has_mask):
        return standardized(x, axes, epsilon)
    mean = rest.pop(0) if has_mean else mean_over(x, axes, *mask)
    centred = lax.sub(x, broadcast_to(mean, x.shape))
    variance = rest.pop() if has_variance else mean_over(lax.square(centred), axes, *mask)
    return lax.mul(centred, broadcast_to(lax.rsqrt(lax.add(variance, like(epsilon, variance))), x.shape))


@public
def standardize(
    x: Any,
    axis: Any = -1,
    mean: Any = None,
    variance: Any = None,
    epsilon: float = 1e-5,
    where: Any = None,
    *,
    algorithm: str = "stable",
) -> Any:
    """x less its mean, divided by the root of its variance plus `epsilon`.

    Args:
        x: an array of real numbers.
        axis: over which axis, or axes, mean and variance are taken; None for all.
        mean: the mean, which broadcasts to x (so its axes have length 1); computed if not given.
        variance: the variance, likewise.
        epsilon: keeps the divisor from 0.
        where: booleans that broadcast to x: elements to leave away in mean and variance.
        algorithm: for JAX's signature, "fast" or "stable". The variance is the mean square of the deviations, which
            does not cancel, for both.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.standardize(np.array([1e9, 1e9 + 2]), epsilon=0.0)
    array([-1.,  1.])
    """
    if algorithm not in ("fast", "stable"):
        raise ValueError(f"standardize: algorithm must be 'fast' or 'stable', got {algorithm!r}")
    axes = axes_of("standardize", axis, len(shape_of(x)))
    operands = [y for y in (x, mean, variance, where) if y is not None]
    given = mean is not None, variance is not None, where is not None
    return call(_standardize, operands, *given, axes, float(epsilon))
