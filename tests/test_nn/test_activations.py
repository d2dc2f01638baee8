"""Activation functions against formulas in plain NumPy, their derivatives, and what they do at extremes."""

import math
import pickle

import numpy as np
import pytest

import functrans as ft
from functrans import nn
from functrans.passes.pipeline import finalize
from functrans.test_util import check_grads

erf = np.vectorize(math.erf)
logistic = lambda x: 1 / (1 + np.exp(-x))
softplus = lambda x: np.log(1 + np.exp(x))
SELU = 1.6732632423543772, 1.0507009873554805

FORMULAS = {
    "relu": lambda x: np.where(x > 0, x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "hard_sigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "hard_silu": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "identity": lambda x: x,
    "sigmoid": logistic,
    "tanh": np.tanh,
    "softplus": softplus,
    "log_sigmoid": lambda x: np.log(logistic(x)),
    "soft_sign": lambda x: x / (1 + np.abs(x)),
    "sparse_plus": lambda x: np.where(x <= -1, 0, np.where(x >= 1, x, (x + 1) ** 2 / 4)),
    "sparse_sigmoid": lambda x: np.clip((x + 1) / 2, 0, 1),
    "silu": lambda x: x * logistic(x),
    "mish": lambda x: x * np.tanh(softplus(x)),
    "gelu": lambda x: x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2,
    "elu": lambda x: np.where(x > 0, x, np.exp(x) - 1),
    "celu": lambda x: np.where(x > 0, x, np.exp(x) - 1),
    "selu": lambda x: SELU[1] * np.where(x > 0, x, SELU[0] * (np.exp(x) - 1)),
    "squareplus": lambda x: (x + np.sqrt(x**2 + 4)) / 2,
}
POINTS = np.array([-7.3, -2.6, -1.7, -0.55, -0.2, 0.15, 0.8, 1.4, 2.7, 5.1, 8.2])


@pytest.mark.parametrize("name", FORMULAS)
def test_value_and_derivatives(name):
    function = getattr(nn, name)
    np.testing.assert_allclose(function(POINTS), FORMULAS[name](POINTS), rtol=1e-13, atol=1e-14)
    check_grads(function, (POINTS[1:-1],), order=2)
    slope = lambda x: ft.vmap(ft.grad(function))(x)
    np.testing.assert_allclose(ft.jit(slope)(POINTS), slope(POINTS), rtol=1e-14)
    summed = ft.jacfwd(lambda x: np.sum(function(x)))
    np.testing.assert_allclose(summed(POINTS), slope(POINTS), rtol=1e-14)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", [*FORMULAS, "exact_gelu"])
def test_extremes_are_finite_and_dtypes_stay(name, dtype):
    function = (lambda x: nn.gelu(x, approximate=False)) if name == "exact_gelu" else getattr(nn, name)
    x = np.array([-1e4, -88.0, 0.0, 88.0, 1e4], dtype)
    out, slope = function(x), ft.grad(lambda x: np.sum(function(x)))(x)
    assert out.dtype == slope.dtype == dtype
    assert np.isfinite(out).all()
    assert np.isfinite(slope).all()
    assert np.isfinite(ft.jvp(ft.grad(lambda x: np.sum(function(x))), (x,), (np.ones_like(x),))[1]).all()
    assert function(np.zeros((2, 0), dtype)).shape == (2, 0)
    assert type(function(x[1])) is x.dtype.type


@pytest.mark.parametrize(
    ("name", "point", "slope"),
    [
        ("relu", 0.0, 0.0),
        ("relu", -0.0, 0.0),
        ("relu6", 0.0, 0.0),
        ("relu6", 6.0, 0.0),
        ("hard_tanh", 1.0, 1.0),
        ("hard_tanh", -1.0, 1.0),
        ("hard_sigmoid", 3.0, 0.0),
        ("leaky_relu", 0.0, 1.0),
        ("elu", 0.0, 1.0),
        ("selu", 0.0, SELU[0] * SELU[1]),
        ("sparse_plus", -1.0, 0.0),
        ("sparse_plus", 1.0, 1.0),
        ("sparse_sigmoid", 1.0, 0.25),
    ],
)
def test_slope_at_kinks(name, point, slope):
    assert ft.grad(getattr(nn, name))(point) == pytest.approx(slope, rel=1e-15)


def test_relu_of_nothing_finite():
    x = np.array([np.nan, np.inf, -np.inf])
    np.testing.assert_array_equal(nn.relu(x), [np.nan, np.inf, 0])
    # The side that was not taken has no influence, infinite as it may be.
    np.testing.assert_array_equal(ft.vjp(nn.relu, np.array([-1.0, 1.0]))[1](np.array([np.inf, 2.0]))[0], [0, 2])
    assert nn.relu(np.array([-1, 2])).dtype == np.int64
    assert nn.relu([-1, 2]).tolist() == [0, 2]


def test_gelu_exact():
    check_grads(lambda x: nn.gelu(x, approximate=False), (POINTS,), order=2)
    np.testing.assert_allclose(nn.gelu(POINTS, False), POINTS * (1 + erf(POINTS / np.sqrt(2))) / 2, atol=1e-14)


def test_log1mexp():
    x = np.array([1e-20, 1e-5, 0.5, 0.7, 3.0, 700.0])
    expected = [math.log(-math.expm1(-v)) if v < 0.7 else math.log1p(-math.exp(-v)) for v in x]
    np.testing.assert_allclose(nn.log1mexp(x), expected, rtol=1e-14)
    np.testing.assert_allclose(ft.vmap(ft.grad(nn.log1mexp))(x), [1 / math.expm1(v) for v in x], rtol=1e-13)
    assert ft.grad(nn.log1mexp)(1e4) == 0


@pytest.mark.parametrize("name", ["elu", "celu", "leaky_relu", "squareplus"])
def test_second_argument_can_be_learned(name):
    function = getattr(nn, name)
    alphas = np.linspace(0.3, 2.0, len(POINTS))
    check_grads(function, (POINTS, alphas), order=2)
    check_grads(lambda a: function(POINTS, a), (np.array(0.7),), order=2)
    assert function(POINTS.astype("float32"), 0.3).dtype == np.float32
    np.testing.assert_allclose(ft.vmap(function, (None, 0))(POINTS, alphas)[3], function(POINTS, alphas[3]))


def test_squareplus_does_not_cancel():
    np.testing.assert_allclose(nn.squareplus(np.array([-1e10, -1e200])), [1e-10, 1e-200], rtol=1e-14)
    np.testing.assert_allclose(ft.grad(nn.squareplus)(-1e5), 1e-10, rtol=1e-9)


def test_glu():
    x = np.random.default_rng(0).normal(size=(4, 3, 6))
    np.testing.assert_allclose(nn.glu(x), x[..., :3] * logistic(x[..., 3:]))
    np.testing.assert_allclose(nn.glu(x, 0), x[:2] * logistic(x[2:]))
    check_grads(nn.glu, (x,), order=2)
    with pytest.raises(ValueError, match=r"glu: axis 1 must have an even length, got an array of shape \(4, 3, 6\)"):
        nn.glu(x, 1)


def test_the_gradient_of_relu_is_two_operations():
    jaxpr = finalize(ft.make_jaxpr(lambda x, ct: ft.vjp(nn.relu, x)[1](ct)[0])(POINTS, POINTS).jaxpr)
    assert [eqn.primitive.name for eqn in jaxpr.eqns] == ["gt", "select_n"]


def test_complex_and_strings_are_refused():
    with pytest.raises(TypeError, match=r"relu takes real numbers, got complex128\[2\]"):
        nn.relu(np.ones(2, complex))
    with pytest.raises(TypeError, match="relu: expected an array or a number, got 'abc'"):
        nn.relu("abc")
    np.testing.assert_allclose(nn.sigmoid(1j), 1 / (1 + np.exp(-1j)))


def test_errors_show_no_frames_of_the_library():
    with pytest.raises(TypeError) as caught:
        nn.softplus(np.ones(2, complex))
    names = [entry.frame.code.raw.co_filename for entry in caught.traceback]
    assert names[0] == __file__
    assert len(names) == 2  # the second is where it was raised again


def test_programs_with_rules_can_be_pickled():
    jaxpr = ft.make_jaxpr(nn.relu)(POINTS).jaxpr
    assert pickle.loads(pickle.dumps(jaxpr)) is jaxpr


def test_one_program_for_every_call():
    f = lambda x: np.sum(nn.softplus(nn.relu(x)))
    first, second = [ft.make_jaxpr(ft.grad(f))(POINTS).jaxpr for _ in range(2)]
    assert first is second
