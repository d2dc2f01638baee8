"""Reductions: sum, prod, max, min, all, any, argmax, argmin, and those that run along an axis (cumsum, cumprod)."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from math import prod as product_of
from typing import Any

import numpy as np

from functrans import lax
from functrans.numpy.promotion import broadcast_to, filled, like, strong
from functrans.numpy.registry import axis_of, dtype_of, flat_axis, implements, lengths_of, record, reduced_axes
from functrans.ops.conversion import convert_element_type
from functrans.ops.shape import expand_dims, reduce_sum, reshape

__all__ = [
    "all",
    "amax",
    "amin",
    "any",
    "argmax",
    "argmin",
    "count_nonzero",
    "cumprod",
    "cumsum",
    "cumulative_prod",
    "cumulative_sum",
    "max",
    "min",
    "nanargmax",
    "nanargmin",
    "nancumprod",
    "nancumsum",
    "nanmax",
    "nanmin",
    "nanprod",
    "nansum",
    "prod",
    "ptp",
    "sum",
    "sum_arrays",
]

Axes = tuple[int, ...]

# --------------------------------------------------------------------------------------------------------------------
# Their compositions: function(x, axes, dtype, keepdims, where, initial); where and initial come as operands


def _summable(x: Any, dtype: Any) -> Any:
    """x in the dtype in which NumPy adds: integers and booleans at least as wide as int64."""
    if dtype is None:
        dtype = x.dtype
        if dtype.kind in "bi":
            dtype = np.result_type(dtype, np.int64)
        elif dtype.kind == "u":
            dtype = np.result_type(dtype, np.uint64)
    return convert_element_type(x, dtype)


def sum_arrays(x: Any, axes: Axes, dtype: Any = None) -> Any:
    """The sum over axes, in NumPy's dtype for it or a given one."""
    x = _summable(x, dtype)
    return lax.reduce_or(x, axes) if x.dtype.kind == "b" else reduce_sum(x, axes)


def _product_of(x: Any, axes: Axes, dtype: Any = None) -> Any:
    x = _summable(x, dtype)
    return lax.reduce_and(x, axes) if x.dtype.kind == "b" else lax.reduce_prod(x, axes)


def _maximum_of(x: Any, axes: Axes, dtype: Any = None) -> Any:
    _refuse_empty(x, axes, "maximum")
    x = convert_element_type(x, x.dtype if dtype is None else dtype)
    return lax.reduce_or(x, axes) if x.dtype.kind == "b" else lax.reduce_max(x, axes)


def _minimum_of(x: Any, axes: Axes, dtype: Any = None) -> Any:
    _refuse_empty(x, axes, "minimum")
    x = convert_element_type(x, x.dtype if dtype is None else dtype)
    return lax.reduce_and(x, axes) if x.dtype.kind == "b" else lax.reduce_min(x, axes)


def _all_of(x: Any, axes: Axes, dtype: Any = None) -> Any:
    return lax.reduce_and(convert_element_type(x, np.bool_), axes)


def _any_of(x: Any, axes: Axes, dtype: Any = None) -> Any:
    return lax.reduce_or(convert_element_type(x, np.bool_), axes)


def _odd_of(x: Any, axes: Axes, dtype: Any = None) -> Any:
    return lax.reduce_xor(convert_element_type(x, np.bool_), axes)


def _bits_of(reduce: Callable[..., Any]) -> Callable[..., Any]:
    def function(x: Any, axes: Axes, dtype: Any = None) -> Any:
        if x.dtype.kind in "fc":
            raise TypeError(f"bits are reduced of integers and booleans, not of {x.dtype.name}")
        return reduce(strong(x), axes)

    return function


def _ignoring_nan(reduce: Callable[..., Any], neutral: float) -> Callable[..., Any]:
    """A reduction that leaves NaNs out, but for where there is nothing else."""

    def function(x: Any, axes: Axes, dtype: Any = None) -> Any:
        x = strong(x)
        if x.dtype.kind not in "fc":
            return reduce(x, axes, dtype)
        isnan = lax.ne(x, x)
        out = reduce(lax.select(isnan, like(neutral, x), x), axes)
        return lax.select(lax.reduce_and(isnan, axes), like(np.nan, out), out)

    return function


def _refuse_empty(x: Any, axes: Axes, name: str) -> None:
    if not product_of([x.shape[d] for d in axes]):
        raise ValueError(f"zero-size array to reduction operation {name} which has no identity")


