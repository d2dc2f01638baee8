"""The derivative of gamma samples by their parameter: that of the quantile, which is found by bisection here."""

from math import exp, isclose, lgamma
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans.ops.gamma_functions import digamma, log_gamma, trigamma
from functrans.ops.random_gamma import random_gamma_grad

KEY = ft.random.key(3)


def cdf(a: float, y: float) -> float:
    """The distribution function of the gamma distribution at exp(y): the series, or the continued fraction."""
    x = exp(y)
    if x < a + 1:
        term = total = 1.0
        n = 0
        while term > 1e-18 * total:
            n += 1
            term *= x / (a + n)
            total += term
        return total * exp(a * y - x - lgamma(a + 1))
    b = x + 1 - a
    c, d = 1e300, 1 / b
    fraction = d
    for n in range(1, 10_000):
        numerator = -n * (n - a)
        b += 2
        d = 1 / (numerator * d + b)
        c = b + numerator / c
        fraction *= c * d
        if isclose(c * d, 1.0, rel_tol=1e-16):
            break
    return 1 - exp(a * y - x - lgamma(a)) * fraction


def log_quantile(a: float, p: float, near: float) -> float:
    """The logarithm of the quantile, near a guess."""
    low, high = near - 1.0, near + 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if cdf(a, middle) < p else (low, middle)
    return (low + high) / 2


@pytest.mark.parametrize("a", [0.02, 0.3, 0.9, 1.0, 2.5, 20.0, 300.0])
def test_derivative_is_that_of_the_quantile(a: float) -> None:
    for p in (0.02, 0.3, 0.6, 0.95):
        y = log_quantile(a, p, log_quantile_guess(a, p))
        h = 1e-3 * a
        difference = [log_quantile(a + i * h, p, y) - log_quantile(a - i * h, p, y) for i in (1, 2)]
        expected = (8 * difference[0] - difference[1]) / (12 * h)
        derivative = random_gamma_grad(np.float64(a), np.float64(y), True)
        assert derivative == pytest.approx(expected, rel=1e-7)
        assert random_gamma_grad(np.float64(a), np.exp(y)) == pytest.approx(np.exp(y) * derivative, rel=1e-12)


def log_quantile_guess(a: float, p: float) -> float:
    low, high = -400.0, 10.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if cdf(a, middle) < p else (low, middle)
    return (low + high) / 2


def test_large_parameters() -> None:
    """x = a + z sqrt(a) + (z**2 - 1) / 3 + (z**3 - 7 z) / (36 sqrt(a)) + ..., by Cornish and Fisher's expansion."""
    for a in (1e6, 1e9):
        for z in (-3.0, -0.2, 0.0, 2.0):
            x = a + z * a**0.5 + (z * z - 1) / 3 + (z**3 - 7 * z) / (36 * a**0.5)
            expected = 1 + z / (2 * a**0.5) - (z**3 - 7 * z) / (72 * a**1.5)
            assert random_gamma_grad(np.float64(a), np.float64(x)) == pytest.approx(expected, rel=1e-9)


def test_small_parameters() -> None:
    """Where F = x**a / gamma(a + 1): dy/da = (digamma(a + 1) - y) / a."""
    a = np.array([1e-4, 1e-2])
    y = np.array([-1e5, -300.0])
    np.testing.assert_allclose(random_gamma_grad(a, y, True), (digamma(a + 1) - y) / a, rtol=1e-13)
    np.testing.assert_array_equal(random_gamma_grad(a, np.zeros(2)), 0)


def test_exponential_distribution_is_exact() -> None:
    """Where a = 1, the first derivative against an integral: -dF/da / f = exp(x) * (E1(x) + ...) by quadrature."""
    t = (np.arange(400_000) + 0.5) * 1e-4
    for x in (0.3, 1.0, 4.0):
        below = t[t < x]
        df_da = np.sum(np.exp(-below) * np.log(below)) * 1e-4 + 0.5772156649015329 * (1 - exp(-x))
        assert random_gamma_grad(np.float64(1.0), np.float64(x)) == pytest.approx(-df_da * exp(x), rel=2e-3)


