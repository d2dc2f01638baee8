"""Neural networks as pure functions: activations, losses, attention, normalization, pooling, initial values, layers.

Names and keywords are those of `jax.nn`; the losses are those of `optax.losses`, and `stax` has layers as pairs of
functions. There are no module classes: parameters are pytrees of arrays, and state is an argument and a result.

>>> import numpy as np
>>> import functrans as ft
>>> def loss(params, x, labels):
...     (W1, b1), (W2, b2) = params
...     logits = ft.nn.relu(x @ W1 + b1) @ W2 + b2
...     return np.mean(ft.nn.softmax_cross_entropy_with_integer_labels(logits, labels))
>>> init = ft.nn.initializers.he_normal()
>>> keys = ft.random.split(ft.random.key(0))
>>> params = [(init(keys[0], (4, 8)), np.zeros(8)), (init(keys[1], (8, 3)), np.zeros(3))]
>>> ft.grad(loss)(params, np.ones((5, 4)), np.array([0, 1, 2, 1, 0]))[1][1].shape
(3,)
"""

from functrans.nn import initializers, stax
from functrans.nn.activations import (
    gelu,
    glu,
    identity,
    log1mexp,
    log_sigmoid,
    mish,
    sigmoid,
    silu,
    soft_sign,
    softplus,
    sparse_plus,
    sparse_sigmoid,
    swish,
    tanh,
)
from functrans.nn.alignment import ctc_loss
from functrans.nn.attention import dot_product_attention
from functrans.nn.dropping import dropout
from functrans.nn.losses import (
    cosine_distance,
    cosine_similarity,
    hinge_loss,
    huber_loss,
    kl_divergence,
    kl_divergence_with_log_targets,
    l2_loss,
    log_cosh,
    multiclass_hinge_loss,
    perceptron_loss,
    sigmoid_binary_cross_entropy,
    sigmoid_focal_loss,
    smooth_labels,
    softmax_cross_entropy,
    softmax_cross_entropy_with_integer_labels,
    squared_error,
)
from functrans.nn.normalization import (
    BatchNormState,
    batch_norm,
    batch_norm_state,
    group_norm,
    instance_norm,
    layer_norm,
    rms_norm,
)
from functrans.nn.pooling import avg_pool, max_pool, min_pool
from functrans.nn.rectifiers import (
    celu,
    elu,
    hard_sigmoid,
    hard_silu,
    hard_swish,
    hard_tanh,
    leaky_relu,
    relu,
    relu6,
    selu,
    squareplus,
)
from functrans.nn.softmaxes import log_softmax, logmeanexp, logsumexp, one_hot, softmax, standardize

__all__ = [
    "avg_pool",
    "batch_norm",
    "batch_norm_state",
    "BatchNormState",
    "celu",
    "cosine_distance",
    "cosine_similarity",
    "ctc_loss",
    "dot_product_attention",
    "dropout",
    "elu",
    "gelu",
    "glu",
    "group_norm",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "hinge_loss",
    "huber_loss",
    "identity",
    "initializers",
    "instance_norm",
    "kl_divergence",
    "kl_divergence_with_log_targets",
    "l2_loss",
    "layer_norm",
    "leaky_relu",
    "log1mexp",
    "log_cosh",
    "log_sigmoid",
    "log_softmax",
    "logmeanexp",
    "logsumexp",
    "max_pool",
    "min_pool",
    "mish",
    "multiclass_hinge_loss",
    "one_hot",
    "perceptron_loss",
    "relu",
    "relu6",
    "rms_norm",
    "selu",
    "sigmoid",
    "sigmoid_binary_cross_entropy",
    "sigmoid_focal_loss",
    "silu",
    "smooth_labels",
    "soft_sign",
    "softmax",
    "softmax_cross_entropy",
    "softmax_cross_entropy_with_integer_labels",
    "softplus",
    "sparse_plus",
    "sparse_sigmoid",
    "squared_error",
    "squareplus",
    "standardize",
    "stax",
    "swish",
    "tanh",
]