def _refused_empty_argument(x: Any, axis: int, name: str) -> None:
    if not x.shape[axis]:
        raise ValueError(f"attempt to get {name} of an empty sequence")


_REDUCTIONS: dict[np.ufunc, tuple[Callable[..., Any], Any]] = {
    np.add: (sum_arrays, 0),
    np.multiply: (_product_of, 1),
    np.maximum: (_maximum_of, None),
    np.minimum: (_minimum_of, None),
    np.fmax: (_ignoring_nan(_maximum_of, -np.inf), None),
    np.fmin: (_ignoring_nan(_minimum_of, np.inf), None),
    np.logical_and: (_all_of, True),
    np.logical_or: (_any_of, False),
    np.logical_xor: (_odd_of, False),
    np.bitwise_and: (_bits_of(lax.reduce_and), -1),
    np.bitwise_or: (_bits_of(lax.reduce_or), 0),
    np.bitwise_xor: (_bits_of(lax.reduce_xor), 0),
}
"""For each ufunc that reduces its composition, and the number that changes nothing (None: there is none)."""


def _reduce_function(ufunc: np.ufunc) -> Callable[..., Any]:
    compute, neutral = _REDUCTIONS[ufunc]

    def function(x: Any, *rest: Any) -> Any:
        *extra, axes, dtype, keepdims, has_where, has_initial = rest
        where = extra.pop(0) if has_where else None
        initial = extra.pop(0) if has_initial else None
        x = strong(x)
        if where is not None:
            from_initial = neutral is None and initial is not None
            fill = _spread(initial, x) if from_initial else like(_identity(neutral, x.dtype), x)
            shape = np.broadcast_shapes(x.shape, where.shape)
            x, mask = broadcast_to(x, shape), broadcast_to(convert_element_type(where, np.bool_), shape)
            x = lax.select(mask, x, broadcast_to(fill, shape))
        if initial is not None and not product_of([x.shape[d] for d in axes]):
            kept = tuple([n for d, n in enumerate(x.shape) if d not in axes])
            out = broadcast_to(_started(compute, x, dtype, initial), kept)
        else:
            out = compute(x, axes, dtype) if axes or dtype else compute(x, axes)
            if initial is not None:
                out = _COMBINE[ufunc](out, _spread(initial, out))
        return expand_dims(out, axes) if keepdims else out

    function.__name__ = f"{ufunc.__name__}_reduce"
    return function


def _identity(neutral: Any, dtype: np.dtype[Any]) -> Any:
    if neutral is None:
        raise ValueError(
            "reduction operation does not have an identity, so to use a where mask one has to specify 'initial'"
        )
    return neutral if neutral != -1 or dtype.kind != "u" else np.iinfo(dtype).max


def _spread(scalar: Any, x: Any) -> Any:
    return broadcast_to(convert_element_type(scalar, x.dtype), x.shape)


def _started(compute: Callable[..., Any], x: Any, dtype: Any, initial: Any) -> Any:
    """What a reduction of nothing gives that starts from a number."""
    return convert_element_type(initial, compute(filled(0, (1,), x.dtype), (0,), dtype).dtype)


_COMBINE: dict[np.ufunc, Callable[..., Any]] = {
    np.add: lambda x, y: lax.bitwise_or(x, y) if x.dtype.kind == "b" else lax.add(x, y),
    np.multiply: lambda x, y: lax.bitwise_and(x, y) if x.dtype.kind == "b" else lax.mul(x, y),
    np.maximum: lambda x, y: lax.bitwise_or(x, y) if x.dtype.kind == "b" else lax.max(x, y),
    np.minimum: lambda x, y: lax.bitwise_and(x, y) if x.dtype.kind == "b" else lax.min(x, y),
    np.fmax: lambda x, y: lax.select(lax.ne(x, x), y, lax.max(x, y)),
    np.fmin: lambda x, y: lax.select(lax.ne(x, x), y, lax.min(x, y)),
    np.logical_and: lambda x, y: lax.bitwise_and(x, y),
    np.logical_or: lambda x, y: lax.bitwise_or(x, y),
    np.logical_xor: lambda x, y: lax.bitwise_xor(x, y),
    np.bitwise_and: lambda x, y: lax.bitwise_and(x, y),
    np.bitwise_or: lambda x, y: lax.bitwise_or(x, y),
    np.bitwise_xor: lambda x, y: lax.bitwise_xor(x, y),
}

