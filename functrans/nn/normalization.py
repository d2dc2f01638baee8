"""Normalization layers as pure functions: scales and shifts are arguments, running statistics go in and come out."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np

from functrans import lax
from functrans.core.aval import aval_of
from functrans.nn.composing import axes_of, axis_of, call, floating, public, shape_of
from functrans.nn.softmaxes import mean_over, standardized
from functrans.numpy.promotion import broadcast_to, like
from functrans.numpy.registry import as_operand

__all__ = [
    "BatchNormState",
    "batch_norm",
    "batch_norm_state",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "rms_norm",
]

Axes = tuple[int, ...]


def _operands(name: str, x: Any, scale: Any, bias: Any, axes: Axes) -> tuple[list[Any], tuple[bool, bool]]:
    """The operands that are given, after their shapes are checked, and which of scale and bias there are."""
    shape = shape_of(x)
    wanted = tuple([shape[d] for d in axes])
    for what, given in (("scale", scale), ("bias", bias)):
        if given is not None and shape_of(given) not in (wanted, ()):
            raise ValueError(
                f"{name}: {what} must have shape {wanted}, the lengths of the axes {axes} of the array "
                f"{aval_of(as_operand(x)).strong}, got {aval_of(as_operand(given)).strong}"
            )
    return [y for y in (x, scale, bias) if y is not None], (scale is not None, bias is not None)


def _stretched(parameter: Any, x: Any, axes: Axes) -> Any:
    """A scale or shift along some axes, in the shape of x."""
    return lax.broadcast_in_dim(parameter, x.shape, axes if parameter.ndim else ())


def _floats(name: str, operands: Any) -> list[Any]:
    found = floating(name, *operands)
    return found if isinstance(found, list) else [found]


def _scaled(out: Any, rest: Any, has: tuple[bool, bool], axes: Axes) -> Any:
    given = list(rest)
    if has[0]:
        out = lax.mul(out, _stretched(given.pop(0), out, axes))
    if has[1]:
        out = lax.add(out, _stretched(given.pop(0), out, axes))
    return out


# --------------------------------------------------------------------------------------------------------------------
# Of each example by itself


def _layer_norm(*operands_and_static: Any) -> Any:
    *operands, axes, epsilon, has = operands_and_static
    x, *rest = _floats("layer_norm", operands)
    return _scaled(standardized(x, axes, epsilon), rest, has, axes)


@public
def layer_norm(x: Any, scale: Any = None, bias: Any = None, *, axis: Any = -1, epsilon: float = 1e-5) -> Any:
    """Layer normalization (Ba, Kiros and Hinton 2016): mean 0 and variance 1 over the features of each example.

    Args:
        x: an array of real numbers.
        scale, bias: what the result is multiplied by, and what is added; of the lengths of the axes, or scalars.
        axis: the axis of the features, or several.
        epsilon: is added to the variance.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.layer_norm(np.array([[1.0, 3.0], [10.0, 30.0]]), np.array([1.0, 2.0]), epsilon=0.0)
    array([[-1.,  2.],
           [-1.,  2.]])
    """
    axes = axes_of("layer_norm", axis, len(shape_of(x)))
    operands, has = _operands("layer_norm", x, scale, bias, axes)
    return call(_layer_norm, operands, axes, float(epsilon), has)


def _rms_norm(*operands_and_static: Any) -> Any:
    *operands, axes, epsilon, has = operands_and_static
    x, *rest = _floats("rms_norm", operands)
    mean_square = mean_over(lax.square(x), axes)
    inverse = lax.rsqrt(lax.add(mean_square, like(epsilon, mean_square)))
    return _scaled(lax.mul(x, broadcast_to(inverse, x.shape)), rest, has, axes)


@public
def rms_norm(x: Any, scale: Any = None, *, axis: Any = -1, epsilon: float = 1e-6) -> Any:
    """The features of each example divided by their root mean square (Zhang and Sennrich 2019).

    Args:
        x: an array of real numbers.
        scale: what the result is multiplied by; of the lengths of the axes, or a scalar.
        axis: the axis of the features, or several.
        epsilon: is added to the mean square.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.rms_norm(np.array([2.0, -2.0]), epsilon=0.0)
    array([ 1., -1.])
    """
    axes = axes_of("rms_norm", axis, len(shape_of(x)))
    operands, has = _operands("rms_norm", x, scale, None, axes)
    return call(_rms_norm, operands, axes, float(epsilon), has)


def _group_norm(*operands_and_static: Any) -> Any:
    *operands, groups, axis, epsilon, has = operands_and_static
    x, *rest = _floats("group_norm", operands)
    split = lax.reshape(x, (*x.shape[:axis], groups, x.shape[axis] // groups, *x.shape[axis + 1 :]))
    axes = tuple([d for d in range(1, split.ndim) if d != axis])
    return _scaled(lax.reshape(standardized(split, axes, epsilon), x.shape), rest, has, (axis,))


@public
def group_norm(
    x: Any, num_groups: int, scale: Any = None, bias: Any = None, *, axis: int = -1, epsilon: float = 1e-5
) -> Any:
    """Group normalization (Wu and He 2018): mean 0 and variance 1 over each group of features of each example.

    Args:
        x: an array whose first axis is the batch.
        num_groups: into how many groups of neighbours the features are divided.
        scale, bias: what the result is multiplied by, and what is added: one for each feature, or scalars.
        axis: the axis of the features.
        epsilon: is added to the variance.

    Raises:
        ValueError: if the features cannot be divided so.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.group_norm(np.array([[1.0, 3.0, 10.0, 30.0]]), 2, epsilon=0.0)
    array([[-1.,  1., -1.,  1.]])
    """
    shape, groups = shape_of(x), operator.index(num_groups)
    found = axis_of("group_norm", axis, len(shape))
    if found == 0 or groups < 1 or shape[found] % groups:
        raise ValueError(
            f"group_norm: the {shape[found]} features along axis {axis} cannot be divided into {groups} groups, of an "
            f"array of shape {shape} whose axis 0 is the batch"
        )
    operands, has = _operands("group_norm", x, scale, bias, (found,))
    return call(_group_norm, operands, groups, found, float(epsilon), has)


@public
def instance_norm(x: Any, scale: Any = None, bias: Any = None, *, axis: int = -1, epsilon: float = 1e-5) -> Any:
    """Instance normalization (Ulyanov, Vedaldi and Lempitsky 2016): each feature of each example by itself.

    Args:
        x: an array whose first axis is the batch.
        scale, bias: what the result is multiplied by, and what is added: one for each feature, or scalars.
        axis: the axis of the features; all others but the first are normalized over.
        epsilon: is added to the variance.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.instance_norm(np.array([[[1.0, 5.0], [3.0, 7.0]]]), epsilon=0.0)
    array([[[-1., -1.],
            [ 1.,  1.]]])
    """
    ndim = len(shape_of(x))
    found = axis_of("instance_norm", axis, ndim)
    if found == 0:
        raise ValueError(f"instance_norm: axis 0 is the batch, so axis={axis} cannot be that of the features")
    operands, has = _operands("instance_norm", x, scale, bias, (found,))
    return call(_instance_norm, operands, found, float(epsilon), has)


def _instance_norm(*operands_and_static: Any) -> Any:
    *operands, axis, epsilon, has = operands_and_static
    x, *rest = _floats("instance_norm", operands)
    axes = tuple([d for d in range(1, x.ndim) if d != axis])
    return _scaled(standardized(x, axes, epsilon), rest, has, (axis,))


# --------------------------------------------------------------------------------------------------------------------
# Of the batch


class BatchNormState(NamedTuple):
    """Running statistics of batch normalization, one number for each feature."""

    mean: Any
    var: Any


def batch_norm_state(num_features: int, dtype: Any = float) -> BatchNormState:
    """Statistics to begin with: mean 0 and variance 1.

    >>> import functrans as ft
    >>> ft.nn.batch_norm_state(2)
    BatchNormState(mean=array([0., 0.]), var=array([1., 1.]))
    """
    return BatchNormState(np.zeros(num_features, dtype), np.ones(num_features, dtype))


def _statistics(x: Any, axes: Axes) -> Any:
    (x,) = _floats("batch_norm", [x])
    mean = mean_over(x, axes)
    centred = lax.sub(x, broadcast_to(mean, x.shape))
    return [lax.squeeze(y, axes) for y in (mean, mean_over(lax.square(centred), axes))]


def _by_batch(*operands_and_static: Any) -> Any:
    *operands, axes, axis, epsilon, has = operands_and_static
    x, *rest = _floats("batch_norm", operands)
    return _scaled(standardized(x, axes, epsilon), rest, has, axis)


def _by_statistics(*operands_and_static: Any) -> Any:
    *operands, axis, epsilon, has = operands_and_static
    x, mean, var, *rest = _floats("batch_norm", operands)
    factor = lax.rsqrt(lax.add(var, like(epsilon, var)))
    if has[0]:  # on the small arrays
        factor = lax.mul(factor, broadcast_to(rest.pop(0), factor.shape))
    centred = lax.sub(x, _stretched(mean, x, axis))
    return _scaled(lax.mul(centred, _stretched(factor, x, axis)), rest, (False, has[1]), axis)


def _running(old: Any, new: Any, momentum: float) -> Any:
    new = lax.convert_element_type(new, old.dtype)
    return lax.add(lax.mul(old, like(momentum, old)), lax.mul(new, like(1 - momentum, new)))


def _mean_square_less(mean_square: Any, mean: Any) -> Any:
    out = lax.sub(mean_square, lax.square(mean))
    return lax.max(out, like(0, out))


def _second_moment(mean: Any, var: Any) -> Any:
    return lax.add(var, lax.square(mean))


@public
def batch_norm(
    x: Any,
    state: BatchNormState,
    scale: Any = None,
    bias: Any = None,
    *,
    training: bool,
    axis: int = -1,
    momentum: float = 0.99,
    epsilon: float = 1e-5,
    axis_name: Any = None,
) -> tuple[Any, BatchNormState]:
    """Batch normalization (Ioffe and Szegedy 2015): mean 0 and variance 1 of each feature over the batch.

    Args:
        x: an array; all axes but that of the features are normalized over.
        state: running statistics, from `batch_norm_state` or the call before.
        scale, bias: what the result is multiplied by, and what is added: one for each feature, or scalars.
        training: whether to use the statistics of the batch, and to move the running ones towards them; else the
            running ones are used, and stay.
        axis: the axis of the features.
        momentum: how much of the running statistics stays.
        epsilon: is added to the variance.
        axis_name: the name of an axis of `vmap` over which the batch is spread too.

    Returns:
        The normalized array, and the state for the next call. No derivative passes through the state.

    >>> import numpy as np
    >>> import functrans as ft
    >>> x = np.array([[1.0, 10.0], [3.0, 30.0]])
    >>> y, state = ft.nn.batch_norm(x, ft.nn.batch_norm_state(2), training=True, momentum=0.5, epsilon=0.0)
    >>> y
    array([[-1., -1.],
           [ 1.,  1.]])
    >>> state
    BatchNormState(mean=array([ 1., 10.]), var=array([ 1. , 50.5]))
    """
    shape = shape_of(x)
    found = axis_of("batch_norm", axis, len(shape))
    if not isinstance(state, tuple) or len(state) != 2:
        raise TypeError(
            f"batch_norm: state must be a pair (mean, var), as batch_norm_state gives it, got {state!r:.60}"
        )
    for what, given in (("mean", state[0]), ("var", state[1])):
        if shape_of(given) != (shape[found],):
            raise ValueError(
                f"batch_norm: state.{what} must have shape {(shape[found],)}, one number for each feature along axis "
                f"{axis} of {aval_of(as_operand(x)).strong}, got {aval_of(as_operand(given)).strong}"
            )
    operands, has = _operands("batch_norm", x, scale, bias, (found,))
    statics = (found,), float(epsilon), has
    if not training:
        return call(_by_statistics, [operands[0], *state, *operands[1:]], *statics), BatchNormState(*state)
    axes = tuple([d for d in range(len(shape)) if d != found])
    mean, var = call(_statistics, (x,), axes)
    if axis_name is None:
        out = call(_by_batch, operands, axes, *statics)
    else:
        square = lax.pmean(call(_second_moment, (mean, var)), axis_name)
        mean = lax.pmean(mean, axis_name)
        var = call(_mean_square_less, (square, mean))
        out = call(_by_statistics, [operands[0], mean, var, *operands[1:]], *statics)
    news = [lax.stop_gradient(y) for y in (mean, var)]
    return out, BatchNormState(*[call(_running, (o, n), float(momentum)) for o, n in zip(state, news, strict=True)])
