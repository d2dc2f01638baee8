"""Transformations that keep running averages of gradients: momentum, RMSProp, Adam and its kin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from functrans.optim.base import GradientTransformation, first_count, hidden, hidden_update
from functrans.optim.leaves import (
    abs_square,
    each_leaf,
    in_dtype_of,
    increment,
    not_negative,
    real_dtype,
    scalar,
    zeros_of,
)

__all__ = [
    "ScaleByAdaDeltaState",
    "ScaleByAdamState",
    "ScaleByAmsgradState",
    "ScaleByBeliefState",
    "ScaleByLionState",
    "ScaleByRStdDevState",
    "ScaleByRmsState",
    "ScaleByRmsWithCountState",
    "ScaleByRssState",
    "TraceState",
    "bias_correction",
    "moment",
    "scale_by_adadelta",
    "scale_by_adam",
    "scale_by_adamax",
    "scale_by_amsgrad",
    "scale_by_belief",
    "scale_by_lion",
    "scale_by_radam",
    "scale_by_rms",
    "scale_by_rss",
    "scale_by_sign",
    "scale_by_stddev",
    "trace",
]


class TraceState(NamedTuple):
    """The decaying sum of the updates."""

    trace: Any


class ScaleByRmsState(NamedTuple):
    """The average of the squares."""

    nu: Any


class ScaleByRmsWithCountState(NamedTuple):
    """The number of steps, and the average of the squares."""

    count: Any
    nu: Any


class ScaleByRStdDevState(NamedTuple):
    """The averages of the updates and of their squares."""

    mu: Any
    nu: Any


class ScaleByRssState(NamedTuple):
    """The sum of the squares."""

    sum_of_squares: Any


class ScaleByAdaDeltaState(NamedTuple):
    """The averages of the squares of the gradients and of the updates."""

    e_g: Any
    e_x: Any


class ScaleByAdamState(NamedTuple):
    """The number of steps, and the averages of the updates and of their squares."""

    count: Any
    mu: Any
    nu: Any


class ScaleByAmsgradState(NamedTuple):
    """As that of Adam, and the largest average of the squares so far."""

    count: Any
    mu: Any
    nu: Any
    nu_max: Any


class ScaleByBeliefState(NamedTuple):
    """As that of Adam; `nu` averages the squares of what the average did not predict."""

    count: Any
    mu: Any
    nu: Any


class ScaleByLionState(NamedTuple):
    """The number of steps, and the average of the updates."""

    count: Any
    mu: Any


def moment(x: Any, average: Any, decay: Any) -> Any:
    """The next exponential average, `(1 - decay) * x + decay * average`, in the dtype of the average."""
    old, new = scalar(decay, average) * average, scalar(1 - decay, x) * x
    if type(old) is np.ndarray and type(new) is np.ndarray and (old.dtype.kind == "c" or new.dtype.kind != "c"):
        old += new  # it is a new array
        return old
    return in_dtype_of(old + new, average)


def bias_correction(decay: Any, count: Any) -> Any:
    """The sum of the weights of an exponential average that began with zero: `1 - decay**count`."""
    return 1 - decay**count


def _corrected(average: Any, weight: Any) -> Any:
    return average / scalar(weight, average)


def _ratio(numerator: Any, nu: Any, eps: Any, eps_root: Any) -> Any:
    if type(eps_root) is not float or eps_root:
        nu = nu + scalar(eps_root, nu)
    return numerator / (np.sqrt(nu) + scalar(eps, nu))


# --------------------------------------------------------------------------------------------------------------------
# Momentum, and second moments alone


def trace(decay: Any, nesterov: bool = False, accumulator_dtype: Any = None) -> GradientTransformation:
    """Momentum: the decaying sum of the updates (Polyak, USSR Comp. Math. 4, 1964), or Nesterov's variant in the form
    of Sutskever et al., ICML 2013.

    Args:
        decay: by how much older updates count less at each step.
        nesterov: whether to look one step ahead.
        accumulator_dtype: the dtype of the sum; that of the parameters if None.

    >>> from functrans import optim
    >>> momentum = optim.trace(0.5)
    >>> state = momentum.init([0.0])
    >>> for _ in range(3):
    ...     updates, state = momentum.update([1.0], state)
    >>> updates
    [np.float64(1.75)]
    """
    not_negative("trace", "decay", decay)

    def init(params: Any) -> TraceState:
        return TraceState(zeros_of("trace", params, accumulator_dtype))

    def leaf(g: Any, t: Any) -> tuple[Any, Any]:
        new = g + scalar(decay, t) * t
        out = in_dtype_of(g + scalar(decay, g) * new if nesterov else new, g)
        return out, in_dtype_of(new, t)

    def update(updates: Any, state: TraceState, params: Any = None) -> tuple[Any, TraceState]:
        out, new = each_leaf("trace", leaf, updates, state.trace, outs=2)
        return out, TraceState(new)

    return GradientTransformation(hidden(init), hidden_update(update, TraceState))


def scale_by_rms(
    decay: Any = 0.9,
    eps: Any = 1e-8,
    initial_scale: Any = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
) -> GradientTransformation:
    """Updates divided by the root of the running average of their squares (Tieleman and Hinton, Coursera lecture 6.5,
    2012).

    Args:
        decay: of the average.
        eps: added under the root, or to the root.
        initial_scale: the first average.
        eps_in_sqrt: which of the two; PyTorch's is False.
        bias_correction: whether to correct that the average began with zero.
    """
    not_negative("scale_by_rms", "decay", decay, below=1)

    def init(params: Any) -> Any:
        nu = _filled("scale_by_rms", params, initial_scale)
        return ScaleByRmsWithCountState(first_count(), nu) if bias_correction else ScaleByRmsState(nu)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        weight = None
        if bias_correction:
            count = increment(state.count)
            weight = 1 - decay**count

        def leaf(g: Any, nu: Any) -> tuple[Any, Any]:
            nu = moment(abs_square(g), nu, decay)
            hat = nu if weight is None else _corrected(nu, weight)
            return in_dtype_of(_over_root(g, hat, eps, eps_in_sqrt), g), nu

        out, nu = each_leaf("scale_by_rms", leaf, updates, state.nu, outs=2)
        return out, ScaleByRmsWithCountState(count, nu) if bias_correction else ScaleByRmsState(nu)

    return GradientTransformation(hidden(init), hidden(update))


def _over_root(g: Any, nu: Any, eps: Any, eps_in_sqrt: bool) -> Any:
    eps = scalar(eps, nu)
    return g / (np.sqrt(nu + eps) if eps_in_sqrt else np.sqrt(nu) + eps)


def _filled(name: str, params: Any, value: Any) -> Any:
    """A real number in the shapes of parameters."""

    def filled(p: Any) -> Any:
        return np.zeros(p.shape, real_dtype(p.dtype)) + scalar(value, p)

    return each_leaf(f"{name}.init", filled, params, what="params")


def scale_by_stddev(
    decay: Any = 0.9, eps: Any = 1e-8, initial_scale: Any = 0.0, eps_in_sqrt: bool = True
) -> GradientTransformation:
    """Updates divided by their running standard deviation (Graves, arXiv:1308.0850, eq. 38-40).

    Args:
        decay, eps, initial_scale, eps_in_sqrt: as of `scale_by_rms`.
    """
    not_negative("scale_by_stddev", "decay", decay, below=1)

    def init(params: Any) -> ScaleByRStdDevState:
        nu = _filled("scale_by_stddev", params, initial_scale)
        return ScaleByRStdDevState(zeros_of("scale_by_stddev", params), nu)

    def leaf(g: Any, mu: Any, nu: Any) -> tuple[Any, Any, Any]:
        mu, nu = moment(g, mu, decay), moment(abs_square(g), nu, decay)
        variance = np.maximum(nu - abs_square(mu), 0)  # rounding can make it negative
        return in_dtype_of(_over_root(g, variance, eps, eps_in_sqrt), g), mu, nu

    def update(updates: Any, state: ScaleByRStdDevState, params: Any = None) -> tuple[Any, ScaleByRStdDevState]:
        out, mu, nu = each_leaf("scale_by_stddev", leaf, updates, state.mu, state.nu, outs=3)
        return out, ScaleByRStdDevState(mu, nu)

    return GradientTransformation(hidden(init), hidden_update(update, ScaleByRStdDevState))


def scale_by_rss(initial_accumulator_value: Any = 0.1, eps: Any = 1e-7) -> GradientTransformation:
    """Updates divided by the root of the sum of all their squares (Duchi, Hazan and Singer, JMLR 12, 2011).

    Args:
        initial_accumulator_value: what the sum begins with.
        eps: added under the root.
    """

    def leaf(g: Any, total: Any) -> tuple[Any, Any]:
        total = in_dtype_of(total + abs_square(g), total)
        safe = np.where(total > 0, total + scalar(eps, total), 1)
        return in_dtype_of(np.where(total > 0, g / np.sqrt(safe), 0), g), total

    def init(params: Any) -> ScaleByRssState:
        return ScaleByRssState(_filled("scale_by_rss", params, initial_accumulator_value))

    def update(updates: Any, state: ScaleByRssState, params: Any = None) -> tuple[Any, ScaleByRssState]:
        out, total = each_leaf("scale_by_rss", leaf, updates, state.sum_of_squares, outs=2)
        return out, ScaleByRssState(total)

    return GradientTransformation(hidden(init), hidden_update(update, ScaleByRssState))


def scale_by_adadelta(rho: Any = 0.9, eps: Any = 1e-6) -> GradientTransformation:
    """Updates in the units of the parameters, by the averages of squared gradients and squared updates (Zeiler,
    arXiv:1212.5701, algorithm 1).

    Args:
        rho: the decay of both averages.
        eps: added under both roots.
    """
    not_negative("scale_by_adadelta", "rho", rho, below=1)

    def init(params: Any) -> ScaleByAdaDeltaState:
        zeros = [zeros_of("scale_by_adadelta", params, real=True) for _ in range(2)]
        return ScaleByAdaDeltaState(*zeros)

    def leaf(g: Any, e_g: Any, e_x: Any) -> tuple[Any, Any, Any]:
        e_g = moment(abs_square(g), e_g, rho)
        e = scalar(eps, e_g)
        out = np.sqrt(e_x + e) / np.sqrt(e_g + e) * g
        return in_dtype_of(out, g), e_g, moment(abs_square(out), e_x, rho)

    def update(updates: Any, state: ScaleByAdaDeltaState, params: Any = None) -> tuple[Any, ScaleByAdaDeltaState]:
        out, e_g, e_x = each_leaf("scale_by_adadelta", leaf, updates, state.e_g, state.e_x, outs=3)
        return out, ScaleByAdaDeltaState(e_g, e_x)

    return GradientTransformation(hidden(init), hidden_update(update, ScaleByAdaDeltaState))


# --------------------------------------------------------------------------------------------------------------------
# Adam and its kin


def _mean_and_square(name: str, state_type: Any, mu_dtype: Any, n_squares: int = 1) -> Callable[[Any], Any]:
    def init(params: Any) -> Any:
        squares = [zeros_of(name, params, real=True) for _ in range(n_squares)]
        return state_type(first_count(), zeros_of(name, params, mu_dtype), *squares)

    return hidden(init)


def _mean(g: Any, mu: Any, b1: Any, count: Any, weight: Any, nesterov: bool) -> Any:
    """The corrected first moment; with `nesterov` that of the next step as far as it is known (Dozat, 2016)."""
    if not nesterov:
        return _corrected(mu, weight)
    ahead = _corrected(mu, bias_correction(b1, increment(count)))
    return scalar(b1, mu) * ahead + scalar(1 - b1, mu) * _corrected(g, weight)


def scale_by_adam(
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
) -> GradientTransformation:
    """Adam (Kingma and Ba, arXiv:1412.6980, algorithm 1), without the learning rate.

    Args:
        b1, b2: the decay of the averages of the updates and of their squares.
        eps: added to the root.
        eps_root: added under the root; more than 0 where the update itself is differentiated, since the root has no
            derivative at zero.
        mu_dtype: the dtype of the first average; that of the parameters if None.
        nesterov: whether to look one step ahead (Dozat, ICLR workshop 2016).
    """
    for decay, what in ((b1, "b1"), (b2, "b2")):
        not_negative("scale_by_adam", what, decay, below=1)

    def update(updates: Any, state: ScaleByAdamState, params: Any = None) -> tuple[Any, ScaleByAdamState]:
        count = increment(state.count)
        weight1, weight2 = bias_correction(b1, count), bias_correction(b2, count)

        def leaf(g: Any, mu: Any, nu: Any) -> tuple[Any, Any, Any]:
            mu, nu = moment(g, mu, b1), moment(abs_square(g), nu, b2)
            mean = _mean(g, mu, b1, count, weight1, nesterov)
            return in_dtype_of(_ratio(mean, _corrected(nu, weight2), eps, eps_root), g), mu, nu

        out, mu, nu = each_leaf("scale_by_adam", leaf, updates, state.mu, state.nu, outs=3)
        return out, ScaleByAdamState(count, mu, nu)

    return GradientTransformation(
        _mean_and_square("scale_by_adam", ScaleByAdamState, mu_dtype), hidden_update(update, ScaleByAdamState)
    )


def scale_by_amsgrad(
    b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-8, eps_root: Any = 0.0, mu_dtype: Any = None
) -> GradientTransformation:
    """AMSGrad (Reddi, Kale and Kumar, arXiv:1904.09237): Adam, whose steps never grow.

    Args:
        b1, b2, eps, eps_root, mu_dtype: as of `scale_by_adam`.
    """
    for decay, what in ((b1, "b1"), (b2, "b2")):
        not_negative("scale_by_amsgrad", what, decay, below=1)

    def update(updates: Any, state: ScaleByAmsgradState, params: Any = None) -> tuple[Any, ScaleByAmsgradState]:
        count = increment(state.count)
        weight1, weight2 = bias_correction(b1, count), bias_correction(b2, count)

        def leaf(g: Any, mu: Any, nu: Any, nu_max: Any) -> tuple[Any, Any, Any, Any]:
            mu, nu = moment(g, mu, b1), moment(abs_square(g), nu, b2)
            nu_max = np.maximum(nu_max, _corrected(nu, weight2))
            return in_dtype_of(_ratio(_corrected(mu, weight1), nu_max, eps, eps_root), g), mu, nu, nu_max

        out, *new = each_leaf("scale_by_amsgrad", leaf, updates, state.mu, state.nu, state.nu_max, outs=4)
        return out, ScaleByAmsgradState(count, *new)

    init = _mean_and_square("scale_by_amsgrad", ScaleByAmsgradState, mu_dtype, 2)
    return GradientTransformation(init, hidden_update(update, ScaleByAmsgradState))


def scale_by_adamax(b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-8) -> GradientTransformation:
    """AdaMax (Kingma and Ba, arXiv:1412.6980, algorithm 2), without the learning rate: Adam by the largest gradient.

    Args:
        b1: the decay of the average of the updates.
        b2: the decay of the maximum of their absolute values.
        eps: added to the absolute value.
    """
    for decay, what in ((b1, "b1"), (b2, "b2")):
        not_negative("scale_by_adamax", what, decay, below=1)

    def update(updates: Any, state: ScaleByAdamState, params: Any = None) -> tuple[Any, ScaleByAdamState]:
        count = increment(state.count)
        weight = bias_correction(b1, count)

        def leaf(g: Any, mu: Any, nu: Any) -> tuple[Any, Any, Any]:
            mu = moment(g, mu, b1)
            nu = in_dtype_of(np.maximum(np.abs(g) + scalar(eps, g), scalar(b2, nu) * nu), nu)
            return in_dtype_of(_corrected(mu, weight) / nu, g), mu, nu

        out, mu, nu = each_leaf("scale_by_adamax", leaf, updates, state.mu, state.nu, outs=3)
        return out, ScaleByAdamState(count, mu, nu)

    return GradientTransformation(
        _mean_and_square("scale_by_adamax", ScaleByAdamState, None), hidden_update(update, ScaleByAdamState)
    )


def scale_by_belief(
    b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-16, eps_root: Any = 1e-16, *, nesterov: bool = False
) -> GradientTransformation:
    """AdaBelief (Zhuang et al., arXiv:2010.07468): Adam by the squares of what the average did not predict.

    Args:
        b1, b2, eps, eps_root, nesterov: as of `scale_by_adam`.
    """
    for decay, what in ((b1, "b1"), (b2, "b2")):
        not_negative("scale_by_belief", what, decay, below=1)

    def update(updates: Any, state: ScaleByBeliefState, params: Any = None) -> tuple[Any, ScaleByBeliefState]:
        count = increment(state.count)
        weight1, weight2 = bias_correction(b1, count), bias_correction(b2, count)

        def leaf(g: Any, mu: Any, nu: Any) -> tuple[Any, Any, Any]:
            mu = moment(g, mu, b1)
            nu = moment(abs_square(g - mu), nu, b2) + scalar(eps_root, nu)
            mean = _mean(g, mu, b1, count, weight1, nesterov)
            return in_dtype_of(_ratio(mean, _corrected(nu, weight2), eps, 0.0), g), mu, nu

        out, mu, nu = each_leaf("scale_by_belief", leaf, updates, state.mu, state.nu, outs=3)
        return out, ScaleByBeliefState(count, mu, nu)

    return GradientTransformation(
        _mean_and_square("scale_by_belief", ScaleByBeliefState, None), hidden_update(update, ScaleByBeliefState)
    )


def scale_by_radam(
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    threshold: Any = 5.0,
    *,
    nesterov: bool = False,
) -> GradientTransformation:
    """Rectified Adam (Liu et al., arXiv:1908.03265, algorithm 2), without the learning rate.

    Args:
        b1, b2, eps, eps_root, nesterov: as of `scale_by_adam`.
        threshold: of the length of the approximated average, below which steps are not adaptive.
    """
    for decay, what in ((b1, "b1"), (b2, "b2")):
        not_negative("scale_by_radam", what, decay, below=1)

    def update(updates: Any, state: ScaleByAdamState, params: Any = None) -> tuple[Any, ScaleByAdamState]:
        count = increment(state.count)
        weight1, weight2 = bias_correction(b1, count), bias_correction(b2, count)
        longest = 2 / (1 - b2) - 1
        length = longest - 2 * count * b2**count / weight2
        adaptive = length >= threshold
        safe = np.where(adaptive, length, longest)
        factor = np.sqrt((safe - 4) * (safe - 2) * longest / ((longest - 4) * (longest - 2) * safe))

        def leaf(g: Any, mu: Any, nu: Any) -> tuple[Any, Any, Any]:
            mu, nu = moment(g, mu, b1), moment(abs_square(g), nu, b2)
            mean = _mean(g, mu, b1, count, weight1, nesterov)
            rectified = scalar(factor, nu) * _ratio(mean, _corrected(nu, weight2), eps, eps_root)
            return in_dtype_of(np.where(adaptive, rectified, mean), g), mu, nu

        out, mu, nu = each_leaf("scale_by_radam", leaf, updates, state.mu, state.nu, outs=3)
        return out, ScaleByAdamState(count, mu, nu)

    return GradientTransformation(
        _mean_and_square("scale_by_radam", ScaleByAdamState, None), hidden_update(update, ScaleByAdamState)
    )


def scale_by_lion(b1: Any = 0.9, b2: Any = 0.99, mu_dtype: Any = None) -> GradientTransformation:
    """Lion (Chen et al., arXiv:2302.06675, algorithm 2), without the learning rate: the sign of an average.

    Args:
        b1: the decay of the average whose sign is taken.
        b2: the decay of the average that is kept.
        mu_dtype: the dtype of that; that of the parameters if None.
    """
    for decay, what in ((b1, "b1"), (b2, "b2")):
        not_negative("scale_by_lion", what, decay, below=1)

    def leaf(g: Any, mu: Any) -> tuple[Any, Any]:
        direction = np.sign(scalar(1 - b1, g) * g + scalar(b1, mu) * mu)
        return in_dtype_of(direction, g), moment(g, mu, b2)

    def update(updates: Any, state: ScaleByLionState, params: Any = None) -> tuple[Any, ScaleByLionState]:
        out, mu = each_leaf("scale_by_lion", leaf, updates, state.mu, outs=2)
        return out, ScaleByLionState(increment(state.count), mu)

    def init(params: Any) -> ScaleByLionState:
        return ScaleByLionState(first_count(), zeros_of("scale_by_lion", params, mu_dtype))

    return GradientTransformation(hidden(init), hidden_update(update, ScaleByLionState))


def scale_by_sign() -> GradientTransformation:
    """The signs of the updates.

    >>> from functrans import optim
    >>> transformation = optim.scale_by_sign()
    >>> transformation.update([-3.0, 0.5], transformation.init([0.0, 0.0]))[0]
    [np.float64(-1.0), np.float64(1.0)]
    """

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        return each_leaf("scale_by_sign", np.sign, updates), state

    return GradientTransformation(lambda params: (), hidden(update))