REDUCERS = {ufunc: _reduce_function(ufunc) for ufunc in _REDUCTIONS}
"""For each ufunc what `ufunc.reduce` records."""


def reduce(
    ufunc: np.ufunc, a: Any, axis: Any = 0, dtype: Any = None, keepdims: Any = False, initial: Any = None,
    where: Any = True,
) -> Any:  # fmt: skip
    """Record `ufunc.reduce(a, axis, ...)`."""
    axes = reduced_axes(axis, len(lengths_of(a)))
    operands = [a]
    has_where, has_initial = where is not True, initial is not None and initial is not np._NoValue
    operands += [where] if has_where else []
    operands += [initial] if has_initial else []
    static = (axes, dtype_of(dtype), builtins.bool(keepdims), has_where, has_initial)
    return record(REDUCERS[ufunc], operands, *static)


# --------------------------------------------------------------------------------------------------------------------
# The functions


@implements(np.sum)
def sum(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None,
    where: Any = True,
) -> Any:  # fmt: skip
    """`numpy.sum`: the sum over axes; booleans and small integers are added as int64."""
    return reduce(np.add, a, axis, dtype, keepdims, initial, where)


@implements(np.prod)
def prod(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None,
    where: Any = True,
) -> Any:  # fmt: skip
    """`numpy.prod`: the product over axes; booleans and small integers are multiplied as int64."""
    return reduce(np.multiply, a, axis, dtype, keepdims, initial, where)


@implements(np.max, np.amax)
def max(
    a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None, where: Any = True
) -> Any:
    """`numpy.max`: the largest element over axes; NaN if there is one."""
    return reduce(np.maximum, a, axis, None, keepdims, initial, where)


@implements(np.min, np.amin)
def min(
    a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None, where: Any = True
) -> Any:
    """`numpy.min`: the smallest element over axes; NaN if there is one."""
    return reduce(np.minimum, a, axis, None, keepdims, initial, where)


amax, amin = max, min


@implements(np.all)
def all(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = True) -> Any:
    """`numpy.all`: whether all elements over axes are true."""
    return reduce(np.logical_and, a, axis, None, keepdims, None, where)


@implements(np.any)
def any(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = True) -> Any:
    """`numpy.any`: whether an element over axes is true."""
    return reduce(np.logical_or, a, axis, None, keepdims, None, where)


def _ptp(x: Any, axes: Axes, keepdims: bool) -> Any:
    x = strong(x)
    out = lax.sub(_maximum_of(x, axes), _minimum_of(x, axes))
    return expand_dims(out, axes) if keepdims else out


