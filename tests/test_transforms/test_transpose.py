"""Transposition, and reverse mode made of it."""

from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import lax
from functrans.core.evaluation import eval_jaxpr
from functrans.errors import MissingRuleError
from functrans.transforms.reverse import gradient
from functrans.transforms.transpose import accumulate, transpose

X = np.array([1.0, 2.0])


def program(f: Any, *args: Any) -> Any:
    return ft.make_jaxpr(f)(*args).jaxpr


def names(jaxpr: Any) -> list[str]:
    return [eqn.primitive.name for eqn in jaxpr.eqns]


def test_cotangents_of_an_input_that_is_used_twice_are_added() -> None:
    jaxpr = program(lambda x: lax.add(x, lax.mul(x, 3.0)), X)
    transposed, nonzeros = transpose(jaxpr, (True,), (True,))
    assert nonzeros == (True,)
    np.testing.assert_array_equal(eval_jaxpr(transposed, [X])[0], 4 * X)


def test_the_part_that_is_not_linear_runs_forward() -> None:
    jaxpr = program(lambda a, x: lax.mul(lax.sin(a), x), X, X)
    transposed, _ = transpose(jaxpr, (False, True), (True,))
    assert names(transposed) == ["sin", "mul"]
    np.testing.assert_allclose(eval_jaxpr(transposed, [X, X])[0], np.sin(X) * X)


def test_inputs_and_outputs_without_a_cotangent() -> None:
    jaxpr = program(lambda x, y: (lax.neg(x), lax.mul(x, 2.0), y), X, X)
    transposed, nonzeros = transpose(jaxpr, (True, True), (True, False, False))
    assert nonzeros == (True, False)
    assert names(transposed) == ["neg"]
    assert transpose(jaxpr, (True, True), (False, False, False))[1] == (False, False)


def test_an_output_that_is_an_input_or_a_literal() -> None:
    jaxpr = program(lambda x: (x, x, 1.0), X)
    transposed, nonzeros = transpose(jaxpr, (True,), (True, True, True))
    assert nonzeros == (True,)
    np.testing.assert_array_equal(eval_jaxpr(transposed, [X, 2 * X, np.float64(1)])[0], 3 * X)


def test_what_is_not_linear_is_refused() -> None:
    with pytest.raises(MissingRuleError, match="the function is not linear in what is transposed: primitive 'sin'"):
        ft.linear_transpose(lambda x: lax.sin(x), X)(X)


def test_grad_runs_nothing_that_only_the_value_needs() -> None:
    jaxpr = program(lambda x: lax.reduce_sum(lax.sin(x), (0,)), X)
    assert "sin" in names(gradient(jaxpr, (0,), with_value=True))
    without = names(gradient(jaxpr, (0,), with_value=False))
    assert "sin" not in without
    assert "reduce_sum" not in without


def test_a_gradient_that_is_zero() -> None:
    np.testing.assert_array_equal(ft.grad(lambda x: 1.0)(X), [0, 0])
    np.testing.assert_array_equal(ft.grad(lambda x, y: lax.reduce_sum(y, (0,)), argnums=(0, 1))(X, X)[0], [0, 0])
    np.testing.assert_array_equal(ft.grad(lambda x: lax.reduce_sum(lax.floor(x), (0,)))(X), [0, 0])


def test_calls_stay_calls() -> None:
    jaxpr = program(ft.jit(lambda a, x: lax.mul(a, x)), X, X)
    transposed, _ = transpose(jaxpr, (False, True), (True,))
    assert names(transposed) == ["jit"]


def test_a_part_adds_to_the_cotangents_that_there_are_as_the_whole_does() -> None:
    whole = program(lambda a, x: lax.add(lax.mul(a, x), lax.sub(lax.neg(x), lax.mul(x, a))), X, X)
    part = program(lambda a, x: lax.sub(lax.neg(x), lax.mul(x, a)), X, X)
    rest = program(lambda a, x: lax.mul(a, x), X, X)
    ct, a = np.array([0.1, 0.7]), np.array([0.3, 1e17])
    expected = eval_jaxpr(transpose(whole, (False, True), (True,))[0], [a, ct])
    first = accumulate(part, (False, True), [False], [None])
    assert (first.nonzeros, first.masked) == ((True,), (False,))
    second = accumulate(rest, (False, True), [False], [False])
    found = eval_jaxpr(second.program, [a, *eval_jaxpr(first.program, [a, ct]), ct])
    np.testing.assert_array_equal(found, expected)


def test_a_part_says_which_cotangents_are_masked() -> None:
    part = program(lambda m, x: lax.select_n(m, lax.neg(x), x), np.array([True, False]), X)
    assert accumulate(part, (False, True), [False], [None]).masked == (True,)
    half = program(lambda x, y: (lax.neg(x), lax.neg(y)), X, X)
    found = accumulate(half, (True, True), [True, None], [None, False])
    assert (found.nonzeros, found.masked) == ((True, True), (True, False))
    assert len(found.program.in_avals) == 2
    assert found.program.outs[1] == -1, "what there was is handed on"
