"""Batching: one operation for the whole stack."""

import warnings
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import lax
from functrans.core.primitive import Primitive
from functrans.core.rules import def_abstract, def_impl, def_jvp
from functrans.transforms.batch import BatchAxis, batch, batch_to

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


def test_the_loop_is_differentiable() -> None:
    sine = Primitive("sine_without_batch")
    def_impl(sine, np.sin)
    def_abstract(sine, lambda x: x)
    def_jvp(sine, lambda t, out, x: lax.mul(t, lax.cos(x)))
    with pytest.warns(UserWarning, match="no batching rule"):
        gradient = ft.grad(lambda x: lax.reduce_sum(ft.vmap(sine.bind)(x), (0, 1)))(X)
    np.testing.assert_allclose(gradient, np.cos(X))
