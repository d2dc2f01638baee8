"""Normalization against means and variances in plain NumPy."""

import numpy as np
import pytest

import functrans as ft
from functrans import nn
from functrans.test_util import check_grads

rng = np.random.default_rng(2)
X = rng.normal(size=(4, 3, 6)) * 2 + 1
SCALE, BIAS = rng.normal(size=6), rng.normal(size=6)


def normal(x, axes):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)


ROWS = {
    "layer": (lambda x: nn.layer_norm(x, SCALE, BIAS), normal(X, -1) * SCALE + BIAS),
    "layer-two-axes": (lambda x: nn.layer_norm(x, axis=(1, 2)), normal(X, (1, 2))),
    "layer-scalar": (lambda x: nn.layer_norm(x, 2.0, 1.0), normal(X, -1) * 2 + 1),
    "rms": (lambda x: nn.rms_norm(x, SCALE), X / np.sqrt((X**2).mean(-1, keepdims=True) + 1e-6) * SCALE),
    "group": (
        lambda x: nn.group_norm(x, 2, SCALE, BIAS),
        normal(X.reshape(4, 3, 2, 3), (1, 3)).reshape(X.shape) * SCALE + BIAS,
    ),
    "group-first": (lambda x: nn.group_norm(x, 3, axis=1), normal(X, 2)),
    "instance": (lambda x: nn.instance_norm(x, SCALE, BIAS), normal(X, 1) * SCALE + BIAS),
    "batch": (
        lambda x: nn.batch_norm(x, nn.batch_norm_state(6), SCALE, BIAS, training=True)[0],
        normal(X, (0, 1)) * SCALE + BIAS,
    ),
    "batch-running": (
        lambda x: nn.batch_norm(x, (np.full(6, 2.0), np.full(6, 4.0)), SCALE, BIAS, training=False)[0],
        (X - 2) / np.sqrt(4 + 1e-5) * SCALE + BIAS,
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_value_and_derivatives(row):
    function, expected = ROWS[row]
    np.testing.assert_allclose(function(X), expected, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(ft.jit(function)(X), expected, rtol=1e-11, atol=1e-13)
    check_grads(function, (X,), order=2)


def test_parameters_have_derivatives_and_dtypes_stay():
    check_grads(lambda x, s, b: nn.layer_norm(x, s, b), (X, SCALE, BIAS), order=1)
    check_grads(lambda x, s: nn.rms_norm(x, s), (X, SCALE), order=1)
    check_grads(lambda x, m, v: nn.batch_norm(x, (m, v), training=False)[0], (X, BIAS, SCALE**2), order=1)
    single = X.astype("float32")
    for out in (nn.layer_norm(single), nn.rms_norm(single), nn.group_norm(single, 2), nn.instance_norm(single)):
        assert out.dtype == np.float32
    out, state = nn.batch_norm(single, nn.batch_norm_state(6, "float32"), training=True)
    assert (out.dtype, state.mean.dtype, state.var.dtype) == ("float32",) * 3


def test_running_statistics():
    state = nn.batch_norm_state(6)
    for _ in range(3):
        _, state = ft.jit(lambda x, s: nn.batch_norm(x, s, training=True, momentum=0.5))(X, state)
    np.testing.assert_allclose(state.mean, X.mean((0, 1)) * 7 / 8)
    np.testing.assert_allclose(state.var, X.var((0, 1)) * 7 / 8 + 1 / 8)
    slope = ft.grad(lambda x: nn.batch_norm(x, state, training=True)[1].mean.sum())(X)
    assert not slope.any()


def test_statistics_over_a_named_axis():
    state = nn.batch_norm_state(6)
    split = ft.vmap(lambda x: nn.batch_norm(x, state, SCALE, training=True, axis_name="i"), axis_name="i")
    whole, new = nn.batch_norm(X, state, SCALE, training=True)
    parts, news = split(X)
    np.testing.assert_allclose(parts, whole, rtol=1e-10)
    np.testing.assert_allclose(news.var[1], new.var)


def test_large_means_do_not_cancel():
    np.testing.assert_allclose(nn.layer_norm(np.array([1e9, 1e9 + 2]), epsilon=0.0), [-1, 1])


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"layer_norm: scale must have shape \(6,\).*got float64\[5\]"):
        nn.layer_norm(X, SCALE[:5])
    with pytest.raises(ValueError, match="the 6 features along axis -1 cannot be divided into 4 groups"):
        nn.group_norm(X, 4)
    with pytest.raises(TypeError, match=r"state must be a pair \(mean, var\)"):
        nn.batch_norm(X, None, training=True)
    with pytest.raises(ValueError, match=r"state.var must have shape \(6,\).*got float64\[5\]"):
        nn.batch_norm(X, (SCALE, SCALE[:5]), training=True)
