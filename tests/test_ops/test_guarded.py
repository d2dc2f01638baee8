"""Products with zeros that stay, among infinities and NaN."""

from itertools import product
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans.ops.guarded import guarded_div, guarded_dot_general, guarded_linear_recurrence, guarded_mul
from functrans.passes.pipeline import finalize

ODD = [0.0, -0.0, 1.5, -2.0, np.inf, -np.inf, np.nan]
GUARDS = [(True, False), (False, True), (True, True)]


def guarded_product(x: Any, y: Any, guards: tuple[bool, bool]) -> Any:
    """One product, by its definition."""
    if (guards[0] and x == 0 and not np.isfinite(y)) or (guards[1] and y == 0 and not np.isfinite(x)):
        return x.dtype.type(0)
    with np.errstate(all="ignore"):
        return x * y


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("guards", GUARDS)
def test_mul_among_all_pairs_of_odd_numbers(guards: tuple[bool, bool], dtype: str) -> None:
    x, y = np.array(list(product(ODD, ODD)), dtype).T
    expected = np.array([guarded_product(a, b, guards) for a, b in zip(x, y, strict=True)])
    with np.errstate(invalid="ignore"):
        out = guarded_mul(x, y, guards)
        scalars = [guarded_mul(a, b, guards) for a, b in zip(x, y, strict=True)]
    np.testing.assert_array_equal(out, expected, strict=True)
    np.testing.assert_array_equal(np.signbit(out), np.signbit(expected))
    np.testing.assert_array_equal(np.array(scalars), expected, strict=True)


def test_mul_warns_only_of_what_is_not_guarded() -> None:
    np.testing.assert_array_equal(guarded_mul(np.array([0.0, 2.0]), np.array([np.inf, np.nan])), [0, np.nan])
    with pytest.warns(RuntimeWarning, match="invalid value"):
        guarded_mul(np.array([np.inf]), np.array([0.0]))


def test_mul_of_complex_numbers() -> None:
    x, y = np.array([0j, 1 + 1j, 0j]), np.array([complex(np.inf, np.nan), 2j, 1 + 1j])
    np.testing.assert_array_equal(guarded_mul(x, y), [0j, -2 + 2j, 0j])


def test_div() -> None:
    x, y = np.array([0.0, -0.0, 0.0, 1.0, 0.0, 3.0]), np.array([0.0, np.nan, np.inf, 0.0, 2.0, np.inf])
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(guarded_div(x, y), [0, 0, 0, np.inf, 0, 0])
    assert guarded_div(np.float64(0), np.float64(0)) == 0
    np.testing.assert_array_equal(guarded_div(np.array([0j]), np.array([0j])), [0j])


def summed(x: Any, y: Any, guards: tuple[bool, bool]) -> Any:
    """A matrix product, by its definition."""
    out = np.zeros((x.shape[0], y.shape[1]), x.dtype)
    for i, j, k in np.ndindex(x.shape[0], y.shape[1], x.shape[1]):
        with np.errstate(all="ignore"):
            out[i, j] += guarded_product(x[i, k], y[k, j], guards)
    return out


MATRICES = (((1,), (0,)), ((), ()))


@pytest.mark.parametrize("guards", GUARDS)
@pytest.mark.parametrize("odd", [0.05, 0.3])
def test_dot_general_is_the_sum_of_guarded_products(guards: tuple[bool, bool], odd: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        x, y = [
            np.where(rng.random(shape) < odd, rng.choice(ODD, shape), rng.integers(-3, 4, shape).astype(float))
            for shape in ((3, 4), (4, 5))
        ]
        expected = summed(x, y, guards)
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(guarded_dot_general(x, y, MATRICES, guards), expected)
            stacks = guarded_dot_general(np.stack([x, x]), np.stack([y, y]), (((2,), (1,)), ((0,), (0,))), guards)
            np.testing.assert_array_equal(stacks[1], expected)
            rows = guarded_dot_general(x[0], y, (((0,), (0,)), ((), ())), guards)
            np.testing.assert_array_equal(rows, expected[0])


def test_dot_general_of_complex_numbers_gives_nan_for_what_is_infinite() -> None:
    x, y = np.array([[0j, 1j], [1j, 0j]]), np.array([[np.inf + 0j], [2 + 0j]])
    out = guarded_dot_general(x, y, MATRICES)
    assert out[0, 0] == 2j
    assert np.isnan(out[1, 0])


def test_dot_general_gives_numpys_scalar_for_vectors() -> None:
    out = guarded_dot_general(np.array([0.0, 1.0]), np.array([np.inf, 2.0]), (((0,), (0,)), ((), ())))
    assert type(out) is np.float64
    assert out == 2


def test_linear_recurrence() -> None:
    a, b = np.array([[1.0, np.inf, np.nan, 2.0, 3.0]]), np.array([[0.0, 0.0, 0.0, 1.0, 1.0]])
    np.testing.assert_array_equal(guarded_linear_recurrence(a, b, 1), [[0, 0, 0, 1, 4]])
    np.testing.assert_array_equal(guarded_linear_recurrence(a[:, ::-1], b[:, ::-1], 1, reverse=True), [[4, 1, 0, 0, 0]])


def test_derivatives_stay_guarded() -> None:
    """By the factor: the zero is a factor of the derivative too. By what guards: what is infinite stays so."""
    x, y = np.array([0.0, 2.0]), np.array([np.inf, 3.0])
    for derivative in (lambda f, t: ft.jvp(f, (y,), (t,))[1], lambda f, t: ft.vjp(f, y)[1](t)[0]):
        np.testing.assert_array_equal(derivative(lambda y: guarded_mul(x, y), np.array([np.inf, 1.0])), [0, 2])
        np.testing.assert_array_equal(
            derivative(lambda y: guarded_div(x, y), np.array([np.inf, 1.0])), [0, -np.float64(2) / 9]
        )
    np.testing.assert_array_equal(ft.vjp(lambda x: guarded_mul(x, y), x)[1](np.ones(2))[0], y)
    np.testing.assert_array_equal(ft.vjp(lambda x: guarded_mul(x, y), x)[1](np.array([0.0, 1.0]))[0], [0, 3])


def test_a_product_with_a_finite_number_is_plain_in_the_final_form() -> None:
    x = np.ones(3)

    def names(f: Any) -> list[str]:
        return [eqn.primitive.name for eqn in finalize(ft.make_jaxpr(f)(x).jaxpr).eqns]

    assert names(lambda x: guarded_mul(x, 2.0)) == ["mul"]
    assert names(lambda x: guarded_mul(x, 1.0)) == []
    assert names(lambda x: guarded_mul(x, -1.0)) == ["neg"]
    assert names(lambda x: guarded_mul(x, np.inf)) == ["guarded_mul"]
    assert names(lambda x: guarded_mul(0.0, x)) == []
    assert names(lambda x: guarded_mul(x, 0.0, (False, True))) == []
    assert names(lambda x: guarded_div(x, 3.0)) == ["div"]
    assert names(lambda x: guarded_div(x, 2.0)) == ["mul"]
    assert names(lambda x: guarded_div(x, 1.0)) == []
    assert names(lambda x: guarded_div(x, 0.0)) == ["guarded_div"]
