"""The optimisers by name: chains of transformations, with the defaults of their papers or of optax."""

from __future__ import annotations

from typing import Any

from functrans.optim.base import (
    GradientTransformation,
    GradientTransformationExtraArgs,
    ScalarOrSchedule,
    identity,
    scale_by_learning_rate,
)
from functrans.optim.clipping import add_decayed_weights, add_noise, scale_by_trust_ratio
from functrans.optim.lbfgs import scale_by_lbfgs
from functrans.optim.masking import Mask, chain, masked
from functrans.optim.moments import (
    scale_by_adadelta,
    scale_by_adam,
    scale_by_adamax,
    scale_by_amsgrad,
    scale_by_belief,
    scale_by_lion,
    scale_by_radam,
    scale_by_rms,
    scale_by_rss,
    scale_by_sign,
    scale_by_stddev,
    trace,
)
from functrans.optim.zoom import scale_by_zoom_linesearch

__all__ = [
    "adabelief",
    "adadelta",
    "adagrad",
    "adam",
    "adamax",
    "adamaxw",
    "adamw",
    "amsgrad",
    "lamb",
    "lars",
    "lbfgs",
    "lion",
    "nadam",
    "nadamw",
    "noisy_sgd",
    "radam",
    "rmsprop",
    "sgd",
    "sign_sgd",
]


def sgd(
    learning_rate: ScalarOrSchedule, momentum: Any = None, nesterov: bool = False, accumulator_dtype: Any = None
) -> GradientTransformationExtraArgs:
    """Stochastic gradient descent (Robbins and Monro, Ann. Math. Statist. 22, 1951), with momentum (Polyak, 1964).

    Args:
        learning_rate: a number or a schedule.
        momentum: the decay of the sum of the gradients; none if None.
        nesterov: whether to look one step ahead (Sutskever et al., ICML 2013).
        accumulator_dtype: the dtype of the sum; that of the parameters if None.

    >>> import functrans as ft
    >>> from functrans import optim
    >>> optimizer = optim.sgd(0.1, momentum=0.5)
    >>> x, state = 3.0, optimizer.init(3.0)
    >>> for _ in range(30):
    ...     updates, state = optimizer.update(ft.grad(lambda x: x * x)(x), state)
    ...     x = optim.apply_updates(x, updates)
    >>> bool(abs(x) < 1e-3)
    True
    """
    momentum_part = identity() if momentum is None else trace(momentum, nesterov, accumulator_dtype)
    return chain(momentum_part, scale_by_learning_rate(learning_rate))


def noisy_sgd(
    learning_rate: ScalarOrSchedule, eta: Any = 0.01, gamma: Any = 0.55, key: Any = 0, seed: int | None = None
) -> GradientTransformationExtraArgs:
    """Gradient descent with noise that dies out (Neelakantan et al., arXiv:1511.06807).

    Args:
        learning_rate: a number or a schedule.
        eta, gamma, key, seed: as of `add_noise`.
    """
    return chain(add_noise(eta, gamma, key, seed), scale_by_learning_rate(learning_rate))


def sign_sgd(learning_rate: ScalarOrSchedule) -> GradientTransformationExtraArgs:
    """Descent by the signs of the gradient (Bernstein et al., arXiv:1802.04434).

    Args:
        learning_rate: a number or a schedule.
    """
    return chain(scale_by_sign(), scale_by_learning_rate(learning_rate))


