"""Losses, under the names of `optax.losses`: elementwise, or reduced over the axis of the classes alone.

They reduce no more than that, so take the mean over the batch as you need it. Labels that are integers or booleans
take the dtype of the predictions.
"""

from __future__ import annotations

from math import log, prod
from typing import Any

import numpy as np

from functrans import lax
from functrans.core.aval import aval_of
from functrans.nn.activations import log_of_one_plus_exp
from functrans.nn.composing import axes_of, axis_of, call, fitting_mask, floating, matching, public, shape_of, with_jvp
from functrans.nn.softmaxes import exponentials, log_shares, one_if_zero, shares
from functrans.numpy.promotion import broadcast_to, filled, like, strong
from functrans.numpy.registry import as_operand
from functrans.ops.conversion import convert_element_type
from functrans.ops.guarded import guarded_mul
from functrans.ops.indexing import GatherDimensionNumbers, ScatterDimensionNumbers

Axes = tuple[int, ...]

__all__ = [
    "cosine_distance",
    "cosine_similarity",
    "hinge_loss",
    "huber_loss",
    "kl_divergence",
    "kl_divergence_with_log_targets",
    "l2_loss",
    "log_cosh",
    "multiclass_hinge_loss",
    "perceptron_loss",
    "sigmoid_binary_cross_entropy",
    "sigmoid_focal_loss",
    "smooth_labels",
    "softmax_cross_entropy",
    "softmax_cross_entropy_with_integer_labels",
    "squared_error",
]


def _pair(name: str, predictions: Any, targets: Any) -> list[Any]:
    """Both in one float dtype, which integers and booleans among them do not decide, and in one shape."""
    given = [predictions, targets]
    floats = [x.dtype for x in given if x.dtype.kind == "f"]
    if floats:
        given = [x if x.dtype.kind in "fc" else convert_element_type(x, floats[0]) for x in given]
    return matching(name, *given)


def _errors(name: str, *operands: Any) -> Any:
    """Predictions less targets, if there are targets."""
    return lax.sub(*_pair(name, *operands)) if len(operands) == 2 else floating(name, *operands)


def _operands(predictions: Any, targets: Any) -> tuple[Any, ...]:
    return (predictions,) if targets is None else (predictions, targets)


# --------------------------------------------------------------------------------------------------------------------
# Regression


def _squared_error(*operands: Any) -> Any:
    return lax.square(_errors("squared_error", *operands))


@public
def squared_error(predictions: Any, targets: Any = None) -> Any:
    """(predictions - targets)**2, elementwise.

    Args:
        predictions: an array of real numbers.
        targets: an array that broadcasts with it; zeros if not given.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.squared_error(np.array([1.0, 3.0]), np.array([1, 1]))
    array([0., 4.])
    """
    return call(_squared_error, _operands(predictions, targets))


def _l2_loss(*operands: Any) -> Any:
    errors = _errors("l2_loss", *operands)
    return lax.mul(lax.square(errors), like(0.5, errors))


@public
def l2_loss(predictions: Any, targets: Any = None) -> Any:
    """Half of the squared error, elementwise, whose derivative is the error.

    >>> import functrans as ft
    >>> ft.nn.l2_loss(3.0, 1.0)
    np.float64(2.0)
    """
    return call(_l2_loss, _operands(predictions, targets))


def _bent_parabola(errors: Any, delta: Any) -> Any:
    size = lax.abs(errors)
    near = lax.min(size, delta)
    return lax.mul(near, lax.sub(size, lax.mul(near, like(0.5, near))))


def _bent_parabola_jvp(primals: Any, tangents: Any) -> Any:
    (errors, delta), (t, t_delta) = primals, tangents
    excess = lax.max(lax.sub(lax.abs(errors), delta), like(0, delta))
    return lax.add(lax.mul(t, lax.clamp(lax.neg(delta), errors, delta)), lax.mul(t_delta, excess))


