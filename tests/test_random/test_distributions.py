"""Every sampler has the distribution that it should: Kolmogorov and Smirnov's test, Pearson's, and moments.

The keys are fixed, so that a test fails always or never. Distribution functions are had from densities by quadrature,
without SciPy.
"""

from collections.abc import Callable
from math import erf, exp, gamma, lgamma, pi, sqrt
from typing import Any

import numpy as np
import pytest

import functrans as ft

N = 20_000
KEY = ft.random.key(2024)
Array = np.ndarray[Any, Any]

LIMIT = 1.95
"""The statistic of Kolmogorov and Smirnov is above this once in a thousand times."""


def by_quadrature(density: Callable[[Array], Array], low: float, high: float) -> Callable[[Array], Array]:
    """A distribution function, from a density up to a factor."""
    x = np.linspace(low, high, 20_001)
    values = density((x[1:] + x[:-1]) / 2)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return lambda points: np.interp(points, x, sums / sums[-1])


def statistic(numbers: Array, cdf: Callable[[Array], Array]) -> float:
    """The largest distance between the distribution function and that of the numbers, times the root of their count."""
    x = np.sort(np.asarray(numbers, np.float64).ravel())
    below = cdf(x)
    steps = np.arange(x.size + 1) / x.size
    return float(max(np.max(steps[1:] - below), np.max(below - steps[:-1])) * sqrt(x.size))


_erf = np.vectorize(erf)


def normal_cdf(x: Array) -> Array:
    return (1 + _erf(x / sqrt(2))) / 2


