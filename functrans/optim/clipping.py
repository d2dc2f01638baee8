"""Transformations that bound updates, and those that look at the parameters: weight decay, trust ratios."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from functrans.optim.base import GradientTransformation, first_count, hidden, hidden_update, needed, stateless
from functrans.optim.leaves import (
    abs_square,
    each_leaf,
    float_leaves,
    in_dtype_of,
    increment,
    not_negative,
    real_dtype,
    root,
    scalar,
)
from functrans.optim.masking import masked
from functrans.random import KeyArray, normal, split
from functrans.random import key as random_key

__all__ = [
    "AddNoiseState",
    "adaptive_grad_clip",
    "add_decayed_weights",
    "add_noise",
    "centralize",
    "clip",
    "clip_by_block_rms",
    "clip_by_global_norm",
    "global_norm",
    "keep_params_nonnegative",
    "scale_by_trust_ratio",
    "zero_nans",
]


class AddNoiseState(NamedTuple):
    """The number of steps, and the key of the next noise."""

    count: Any
    rng_key: Any


@hidden
def global_norm(updates: Any) -> Any:
    """The Euclidean norm of all elements of a tree together.

    Args:
        updates: a pytree of floating-point arrays and numbers.

    >>> from functrans import optim
    >>> optim.global_norm({'a': [3.0], 'b': 4.0})
    np.float64(5.0)
    """
    leaves, _ = float_leaves("global_norm", updates)
    total: Any = np.float64(0.0) if not leaves else 0.0
    for x in leaves:
        total = total + np.sum(abs_square(x))
    return root(total)


def clip(max_delta: Any) -> GradientTransformation:
    """Each element of the updates, clipped to [-max_delta, max_delta].

    >>> from functrans import optim
    >>> optim.clip(1.0).update([-3.0, 0.5], optim.EmptyState())[0]
    [np.float64(-1.0), np.float64(0.5)]
    """
    not_negative("clip", "max_delta", max_delta)

    def leaf(u: Any) -> Any:
        bound = scalar(max_delta, u)
        return np.minimum(np.maximum(u, -bound), bound)

    return stateless(lambda updates, params: each_leaf("clip", leaf, updates))


def clip_by_block_rms(threshold: Any) -> GradientTransformation:
    """Each array of the updates, shortened to a root mean square of at most the threshold (Shazeer and Stern,
    arXiv:1804.04235, section 5).
    """
    not_negative("clip_by_block_rms", "threshold", threshold)

    def leaf(u: Any) -> Any:
        if not u.size:
            return u
        rms = root(np.mean(abs_square(u)))
        return u / np.maximum(1, rms / scalar(threshold, u))

    return stateless(lambda updates, params: each_leaf("clip_by_block_rms", leaf, updates))


def clip_by_global_norm(max_norm: Any) -> GradientTransformation:
    """All updates together, shortened to a Euclidean norm of at most `max_norm` (Pascanu, Mikolov and Bengio,
    arXiv:1211.5063, algorithm 1).

    >>> from functrans import optim
    >>> optim.clip_by_global_norm(1.0).update([3.0, 4.0], optim.EmptyState())[0]
    [np.float64(0.6), np.float64(0.8)]
    """
    not_negative("clip_by_global_norm", "max_norm", max_norm)

    def update(updates: Any, params: Any) -> Any:
        norm = global_norm(updates)
        short = norm < max_norm
        safe = np.where(short, 1, norm)

        def leaf(u: Any) -> Any:
            return np.where(short, u, u / scalar(safe, u) * scalar(max_norm, u))[()]

        return each_leaf("clip_by_global_norm", leaf, updates)

    return stateless(update)


def adaptive_grad_clip(clipping: Any, eps: Any = 1e-3) -> GradientTransformation:
    """Updates shortened, unit by unit, to a fraction of the norm of the parameters (Brock et al., arXiv:2102.06171,
    section 4.1).

    A unit is a column of a matrix (the weights of one output), a filter of a convolution of 4 axes (the last axis
    counts them), and a whole vector.

    Args:
        clipping: the fraction.
        eps: the least norm of parameters that is reckoned with.

    Raises:
        ValueError: at update, without parameters, or for an array of more than 4 axes.
    """
    not_negative("adaptive_grad_clip", "clipping", clipping)

    def leaf(g: Any, p: Any) -> Any:
        longest = scalar(clipping, p) * np.maximum(_unit_norm(p), scalar(eps, p))
        norm = _unit_norm(g)
        return np.where(norm < longest, g, in_dtype_of(g * (longest / np.maximum(norm, 1e-6)), g))[()]

    def update(updates: Any, params: Any) -> Any:
        name = "adaptive_grad_clip"
        return each_leaf(name, leaf, updates, needed(name, params), of="params")

    return stateless(update)


def _unit_norm(x: Any) -> Any:
    if x.ndim > 4:
        raise ValueError(f"adaptive_grad_clip knows units of arrays of up to 4 axes, got shape {x.shape}")
    axes = None if x.ndim <= 1 else (0,) if x.ndim <= 3 else (0, 1, 2)
    return root(np.sum(abs_square(x), axis=axes, keepdims=x.ndim > 1))


def centralize() -> GradientTransformation:
    """Updates of matrices less their means over all axes but the first (Yong et al., arXiv:2004.01461, eq. 1)."""

    def leaf(u: Any) -> Any:
        return u - np.mean(u, axis=tuple(range(1, u.ndim)), keepdims=True) if u.ndim > 1 and u.size else u

    return stateless(lambda updates, params: each_leaf("centralize", leaf, updates))


def add_decayed_weights(weight_decay: Any = 0.0, mask: Any = None) -> GradientTransformation:
    """Updates plus the parameters times a number: decoupled weight decay (Loshchilov and Hutter, arXiv:1711.05101),
    where it stands before the learning rate.

    Args:
        weight_decay: the number.
        mask: a prefix of the parameters with bools, or a function from them to one: which of them decay.

    >>> from functrans import optim
    >>> decay = optim.add_decayed_weights(0.1, mask={'w': True, 'b': False})
    >>> params = {'w': 10.0, 'b': 10.0}
    >>> decay.update({'w': 0.0, 'b': 0.0}, decay.init(params), params)[0]
    {'b': 0.0, 'w': np.float64(1.0)}
    """

    def leaf(u: Any, p: Any) -> Any:
        return in_dtype_of(u + scalar(weight_decay, p) * p, u)

    def update(updates: Any, params: Any) -> Any:
        name = "add_decayed_weights"
        return each_leaf(name, leaf, updates, needed(name, params), of="params")

    decay = stateless(update)
    return decay if mask is None else masked(decay, mask)


def scale_by_trust_ratio(min_norm: Any = 0.0, trust_coefficient: Any = 1.0, eps: Any = 0.0) -> GradientTransformation:
    """Each array of the updates, in proportion to the norm of its parameters (You, Gitman and Ginsburg,
    arXiv:1708.03888, eq. 6): times `trust_coefficient * |params| / (|updates| + eps)`, or 1 where a norm is zero.

    Args:
        min_norm: the least norm that is reckoned with.
        trust_coefficient, eps: see the formula.
    """

    def leaf(u: Any, p: Any) -> Any:
        of_params, of_update = _norm_at_least(p, min_norm), _norm_at_least(u, min_norm)
        is_zero = (of_params == 0) | (of_update == 0)
        safe = np.where(is_zero, 1, of_update + scalar(eps, of_update))
        ratio = np.where(is_zero, 1, scalar(trust_coefficient, of_params) * of_params / safe)
        return in_dtype_of(u * ratio, u)

    def update(updates: Any, params: Any) -> Any:
        name = "scale_by_trust_ratio"
        return each_leaf(name, leaf, updates, needed(name, params), of="params")

    return stateless(update)


def _norm_at_least(x: Any, least: Any) -> Any:
    """The norm, whose derivative is zero where it is not more than the least."""
    total = np.sum(abs_square(x))
    least = scalar(least, x)
    is_more = total > least * least
    return np.where(is_more, np.sqrt(np.where(is_more, total, 1)), least)


def add_noise(eta: Any, gamma: Any, key: Any = 0, seed: int | None = None) -> GradientTransformation:
    """Updates plus normal noise of variance `eta / count**gamma` at step `count`, which starts at 1 (Neelakantan et
    al., arXiv:1511.06807, eq. 1).

    Args:
        eta, gamma: see the formula.
        key: a key of `functrans.random`, or a seed.
        seed: another name of the seed.
    """
    given = key if seed is None else seed

    def init(params: Any) -> AddNoiseState:
        is_key = isinstance(given, KeyArray) or getattr(given, "shape", ()) == (2,)
        return AddNoiseState(first_count(), given if is_key else random_key(given))

    def update(updates: Any, state: AddNoiseState, params: Any = None) -> tuple[Any, AddNoiseState]:
        count = increment(state.count)
        deviation = np.sqrt(eta / count**gamma)
        leaves, treedef = float_leaves("add_noise", updates)
        next_key, *keys = split(state.rng_key, len(leaves) + 1)
        noise = [normal(k, x.shape, real_dtype(x.dtype)) for k, x in zip(keys, leaves, strict=True)]
        noisy = [x + scalar(deviation, x) * n for x, n in zip(leaves, noise, strict=True)]
        return treedef.unflatten(noisy), AddNoiseState(count, next_key)

    return GradientTransformation(hidden(init), hidden_update(update, AddNoiseState))


def keep_params_nonnegative() -> GradientTransformation:
    """Updates cut short such that no parameter becomes negative; the last of a chain.

    >>> from functrans import optim
    >>> optim.keep_params_nonnegative().update([-3.0], optim.EmptyState(), [1.0])[0]
    [np.float64(-1.0)]
    """

    def leaf(u: Any, p: Any) -> Any:
        return np.where(p + u < 0, -p, u)[()]

    def update(updates: Any, params: Any) -> Any:
        name = "keep_params_nonnegative"
        return each_leaf(name, leaf, updates, needed(name, params), of="params")

    return stateless(update)


def zero_nans() -> GradientTransformation:
    """Updates with zeros for NaNs. The state says, for each array, whether the last update had one.

    >>> from functrans import optim
    >>> transformation = optim.zero_nans()
    >>> transformation.update([float('nan')], transformation.init([0.0]))
    ([np.float64(0.0)], [np.True_])
    """

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        found = each_leaf("zero_nans", lambda u: np.any(np.isnan(u)), updates)
        return each_leaf("zero_nans", lambda u: np.where(np.isnan(u), 0, u)[()], updates), found

    def init(params: Any) -> Any:
        return each_leaf("zero_nans.init", lambda p: np.False_, params, what="params")

    return GradientTransformation(hidden(init), hidden(update))