def _huber_loss(*operands: Any) -> Any:
    *given, delta = operands
    errors, delta = matching("huber_loss", _errors("huber_loss", *given), delta)
    return with_jvp(_bent_parabola, _bent_parabola_jvp)(errors, delta)


@public
def huber_loss(predictions: Any, targets: Any = None, delta: Any = 1.0) -> Any:
    """Half of the squared error up to an error of `delta`, linear beyond (Huber 1964), elementwise.

    Args:
        predictions: an array of real numbers.
        targets: an array that broadcasts with it; zeros if not given.
        delta: a positive number.

    Raises:
        ValueError: if `delta` has a value that is not positive.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.huber_loss(np.array([0.5, -3.0]))
    array([0.125, 2.5  ])
    """
    if isinstance(delta, (int, float, np.generic, np.ndarray)) and not np.all(np.greater(delta, 0)):
        raise ValueError(f"huber_loss: delta must be positive, got {delta!r:.60}")
    return call(_huber_loss, (*_operands(predictions, targets), delta))


def _log_of_cosh(errors: Any) -> Any:
    size = lax.abs(errors)
    return lax.add(size, lax.sub(lax.log1p(lax.exp(lax.mul(size, like(-2, size)))), like(log(2), size)))


def _log_of_cosh_jvp(primals: Any, tangents: Any) -> Any:
    return lax.mul(tangents[0], lax.tanh(primals[0]))


def _log_cosh(*operands: Any) -> Any:
    return with_jvp(_log_of_cosh, _log_of_cosh_jvp)(_errors("log_cosh", *operands))


@public
def log_cosh(predictions: Any, targets: Any = None) -> Any:
    """The logarithm of the hyperbolic cosine of the error, elementwise: a smooth absolute value.

    >>> import functrans as ft
    >>> ft.nn.log_cosh(1e4)
    np.float64(9999.3068528)
    """
    return call(_log_cosh, _operands(predictions, targets))


def _cosine_similarity(*operands_and_static: Any) -> Any:
    predictions, targets, *mask, epsilon, axes = operands_and_static
    predictions, targets = _pair("cosine_similarity", predictions, targets)
    for given in mask:
        kept = fitting_mask("cosine_similarity", given, predictions)
        predictions, targets = [lax.select(kept, x, like(0, x)) for x in (predictions, targets)]
    product = lax.reduce_sum(lax.mul(predictions, targets), axes)
    return lax.div(product, lax.mul(_length(predictions, epsilon, axes), _length(targets, epsilon, axes)))


def _length(x: Any, epsilon: float, axes: Axes) -> Any:
    """The norm, but at least epsilon; where it is less its derivative is zero."""
    square = lax.reduce_sum(lax.square(x), axes)
    short = lax.le(square, like(epsilon**2, square))
    return lax.select(short, like(epsilon, square), lax.sqrt(lax.select(short, like(1, square), square)))


def _similarity(name: str, predictions: Any, targets: Any, epsilon: float, axis: Any, where: Any) -> Any:
    axes = axes_of(name, axis, max(len(shape_of(predictions)), len(shape_of(targets))))
    operands = (predictions, targets) if where is None else (predictions, targets, where)
    return call(_cosine_similarity, operands, float(epsilon), axes)


@public
def cosine_similarity(
    predictions: Any, targets: Any, *, epsilon: float = 0.0, axis: Any = -1, where: Any = None
) -> Any:
    """The cosine of the angle between vectors.

    Args:
        predictions, targets: arrays of vectors, which broadcast.
        epsilon: the least length that is divided by. With 0, a vector of zeros gives NaN.
        axis: along which the vectors lie.
        where: booleans that broadcast to the arrays: elements to leave away.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.cosine_similarity(np.array([1.0, 0.0]), np.array([2.0, 0.0]))
    np.float64(1.0)
    """
    return _similarity("cosine_similarity", predictions, targets, epsilon, axis, where)