def rmsprop(
    learning_rate: ScalarOrSchedule,
    decay: Any = 0.9,
    eps: Any = 1e-8,
    initial_scale: Any = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: Any = None,
    nesterov: bool = False,
    bias_correction: bool = False,
) -> GradientTransformationExtraArgs:
    """RMSProp (Tieleman and Hinton, Coursera lecture 6.5, 2012; centred: Graves, arXiv:1308.0850).

    Args:
        learning_rate: a number or a schedule.
        decay, eps, initial_scale, eps_in_sqrt: as of `scale_by_rms`.
        centered: whether to divide by the standard deviation.
        momentum: of the steps; none if None.
        nesterov: whether momentum looks one step ahead.
        bias_correction: whether to correct that the average began with zero.

    Raises:
        ValueError: with both `centered` and `bias_correction`.
    """
    if centered and bias_correction:
        raise ValueError("rmsprop has no bias_correction with centered")
    if centered:
        scaling = scale_by_stddev(decay, eps, initial_scale, eps_in_sqrt)
    else:
        scaling = scale_by_rms(decay, eps, initial_scale, eps_in_sqrt, bias_correction)
    momentum_part = identity() if momentum is None else trace(momentum, nesterov)
    return chain(scaling, scale_by_learning_rate(learning_rate), momentum_part)


def adagrad(
    learning_rate: ScalarOrSchedule, initial_accumulator_value: Any = 0.1, eps: Any = 1e-7
) -> GradientTransformationExtraArgs:
    """AdaGrad (Duchi, Hazan and Singer, JMLR 12, 2011).

    Args:
        learning_rate: a number or a schedule.
        initial_accumulator_value, eps: as of `scale_by_rss`.
    """
    return chain(scale_by_rss(initial_accumulator_value, eps), scale_by_learning_rate(learning_rate))


def adadelta(
    learning_rate: ScalarOrSchedule = 1.0,
    rho: Any = 0.9,
    eps: Any = 1e-6,
    weight_decay: Any = 0.0,
    weight_decay_mask: Mask | None = None,
) -> GradientTransformationExtraArgs:
    """AdaDelta (Zeiler, arXiv:1212.5701).

    Args:
        learning_rate: a number or a schedule; 1 in the paper.
        rho, eps: as of `scale_by_adadelta`.
        weight_decay: added to the gradients, times the parameters.
        weight_decay_mask: which parameters decay, as of `masked`.
    """
    parts: list[GradientTransformation] = [scale_by_adadelta(rho, eps), scale_by_learning_rate(learning_rate)]
    if _is_there(weight_decay):
        parts.insert(0, add_decayed_weights(weight_decay, weight_decay_mask))
    return chain(*parts)


def _is_there(weight_decay: Any) -> bool:
    return not isinstance(weight_decay, (int, float)) or weight_decay != 0


def adam(
    learning_rate: ScalarOrSchedule,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
) -> GradientTransformationExtraArgs:
    """Adam (Kingma and Ba, arXiv:1412.6980).

    Args:
        learning_rate: a number or a schedule.
        b1, b2, eps, eps_root, mu_dtype, nesterov: as of `scale_by_adam`.

    >>> import numpy as np
    >>> from functrans import optim
    >>> optimizer = optim.adam(0.1)
    >>> params = {'w': np.array([1.0, -1.0])}
    >>> updates, state = optimizer.update({'w': np.array([30.0, -0.02])}, optimizer.init(params), params)
    >>> np.round(updates['w'], 4)
    array([-0.1, 0.1])
    """
    adapted = scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov)
    return chain(adapted, scale_by_learning_rate(learning_rate))


def nadam(
    learning_rate: ScalarOrSchedule,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
) -> GradientTransformationExtraArgs:
    """Adam with Nesterov's momentum (Dozat, ICLR workshop 2016).

    Args:
        learning_rate: a number or a schedule.
        b1, b2, eps, eps_root, mu_dtype, nesterov: as of `scale_by_adam`.
    """
    return adam(learning_rate, b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov)


def adamw(
    learning_rate: ScalarOrSchedule,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    mu_dtype: Any = None,
    weight_decay: Any = 1e-4,
    mask: Mask | None = None,
    *,
    nesterov: bool = False,
) -> GradientTransformationExtraArgs:
    """Adam with decoupled weight decay (Loshchilov and Hutter, arXiv:1711.05101). The decay is multiplied by the
    learning rate.

    Args:
        learning_rate: a number or a schedule.
        b1, b2, eps, eps_root, mu_dtype, nesterov: as of `scale_by_adam`.
        weight_decay, mask: as of `add_decayed_weights`.
    """
    adapted = scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov)
    return chain(adapted, add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate))