CONTINUOUS: dict[str, tuple[Callable[..., Any], Callable[[Array], Array]]] = {
    "uniform": (lambda k, s, d: ft.random.uniform(k, s, d, -1.0, 3.0), lambda x: (x + 1) / 4),
    "normal": (ft.random.normal, normal_cdf),
    "exponential": (ft.random.exponential, lambda x: -np.expm1(-x)),
    "gumbel": (ft.random.gumbel, lambda x: np.exp(-np.exp(-x))),
    "gumbel high": (lambda k, s, d: ft.random.gumbel(k, s, d, "high"), lambda x: np.exp(-np.exp(-x))),
    "gumbel highest": (lambda k, s, d: ft.random.gumbel(k, s, d, "highest"), lambda x: np.exp(-np.exp(-x))),
    "laplace": (ft.random.laplace, lambda x: np.where(x < 0, np.exp(np.minimum(x, 0)) / 2, 1 - np.exp(-np.abs(x)) / 2)),
    "logistic": (ft.random.logistic, lambda x: 1 / (1 + np.exp(-x))),
    "cauchy": (ft.random.cauchy, lambda x: np.arctan(x) / pi + 0.5),
    "maxwell": (ft.random.maxwell, by_quadrature(lambda x: x**2 * np.exp(-(x**2) / 2), 0, 9)),
    "truncated_normal": (
        lambda k, s, d: ft.random.truncated_normal(k, -1.0, 2.0, s, d),
        by_quadrature(lambda x: np.exp(-(x**2) / 2), -1, 2),
    ),
    "lognormal": (lambda k, s, d: ft.random.lognormal(k, 0.5, s, d), lambda x: normal_cdf(np.log(x) / 0.5)),
    "pareto": (lambda k, s, d: ft.random.pareto(k, 3.0, s, d), lambda x: 1 - x**-3.0),
    "rayleigh": (lambda k, s, d: ft.random.rayleigh(k, 2.0, s, d), lambda x: -np.expm1(-(x**2) / 8)),
    "weibull_min": (lambda k, s, d: ft.random.weibull_min(k, 2.0, 1.5, s, d), lambda x: -np.expm1(-((x / 2) ** 1.5))),
    "wald": (
        lambda k, s, d: ft.random.wald(k, 2.0, s, d),
        by_quadrature(lambda x: x**-1.5 * np.exp(-((x - 2) ** 2) / (8 * x)), 1e-6, 150),
    ),
    "triangular": (
        lambda k, s, d: ft.random.triangular(k, 0.0, 1.0, 3.0, s, d),
        lambda x: np.where(x < 1, x**2 / 3, 1 - (3 - x) ** 2 / 6),
    ),
    "double_sided_maxwell": (
        lambda k, s, d: ft.random.double_sided_maxwell(k, 1.0, 2.0, s, d),
        by_quadrature(lambda x: ((x - 1) / 2) ** 2 * np.exp(-(((x - 1) / 2) ** 2) / 2), -17, 19),
    ),
    "gamma": (lambda k, s, d: ft.random.gamma(k, 3.0, s, d), by_quadrature(lambda x: x**2 * np.exp(-x), 0, 40)),
    "gamma large": (
        lambda k, s, d: ft.random.gamma(k, 1e3, s, d),
        by_quadrature(lambda x: np.exp(999 * np.log(x / 999) - x + 999), 700, 1300),
    ),
    "loggamma": (
        lambda k, s, d: ft.random.loggamma(k, 0.2, s, d),
        by_quadrature(lambda y: np.exp(0.2 * y - np.exp(y)), -150, 4),
    ),
    "beta": (lambda k, s, d: ft.random.beta(k, 2.0, 3.0, s, d), by_quadrature(lambda x: x * (1 - x) ** 2, 0, 1)),
    "dirichlet": (
        lambda k, s, d: ft.random.dirichlet(k, np.array([1.0, 2.0, 3.0]), s, d)[..., 1],
        by_quadrature(lambda x: x * (1 - x) ** 3, 0, 1),
    ),
    "chisquare": (
        lambda k, s, d: ft.random.chisquare(k, 5.0, s, d),
        by_quadrature(lambda x: x**1.5 * np.exp(-x / 2), 0, 80),
    ),
    "f": (
        lambda k, s, d: ft.random.f(k, 4.0, 9.0, s, d),
        by_quadrature(lambda x: x * (1 + 4 * x / 9) ** -6.5, 0, 400),
    ),
    "t": (lambda k, s, d: ft.random.t(k, 5.0, s, d), by_quadrature(lambda x: (1 + x**2 / 5) ** -3, -100, 100)),
    "generalized_normal": (
        lambda k, s, d: ft.random.generalized_normal(k, 3.0, s, d),
        by_quadrature(lambda x: np.exp(-(np.abs(x) ** 3)), -4, 4),
    ),
    "radius of ball": (
        lambda k, s, d: np.linalg.norm(ft.random.ball(k, 3, 2, s, d), axis=-1),
        lambda x: x**3,
    ),
    "angle of orthogonal": (
        lambda k, s, d: np.arctan2(*np.moveaxis(ft.random.orthogonal(k, 2, s, d)[..., 0], -1, 0)),
        lambda x: (x + pi) / (2 * pi),
    ),
    "multivariate_normal": (
        lambda k, s, d: ft.random.multivariate_normal(
            k, np.array([1.0, 0.0]), np.array([[4.0, 1.0], [1.0, 1.0]]), s, d, "svd"
        )[..., 0],
        lambda x: normal_cdf((x - 1) / 2),
    ),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous(name: str, dtype: str) -> None:
    draw, cdf = CONTINUOUS[name]
    numbers = draw(KEY, (N,), dtype)
    assert numbers.shape == (N,)
    assert numbers.dtype == dtype
    assert statistic(numbers, cdf) < LIMIT


def _density(x: float) -> float:
    return exp(-(x**2) / 2) / sqrt(2 * pi)


def _slope(f: Callable[[float], float], x: float) -> float:
    return (f(x + 1e-4) - f(x - 1e-4)) / 2e-4


_MASS = float(normal_cdf(np.array(2.0)) - normal_cdf(np.array(-1.0)))
_TRUNCATED = (_density(-1) - _density(2)) / _MASS

MEAN_AND_VARIANCE: dict[str, tuple[float | None, float | None]] = {
    "uniform": (1.0, 4 / 3),
    "normal": (0.0, 1.0),
    "exponential": (1.0, 1.0),
    "gumbel": (np.euler_gamma, pi**2 / 6),
    "gumbel high": (np.euler_gamma, pi**2 / 6),
    "gumbel highest": (np.euler_gamma, pi**2 / 6),
    "laplace": (0.0, 2.0),
    "logistic": (0.0, pi**2 / 3),
    "cauchy": (None, None),  # it has none
    "maxwell": (2 * sqrt(2 / pi), 3 - 8 / pi),
    "truncated_normal": (_TRUNCATED, 1 - (_density(-1) + 2 * _density(2)) / _MASS - _TRUNCATED**2),
    "lognormal": (exp(1 / 8), exp(1 / 4) * (exp(1 / 4) - 1)),
    "pareto": (1.5, None),  # the squares have no variance
    "rayleigh": (sqrt(2 * pi), 8 - 2 * pi),
    "weibull_min": (2 * gamma(5 / 3), 4 * (gamma(7 / 3) - gamma(5 / 3) ** 2)),
    "wald": (2.0, 8.0),
    "triangular": (4 / 3, 7 / 18),
    "double_sided_maxwell": (1.0, 12.0),
    "gamma": (3.0, 3.0),
    "gamma large": (1e3, 1e3),
    "loggamma": (_slope(lgamma, 0.2), _slope(lambda x: _slope(lgamma, x), 0.2)),
    "beta": (0.4, 0.04),
    "dirichlet": (1 / 3, 2 / 63),
    "chisquare": (5.0, 10.0),
    "f": (9 / 7, None),
    "t": (0.0, 5 / 3),
    "generalized_normal": (0.0, 1 / gamma(1 / 3)),
    "radius of ball": (0.75, 0.0375),
    "angle of orthogonal": (0.0, pi**2 / 3),
    "multivariate_normal": (1.0, 4.0),
}


def errors_of_moments(numbers: Array, mean: float | None, variance: float | None) -> list[float]:
    """The errors of the mean and of the variance, in their standard deviations."""
    x = np.asarray(numbers, np.float64).ravel()
    errors = []
    if mean is not None:
        errors.append((x.mean() - mean) / (x.std() / sqrt(x.size)))
    if variance is not None:
        squares = (x - mean) ** 2
        errors.append((squares.mean() - variance) / (squares.std() / sqrt(x.size)))
    return errors


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CONTINUOUS)
def test_mean_and_variance(name: str, dtype: str) -> None:
    numbers = CONTINUOUS[name][0](KEY, (N,), dtype)
    errors = errors_of_moments(numbers, *MEAN_AND_VARIANCE[name])
    assert np.all(np.abs(errors) < 4)


