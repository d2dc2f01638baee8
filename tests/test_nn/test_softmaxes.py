"""softmax and its kind against sums in plain NumPy."""

import numpy as np
import pytest

import functrans as ft
from functrans import nn
from functrans.passes.pipeline import finalize
from functrans.test_util import check_grads

rng = np.random.default_rng(0)
X = rng.normal(size=(3, 4, 5)) * 3
W = rng.random(X.shape) < 0.7
W[0, 0] = False
W[:, :, 0] |= np.arange(3)[:, None] > 0
AXES = [-1, 0, (0, 2), None]
INF = np.inf


def over(axis):
    return tuple(range(3)) if axis is None else axis


@pytest.mark.parametrize("axis", AXES)
def test_softmax(axis):
    e = np.exp(X)
    np.testing.assert_allclose(nn.softmax(X, axis), e / e.sum(over(axis), keepdims=True), rtol=1e-13)
    np.testing.assert_allclose(nn.log_softmax(X, axis), np.log(e / e.sum(over(axis), keepdims=True)), rtol=1e-12)
    np.testing.assert_allclose(nn.logsumexp(X, axis), np.log(e.sum(over(axis))), rtol=1e-13)
    np.testing.assert_allclose(nn.logmeanexp(X, axis), np.log(e.mean(over(axis))), rtol=1e-13)
    for function in (nn.softmax, nn.log_softmax, nn.logsumexp, nn.logmeanexp):
        check_grads(lambda x, f=function: f(x, axis), (X,), order=2)


@pytest.mark.parametrize("axis", [-1, (0, 2)])
def test_softmax_where(axis):
    e = np.exp(X) * W
    total = e.sum(axis, keepdims=True)
    shares = np.divide(e, total, out=np.zeros_like(e), where=total > 0)
    np.testing.assert_allclose(nn.softmax(X, axis, where=W), shares, rtol=1e-13)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(nn.log_softmax(X, axis, where=W), np.log(shares), rtol=1e-12)
        np.testing.assert_allclose(nn.logsumexp(X, axis, where=W), np.log(e.sum(axis)), rtol=1e-13)
    finite = lambda x: np.where(W, nn.log_softmax(x, axis, where=W), 0)
    for function in (lambda x: nn.softmax(x, axis, where=W), finite):
        check_grads(function, (X,), order=2)
    np.testing.assert_allclose(ft.grad(lambda x: np.max(nn.logsumexp(x, axis, where=W)))(X).sum(), 1)