def nadamw(
    learning_rate: ScalarOrSchedule,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    mu_dtype: Any = None,
    weight_decay: Any = 1e-4,
    mask: Mask | None = None,
    *,
    nesterov: bool = True,
) -> GradientTransformationExtraArgs:
    """`adamw` with Nesterov's momentum.

    Args:
        learning_rate: a number or a schedule.
        b1, b2, eps, eps_root, mu_dtype, nesterov: as of `scale_by_adam`.
        weight_decay, mask: as of `add_decayed_weights`.
    """
    return adamw(learning_rate, b1, b2, eps, eps_root, mu_dtype, weight_decay, mask, nesterov=nesterov)


def amsgrad(
    learning_rate: ScalarOrSchedule,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    mu_dtype: Any = None,
) -> GradientTransformationExtraArgs:
    """AMSGrad (Reddi, Kale and Kumar, arXiv:1904.09237).

    Args:
        learning_rate: a number or a schedule.
        b1, b2, eps, eps_root, mu_dtype: as of `scale_by_adam`.
    """
    return chain(scale_by_amsgrad(b1, b2, eps, eps_root, mu_dtype), scale_by_learning_rate(learning_rate))


def adamax(
    learning_rate: ScalarOrSchedule, b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-8
) -> GradientTransformationExtraArgs:
    """AdaMax (Kingma and Ba, arXiv:1412.6980, algorithm 2).

    Args:
        learning_rate: a number or a schedule.
        b1, b2, eps: as of `scale_by_adamax`.
    """
    return chain(scale_by_adamax(b1, b2, eps), scale_by_learning_rate(learning_rate))


def adamaxw(
    learning_rate: ScalarOrSchedule,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    weight_decay: Any = 1e-4,
    mask: Mask | None = None,
) -> GradientTransformationExtraArgs:
    """`adamax` with decoupled weight decay.

    Args:
        learning_rate: a number or a schedule.
        b1, b2, eps: as of `scale_by_adamax`.
        weight_decay, mask: as of `add_decayed_weights`.
    """
    decay = add_decayed_weights(weight_decay, mask)
    return chain(scale_by_adamax(b1, b2, eps), decay, scale_by_learning_rate(learning_rate))


def adabelief(
    learning_rate: ScalarOrSchedule,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-16,
    eps_root: Any = 1e-16,
    *,
    nesterov: bool = False,
) -> GradientTransformationExtraArgs:
    """AdaBelief (Zhuang et al., arXiv:2010.07468).

    Args:
        learning_rate: a number or a schedule.
        b1, b2, eps, eps_root, nesterov: as of `scale_by_belief`.
    """
    return chain(scale_by_belief(b1, b2, eps, eps_root, nesterov=nesterov), scale_by_learning_rate(learning_rate))


def radam(
    learning_rate: ScalarOrSchedule,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    threshold: Any = 5.0,
    *,
    nesterov: bool = False,
) -> GradientTransformationExtraArgs:
    """Rectified Adam (Liu et al., arXiv:1908.03265).

    Args:
        learning_rate: a number or a schedule.
        b1, b2, eps, eps_root, threshold, nesterov: as of `scale_by_radam`.
    """
    adapted = scale_by_radam(b1, b2, eps, eps_root, threshold, nesterov=nesterov)
    return chain(adapted, scale_by_learning_rate(learning_rate))


def lion(
    learning_rate: ScalarOrSchedule,
    b1: Any = 0.9,
    b2: Any = 0.99,
    mu_dtype: Any = None,
    weight_decay: Any = 1e-3,
    mask: Mask | None = None,
) -> GradientTransformationExtraArgs:
    """Lion (Chen et al., arXiv:2302.06675). It wants a learning rate some ten times smaller than Adam's.

    Args:
        learning_rate: a number or a schedule.
        b1, b2, mu_dtype: as of `scale_by_lion`.
        weight_decay, mask: as of `add_decayed_weights`.
    """
    decay = add_decayed_weights(weight_decay, mask)
    return chain(scale_by_lion(b1, b2, mu_dtype), decay, scale_by_learning_rate(learning_rate))