@public
def cosine_distance(predictions: Any, targets: Any, *, epsilon: float = 0.0, axis: Any = -1, where: Any = None) -> Any:
    """1 - cosine_similarity.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.cosine_distance(np.array([1.0, 0.0]), np.array([0.0, 2.0]))
    np.float64(1.0)
    """
    similarity = _similarity("cosine_distance", predictions, targets, epsilon, axis, where)
    return call(_one_minus, (similarity,))


def _one_minus(x: Any) -> Any:
    return lax.sub(like(1, x), x)


# --------------------------------------------------------------------------------------------------------------------
# Two classes


def _binary_cross_entropy(logits: Any, labels: Any) -> Any:
    logits, labels = _pair("sigmoid_binary_cross_entropy", logits, labels)
    return lax.sub(log_of_one_plus_exp(logits), lax.mul(logits, labels))


@public
def sigmoid_binary_cross_entropy(logits: Any, labels: Any) -> Any:
    """The cross entropy of a class that is there with probability sigmoid(logits), elementwise.

    Args:
        logits: an array of real numbers.
        labels: how likely it is, from 0 to 1; an array that broadcasts with the logits.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.sigmoid_binary_cross_entropy(np.array([-1e4, -1e4, 0.0]), np.array([0, 1, 1]))
    array([0.00000000e+00, 1.00000000e+04, 6.93147181e-01])
    """
    return call(_binary_cross_entropy, (logits, labels))


def _focal_loss(*operands_and_static: Any) -> Any:
    *operands, has_alpha = operands_and_static
    logits, labels = _pair("sigmoid_focal_loss", *operands[:2])
    entropy = lax.sub(log_of_one_plus_exp(logits), lax.mul(logits, labels))
    # log(1 - p_t), where p_t is the probability of the label. For labels of 0 and 1 it is exact at the extremes too.
    sign = lax.sub(like(1, labels), lax.mul(labels, like(2, labels)))
    gamma = broadcast_to(floating("sigmoid_focal_loss", operands[2], logits)[0], logits.shape)
    wrong = lax.neg(log_of_one_plus_exp(lax.neg(lax.mul(logits, sign))))
    loss = lax.mul(entropy, lax.exp(lax.mul(gamma, wrong)))
    if not has_alpha:
        return loss
    alpha = broadcast_to(floating("sigmoid_focal_loss", operands[3], logits)[0], logits.shape)
    other = _one_minus(alpha)
    return lax.mul(loss, lax.add(lax.mul(alpha, labels), lax.mul(other, _one_minus(labels))))


@public
def sigmoid_focal_loss(logits: Any, labels: Any, alpha: Any = None, gamma: Any = 2.0) -> Any:
    """The binary cross entropy, weighted less where the prediction is right (Lin et al. 2017), elementwise.

    Args:
        logits: an array of real numbers.
        labels: 0 or 1; an array that broadcasts with the logits.
        alpha: the weight of label 1; that of label 0 is 1 - alpha. Without it both are 1.
        gamma: how much less.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.sigmoid_focal_loss(np.array([0.0, 1e4]), np.array([1, 1]))
    array([0.1732868, 0.       ])
    """
    operands = (logits, labels, gamma) if alpha is None else (logits, labels, gamma, alpha)
    return call(_focal_loss, operands, alpha is not None)


def _margin(name: str, outputs: Any, targets: Any, margin: float) -> Any:
    outputs, targets = _pair(name, outputs, targets)
    missing = lax.sub(like(margin, outputs), lax.mul(outputs, targets))
    return lax.max(missing, like(0, missing))


def _hinge_loss(outputs: Any, targets: Any) -> Any:
    return _margin("hinge_loss", outputs, targets, 1.0)