@implements(np.ptp)
def ptp(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
    """`numpy.ptp`: the largest minus the smallest element over axes."""
    return record(_ptp, (a,), reduced_axes(axis, len(lengths_of(a))), builtins.bool(keepdims))


def _count(x: Any, axes: Axes, keepdims: bool) -> Any:
    out = sum_arrays(convert_element_type(x, np.bool_), axes)
    return expand_dims(out, axes) if keepdims else out


@implements(np.count_nonzero)
def count_nonzero(a: Any, axis: Any = None, *, keepdims: Any = False) -> Any:
    """`numpy.count_nonzero`: how many elements over axes are not zero."""
    return record(_count, (a,), reduced_axes(axis, len(lengths_of(a))), builtins.bool(keepdims))


# --------------------------------------------------------------------------------------------------------------------
# Without NaNs


def _nan_reduce(ufunc: np.ufunc) -> Callable[..., Any]:
    neutral = _REDUCTIONS[ufunc][1]
    reduce_function = REDUCERS[ufunc]

    def function(x: Any, *rest: Any) -> Any:
        return reduce_function(without_nans(x, neutral), *rest)

    function.__name__ = f"nan_{ufunc.__name__}_reduce"
    return function


def without_nans(x: Any, value: Any) -> Any:
    """x with a number in place of each NaN."""
    x = strong(x)
    return lax.select(lax.ne(x, x), like(value, x), x) if x.dtype.kind in "fc" else x


_NAN_SUM, _NAN_PROD = _nan_reduce(np.add), _nan_reduce(np.multiply)


def _nan_reduction(function: Any, a: Any, axis: Any, dtype: Any, keepdims: Any, initial: Any, where: Any) -> Any:
    operands = [a, *([where] if where is not True else []), *([initial] if initial is not None else [])]
    axes = reduced_axes(axis, len(lengths_of(a)))
    static = (axes, dtype_of(dtype), builtins.bool(keepdims), where is not True, initial is not None)
    return record(function, operands, *static)


@implements(np.nansum)
def nansum(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None,
    where: Any = True,
) -> Any:  # fmt: skip
    """`numpy.nansum`: the sum over axes, NaNs taken for zero."""
    return _nan_reduction(_NAN_SUM, a, axis, dtype, keepdims, initial, where)


@implements(np.nanprod)
def nanprod(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None,
    where: Any = True,
) -> Any:  # fmt: skip
    """`numpy.nanprod`: the product over axes, NaNs taken for one."""
    return _nan_reduction(_NAN_PROD, a, axis, dtype, keepdims, initial, where)


@implements(np.nanmax)
def nanmax(
    a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None, where: Any = True
) -> Any:
    """`numpy.nanmax`: the largest element over axes that is not NaN; NaN if there is none."""
    return reduce(np.fmax, a, axis, None, keepdims, initial, where)


@implements(np.nanmin)
def nanmin(
    a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None, where: Any = True
) -> Any:
    """`numpy.nanmin`: the smallest element over axes that is not NaN; NaN if there is none."""
    return reduce(np.fmin, a, axis, None, keepdims, initial, where)


# --------------------------------------------------------------------------------------------------------------------
# Places of extrema


def _arg_function(name: str, find: Callable[..., Any]) -> Callable[..., Any]:
    def function(x: Any, axis: Any, keepdims: bool) -> Any:
        x = strong(x)
        ndim = x.ndim
        if axis is None:
            x, where = reshape(x, (product_of(x.shape),)), 0
        else:
            where = axis
        _refused_empty_argument(x, where, name)
        out = find(x, where, np.int64)
        if not keepdims:
            return out
        return reshape(out, (1,) * ndim) if axis is None else expand_dims(out, (where,))

    function.__name__ = name
    return function


_ARGMAX, _ARGMIN = _arg_function("argmax", lax.argmax), _arg_function("argmin", lax.argmin)


def _argument(function: Callable[..., Any], a: Any, axis: Any, keepdims: Any) -> Any:
    axis = flat_axis(axis, len(lengths_of(a)))
    return record(function, (a,), axis, builtins.bool(keepdims))


@implements(np.argmax)
def argmax(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Any:
    """`numpy.argmax`: the index of the first largest element along an axis, or of all."""
    return _argument(_ARGMAX, a, axis, keepdims)


@implements(np.argmin)
def argmin(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Any:
    """`numpy.argmin`: the index of the first smallest element along an axis, or of all."""
    return _argument(_ARGMIN, a, axis, keepdims)


def _nan_arg_function(function: Callable[..., Any], neutral: float) -> Callable[..., Any]:
    def without(x: Any, axis: Any, keepdims: bool) -> Any:
        return function(without_nans(x, neutral), axis, keepdims)

    return without


_NANARGMAX, _NANARGMIN = _nan_arg_function(_ARGMAX, -np.inf), _nan_arg_function(_ARGMIN, np.inf)


@implements(np.nanargmax)
def nanargmax(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Any:
    """`numpy.nanargmax`: the index of the first largest element that is not NaN; 0 if all are, as in JAX."""
    return _argument(_NANARGMAX, a, axis, keepdims)


@implements(np.nanargmin)
def nanargmin(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Any:
    """`numpy.nanargmin`: the index of the first smallest element that is not NaN; 0 if all are, as in JAX."""
    return _argument(_NANARGMIN, a, axis, keepdims)


# --------------------------------------------------------------------------------------------------------------------
# Running along an axis


def _running(ufunc: np.ufunc) -> Callable[..., Any]:
    def function(x: Any, axis: Any, dtype: Any, neutral: Any = None) -> Any:
        x = strong(x) if neutral is None else without_nans(x, neutral)
        if axis is None:
            x, axis = reshape(x, (product_of(x.shape),)), 0
        return ACCUMULATORS[ufunc](x, axis, dtype)

    function.__name__ = f"{ufunc.__name__}_accumulate"
    return function


def _running_sum(x: Any, axis: int, dtype: Any) -> Any:
    x = _summable(x, dtype)
    return _running_any(x, axis, dtype) if x.dtype.kind == "b" else lax.cumsum(x, axis)


def _running_product(x: Any, axis: int, dtype: Any) -> Any:
    x = _summable(x, dtype)
    return _running_all(x, axis, dtype) if x.dtype.kind == "b" else lax.cumprod(x, axis)


def _running_all(x: Any, axis: int, dtype: Any) -> Any:
    truth = convert_element_type(convert_element_type(x, np.bool_), np.uint8)
    return convert_element_type(lax.cummin(truth, axis), np.bool_)


def _running_any(x: Any, axis: int, dtype: Any) -> Any:
    truth = convert_element_type(convert_element_type(x, np.bool_), np.uint8)
    return convert_element_type(lax.cummax(truth, axis), np.bool_)


def _running_extremum(run: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, axis, dtype: run(convert_element_type(x, x.dtype if dtype is None else dtype), axis)


ACCUMULATORS: dict[np.ufunc, Callable[..., Any]] = {
    np.add: _running_sum,
    np.multiply: _running_product,
    np.maximum: _running_extremum(lax.cummax),
    np.minimum: _running_extremum(lax.cummin),
    np.logical_and: _running_all,
    np.logical_or: _running_any,
}
_RUNNING = {ufunc: _running(ufunc) for ufunc in ACCUMULATORS}


def accumulate(ufunc: np.ufunc, a: Any, axis: Any = 0, dtype: Any = None, neutral: Any = None) -> Any:
    """Record `ufunc.accumulate(a, axis, dtype)`; with a neutral number, NaNs count for it."""
    axis = flat_axis(axis, len(lengths_of(a)))
    static = (axis, dtype_of(dtype)) if neutral is None else (axis, dtype_of(dtype), neutral)
    return record(_RUNNING[ufunc], (a,), *static)


@implements(np.cumsum)
def cumsum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    """`numpy.cumsum`: the sums of all elements up to each one, along an axis or of all."""
    return accumulate(np.add, a, axis, dtype)


@implements(np.cumprod)
def cumprod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    """`numpy.cumprod`: the products of all elements up to each one, along an axis or of all."""
    return accumulate(np.multiply, a, axis, dtype)


@implements(np.nancumsum)
def nancumsum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    """`numpy.nancumsum`: `cumsum`, NaNs taken for zero."""
    return accumulate(np.add, a, axis, dtype, 0)


@implements(np.nancumprod)
def nancumprod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    """`numpy.nancumprod`: `cumprod`, NaNs taken for one."""
    return accumulate(np.multiply, a, axis, dtype, 1)


def _cumulative(ufunc: np.ufunc, x: Any, axis: Any, dtype: Any, include_initial: Any) -> Any:
    ndim = len(lengths_of(x))
    if axis is None:
        if ndim > 1:
            raise ValueError("For arrays which have more than one dimension ``axis`` argument is required.")
        axis = 0
    x, ndim = (x, ndim) if ndim else (record(_vector, (x,)), 1)
    axis = axis_of(axis, ndim)
    if not include_initial:
        return accumulate(ufunc, x, axis, dtype)
    return record(_with_initial, (x,), _RUNNING[ufunc], axis, dtype_of(dtype), _REDUCTIONS[ufunc][1])


def _vector(x: Any) -> Any:
    return reshape(strong(x), (1,))


def _with_initial(x: Any, running: Callable[..., Any], axis: int, dtype: Any, first: int) -> Any:
    out = running(x, axis, dtype)
    shape: Sequence[int] = [1 if d == axis else n for d, n in enumerate(out.shape)]
    return lax.concatenate([filled(first, shape, out.dtype), out], axis)


@implements(np.cumulative_sum)
def cumulative_sum(
    x: Any, /, *, axis: Any = None, dtype: Any = None, out: Any = None, include_initial: Any = False
) -> Any:
    """`numpy.cumulative_sum`: `cumsum` along an axis, with a zero in front if asked."""
    return _cumulative(np.add, x, axis, dtype, include_initial)


@implements(np.cumulative_prod)
def cumulative_prod(
    x: Any, /, *, axis: Any = None, dtype: Any = None, out: Any = None, include_initial: Any = False
) -> Any:
    """`numpy.cumulative_prod`: `cumprod` along an axis, with a one in front if asked."""
    return _cumulative(np.multiply, x, axis, dtype, include_initial)
