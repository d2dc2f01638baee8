"""Layers as pairs of functions."""

import numpy as np
import pytest

import functrans as ft
from functrans.nn import stax
from functrans.test_util import check_grads
from functrans.tree import leaves

KEY = ft.random.key(3)
rng = np.random.default_rng(5)


def logistic(x):
    return 1 / (1 + np.exp(-x))


def network():
    branch = stax.serial(stax.Conv(3, (3, 3), (2, 2)), stax.Tanh)
    return stax.serial(
        stax.Conv(4, (3, 3), padding="SAME"),
        stax.BatchNorm(),
        stax.Relu,
        stax.MaxPool((2, 2), (2, 2)),
        stax.FanOut(2),
        stax.parallel(stax.Conv(3, (3, 3), (2, 2)), branch),
        stax.FanInSum,
        stax.ConvTranspose(2, (2, 2), (2, 2), "SAME"),
        stax.AvgPool((2, 2), padding="SAME"),
        stax.Flatten,
        stax.LayerNorm(),
        stax.shape_dependent(lambda shape: stax.Dense(shape[-1] + 1)),
        stax.LogSoftmax,
    )


def test_a_network():
    init, apply = network()
    x = rng.normal(size=(5, 8, 8, 2))
    shape, params = init(KEY, (-1, 8, 8, 2))
    out = apply(params, x)
    assert shape == (-1, *out.shape[1:])
    np.testing.assert_allclose(np.exp(out).sum(-1), np.ones(5))
    np.testing.assert_allclose(ft.jit(apply)(params, x), out, rtol=1e-12)
    check_grads(lambda p: apply(p, x), (params,), order=1)
    single = ft.tree.map(lambda leaf: leaf.astype("float32"), params)
    grads = ft.grad(lambda p: apply(p, x.astype("float32")).sum())(single)
    assert {leaf.dtype.name for leaf in leaves(grads)} == {"float32"}


LAYERS = {
    "dense": (stax.Dense(4), (5, 3)),
    "dense-vector": (stax.Dense(4), (3,)),
    "conv": (stax.Conv(4, (2, 3), (2, 1), "SAME"), (2, 5, 6, 3)),
    "conv-first": (stax.GeneralConv(("NCHW", "OIHW", "NCHW"), 4, (2, 3)), (2, 3, 5, 6)),
    "conv-transpose-1d": (stax.Conv1DTranspose(2, (3,), (2,)), (2, 5, 3)),
    "batch-norm": (stax.BatchNorm(0, center=False), (4, 3)),
    "layer-norm": (stax.LayerNorm(scale=False), (4, 3)),
    "max-pool": (stax.MaxPool((2, 2), spec="NCHW"), (2, 3, 4, 5)),
    "sum-pool": (stax.SumPool((2,), (2,)), (2, 4, 3)),
    "avg-pool": (stax.AvgPool((2,), padding="SAME"), (2, 5, 3)),
    "concat": (stax.serial(stax.FanOut(3), stax.FanInConcat()), (2, 4)),
    "lstm": (stax.LSTM(4), (2, 5, 3)),
    "lstm-alone": (stax.LSTM(4), (5, 3)),
    "gru": (stax.GRU(4), (2, 5, 3)),
    "functions": (stax.serial(stax.Elu, stax.Gelu, stax.Selu, stax.LeakyRelu, stax.Softplus), (2, 3)),
    "more-functions": (stax.serial(stax.Exp, stax.Softmax, stax.Sigmoid, stax.Identity, stax.Flatten), (2, 3, 2)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer(name):
    (init, apply), shape = LAYERS[name]
    found, params = init(KEY, shape)
    x = rng.normal(size=shape)
    assert apply(params, x).shape == tuple(found)
    check_grads(apply, (params, x), order=1)


def test_dense_and_conv_against_numpy():
    init, apply = stax.Dense(2)
    _, (W, b) = init(KEY, (4, 3))
    x = rng.normal(size=(4, 3))
    np.testing.assert_allclose(apply((W, b), x), x @ W + b)
    init, apply = stax.Conv(2, (1, 1))
    _, (W, b) = init(KEY, (2, 3, 3, 4))
    x = rng.normal(size=(2, 3, 3, 4))
    np.testing.assert_allclose(apply((W, b), x), x @ W[0, 0] + b)


def test_lstm_and_gru_against_loops():
    x = rng.normal(size=(2, 5, 3))
    init, apply = stax.LSTM(4)
    _, (W, U, b) = init(KEY, x.shape)
    assert b.tolist() == [0] * 4 + [1] * 4 + [0] * 8
    hidden = memory = np.zeros((2, 4))
    for t in range(5):
        i, f, o, g = np.split(x[:, t] @ W + hidden @ U + b, 4, 1)
        memory = logistic(f) * memory + logistic(i) * np.tanh(g)
        hidden = logistic(o) * np.tanh(memory)
        np.testing.assert_allclose(apply((W, U, b), x)[:, t], hidden, rtol=1e-12)
    later = apply((W, U, b), x[:, :1], initial_state=(hidden, memory))
    assert not np.allclose(later, apply((W, U, b), x[:, :1]))
    init, apply = stax.GRU(4)
    _, (W, U, b) = init(KEY, x.shape)
    hidden = np.zeros((2, 4))
    for t in range(5):
        r, z = np.split(logistic(x[:, t] @ W[:, :8] + b[:8] + hidden @ U[:, :8]), 2, 1)
        new = np.tanh(x[:, t] @ W[:, 8:] + b[8:] + (r * hidden) @ U[:, 8:])
        hidden = z * hidden + (1 - z) * new
        np.testing.assert_allclose(apply((W, U, b), x)[:, t], hidden, rtol=1e-12)


def test_embedding():
    init, apply = stax.Embedding(5, 2)
    shape, table = init(KEY, (3,))
    assert shape == (3, 2)
    np.testing.assert_array_equal(apply(table, np.array([1, 4, 1])), table[[1, 4, 1]])
    slope = ft.grad(lambda t: apply(t, np.array([1, 4, 1])).sum())(table)
    np.testing.assert_array_equal(slope[:, 0], [0, 2, 0, 0, 1])
    with pytest.raises(IndexError):
        apply(table, np.array([5]))


def test_dropout_is_by_the_probability_to_keep():
    _, apply = stax.serial(stax.Identity, stax.Dropout(0.9))
    out = apply([(), ()], np.ones(2000), rng=KEY)
    assert np.mean(out == 0) == pytest.approx(0.1, abs=0.03)
    assert stax.Dropout(0.9, mode="test")[1]((), np.ones(3), rng=KEY).tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match=r"stax.Dropout needs a key: call apply\(params, inputs, rng=key\)"):
        apply([(), ()], np.ones(3))
    with pytest.raises(ValueError, match="the probability to keep"):
        stax.Dropout(0.0)


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"stax\.serial: there are 2 layers and 1 parameters"):
        stax.serial(stax.Relu, stax.Relu)[1]([()], np.ones(3))
    with pytest.raises(ValueError, match=r"stax\.parallel: there are 2 layers and 3 inputs"):
        stax.parallel(stax.Relu, stax.Relu)[1]([(), ()], [1, 2, 3])
    with pytest.raises(
        ValueError, match=r"inputs of the layer, float64\[2,3\], must have as many features as its param"
    ):
        stax.Dense(3)[1]((np.ones((4, 3)), np.ones(3)), np.ones((2, 3)))
    with pytest.raises(ValueError, match="MaxPool: window_shape"):
        stax.MaxPool((2,))[0](KEY, (1, 4, 4, 1))