@pytest.mark.parametrize(
    ("sampler", "parameters", "moment", "derivatives"),
    [
        (ft.random.gamma, (2.5,), lambda x: x, [1.0]),
        (ft.random.gamma, (2.5,), lambda x: x * x, [6.0]),
        (lambda k, a, shape: ft.random.loggamma(k, a, shape), (0.4,), lambda y: y, [trigamma(np.array([0.4]))[0]]),
        (ft.random.chisquare, (3.0,), lambda x: x, [1.0]),
        (ft.random.beta, (2.0, 3.0), lambda x: x, [3 / 25, -2 / 25]),
        (ft.random.t, (8.0,), lambda x: x * x, [-2 / 36]),
        (ft.random.f, (6.0, 12.0), lambda x: x, [0.0, -2 / 100]),
        (ft.random.generalized_normal, (2.0,), lambda x: x * x, [-0.2591237]),
        (ft.random.pareto, (4.0,), lambda x: x, [-1 / 9]),
    ],
)
def test_expectations_are_differentiated_without_bias(
    sampler: Any, parameters: tuple[float, ...], moment: Any, derivatives: list[float]
) -> None:
    """E[f(x)] has the derivative that the mean of those of the samples tends to."""
    n = 40_000

    def samples(*parameters: Any) -> Any:
        return moment(sampler(KEY, *parameters, shape=(n,)))

    for i, expected in enumerate(derivatives):
        tangents = [float(i == j) for j in range(len(parameters))]
        dots = ft.jvp(samples, parameters, tangents)[1]
        assert abs(dots.mean() - expected) < 4.5 * dots.std() / n**0.5 + 1e-12
    gradients = ft.grad(lambda *p: samples(*p).mean(), tuple(range(len(parameters))))(*parameters)
    forward = [ft.jvp(lambda *p: samples(*p).mean(), parameters, [float(i == j) for j in range(len(parameters))])[1]
               for i in range(len(parameters))]  # fmt: skip
    np.testing.assert_allclose(gradients, forward, rtol=1e-10)


def log_square(a: float) -> float:
    """E[log(x)**2]."""
    return float(trigamma(np.array([a]))[0] + digamma(np.array([a]))[0] ** 2)


@pytest.mark.parametrize(
    ("sampler", "expected"),
    [(ft.random.gamma, 2.0), (ft.random.loggamma, (log_square(1.51) - 2 * log_square(1.5) + log_square(1.49)) / 1e-4)],
)
def test_second_derivatives_of_an_expectation(sampler: Any, expected: float) -> None:
    """Of E[x**2] = a**2 + a, and of E[log(x)**2]."""
    second = ft.grad(ft.grad(lambda a, k: sampler(k, a) ** 2))
    seconds = ft.vmap(second, (None, 0))(1.5, ft.random.split(KEY, 40_000))
    assert abs(seconds.mean() - expected) < 4.5 * seconds.std() / 200


def test_how_often_a_sample_can_be_differentiated() -> None:
    reverse = ft.jacrev(ft.jacfwd(lambda a: ft.random.gamma(KEY, a)))(1.5)
    assert ft.hessian(lambda a: ft.random.gamma(KEY, a))(1.5) == pytest.approx(reverse, rel=1e-12)
    with pytest.raises(ft.errors.MissingRuleError, match="can be differentiated twice by"):
        ft.grad(ft.grad(ft.grad(lambda a: ft.random.gamma(KEY, a))))(1.5)


def test_gradients_are_alike_in_all_transformations() -> None:
    a = np.array([0.3, 2.0, 50.0])
    keys = ft.random.split(KEY, 3)
    each = [ft.grad(lambda a, k=k: ft.random.gamma(k, a))(x) for k, x in zip(keys, a, strict=True)]
    derivative = ft.grad(lambda k, a: ft.random.gamma(k, a), 1)
    np.testing.assert_allclose(ft.vmap(derivative)(keys, a), each, rtol=1e-14)
    np.testing.assert_allclose(ft.jit(ft.vmap(derivative))(keys, a), each, rtol=1e-14)
    single = ft.grad(lambda a: ft.random.gamma(KEY, a, (3,), "float32").sum())(a.astype("float32"))
    assert single.dtype == np.float32
    assert np.isfinite(single).all()


def test_dirichlet_stays_on_the_simplex() -> None:
    alpha = np.array([0.05, 1.0, 3.0])
    jacobian = ft.jacrev(lambda a: ft.random.dirichlet(KEY, a))(alpha)
    np.testing.assert_allclose(jacobian.sum(0), 0, atol=1e-12)
    np.testing.assert_allclose(jacobian, ft.jacfwd(lambda a: ft.random.dirichlet(KEY, a))(alpha), rtol=1e-10)


def test_what_is_no_parameter_gives_nan() -> None:
    out = ft.random.gamma(KEY, np.array([-0.5, np.nan, 0.0, 2.0]))
    np.testing.assert_array_equal(np.isnan(out), [True, True, False, False])
    assert out[2] == 0
    assert ft.random.loggamma(KEY, 0.0) == -np.inf
    gradient = ft.grad(lambda a: ft.random.gamma(KEY, a).sum())(np.array([-0.5, np.nan, 2.0]))
    np.testing.assert_array_equal(np.isnan(gradient), [True, True, False])


def test_functions_of_gamma() -> None:
    x = np.array([1e-3, 0.5, 1.0, 7.5, 20.0, 1e6])
    np.testing.assert_allclose(log_gamma(x), [lgamma(v) for v in x], rtol=1e-13, atol=1e-14)
    h = 1e-4 * x
    np.testing.assert_allclose(digamma(x), (log_gamma(x + h) - log_gamma(x - h)) / (2 * h), rtol=1e-5)
    np.testing.assert_allclose(trigamma(x), (digamma(x + h) - digamma(x - h)) / (2 * h), rtol=1e-5)
    np.testing.assert_allclose(digamma(x + 1) - digamma(x), 1 / x, rtol=1e-8)