def test_every_sampler_is_tested() -> None:
    no_samplers = {
        "KeyArray", "PRNGKey", "clone", "fold_in", "key", "key_data", "key_impl", "random_gamma_p", "split",
        "wrap_key_data",
    }  # fmt: skip
    tested = {word for name in (*CONTINUOUS, *DISCRETE) for word in name.split()}
    assert set(ft.random.__all__) - no_samplers - tested == set()
    assert CONTINUOUS.keys() == MEAN_AND_VARIANCE.keys()


def test_the_test_finds_what_is_wrong() -> None:
    numbers = ft.random.normal(KEY, (N,))
    assert statistic(1.05 * numbers, normal_cdf) > LIMIT
    assert statistic(numbers + 0.03, normal_cdf) > LIMIT
    assert np.abs(errors_of_moments(1.05 * numbers, 0.0, 1.0)).max() > 4
    assert np.abs(errors_of_moments(numbers + 0.03, 0.0, 1.0)).max() > 4


def poisson_pmf(lam: float, k: Array) -> Array:
    return np.exp(k * np.log(lam) - lam - np.vectorize(lgamma)(k + 1.0))


def binomial_pmf(n: int, p: float, k: Array) -> Array:
    choose = lgamma(n + 1) - np.vectorize(lgamma)(k + 1.0) - np.vectorize(lgamma)(n - k + 1.0)
    return np.exp(choose + k * np.log(p) + (n - k) * np.log1p(-p))


def lattice(pmf: Callable[[Array], Array], size: int) -> Array:
    return pmf(np.arange(size))