@public
def hinge_loss(predictor_outputs: Any, targets: Any) -> Any:
    """max(0, 1 - predictor_outputs * targets), elementwise.

    Args:
        predictor_outputs: an array of real numbers.
        targets: -1 or 1; an array that broadcasts with it.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.hinge_loss(np.array([2.0, 0.5, -1.0]), np.array([1, 1, 1]))
    array([0. , 0.5, 2. ])
    """
    return call(_hinge_loss, (predictor_outputs, targets))


def _perceptron_loss(outputs: Any, targets: Any) -> Any:
    return _margin("perceptron_loss", outputs, targets, 0.0)


@public
def perceptron_loss(predictor_outputs: Any, targets: Any) -> Any:
    """max(0, -predictor_outputs * targets), elementwise; targets are -1 or 1.

    >>> import functrans as ft
    >>> ft.nn.perceptron_loss(-2.0, 1.0)
    np.float64(2.0)
    """
    return call(_perceptron_loss, (predictor_outputs, targets))


# --------------------------------------------------------------------------------------------------------------------
# Many classes


def _along(axis: Any, name: str, x: Any, labels: Any) -> Axes:
    return axes_of(name, axis, max(len(shape_of(x)), len(shape_of(labels))))


def _cross_entropy(logits: Any, labels: Any, *mask_and_axes: Any) -> Any:
    *mask, axes = mask_and_axes
    logits, labels = _pair("softmax_cross_entropy", logits, labels)
    mask = [fitting_mask("softmax_cross_entropy", m, logits) for m in mask]
    # A label of 0 counts nothing, even where the logit is -inf.
    weighted = guarded_mul(labels, log_shares(logits, axes, *mask))
    if mask:
        weighted = lax.select(mask[0], weighted, like(0, weighted))
    return lax.neg(lax.reduce_sum(weighted, axes))


@public
def softmax_cross_entropy(logits: Any, labels: Any, axis: Any = -1, where: Any = None) -> Any:
    """The cross entropy of labels and the softmax of logits.

    Args:
        logits: an array of real numbers.
        labels: probabilities of the classes, such as one-hot vectors; an array that broadcasts with the logits.
        axis: the axis of the classes, or several.
        where: booleans that broadcast to the logits: classes to leave away.

    Returns:
        An array without the axis.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.softmax_cross_entropy(np.array([[1e4, 0.0], [0.0, 0.0]]), np.array([[1, 0], [0, 1]]))
    array([0.        , 0.69314718])
    """
    operands = (logits, labels) if where is None else (logits, labels, where)
    return call(_cross_entropy, operands, _along(axis, "softmax_cross_entropy", logits, labels))


def _picked(x: Any, labels: Any) -> Any:
    """The elements of the last axis that labels say. A label that is none raises IndexError when it is computed."""
    batch = tuple(range(labels.ndim))
    numbers = GatherDimensionNumbers((), (x.ndim - 1,), (x.ndim - 1,), batch, batch)
    ones = (1,) * x.ndim
    return lax.gather(x, lax.expand_dims(labels, (labels.ndim,)), numbers, ones, mode="promise_in_bounds")


def _less_one(x: Any, labels: Any) -> Any:
    """The array with 1 subtracted from the elements of the last axis that labels say."""
    batch = tuple(range(labels.ndim))
    numbers = ScatterDimensionNumbers((), (x.ndim - 1,), (x.ndim - 1,), batch, batch)
    vectors = lax.expand_dims(labels, (labels.ndim,))
    ones = filled(-1, labels.shape, x.dtype)
    return lax.scatter_add(x, vectors, ones, numbers, unique_indices=True, mode="promise_in_bounds")


def _entropy_at(logits: Any, labels: Any, *mask: Any) -> Any:
    shifted, _, total = exponentials(logits, mask, (logits.ndim - 1,), bool(mask))
    return lax.sub(lax.log(one_if_zero(total) if mask else total), _picked(shifted, labels))


def _entropy_at_jvp(primals: Any, tangents: Any) -> Any:
    logits, labels, *mask = primals
    axes = (logits.ndim - 1,)
    slope = _less_one(shares(logits, axes, *mask), labels)
    return lax.reduce_sum(lax.mul(slope, tangents[0]), axes)