def lamb(
    learning_rate: ScalarOrSchedule,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-6,
    eps_root: Any = 0.0,
    weight_decay: Any = 0.0,
    mask: Mask | None = None,
) -> GradientTransformationExtraArgs:
    """LAMB (You et al., arXiv:1904.00962, algorithm 2): Adam in proportion to the norm of each array.

    Args:
        learning_rate: a number or a schedule.
        b1, b2, eps, eps_root: as of `scale_by_adam`.
        weight_decay, mask: as of `add_decayed_weights`.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_trust_ratio(),
        scale_by_learning_rate(learning_rate),
    )


def lars(
    learning_rate: ScalarOrSchedule,
    weight_decay: Any = 0.0,
    weight_decay_mask: Mask = True,
    trust_coefficient: Any = 0.001,
    eps: Any = 0.0,
    trust_ratio_mask: Mask = True,
    momentum: Any = 0.9,
    nesterov: bool = False,
) -> GradientTransformationExtraArgs:
    """LARS (You, Gitman and Ginsburg, arXiv:1708.03888).

    Args:
        learning_rate: a number or a schedule.
        weight_decay, weight_decay_mask: as of `add_decayed_weights`.
        trust_coefficient, eps: as of `scale_by_trust_ratio`.
        trust_ratio_mask: which arrays are scaled, as of `masked`.
        momentum, nesterov: as of `trace`.
    """
    return chain(
        add_decayed_weights(weight_decay, weight_decay_mask),
        masked(scale_by_trust_ratio(trust_coefficient=trust_coefficient, eps=eps), trust_ratio_mask),
        scale_by_learning_rate(learning_rate),
        trace(momentum, nesterov),
    )


_DEFAULT: Any = object()


def lbfgs(
    learning_rate: ScalarOrSchedule | None = None,
    memory_size: int = 10,
    scale_init_precond: bool = True,
    linesearch: GradientTransformation | None = _DEFAULT,
) -> GradientTransformationExtraArgs:
    """L-BFGS (Liu and Nocedal, Math. Programming 45, 1989), with a line search; `minimize` runs it.

    Args:
        learning_rate: a number or a schedule; 1 if None.
        memory_size, scale_init_precond: as of `scale_by_lbfgs`.
        linesearch: the last transformation: `scale_by_zoom_linesearch(20, initial_guess_strategy="one")` if not given,
            `scale_by_backtracking_linesearch(...)`, or None.

    With a line search, `update` takes also `value=`, `grad=` and `value_fn=`:

    >>> import numpy as np
    >>> from functrans import optim
    >>> loss = lambda x: np.sum((x - 3.0) ** 4) + np.sum(x * x)
    >>> optimizer = optim.lbfgs()
    >>> x = np.zeros(2)
    >>> state = optimizer.init(x)
    >>> value_and_grad = optim.value_and_grad_from_state(loss)
    >>> for _ in range(12):
    ...     value, grad = value_and_grad(x, state=state)
    ...     updates, state = optimizer.update(grad, state, x, value=value, grad=grad, value_fn=loss)
    ...     x = optim.apply_updates(x, updates)
    >>> x
    array([2., 2.])
    """
    if learning_rate is None:
        descent: GradientTransformation = scale_by_learning_rate(1.0)
    else:
        descent = scale_by_learning_rate(learning_rate)
    if linesearch is _DEFAULT:
        linesearch = scale_by_zoom_linesearch(max_linesearch_steps=20, initial_guess_strategy="one")
    return chain(scale_by_lbfgs(memory_size, scale_init_precond), descent, linesearch or identity())
