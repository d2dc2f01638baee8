"""Linearization: what is computed before the tangents are known, and the linear rest."""

from typing import Any

import numpy as np

import functrans as ft
from functrans import lax
from functrans.transforms.linearize import linear_as_recorded, linearize

X = np.array([1.0, 2.0])


def lin_of(f: Any, *args: Any, nonzeros: Any = None) -> Any:
    jaxpr = ft.make_jaxpr(f)(*args).jaxpr
    return linearize(jaxpr, nonzeros or tuple([aval.inexact for aval in jaxpr.in_avals]))


def names(jaxpr: Any) -> list[str]:
    return [eqn.primitive.name for eqn in jaxpr.eqns]


def test_only_what_touches_a_tangent_is_in_the_linear_program() -> None:
    lin = lin_of(lambda x: lax.sin(lax.exp(x)), X)
    assert sorted(names(lin.primal)) == ["cos", "exp", "sin"]
    assert names(lin.linear) == ["mul", "mul"]


def test_inputs_and_outputs_are_forwarded_as_residuals() -> None:
    """Neither is computed, or handed over, a second time."""
    lin = lin_of(lambda x, y: lax.mul(x, y), X, X)
    assert lin.residuals in ((-2, -1), (-1, -2))
    assert len(lin.primal.outs) == 1
    lin = lin_of(lambda x: lax.exp(x), X)
    assert lin.residuals == (0,)
    assert len(lin.primal.outs) == 1


def test_a_linear_function_has_no_residuals() -> None:
    lin = lin_of(lambda x, y: lax.sub(lax.neg(x), lax.mul(y, 3.0)), X, X)
    assert lin.residuals == ()


def test_parts_without_a_tangent_stay_in_the_primal_program() -> None:
    lin = lin_of(lambda x, y: (lax.mul(lax.sin(x), y), lax.cos(x)), X, X, nonzeros=(False, True))
    assert lin.nonzeros == (True, False)
    assert names(lin.linear) == ["mul"]


def test_the_linear_program_is_run_as_often_as_one_likes() -> None:
    out, derivative = ft.linearize(lambda x: lax.mul(lax.sin(x), x), X)
    np.testing.assert_allclose(out, np.sin(X) * X)
    for v in (X, -X, 0 * X):
        np.testing.assert_allclose(derivative(v), (np.cos(X) * X + np.sin(X)) * v)


def test_nested_linearization() -> None:
    def f(x: Any) -> Any:
        return ft.linearize(lambda y: lax.mul(lax.mul(y, y), y), x)[1](1.0)

    np.testing.assert_allclose(ft.linearize(f, 2.0)[1](1.0), 12.0)
    np.testing.assert_allclose(ft.grad(ft.grad(lambda x: f(x)))(2.0), 6.0)


def test_calls_are_split_in_two() -> None:
    lin = lin_of(ft.jit(lambda x: lax.sin(x)), X)
    assert (names(lin.primal), names(lin.linear)) == (["jit"], ["jit"])
    assert names(lin.primal.eqns[0].params["jaxpr"]) == ["sin", "cos"]
    assert names(lin.linear.eqns[0].params["jaxpr"]) == ["mul"]


def test_the_linear_program_as_recorded() -> None:
    jaxpr = ft.make_jaxpr(lambda x: lax.neg(lax.neg(lax.mul(x, x))))(X).jaxpr
    assert names(linear_as_recorded(jaxpr, (True,))) == ["mul", "mul", "add", "neg", "neg"]
    assert names(linearize(jaxpr, (True,)).linear) == ["mul", "mul", "add"]


def test_residuals_are_chosen_in_time_that_grows_with_their_number() -> None:
    """Each exponential keeps its result, and is looked at once."""

    def chain(x: Any) -> Any:
        for _ in range(3000):
            x = lax.exp(lax.neg(x))
        return x

    lin = lin_of(chain, X)
    assert len(lin.residuals) == 3000