def test_softmax_program_is_what_one_would_write():
    jaxpr = finalize(ft.make_jaxpr(lambda x, ct: ft.vjp(nn.softmax, x)[1](ct)[0])(X[0], X[0]).jaxpr)
    names = [eqn.primitive.name for eqn in jaxpr.eqns if eqn.primitive.name != "broadcast_in_dim"]
    assert names == ["reduce_max", "sub", "exp", "reduce_sum", "div", "mul", "reduce_sum", "neg", "mul", "add"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extremes(dtype):
    x = np.array([1e4, -1e4, 0.0, -INF], dtype)
    np.testing.assert_array_equal(nn.softmax(x), [1, 0, 0, 0])
    np.testing.assert_array_equal(nn.log_softmax(x), [0, -2e4, -1e4, -INF])
    assert nn.logsumexp(x) == 1e4
    for function in (lambda x: nn.softmax(x)[0], lambda x: nn.log_softmax(x)[1], nn.logsumexp, nn.logmeanexp):
        slope = ft.grad(function)(x)
        assert slope.dtype == dtype
        assert np.isfinite(slope).all()
    empty = np.full(3, -INF, dtype)
    assert nn.logsumexp(empty) == -INF
    np.testing.assert_array_equal(ft.grad(nn.logsumexp)(empty), [0, 0, 0])
    assert nn.logsumexp(np.array([INF, 0], dtype)) == INF
    assert nn.softmax(x).dtype == dtype


def test_nothing_at_all():
    assert nn.logsumexp(np.zeros(0)) == -INF
    assert np.isnan(nn.logmeanexp(np.zeros(0)))
    assert nn.softmax(np.zeros((2, 0))).shape == nn.log_softmax(np.zeros((0, 2))).shape[::-1]
    nothing = np.zeros(5, bool)
    np.testing.assert_array_equal(nn.softmax(X[0, 0], where=nothing), np.zeros(5))
    np.testing.assert_array_equal(ft.grad(lambda x: nn.softmax(x, where=nothing)[0])(X[0, 0]), np.zeros(5))
    assert nn.softmax(3.0, axis=None) == 1.0


def test_logsumexp_with_factors():
    b = rng.normal(size=X.shape)
    b[:, 0] = 0
    total = (b * np.exp(X)).sum(-1)
    value, sign = nn.logsumexp(X, -1, b, return_sign=True)
    np.testing.assert_allclose(sign * np.exp(value), total, rtol=1e-10)
    with np.errstate(invalid="ignore", divide="ignore"):
        np.testing.assert_allclose(nn.logsumexp(X, -1, b), np.log(total), rtol=1e-8)
    check_grads(lambda x, b: nn.logsumexp(x, (0, 2), b, return_sign=True)[0], (X, b[:, :1] + 3), order=2)
    assert nn.logsumexp(np.array([1e4, 0.0]), b=np.array([0.0, 2.0])) == pytest.approx(np.log(2))
    assert nn.logsumexp(X, -1, keepdims=True).shape == (3, 4, 1)


def test_one_hot():
    labels = np.array([[0, 2], [3, -1]])
    expected = (labels[..., None] == np.arange(3)).astype(float)
    np.testing.assert_array_equal(nn.one_hot(labels, 3), expected)
    np.testing.assert_array_equal(nn.one_hot(labels, 3, axis=0), np.moveaxis(expected, -1, 0))
    np.testing.assert_array_equal(nn.one_hot(labels, 3, axis=-2), np.moveaxis(expected, -1, -2))
    assert nn.one_hot(1, 3, dtype="int8").tolist() == [0, 1, 0]
    assert nn.one_hot(np.array([44], np.uint8), 300)[0].argmax() == 44
    assert nn.one_hot(np.array([2**63], np.uint64), 2).tolist() == [[0, 0]]
    assert nn.one_hot(np.zeros((0,), int), 2).shape == (0, 2)
    np.testing.assert_array_equal(ft.vmap(lambda k: nn.one_hot(k, 3))(labels), expected)
    named = ft.vmap(lambda x: nn.one_hot(x, 3, axis="i"), axis_name="i")(np.array([0, 0, 2]))
    assert named.tolist() == [1, 0, 1]
    with pytest.raises(TypeError, match="num_classes decides the shape of the result, so it must be an int"):
        ft.jit(lambda n: nn.one_hot(labels, n))(3)
    with pytest.raises(ValueError, match="num_classes must not be negative"):
        nn.one_hot(labels, -1)


@pytest.mark.parametrize("axis", AXES)
def test_standardize(axis):
    mean, var = X.mean(over(axis), keepdims=True), X.var(over(axis), keepdims=True)
    expected = (X - mean) / np.sqrt(var + 1e-5)
    np.testing.assert_allclose(nn.standardize(X, axis), expected, rtol=1e-12)
    np.testing.assert_allclose(nn.standardize(X, axis, mean, var), expected, rtol=1e-12)
    check_grads(lambda x: nn.standardize(x, axis), (X,), order=2)
    check_grads(lambda x, m: nn.standardize(x, axis, mean=m), (X, mean), order=1)
    masked = nn.standardize(X, axis, where=W | (np.arange(5) == 1))
    assert masked.shape == X.shape
    assert nn.standardize(X.astype("float32"), axis).dtype == np.float32


def test_bad_arguments():
    with pytest.raises(ValueError, match="softmax: axis=3 names no different axes of an array with 3 axes"):
        nn.softmax(X, 3)
    with pytest.raises(ValueError, match=r"axis=\(0, -3\)"):
        nn.softmax(X, (0, -3))
    with pytest.raises(TypeError, match=r"softmax: where must be an array of booleans, got float64\[3,4,5\]"):
        nn.softmax(X, where=X)
    with pytest.raises(ValueError, match=r"log_softmax: where, bool\[2\], does not fit the array float64\[3,4,5\]"):
        nn.log_softmax(X, where=np.ones(2, bool))
    with pytest.raises(ValueError, match="algorithm must be 'fast' or 'stable', got 'quick'"):
        nn.standardize(X, algorithm="quick")
