"""What all samplers have in common: shapes, dtypes, transformations, derivatives, messages."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans.test_util import check_grads

KEY = ft.random.key(11)
KEYS = ft.random.split(KEY, 3)

STANDARD = ["cauchy", "exponential", "gumbel", "laplace", "logistic", "maxwell", "normal", "uniform"]

# name, parameters, names of the parameters
PARAMETRIC: dict[str, tuple[float, ...]] = {
    "bernoulli": (0.4,),
    "beta": (2.0, 3.0),
    "binomial": (20.0, 0.7),
    "chisquare": (3.0,),
    "f": (3.0, 5.0),
    "gamma": (0.7,),
    "generalized_normal": (3.0,),
    "geometric": (0.3,),
    "loggamma": (0.7,),
    "lognormal": (0.5,),
    "pareto": (3.0,),
    "poisson": (12.0,),
    "rayleigh": (2.0,),
    "t": (3.0,),
    "triangular": (0.0, 1.0, 3.0),
    "truncated_normal": (-1.0, 2.0),
    "wald": (2.0,),
    "weibull_min": (2.0, 1.5),
}
REPARAMETRISED = ["lognormal", "pareto", "rayleigh", "triangular", "truncated_normal", "wald", "weibull_min"]


def sampler(name: str) -> Callable[..., Any]:
    return getattr(ft.random, name)


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (4,), (2, 3), 5])
@pytest.mark.parametrize("name", STANDARD)
def test_shapes_and_dtypes(name: str, shape: Any) -> None:
    expected = (shape,) if isinstance(shape, int) else shape
    for dtype in ("float16", "float32", "float64"):
        x = sampler(name)(KEY, shape, dtype)
        assert np.shape(x) == expected
        assert x.dtype == dtype
        assert np.isfinite(x).all()
    assert sampler(name)(KEY, shape).dtype == np.float64


@pytest.mark.parametrize("name", PARAMETRIC)
def test_parameters_broadcast(name: str) -> None:
    parameters = PARAMETRIC[name]
    draw = sampler(name)
    assert np.shape(draw(KEY, *parameters)) == ()
    assert isinstance(draw(KEY, *parameters), np.generic)
    assert draw(KEY, *parameters, shape=(2, 3)).shape == (2, 3)
    assert draw(KEY, *parameters, shape=(0, 3)).shape == (0, 3)
    rows = [np.full((2, 1), parameters[0]), *[np.full(3, p) for p in parameters[1:]]]
    common = np.broadcast_shapes(*[np.shape(row) for row in rows])
    shape = (4, *common)
    if name not in ("weibull_min", "generalized_normal"):
        assert draw(KEY, *rows).shape == common
    np.testing.assert_array_equal(draw(KEY, *rows, shape=shape), draw(KEY, *parameters, shape=shape))


@pytest.mark.parametrize("name", PARAMETRIC)
def test_under_jit_and_vmap(name: str) -> None:
    """Over keys, over parameters, and over both; eager and jitted."""
    parameters = PARAMETRIC[name]
    draw = sampler(name)

    def f(key: Any, *parameters: Any) -> Any:
        return draw(key, *parameters, shape=(2, 2))

    each = np.stack([f(key, *parameters) for key in KEYS])
    np.testing.assert_array_equal(ft.jit(f)(KEYS[0], *parameters), each[0])
    over_keys = ft.vmap(f, (0, *[None] * len(parameters)))
    np.testing.assert_array_equal(over_keys(KEYS, *parameters), each)
    np.testing.assert_array_equal(ft.jit(over_keys)(KEYS, *parameters), each)
    several = [np.full(3, p) * np.linspace(1.0, 1.2, 3) for p in parameters]
    expected = np.stack([f(KEY, *[p[i] for p in several]) for i in range(3)])
    np.testing.assert_array_equal(ft.vmap(f, (None, *[0] * len(parameters)))(KEY, *several), expected)
    both = np.stack([f(KEYS[i], *[p[i] for p in several]) for i in range(3)])
    np.testing.assert_array_equal(ft.vmap(f)(KEYS, *several), both)


@pytest.mark.parametrize("name", STANDARD)
def test_standard_samplers_under_vmap(name: str) -> None:
    f = lambda key: sampler(name)(key, (3,), "float32")
    each = np.stack([f(key) for key in KEYS])
    np.testing.assert_array_equal(ft.jit(ft.vmap(f))(KEYS), each)
    grid = KEYS.reshape(3, 1)
    np.testing.assert_array_equal(ft.vmap(ft.vmap(f))(grid)[:, 0], each)


def test_many_draws_and_many_keys_agree() -> None:
    """Blocks of elements, blocks of keys, and single elements are the same numbers."""
    n = 70_001
    x = ft.random.bits(KEY, (n,))
    np.testing.assert_array_equal(x, ft.vmap(lambda k: ft.random.bits(k, (n,)))(KEY.reshape(1))[0])
    np.testing.assert_array_equal(x[:100], ft.random.bits(KEY, (100,)))
    keys = ft.random.split(KEY, 20_000)
    few = ft.vmap(lambda k: ft.random.bits(k, (3,)))(keys)
    for i in (0, 1, 10_922, 10_923, 19_999):
        np.testing.assert_array_equal(few[i], ft.random.bits(keys[i], (3,)))
    np.testing.assert_array_equal(ft.random.key_data(keys)[:5], ft.random.key_data(ft.random.split(KEY, 5)))


# --------------------------------------------------------------------------------------------------------------------
# Derivatives


@pytest.mark.parametrize("name", REPARAMETRISED)
def test_reparametrised_derivatives(name: str) -> None:
    parameters = [np.full(3, p) for p in PARAMETRIC[name]]
    check_grads(lambda *p: sampler(name)(KEY, *p), parameters, order=2)


def test_derivatives_with_respect_to_bounds() -> None:
    check_grads(lambda a, b: ft.random.uniform(KEY, (2, 3), float, a, b), (np.zeros(3), np.full((2, 1), 2.0)), order=2)
    check_grads(
        lambda loc, scale: ft.random.double_sided_maxwell(KEY, loc, scale, (4,)),
        (np.array([1.0, 2.0]), np.array(0.5)),
        order=2,
    )


@pytest.mark.parametrize("method", ["cholesky", "eigh", "svd"])
def test_multivariate_normal_is_differentiable(method: str) -> None:
    mean = np.array([1.0, 2.0, 3.0])
    root = np.array([[1.0, 0.2, 0.1], [0.0, 1.5, 0.3], [0.3, 0.0, 2.0]])

    def f(mean: Any, root: Any) -> Any:
        return ft.random.multivariate_normal(KEY, mean, root @ root.T, (2,), method=method)

    check_grads(f, (mean, root), order=2)
    stack = np.stack([root, root.T])
    each = np.stack([ft.jacrev(f, 1)(mean, r) for r in stack])
    np.testing.assert_allclose(ft.vmap(ft.jacrev(f, 1), (None, 0))(mean, stack), each, rtol=1e-10, atol=1e-12)


def test_expected_gradient_with_respect_to_the_covariance() -> None:
    """That of E[x_i x_j] is a unit matrix, for each factor."""
    n, cov = 20_000, np.array([[2.0, 0.3], [0.3, 1.0]])
    for method in ("cholesky", "eigh", "svd"):

        def product(cov: Any, method: str = method) -> Any:
            x = ft.random.multivariate_normal(KEY, np.zeros(2), cov, (n,), method=method)
            return np.mean(x[:, 0] * x[:, 1])

        np.testing.assert_allclose(ft.grad(product)(cov), [[0, 0.5], [0.5, 0]], atol=0.06)


def test_what_is_chosen_is_differentiable() -> None:
    x = np.arange(12.0).reshape(3, 4)
    for f in (
        lambda x: ft.random.permutation(KEY, x, 1),
        lambda x: ft.random.permutation(KEY, x, 0, independent=True),
        lambda x: ft.random.shuffle(KEY, x, 1),
        lambda x: ft.random.choice(KEY, x, (5,), axis=1),
        lambda x: ft.random.choice(KEY, x, (2,), replace=False),
        lambda x: ft.random.choice(KEY, x[0], (2, 2), p=np.ones(4)),
    ):
        check_grads(f, (x,), order=1)


@pytest.mark.parametrize("name", ["bernoulli", "binomial", "geometric", "poisson"])
def test_counts_have_no_derivative(name: str) -> None:
    parameters = PARAMETRIC[name]
    gradient = ft.grad(lambda p: np.sum(sampler(name)(KEY, *parameters[:-1], p) * 1.0))(parameters[-1])
    assert gradient == 0


# --------------------------------------------------------------------------------------------------------------------
# Values at the edges


def test_edges() -> None:
    r = ft.random
    np.testing.assert_array_equal(r.poisson(KEY, np.array([0.0, -1.0, np.nan])), [0, -1, -1])
    assert r.poisson(KEY, np.inf) == np.iinfo(int).max
    assert r.poisson(KEY, 1e9, dtype="int16") == 2**15 - 1
    np.testing.assert_array_equal(
        r.binomial(KEY, np.array([5.0, 5, 0, 1e4, 1e4]), np.array([0.0, 1, 0.5, 0, 1])), [0, 5, 0, 0, 1e4]
    )
    np.testing.assert_array_equal(
        np.isnan(r.binomial(KEY, np.array([-1.0, np.nan, 3, 3]), np.array([0.5, 0.5, -1, 2]))), True
    )
    assert r.binomial(KEY, np.inf, 0.5) == np.inf
    np.testing.assert_array_equal(r.geometric(KEY, np.array([1.0, 1.0])), 1)
    assert r.geometric(KEY, 0.0) > 1e18
    np.testing.assert_array_equal(r.randint(KEY, (3,), 5, 5), 5)
    np.testing.assert_array_equal(r.randint(KEY, (3,), 5, 2), 5)
    assert r.randint(KEY, (2,), 0, 2**32, "uint32").dtype == np.uint32
    assert r.randint(KEY, (1000,), 0, 2**64 - 1, "uint64").max() > 2**63
    assert r.randint(KEY, (100,), 2**62, 2**63 - 1).min() >= 2**62
    assert np.isfinite(r.truncated_normal(KEY, -np.inf, np.inf, (1000,))).all()
    np.testing.assert_array_equal(r.truncated_normal(KEY, 2.0, 2.5, (1000,)).clip(2.0, 2.5) > 2, True)
    np.testing.assert_array_equal(r.bernoulli(KEY, np.array([0.0, 1.0])), [False, True])
    assert r.permutation(KEY, 0).shape == (0,)
    assert r.choice(KEY, 5, (0,)).shape == (0,)
    assert r.categorical(KEY, np.zeros((0, 3))).shape == (0,)
    assert r.ball(KEY, 0).shape == (0,)
    assert r.orthogonal(KEY, 0).shape == (0, 0)
    assert r.dirichlet(KEY, np.ones((0, 3))).shape == (0, 3)
    assert r.multinomial(KEY, 3, np.array([1.0])) == 3
    assert r.split(KEY, (2, 3)).shape == (2, 3)
    assert r.split(KEY, 0).shape == (0,)
    assert sorted(r.permutation(KEY, 1000)) == list(range(1000))
    assert len(set(r.choice(KEY, 100, (100,), replace=False).tolist())) == 100
    assert r.shuffle(KEY, [3, 1, 2]).sum() == 6
    assert r.rademacher(KEY, (3,), "complex64").dtype == np.complex64
