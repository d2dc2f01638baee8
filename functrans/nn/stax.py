"""Layers as pairs of pure functions, under the names of `jax.example_libraries.stax`, and a few more.

A layer is `(init, apply)`: `init(key, input_shape)` gives the shape of the output and the parameters, a pytree;
`apply(params, inputs, **kwargs)` gives the output. Layers are joined by `serial` and `parallel`, which hand the keyword
`rng`, a key, and all others on to each layer. Features come last.

>>> import numpy as np
>>> import functrans as ft
>>> from functrans.nn import stax
>>> init, apply = stax.serial(stax.Dense(8), stax.Relu, stax.Dense(2), stax.LogSoftmax)
>>> shape, params = init(ft.random.key(0), (-1, 4))
>>> shape, apply(params, np.ones((5, 4))).shape
((-1, 2), (5, 2))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np

from functrans import lax, random
from functrans import numpy as fnp
from functrans.api import ShapeDtypeStruct, eval_shape
from functrans.nn import activations, rectifiers
from functrans.nn.composing import call, public
from functrans.nn.dropping import dropout
from functrans.nn.initializers import Initializer, glorot_normal, normal, ones, orthogonal, zeros
from functrans.nn.normalization import layer_norm
from functrans.nn.pooling import largest, mean_of_elements, sum_pool, window_of
from functrans.nn.softmaxes import log_softmax, softmax, standardize
from functrans.numpy.promotion import promote
from functrans.ops.convolving import conv_general_dilated, conv_transpose

__all__ = [
    "AvgPool",
    "BatchNorm",
    "Conv",
    "Conv1DTranspose",
    "ConvTranspose",
    "Dense",
    "Dropout",
    "Elu",
    "Embedding",
    "Exp",
    "FanInConcat",
    "FanInSum",
    "FanOut",
    "Flatten",
    "GRU",
    "Gelu",
    "GeneralConv",
    "GeneralConvTranspose",
    "Identity",
    "LSTM",
    "LayerNorm",
    "LeakyRelu",
    "LogSoftmax",
    "MaxPool",
    "Relu",
    "Selu",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "SumPool",
    "Tanh",
    "elementwise",
    "parallel",
    "serial",
    "shape_dependent",
]

Shape = tuple[int, ...]
Layer = tuple[Callable[..., Any], Callable[..., Any]]
"""`init(key, input_shape) -> (output_shape, params)` and `apply(params, inputs, **kwargs) -> outputs`."""


def _plain(apply: Callable[..., Any], output_shape: Callable[[Any], Any] = lambda shape: shape) -> Layer:
    """A layer without parameters."""

    def init(key: Any, input_shape: Any) -> tuple[Any, Any]:
        return output_shape(input_shape), ()

    return init, apply


# --------------------------------------------------------------------------------------------------------------------
# Dense layers and convolutions


def _affine(inputs: Any, weights: Any, bias: Any) -> Any:
    inputs, weights, bias = promote(inputs, weights, bias)
    if not inputs.ndim or inputs.shape[-1] != weights.shape[0]:
        raise ValueError(
            f"the inputs of the layer, {inputs.aval.strong}, must have as many features as its parameter W, "
            f"{weights.aval.strong}, has rows"
        )
    out = lax.dot_general(inputs, weights, (((inputs.ndim - 1,), (0,)), ((), ())))
    return lax.add(out, lax.broadcast_in_dim(bias, out.shape, (out.ndim - 1,)))


def Dense(  # noqa: N802  (JAX's names)
    out_dim: int, W_init: Initializer | None = None, b_init: Initializer | None = None
) -> Layer:
    """A dense layer: inputs @ W + b. Its parameters are (W, b).

    Args:
        out_dim: the number of output features.
        W_init: the initializer of W, `glorot_normal()` if not given.
        b_init: that of b, `normal()` if not given.
    """
    W_init, b_init = W_init or glorot_normal(), b_init or normal()

    def init(key: Any, input_shape: Shape) -> tuple[Shape, Any]:
        key_W, key_b = random.split(key)
        return (*input_shape[:-1], out_dim), (W_init(key_W, (input_shape[-1], out_dim)), b_init(key_b, (out_dim,)))

    def apply(params: Any, inputs: Any, **kwargs: Any) -> Any:
        W, b = params
        return call(_affine, (inputs, W, b))

    return init, public(apply)


def _with_bias(convolution: Callable[..., Any], dimension_numbers: Sequence[str], **params: Any) -> Callable[..., Any]:
    def apply(params_: Any, inputs: Any, **kwargs: Any) -> Any:
        W, b = params_
        return fnp.add(convolution(inputs, W, dimension_numbers=tuple(dimension_numbers), **params), b)

    return public(apply)


def _convolution_layer(
    convolution: Callable[..., Any],
    stride_name: str,
    dimension_numbers: Sequence[str],
    out_chan: int,
    filter_shape: Sequence[int],
    strides: Sequence[int] | None,
    padding: Any,
    W_init: Initializer | None,
    b_init: Initializer | None,
) -> Layer:
    lhs_spec, rhs_spec, out_spec = dimension_numbers
    make_W = W_init or glorot_normal(rhs_spec.index("I"), rhs_spec.index("O"))
    make_b = b_init or normal(1e-6)
    params = {stride_name: tuple(strides) if strides else (1,) * len(filter_shape), "padding": padding}
    apply = _with_bias(convolution, dimension_numbers, **params)

    def init(key: Any, input_shape: Shape) -> tuple[Shape, Any]:
        window = iter(filter_shape)
        features = {"O": out_chan, "I": input_shape[lhs_spec.index("C")]}
        kernel_shape = tuple([features[c] if c in features else next(window) for c in rhs_spec])
        bias_shape = tuple([out_chan if c == "C" else 1 for c in out_spec])
        known = tuple([1 if n == -1 else n for n in input_shape])
        places = [ShapeDtypeStruct(shape, float) for shape in (known, kernel_shape, bias_shape)]
        found = list(eval_shape(lambda x, W, b: apply((W, b), x), *places).shape)
        if input_shape[lhs_spec.index("N")] == -1:
            found[out_spec.index("N")] = -1
        key_W, key_b = random.split(key)
        return tuple(found), (make_W(key_W, kernel_shape), make_b(key_b, bias_shape))

    return public(init), apply


def GeneralConv(  # noqa: N802
    dimension_numbers: Sequence[str],
    out_chan: int,
    filter_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: Any = "VALID",
    W_init: Initializer | None = None,
    b_init: Initializer | None = None,
) -> Layer:
    """A convolution of any layout, with a bias. Its parameters are (W, b).

    Args:
        dimension_numbers: three strings, see `functrans.lax.conv_dimension_numbers`.
        out_chan: the number of output features.
        filter_shape: the lengths of the window.
        strides: by how much it moves; 1 if not given.
        padding: a name or pairs, see `functrans.lax.conv_general_dilated`.
        W_init: the initializer of W, `glorot_normal` over its features if not given.
        b_init: that of b, `normal(1e-6)` if not given.
    """
    rest = (out_chan, filter_shape, strides, padding, W_init, b_init)
    return _convolution_layer(conv_general_dilated, "window_strides", dimension_numbers, *rest)


def GeneralConvTranspose(  # noqa: N802
    dimension_numbers: Sequence[str],
    out_chan: int,
    filter_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: Any = "VALID",
    W_init: Initializer | None = None,
    b_init: Initializer | None = None,
) -> Layer:
    """A transposed convolution of any layout, with a bias; see `GeneralConv` and `functrans.lax.conv_transpose`."""
    rest = (out_chan, filter_shape, strides, padding, W_init, b_init)
    return _convolution_layer(conv_transpose, "strides", dimension_numbers, *rest)


Conv = partial(GeneralConv, ("NHWC", "HWIO", "NHWC"))
Conv1DTranspose = partial(GeneralConvTranspose, ("NHC", "HIO", "NHC"))
ConvTranspose = partial(GeneralConvTranspose, ("NHWC", "HWIO", "NHWC"))


def Embedding(num_embeddings: int, features: int, embedding_init: Initializer | None = None) -> Layer:  # noqa: N802
    """A table of vectors: inputs are integers, outputs the vectors of these numbers. Its parameter is the table.

    A number that is none raises IndexError when it is computed.

    Args:
        num_embeddings: how many vectors there are.
        features: their length.
        embedding_init: the initializer of the table, `normal(1.0)` if not given.
    """
    make = embedding_init or normal(1.0)

    def init(key: Any, input_shape: Shape) -> tuple[Shape, Any]:
        return (*input_shape, features), make(key, (num_embeddings, features))

    def apply(params: Any, inputs: Any, **kwargs: Any) -> Any:
        return fnp.take(params, inputs, 0)

    return init, public(apply)


# --------------------------------------------------------------------------------------------------------------------
# Normalization, dropout


def _scale_and_shift(
    axis: Any, center: bool, scale: bool, beta_init: Initializer, gamma_init: Initializer, features: Callable[..., Any]
) -> Callable[..., Any]:
    def init(key: Any, input_shape: Shape) -> tuple[Shape, Any]:
        shape = features(input_shape)
        key_beta, key_gamma = random.split(key)
        beta = beta_init(key_beta, shape) if center else ()
        return input_shape, (beta, gamma_init(key_gamma, shape) if scale else ())

    return init


def BatchNorm(  # noqa: N802
    axis: Any = (0, 1, 2),
    epsilon: float = 1e-5,
    center: bool = True,
    scale: bool = True,
    beta_init: Initializer = zeros,
    gamma_init: Initializer = ones,
) -> Layer:
    """Batch normalization by the statistics of the batch, always. Its parameters are (beta, gamma).

    With running statistics: `functrans.nn.batch_norm`.

    Args:
        axis: the axes that are normalized over.
        epsilon: is added to the variance.
        center, scale: whether there are a shift beta and a factor gamma.
        beta_init, gamma_init: their initializers.
    """
    axes = (axis,) if isinstance(axis, int) else tuple(axis)

    def features(shape: Shape) -> Shape:
        over = [d % len(shape) for d in axes]
        return tuple([n for d, n in enumerate(shape) if d not in over])

    def apply(params: Any, inputs: Any, **kwargs: Any) -> Any:
        beta, gamma = params
        out = standardize(inputs, axes, epsilon=epsilon)
        over = tuple([d % out.ndim for d in axes])
        out = out * fnp.expand_dims(gamma, over) if scale else out
        return out + fnp.expand_dims(beta, over) if center else out

    return _scale_and_shift(axes, center, scale, beta_init, gamma_init, features), public(apply)


def LayerNorm(  # noqa: N802
    epsilon: float = 1e-5,
    center: bool = True,
    scale: bool = True,
    beta_init: Initializer = zeros,
    gamma_init: Initializer = ones,
) -> Layer:
    """Layer normalization over the last axis. Its parameters are (beta, gamma), as those of `BatchNorm`."""

    def apply(params: Any, inputs: Any, **kwargs: Any) -> Any:
        beta, gamma = params
        return layer_norm(inputs, gamma if scale else None, beta if center else None, epsilon=epsilon)

    return _scale_and_shift(-1, center, scale, beta_init, gamma_init, lambda shape: shape[-1:]), public(apply)


def Dropout(rate: float, mode: str = "train") -> Layer:  # noqa: N802
    """Dropout. Beware: as in JAX's stax, `rate` is the probability to *keep* an element.

    Args:
        rate: how likely an element is kept.
        mode: "train"; otherwise nothing is dropped.

    `apply` needs the keyword `rng`, a key.
    """
    if not 0 < rate <= 1:
        raise ValueError(f"stax.Dropout: rate is the probability to keep an element, above 0 and up to 1, got {rate}")

    def apply(params: Any, inputs: Any, **kwargs: Any) -> Any:
        if kwargs.get("rng") is None:
            raise ValueError(
                "stax.Dropout needs a key: call apply(params, inputs, rng=key) with a key of functrans.random"
            )
        return dropout(kwargs["rng"], inputs, 1 - rate, deterministic=mode != "train")

    return _plain(public(apply))


# --------------------------------------------------------------------------------------------------------------------
# Functions


def elementwise(fun: Callable[..., Any], **fun_kwargs: Any) -> Layer:
    """A layer that applies a function to its inputs, which keeps their shape."""

    def apply(params: Any, inputs: Any, **kwargs: Any) -> Any:
        return fun(inputs, **fun_kwargs)

    return _plain(apply)


Elu = elementwise(rectifiers.elu)
Exp = elementwise(fnp.exp)
Gelu = elementwise(activations.gelu)
LeakyRelu = elementwise(rectifiers.leaky_relu)
LogSoftmax = elementwise(log_softmax, axis=-1)
Relu = elementwise(rectifiers.relu)
Selu = elementwise(rectifiers.selu)
Sigmoid = elementwise(activations.sigmoid)
Softmax = elementwise(softmax, axis=-1)
Softplus = elementwise(activations.softplus)
Tanh = elementwise(activations.tanh)


def _flattened(params: Any, inputs: Any, **kwargs: Any) -> Any:
    return fnp.reshape(inputs, (inputs.shape[0], prod(inputs.shape[1:])))


def _same(params: Any, inputs: Any, **kwargs: Any) -> Any:
    return inputs


Flatten = _plain(_flattened, lambda shape: (shape[0], prod(shape[1:])))
Identity = _plain(_same)

# --------------------------------------------------------------------------------------------------------------------
# Pooling


def _pooling(name: str, pool: Callable[..., Any], window_shape: Any, strides: Any, padding: Any, spec: Any) -> Layer:
    outside = None if spec is None else (spec.index("N"), spec.index("C"))

    def window(shape: Shape) -> Any:
        return window_of(f"stax.{name}", shape, window_shape, strides, padding, outside)

    def output_shape(shape: Shape) -> Shape:
        lengths, steps, pads = window(shape)
        out = [
            (n + sum(pair) - k) // s + 1 if k > 1 or s > 1 or any(pair) else n
            for n, k, s, pair in zip(shape, lengths, steps, pads, strict=True)
        ]
        return tuple(out)

    def apply(params: Any, inputs: Any, **kwargs: Any) -> Any:
        return call(pool, (inputs,), *window(inputs.shape))

    return _plain(public(apply), output_shape)


def MaxPool(  # noqa: N802
    window_shape: Sequence[int], strides: Sequence[int] | None = None, padding: Any = "VALID", spec: str | None = None
) -> Layer:
    """The largest element of each window; see `functrans.nn.max_pool`.

    Args:
        window_shape, strides, padding: see there.
        spec: a letter for each axis, such as "NCHW": N the batch, C the features. If not given they are the first and
            the last axis.
    """
    return _pooling("MaxPool", largest, window_shape, strides, padding, spec)


def SumPool(  # noqa: N802
    window_shape: Sequence[int], strides: Sequence[int] | None = None, padding: Any = "VALID", spec: str | None = None
) -> Layer:
    """The sum of each window; see `MaxPool`."""
    return _pooling("SumPool", sum_pool, window_shape, strides, padding, spec)


def AvgPool(  # noqa: N802
    window_shape: Sequence[int], strides: Sequence[int] | None = None, padding: Any = "VALID", spec: str | None = None
) -> Layer:
    """The mean of the elements of each window, in which padding does not count; see `MaxPool`."""
    return _pooling("AvgPool", mean_of_elements, window_shape, strides, padding, spec)


# --------------------------------------------------------------------------------------------------------------------
# Recurrent layers


def _gates(n_gates: int, features: int, W_init: Initializer, U_init: Initializer) -> Callable[..., Any]:
    def init(key: Any, input_shape: Shape) -> tuple[Shape, Any]:
        keys = random.split(key, 2 * n_gates)
        W = [W_init(keys[i], (input_shape[-1], features)) for i in range(n_gates)]
        U = [U_init(keys[n_gates + i], (features, features)) for i in range(n_gates)]
        params = fnp.concatenate(W, 1), fnp.concatenate(U, 1), np.zeros((n_gates * features,), W[0].dtype)
        return (*input_shape[:-1], features), params

    return init


def _over_time(cell: Callable[..., Any], n_states: int, features: int) -> Callable[..., Any]:
    """The layer of a cell: batch first, then time. What does not depend on the state is one product."""

    def apply(params: Any, inputs: Any, **kwargs: Any) -> Any:
        W, U, b = params
        projected = call(_affine, (inputs, W, b))
        state = kwargs.get("initial_state")
        if state is None:
            zero = np.zeros((*inputs.shape[:-2], features), projected.dtype)
            state = (zero,) * n_states
        step = partial(cell, U)
        return fnp.moveaxis(lax.scan(step, tuple(state), fnp.moveaxis(projected, -2, 0))[1], 0, -2)

    return public(apply)


def _lstm_cell(U: Any, state: Any, projected: Any) -> Any:
    hidden, memory = state
    gates = projected + hidden @ U
    entering, kept, shown, new = fnp.split(gates, 4, -1)
    memory = activations.sigmoid(kept) * memory + activations.sigmoid(entering) * fnp.tanh(new)
    hidden = activations.sigmoid(shown) * fnp.tanh(memory)
    return (hidden, memory), hidden


def LSTM(  # noqa: N802
    features: int, W_init: Initializer | None = None, U_init: Initializer | None = None, forget_bias: float = 1.0
) -> Layer:
    """A long short-term memory (Hochreiter and Schmidhuber 1997; Gers, Schmidhuber and Cummins 2000) over time.

    Inputs are (batch, time, features), or without the batch; outputs are the hidden states, likewise. Its parameters
    are (W, U, b): of the inputs, of the state, and the bias, each for the gates input, forget, output and the new
    values, in this order, side by side.

    Args:
        features: the number of hidden features.
        W_init, U_init: initializers, `glorot_normal()` and `orthogonal()` if not given.
        forget_bias: the bias of the forget gate in the beginning.

    `apply` takes the keyword `initial_state`, hidden values and memory, zeros if not given.
    """
    make = _gates(4, features, W_init or glorot_normal(), U_init or orthogonal())

    def init(key: Any, input_shape: Shape) -> tuple[Shape, Any]:
        shape, (W, U, b) = make(key, input_shape)
        b[features : 2 * features] = forget_bias
        return shape, (W, U, b)

    return init, _over_time(_lstm_cell, 2, features)


def _gru_cell(U: Any, state: Any, projected: Any) -> Any:
    (hidden,) = state
    n = hidden.shape[-1]
    reset, update = fnp.split(activations.sigmoid(projected[..., : 2 * n] + hidden @ U[:, : 2 * n]), 2, -1)
    new = fnp.tanh(projected[..., 2 * n :] + (reset * hidden) @ U[:, 2 * n :])
    hidden = update * hidden + (1 - update) * new
    return (hidden,), hidden


def GRU(features: int, W_init: Initializer | None = None, U_init: Initializer | None = None) -> Layer:  # noqa: N802
    """A gated recurrent unit (Cho et al. 2014) over time.

    As `LSTM`, with the gates reset and update and the new values, in this order; `initial_state` is a tuple of the
    hidden values alone.
    """
    return _gates(3, features, W_init or glorot_normal(), U_init or orthogonal()), _over_time(_gru_cell, 1, features)


# --------------------------------------------------------------------------------------------------------------------
# Layers of layers


def FanOut(num: int) -> Layer:  # noqa: N802
    """A layer that gives its input so many times, as a list."""

    def apply(params: Any, inputs: Any, **kwargs: Any) -> Any:
        return [inputs] * num

    return _plain(apply, lambda shape: [shape] * num)


def _summed(params: Any, inputs: Any, **kwargs: Any) -> Any:
    total = inputs[0]
    for x in inputs[1:]:
        total = total + x
    return total


FanInSum = _plain(_summed, lambda shapes: shapes[0])


def FanInConcat(axis: int = -1) -> Layer:  # noqa: N802
    """A layer that joins a list of inputs along an axis."""

    def output_shape(shapes: Sequence[Shape]) -> Shape:
        first = list(shapes[0])
        first[axis] = sum([shape[axis] for shape in shapes])
        return tuple(first)

    def apply(params: Any, inputs: Any, **kwargs: Any) -> Any:
        return fnp.concatenate(inputs, axis)

    return _plain(apply, output_shape)


def _keys(key: Any, n: int) -> list[Any]:
    if key is None:
        return [None] * n
    split = random.split(key, n)
    return [split[i] for i in range(n)]


def serial(*layers: Layer) -> Layer:
    """Layers one after the other. The parameters are a list of theirs."""

    def init(key: Any, input_shape: Any) -> tuple[Any, Any]:
        params = []
        for make, _ in layers:
            key, own = random.split(key)
            input_shape, param = make(own, input_shape)
            params.append(param)
        return input_shape, params

    def apply(params: Any, inputs: Any, rng: Any = None, **kwargs: Any) -> Any:
        _check_number("serial", "parameters", params, layers)
        for (_, run), param, key in zip(layers, params, _keys(rng, len(layers)), strict=True):
            inputs = run(param, inputs, rng=key, **kwargs)
        return inputs

    return init, apply


def parallel(*layers: Layer) -> Layer:
    """Layers side by side, each on its own of a list of inputs, often between `FanOut` and `FanInSum`."""

    def init(key: Any, input_shape: Any) -> tuple[Any, Any]:
        _check_number("parallel", "input shapes", input_shape, layers)
        keys = _keys(key, len(layers))
        made = [make(k, shape) for (make, _), k, shape in zip(layers, keys, input_shape, strict=True)]
        return [shape for shape, _ in made], [params for _, params in made]

    def apply(params: Any, inputs: Any, rng: Any = None, **kwargs: Any) -> Any:
        _check_number("parallel", "inputs", inputs, layers)
        together = zip(layers, params, inputs, _keys(rng, len(layers)), strict=True)
        return [run(p, x, rng=key, **kwargs) for (_, run), p, x, key in together]

    return init, apply


def _check_number(name: str, what: str, given: Any, layers: Sequence[Layer]) -> None:
    if len(given) != len(layers):
        raise ValueError(f"stax.{name}: there are {len(layers)} layers and {len(given)} {what}")


def shape_dependent(make_layer: Callable[[Any], Layer]) -> Layer:
    """A layer that is made when the shape of its input is known.

    Args:
        make_layer: a function of the shape that gives a layer.
    """

    def init(key: Any, input_shape: Any) -> tuple[Any, Any]:
        return make_layer(input_shape)[0](key, input_shape)

    def apply(params: Any, inputs: Any, **kwargs: Any) -> Any:
        return make_layer(inputs.shape)[1](params, inputs, **kwargs)

    return init, apply
