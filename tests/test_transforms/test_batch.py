"""Batching: one operation for the whole stack."""

import warnings
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import lax
from functrans.core.jaxpr import axis_names_in, jaxprs_in
from functrans.core.primitive import Primitive
from functrans.core.rules import def_abstract, def_impl, def_jvp
from functrans.transforms.batch import BatchAxis, batch, batch_to
from tests.cases import CASES
from tests.numerical import draw_all

X = np.arange(6.0).reshape(2, 3)


def program(f: Any, *args: Any) -> Any:
    return ft.make_jaxpr(f)(*args).jaxpr


def test_the_number_of_equations_does_not_depend_on_the_size() -> None:
    jaxpr = program(lambda x, y: lax.reduce_sum(lax.mul(lax.sin(x), y), (0,)), X[0], X[0])
    assert len(batch(jaxpr, BatchAxis(2), (0, 0))[0]) == len(batch(jaxpr, BatchAxis(1000), (0, 0))[0])


def test_what_is_shared_is_computed_once() -> None:
    jaxpr = program(lambda x, y: lax.mul(lax.sin(x), lax.cos(y)), X[0], X[0])
    batched, axes = batch(jaxpr, BatchAxis(2), (0, None))
    assert axes == (0,)
    (cos,) = [eqn for eqn in batched.eqns if eqn.primitive.name == "cos"]
    assert cos.out_avals[0].shape == (3,)


def test_outputs_that_are_shared() -> None:
    jaxpr = program(lambda x, y: (x, lax.sin(y), 1.0), X[0], X[0])
    batched, axes = batch(jaxpr, BatchAxis(2), (1, None))
    assert axes == (1, None, None)
    assert [aval.shape for aval in batched.out_avals] == [(3, 2), (3,), ()]
    wanted = batch_to(jaxpr, BatchAxis(2), (1, None), (0, 1, 0))
    assert [aval.shape for aval in wanted.out_avals] == [(2, 3), (3, 2), (2,)]


@pytest.mark.parametrize("in_axis", [0, 1, -1])
@pytest.mark.parametrize("out_axis", [0, 1, -1])
def test_axes(in_axis: int, out_axis: int) -> None:
    f = lambda x: lax.mul(x, 2.0)
    out = ft.vmap(f, in_axes=in_axis, out_axes=out_axis)(X)
    members = [np.take(X, i, in_axis) * 2 for i in range(X.shape[in_axis])]
    np.testing.assert_array_equal(out, np.stack(members, out_axis))


def test_batches_of_batches() -> None:
    f = lambda x, y: lax.reduce_sum(lax.mul(x, y), (0,))
    matmul = ft.vmap(ft.vmap(f, (None, 1)), (0, None))
    np.testing.assert_allclose(matmul(X, X.T), X @ X.T)


def test_an_empty_batch() -> None:
    assert ft.vmap(lambda x: lax.reduce_sum(x, (0,)))(X[:0]).shape == (0,)


def test_derivatives_of_batches_and_batches_of_derivatives() -> None:
    f = lambda x: lax.mul(lax.sin(x), x)
    derivative = np.cos(X) * X + np.sin(X)
    np.testing.assert_allclose(ft.vmap(ft.vmap(ft.grad(f)))(X), derivative)
    np.testing.assert_allclose(ft.grad(lambda x: lax.reduce_sum(ft.vmap(f)(x), (0, 1)))(X), derivative)
    np.testing.assert_allclose(ft.jvp(ft.vmap(f), (X,), (np.ones_like(X),))[1], derivative)
    np.testing.assert_allclose(ft.vmap(lambda x: ft.jvp(f, (x,), (np.ones(3),))[1])(X), derivative)


def test_calls_stay_calls() -> None:
    batched, _ = batch(program(ft.jit(lambda x: lax.sin(x)), X[0]), BatchAxis(2), (0,))
    assert [eqn.primitive.name for eqn in batched.eqns] == ["jit"]


def test_without_a_rule_the_members_are_computed_one_by_one() -> None:
    double = Primitive("double_without_batch", multiple_results=True)
    def_impl(double, lambda x, y: (2 * x, x + y))
    def_abstract(double, lambda x, y: (x, x))
    f = lambda x, y: double.bind(x, y)
    with pytest.warns(UserWarning, match="primitive 'double_without_batch' has no batching rule"):
        first, second = ft.vmap(f, in_axes=(0, None), out_axes=(0, 1))(X, X[1])
    np.testing.assert_array_equal(first, 2 * X)
    np.testing.assert_array_equal(second, (X + X[1]).T)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ft.vmap(f)(X, X)


def carried(jaxpr: Any) -> int:
    """How many equations a program has, with those of the programs inside of it."""
    inner = [p for eqn in jaxpr.eqns for value in eqn.params.values() for p in jaxprs_in(value)]
    return len(jaxpr) + sum(map(carried, inner))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_rule_loops_over_the_members(case: Any) -> None:
    operands = draw_all(np.random.default_rng(0), case.operands, case.dtypes[-1])
    jaxpr = program(case.function, *operands)
    n, rest = len(operands), (None,) * (len(jaxpr.in_avals) - len(operands))
    for axes in [(0,) * n, *[tuple([0 if i == one else None for i in range(n)]) for one in range(n)]]:
        sizes = [carried(batch(jaxpr, BatchAxis(size), (*axes, *rest))[0]) for size in (2, 7)]
        assert sizes[0] == sizes[1]


def test_a_name_is_part_of_a_batch_only_where_it_is_used() -> None:
    plain = program(lambda x: lax.sin(x), X[0])
    assert batch(plain, BatchAxis(2, "i"), (0,))[0] is batch(plain, BatchAxis(2), (0,))[0]
    named = ft.make_jaxpr(lambda x: lax.psum(x, "i"), axis_env=[("i", 2)])(X[0]).jaxpr
    assert axis_names_in(named) == {"i"}
    batched, axes = batch(named, BatchAxis(2, "i"), (None,))
    assert axes == (None,)
    assert [eqn.primitive.name for eqn in batched.eqns] == ["mul"]
    assert axis_names_in(batch(named, BatchAxis(3, "j"), (0,))[0]) == {"i"}
    assert axis_names_in(ft.make_jaxpr(ft.jit(lambda x: lax.psum(x, "i")), axis_env=[("i", 2)])(X[0]).jaxpr) == {"i"}


def test_a_program_with_a_collective_cannot_be_looped_over() -> None:
    carrier = Primitive("carrier_without_batch", multiple_results=True)
    def_abstract(carrier, lambda x, jaxpr: jaxpr.out_avals)
    inner = ft.make_jaxpr(lambda x: lax.psum(x, "i"), axis_env=[("i", 2)])(X[0]).jaxpr
    with pytest.raises(ft.errors.MissingRuleError, match="'carrier_without_batch' carries a program with a collective"):
        ft.vmap(lambda x: carrier.bind(x, jaxpr=inner), axis_name="i")(X)


def test_the_loop_is_differentiable() -> None:
    sine = Primitive("sine_without_batch")
    def_impl(sine, np.sin)
    def_abstract(sine, lambda x: x)
    def_jvp(sine, lambda t, out, x: lax.mul(t, lax.cos(x)))
    with pytest.warns(UserWarning, match="no batching rule"):
        gradient = ft.grad(lambda x: lax.reduce_sum(ft.vmap(sine.bind)(x), (0, 1)))(X)
    np.testing.assert_allclose(gradient, np.cos(X))
