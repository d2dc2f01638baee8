"""Attention against loops in plain NumPy."""

import itertools

import numpy as np
import pytest

import functrans as ft
from functrans import nn
from functrans.test_util import check_grads

rng = np.random.default_rng(3)
B, T, S, N, K, H = 2, 3, 4, 4, 2, 3
Q, KEY, V = rng.normal(size=(B, T, N, H)), rng.normal(size=(B, S, K, H)), rng.normal(size=(B, S, K, H))
BIAS = rng.normal(size=(B, N, T, S))
MASK = rng.random((B, N, T, S)) < 0.6
MASK[0, 1, 2] = False


def reference(q, k, v, *, bias=None, mask=None, scale=None, is_causal=False, query_seq_lengths=None,
              key_value_seq_lengths=None, local_window_size=None):  # fmt: skip
    out = np.zeros(q.shape)
    shape = (B, N, T, S)
    bias = np.broadcast_to(0.0 if bias is None else bias, shape)
    mask = np.broadcast_to(True if mask is None else mask, shape)
    before, after = (S, S) if local_window_size is None else np.broadcast_to(local_window_size, 2)
    for b, n, t in itertools.product(range(B), range(N), range(T)):
        if query_seq_lengths is not None and t >= query_seq_lengths[b]:
            continue
        total = 0.0
        for s in range(S):
            seen = mask[b, n, t, s] and (not is_causal or s <= t) and t - before <= s <= t + after
            if not seen or (key_value_seq_lengths is not None and s >= key_value_seq_lengths[b]):
                continue
            head = n // (N // K)
            weight = np.exp(q[b, t, n] @ k[b, s, head] * (scale or 1 / np.sqrt(H)) + bias[b, n, t, s])
            out[b, t, n] += weight * v[b, s, head]
            total += weight
        out[b, t, n] /= total or 1
    return out


OPTIONS = [
    {},
    {"bias": BIAS},
    {"bias": BIAS[0, 0], "scale": 0.3},
    {"bias": BIAS[:, :1], "mask": MASK[:1]},
    {"mask": MASK},
    {"mask": MASK[0, 0]},
    {"is_causal": True},
    {"is_causal": True, "local_window_size": (1, 0), "mask": MASK[:, :1]},
    {"local_window_size": 1},
    {"query_seq_lengths": np.array([2, 0])},
    {"key_value_seq_lengths": np.array([1, 3], np.int32), "bias": BIAS},
]


@pytest.mark.parametrize("number", range(len(OPTIONS)))
def test_against_loops(number):
    options = OPTIONS[number]
    function = lambda q, k, v: nn.dot_product_attention(q, k, v, **options)
    np.testing.assert_allclose(function(Q, KEY, V), reference(Q, KEY, V, **options), rtol=1e-11, atol=1e-13)
    check_grads(function, (Q, KEY, V), order=1)
    np.testing.assert_allclose(ft.jit(function)(Q, KEY, V), function(Q, KEY, V), rtol=1e-13)


def test_without_batch_under_vmap_and_second_derivatives():
    function = lambda q, k, v: nn.dot_product_attention(q, k, v, is_causal=True)
    np.testing.assert_allclose(ft.vmap(function)(Q, KEY, V), function(Q, KEY, V), rtol=1e-12)
    check_grads(function, (Q[0, :2, :2, :2], KEY[0, :2, :, :2], V[0, :2, :, :2]), order=2)
    check_grads(lambda b: nn.dot_product_attention(Q, KEY, V, bias=b), (BIAS,), order=1)
    check_grads(lambda s: nn.dot_product_attention(Q, KEY, V, scale=s), (np.array(0.7),), order=1)


def test_residual():
    out, residual = nn.dot_product_attention(Q, KEY, V, return_residual=True)
    keys = np.repeat(KEY, 2, 2)
    logits = np.einsum("btnh,bsnh->btns", Q, keys) / np.sqrt(H)
    np.testing.assert_allclose(residual, np.log(np.exp(logits).sum(-1)))
    assert out.shape == Q.shape


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_extremes(dtype):
    q, k, v = [x.astype(dtype) for x in (100 * Q, 100 * KEY, V)]
    function = lambda q: nn.dot_product_attention(q, k, v, mask=MASK, bias=np.full((T, S), -1e4, dtype))
    out, slope = function(q), ft.grad(lambda q: np.sum(function(q)))(q)
    assert out.dtype == slope.dtype == dtype
    assert np.isfinite(out).all()
    assert np.isfinite(slope).all()
    infinite = np.where(MASK, 0, -np.inf).astype(dtype)
    infinite[0, 1, 2, 0] = 0
    with_bias = lambda q: nn.dot_product_attention(q, k, v, bias=infinite)
    assert np.isfinite(ft.grad(lambda q: np.sum(with_bias(q)))(q)).all()


def test_bad_arguments():
    attention = nn.dot_product_attention
    with pytest.raises(ValueError, match=r"value must have the shape of key, float64\[2,4,2,3\]"):
        attention(Q, KEY, V[:, :2])
    with pytest.raises(ValueError, match=r"the number of heads of query, 3, must be a multiple of that of key, 2"):
        attention(Q[:, :, :3], KEY, V)
    with pytest.raises(TypeError, match=r"mask must be booleans, got float64\[2,4,3,4\]; what is added"):
        attention(Q, KEY, V, mask=BIAS)
    with pytest.raises(ValueError, match="query_seq_lengths must be 2 integers"):
        attention(Q, KEY, V, query_seq_lengths=np.ones(2))
    with pytest.raises(ValueError, match=r"bias, float64\[4,3,3\], must broadcast to batch, heads, queries and keys"):
        attention(Q, KEY, V, bias=BIAS[0, :, :, :3])
    with pytest.raises(ValueError, match="local_window_size must be an int that is not negative"):
        attention(Q, KEY, V, local_window_size=-1)
    with pytest.raises(ValueError, match="query and key must have the axes"):
        attention(Q[0, 0], KEY, V)
    with pytest.raises(ValueError, match="implementation must be None or 'xla'"):
        attention(Q, KEY, V, implementation="cudnn")


def test_no_values_to_see_give_zeros():
    q, nothing = np.ones((2, 4, 2, 3)), np.ones((2, 0, 2, 3))
    for options in ({}, {"is_causal": True}, {"bias": np.zeros((1, 1, 4, 0))}):
        out, residual = nn.dot_product_attention(q, nothing, nothing, return_residual=True, **options)
        np.testing.assert_array_equal(out, np.zeros_like(q))
        np.testing.assert_array_equal(residual, np.full((2, 4, 2), -np.inf))
        loss = lambda q, options=options: np.sum(nn.dot_product_attention(q, nothing, nothing, **options))
        np.testing.assert_array_equal(ft.grad(loss)(q), 0)