def _integer_cross_entropy(logits: Any, labels: Any, *mask_and_axis: Any) -> Any:
    *mask, axis = mask_and_axis
    name = "softmax_cross_entropy_with_integer_labels"
    logits = floating(name, logits)
    mask = [fitting_mask(name, m, logits) for m in mask]
    if labels.dtype.kind not in "iu":
        raise TypeError(
            f"{name}: labels must be integers, got {labels.aval.strong}; for probabilities use softmax_cross_entropy"
        )
    logits, *mask = [lax.moveaxis(x, axis, x.ndim - 1) for x in (logits, *mask)]
    if not logits.shape[-1] and labels.size:
        raise ValueError(
            f"{name}: there are labels, {labels.aval.strong}, but no classes along axis {axis} of the logits"
        )
    try:
        batch = np.broadcast_shapes(logits.shape[:-1], labels.shape)
    except ValueError:
        raise ValueError(
            f"{name}: labels, {labels.aval.strong}, must have the shape of the logits without the axis of the "
            f"classes, which is {logits.shape[:-1]}"
        ) from None
    logits, *mask = [broadcast_to(x, (*batch, x.shape[-1])) for x in (logits, *mask)]
    return with_jvp(_entropy_at, _entropy_at_jvp)(logits, broadcast_to(strong(labels), batch), *mask)


@public
def softmax_cross_entropy_with_integer_labels(logits: Any, labels: Any, axis: int = -1, where: Any = None) -> Any:
    """The cross entropy of the softmax of logits with the right class: minus the logarithm of its probability.

    Args:
        logits: an array of real numbers.
        labels: the numbers of the right classes, of the shape of the logits without the axis of the classes.
        axis: the axis of the classes.
        where: booleans that broadcast to the logits: classes to leave away.

    Returns:
        An array without the axis.

    Raises:
        IndexError: when it is computed, if a label is negative or not below the number of classes.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.softmax_cross_entropy_with_integer_labels(np.array([[1e4, 0.0], [0.0, 0.0]]), np.array([0, 1]))
    array([0.        , 0.69314718])
    """
    name = "softmax_cross_entropy_with_integer_labels"
    found = axis_of(name, axis, len(shape_of(logits)))
    operands = (logits, labels) if where is None else (logits, labels, where)
    return call(_integer_cross_entropy, operands, found)


def _multiclass_hinge(scores: Any, labels: Any) -> Any:
    scores, labels = floating("multiclass_hinge_loss", scores), strong(labels)
    classes = lax.broadcasted_iota(labels.dtype, scores.shape, scores.ndim - 1)
    is_right = lax.eq(classes, lax.broadcast_in_dim(labels, scores.shape, range(labels.ndim)))
    right = _picked(scores, labels)
    others = lax.select(is_right, scores, lax.add(scores, like(1, scores)))
    return lax.sub(lax.reduce_max(others, (scores.ndim - 1,)), right)


@public
def multiclass_hinge_loss(scores: Any, labels: Any) -> Any:
    """By how much the score of the right class is less than the best of the others plus 1; 0 if it is more.

    Args:
        scores: an array of real numbers, with the classes along the last axis.
        labels: the numbers of the right classes, integers of the shape of the scores without that axis.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.multiclass_hinge_loss(np.array([[3.0, 1.0], [0.0, 0.5]]), np.array([0, 1]))
    array([0. , 0.5])
    """
    if shape_of(scores)[:-1] != shape_of(labels) or aval_of(as_operand(labels)).dtype.kind not in "iu":
        raise TypeError(
            f"multiclass_hinge_loss: labels must be integers of shape {shape_of(scores)[:-1]}, got "
            f"{aval_of(as_operand(labels)).strong}"
        )
    return call(_multiclass_hinge, (scores, labels))