def orders(permutations: Array) -> Array:
    """The number of each permutation of 0 to 3, among the 24 in lexicographic order."""
    a, b, c, _ = np.moveaxis(permutations, -1, 0)
    return 6 * a + 2 * (b - (b > a)) + (c - (c > a) - (c > b))


WEIGHTS = np.array([0.1, 0.2, 0.0, 0.7])

DISCRETE: dict[str, tuple[Callable[..., Any], Array]] = {
    "bernoulli": (lambda k, s: ft.random.bernoulli(k, 0.3, s), np.array([0.7, 0.3])),
    "bernoulli high": (lambda k, s: ft.random.bernoulli(k, np.float32(0.3), s, "high"), np.array([0.7, 0.3])),
    "rademacher": (lambda k, s: (ft.random.rademacher(k, s) + 1) // 2, np.array([0.5, 0.5])),
    "randint": (lambda k, s: ft.random.randint(k, s, 0, 7), np.full(7, 1 / 7)),
    "randint int8": (lambda k, s: ft.random.randint(k, s, -128, 200, "int8").astype(int) + 128, np.full(256, 1 / 256)),
    "bits": (lambda k, s: ft.random.bits(k, s, "uint8"), np.full(256, 1 / 256)),
    "geometric": (lambda k, s: ft.random.geometric(k, 0.3, s), np.concatenate([[0], 0.3 * 0.7 ** np.arange(40)])),
    "poisson small": (lambda k, s: ft.random.poisson(k, 3.0, s), lattice(lambda k: poisson_pmf(3.0, k), 30)),
    "poisson large": (lambda k, s: ft.random.poisson(k, 50.0, s), lattice(lambda k: poisson_pmf(50.0, k), 150)),
    "binomial small": (lambda k, s: ft.random.binomial(k, 10, 0.3, s), lattice(lambda k: binomial_pmf(10, 0.3, k), 11)),
    "binomial large": (
        lambda k, s: ft.random.binomial(k, 100, 0.7, s),
        lattice(lambda k: binomial_pmf(100, 0.7, k), 101),
    ),
    "multinomial": (
        lambda k, s: ft.random.multinomial(k, 6, WEIGHTS, shape=(*s, 4))[..., 1],
        lattice(lambda k: binomial_pmf(6, 0.2, k), 7),
    ),
    "categorical": (lambda k, s: ft.random.categorical(k, np.log(WEIGHTS + 1e-300), shape=s), WEIGHTS),
    "choice": (lambda k, s: ft.random.choice(k, 4, s, p=WEIGHTS), WEIGHTS),
    "first of permutation": (
        lambda k, s: ft.random.permutation(k, np.tile(np.arange(5), (*s, 1)), 1, independent=True)[:, 0],
        np.full(5, 0.2),
    ),
    "permutation": (
        lambda k, s: orders(ft.vmap(lambda k: ft.random.permutation(k, 4))(ft.random.split(k, s))),
        np.full(24, 1 / 24),
    ),
    "shuffle": (
        lambda k, s: orders(ft.vmap(lambda k: ft.random.shuffle(k, np.arange(4)))(ft.random.split(k, s))),
        np.full(24, 1 / 24),
    ),
    "first without replacement": (
        lambda k, s: ft.vmap(lambda k: ft.random.choice(k, 4, (2,), False, WEIGHTS))(ft.random.split(k, s))[:, 0],
        WEIGHTS,
    ),
    "second without replacement": (
        lambda k, s: ft.vmap(lambda k: ft.random.categorical(k, np.log([0.5, 0.25, 0.25]), shape=(2,), replace=False))(
            ft.random.split(k, s)
        )[:, 1],
        np.array([1 / 3, 1 / 3, 1 / 3]),
    ),
}


@pytest.mark.parametrize("name", DISCRETE)
def test_discrete(name: str) -> None:
    """By Pearson's test, with rare outcomes put together; above its mean by 4 standard deviations fails."""
    draw, probabilities = DISCRETE[name]
    numbers = np.asarray(draw(KEY, (N,)))
    assert numbers.min() >= 0
    counts = np.bincount(numbers.astype(int), minlength=len(probabilities))
    assert len(counts) <= len(probabilities) or counts[len(probabilities) :].sum() < 5
    expected = N * probabilities
    assert not counts[: len(expected)][expected == 0].any()
    common = expected >= 5
    observed = np.append(counts[: len(expected)][common], N - counts[: len(expected)][common].sum())
    wanted = np.append(expected[common], max(N - expected[common].sum(), 0.0))
    used = wanted > 1e-6
    chi_square = float(np.sum((observed[used] - wanted[used]) ** 2 / wanted[used]))
    degrees = used.sum() - 1
    assert chi_square < degrees + 4 * sqrt(2 * degrees)
    mean = float(probabilities @ np.arange(len(probabilities)))
    variance = float(probabilities @ (np.arange(len(probabilities)) - mean) ** 2)
    if variance != 0.25:  # two values that are as likely: each square is the variance
        assert np.all(np.abs(errors_of_moments(numbers, mean, variance)) < 4)


@pytest.mark.parametrize("name", [*CONTINUOUS, *DISCRETE])
def test_under_jit_and_vmap(name: str) -> None:
    if name in CONTINUOUS:
        draw = lambda key: CONTINUOUS[name][0](key, (7,), "float64")
    else:
        draw = lambda key: DISCRETE[name][0](key, (7,))
    keys = ft.random.split(KEY, 3)
    each = np.stack([draw(key) for key in keys])
    np.testing.assert_allclose(ft.jit(draw)(keys[0]), each[0], rtol=1e-13)
    np.testing.assert_allclose(ft.vmap(draw)(keys), each, rtol=1e-13)
    np.testing.assert_allclose(ft.jit(ft.vmap(draw))(keys), each, rtol=1e-13)


def test_moments() -> None:
    covariance = np.array([[2.0, 0.5, 0.1], [0.5, 1.0, 0.2], [0.1, 0.2, 3.0]])
    mean = np.array([1.0, -1.0, 0.5])
    for method in ("cholesky", "eigh", "svd"):
        x = ft.random.multivariate_normal(KEY, mean, covariance, (N,), method=method)
        np.testing.assert_allclose(x.mean(0), mean, atol=0.05)
        np.testing.assert_allclose(np.cov(x.T), covariance, atol=0.1)
    z = ft.random.normal(KEY, (N,), complex)
    assert abs(z.mean()) < 0.03
    assert abs((np.abs(z) ** 2).mean() - 1) < 0.03
    assert abs((z**2).mean()) < 0.03
    q = ft.random.orthogonal(KEY, 3, (N // 4,))
    np.testing.assert_allclose(q.swapaxes(-1, -2) @ q, np.broadcast_to(np.eye(3), q.shape), atol=1e-12)
    np.testing.assert_allclose(q.mean(0), 0, atol=0.03)
    for lam in (1e4, 1e7):
        x = (ft.random.poisson(KEY, lam, (N,)) - lam) / sqrt(lam)
        assert abs(x.mean()) < 0.03
        assert abs(x.var() - 1) < 0.04
    counts = ft.random.multinomial(KEY, 20, WEIGHTS, shape=(N, 4))
    np.testing.assert_array_equal(counts.sum(-1), 20)
    np.testing.assert_allclose(counts.mean(0), 20 * WEIGHTS, atol=0.05)


def test_numbers_do_not_depend_on_each_other() -> None:
    """Neither those of one key, nor those of keys that come from one."""
    first, second = [ft.random.normal(k, (N,)) for k in ft.random.split(KEY)]
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / sqrt(N)
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 4 / sqrt(N)
    keys = ft.random.split(KEY, N)
    each = ft.vmap(lambda k: ft.random.uniform(k, (2,)))(keys)
    assert statistic(each[:, 0], lambda x: x) < LIMIT
    assert abs(np.corrcoef(each.T)[0, 1]) < 4 / sqrt(N)


def test_many_numbers_have_no_period() -> None:
    bits = ft.random.bits(KEY, (200_000,))
    assert np.unique(bits).size > 199_980  # of 2**32, about 5 pairs