def _divergence(log_predictions: Any, targets: Any, *mask_and_static: Any) -> Any:
    *mask, axes, name = mask_and_static
    predicted, targets = _pair(name, log_predictions, targets)
    if name == "kl_divergence":
        is_zero = lax.eq(targets, like(0, targets))
        log_targets = lax.log(lax.select(is_zero, like(1, targets), targets))
    else:
        log_targets, targets = targets, lax.exp(targets)
    # A probability of 0 counts nothing, even where its logarithm, or the predicted one, is -inf.
    finite = lax.select(lax.eq(targets, like(0, targets)), like(0, targets), log_targets)
    terms = lax.sub(lax.mul(targets, finite), guarded_mul(targets, predicted))
    for m in mask:
        terms = lax.select(fitting_mask(name, m, terms), terms, like(0, terms))
    return lax.reduce_sum(terms, axes)


@public
def kl_divergence(log_predictions: Any, targets: Any, axis: Any = -1, where: Any = None) -> Any:
    """The Kullback-Leibler divergence of predicted from true probabilities: sum(targets * (log(targets) - log_pred)).

    Args:
        log_predictions: logarithms of probabilities.
        targets: probabilities; an array that broadcasts with them. Those that are 0 count nothing.
        axis: the axis of the classes, or several.
        where: booleans that broadcast to the predictions: classes to leave away.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.kl_divergence(np.log([0.5, 0.5]), np.array([1.0, 0.0]))
    np.float64(0.6931471805599453)
    """
    operands = (log_predictions, targets) if where is None else (log_predictions, targets, where)
    return call(_divergence, operands, _along(axis, "kl_divergence", log_predictions, targets), "kl_divergence")


@public
def kl_divergence_with_log_targets(log_predictions: Any, log_targets: Any, axis: Any = -1, where: Any = None) -> Any:
    """As `kl_divergence`, with the logarithms of the true probabilities.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.kl_divergence_with_log_targets(np.log([0.5, 0.5]), np.array([0.0, -np.inf]))
    np.float64(0.6931471805599453)
    """
    operands = (log_predictions, log_targets) if where is None else (log_predictions, log_targets, where)
    name = "kl_divergence_with_log_targets"
    return call(_divergence, operands, _along(axis, name, log_predictions, log_targets), name)


def _smooth_labels(*operands_and_axis: Any) -> Any:
    labels, alpha, *mask, axes = operands_and_axis
    labels, alpha = floating("smooth_labels", labels, alpha)
    alpha = broadcast_to(alpha, labels.shape)
    if not mask:
        share: Any = like(1 / max(1, prod(labels.shape[axis] for axis in axes)), labels)
    else:
        kept = convert_element_type(fitting_mask("smooth_labels", mask[0], labels), labels.dtype)
        n = lax.broadcast_in_dim(
            lax.reduce_sum(kept, axes), labels.shape, [d for d in range(labels.ndim) if d not in axes]
        )
        share = lax.div(kept, lax.max(n, like(1, n)))
        labels = lax.mul(labels, kept)
    return lax.add(lax.mul(labels, _one_minus(alpha)), lax.mul(alpha, share))


@public
def smooth_labels(labels: Any, alpha: Any, *, axis: Any = -1, where: Any = None) -> Any:
    """Labels moved towards the uniform distribution: (1 - alpha) * labels + alpha / n (Mueller et al. 2019).

    Args:
        labels: probabilities, such as one-hot vectors.
        alpha: by how much, from 0 to 1.
        axis: the axis of the classes, or several.
        where: booleans that broadcast to the labels: classes to leave away, which get 0.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.nn.smooth_labels(np.array([1.0, 0.0]), 0.1)
    array([0.95, 0.05])
    """
    axes = axes_of("smooth_labels", axis, len(shape_of(labels)))
    return call(_smooth_labels, (labels, alpha) if where is None else (labels, alpha, where), axes)
