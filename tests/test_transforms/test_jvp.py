"""Forward mode on programs: what it records, and what it leaves out."""

from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import lax
from functrans.core.evaluation import eval_jaxpr
from functrans.core.primitive import Primitive
from functrans.core.rules import def_abstract, def_general_jvp, def_impl
from functrans.errors import MissingRuleError
from functrans.transforms.jvp import jvp

X = np.array([1.0, 2.0])


def program(f: Any, *args: Any) -> Any:
    return ft.make_jaxpr(f)(*args).jaxpr


def names(jaxpr: Any) -> list[str]:
    return [eqn.primitive.name for eqn in jaxpr.eqns]


def test_a_zero_tangent_costs_nothing() -> None:
    jaxpr = program(lambda x, y: lax.mul(lax.sin(x), lax.exp(y)), X, X)
    both, _ = jvp(jaxpr, (True, True))
    one, nonzeros = jvp(jaxpr, (True, False))
    assert nonzeros == (True,)
    assert len(one) < len(both)
    assert names(one).count("exp") == 1
    none, nonzeros = jvp(jaxpr, (False, False))
    assert none is jaxpr
    assert nonzeros == (False,)


def test_outputs_without_a_tangent_are_named() -> None:
    jaxpr = program(lambda x, y: (lax.sin(x), y, lax.floor(x), 1.0), X, X)
    derived, nonzeros = jvp(jaxpr, (True, False))
    assert nonzeros == (True, False, False, False)
    assert len(derived.outs) == 5
    out = eval_jaxpr(derived, [X, X, X])
    np.testing.assert_allclose(out[-1], np.cos(X) * X)


def test_integers_and_booleans_get_no_tangent() -> None:
    jaxpr = program(lambda x: (lax.gt(x, 0.0), lax.convert_element_type(x, np.int64), lax.mul(x, 2.0)), X)
    assert jvp(jaxpr, (True,))[1] == (False, False, True)
    out, dot = ft.jvp(lambda x: (lax.gt(x, 0.0), lax.mul(x, 2.0)), (X,), (X,))
    assert dot[0].dtype == ft.dtypes.float0
    assert dot[0].shape == (2,)
    np.testing.assert_array_equal(out[0], [True, True])


def test_the_result_of_the_primitive_is_used() -> None:
    """The derivative of exp needs no second exp."""
    assert names(jvp(program(lambda x: lax.exp(x), X), (True,))[0]) == ["exp", "mul"]


def test_an_input_that_is_an_output() -> None:
    derived, nonzeros = jvp(program(lambda x: (x, x), X), (True,))
    assert (derived.outs, nonzeros) == ((-1, -1, -2, -2), (True, True))


def test_general_rules() -> None:
    swap = Primitive("swap_with_general_jvp", multiple_results=True)
    def_impl(swap, lambda x, y: (y.copy(), x.copy()))
    def_abstract(swap, lambda x, y: (y, x))
    def_general_jvp(swap, lambda primals, tangents: (swap.bind(*primals), (tangents[1], tangents[0])))
    f = lambda x, y: swap.bind(lax.sin(x), y)
    out, dot = ft.jvp(lambda x: f(x, X), (X,), (X,))
    np.testing.assert_array_equal(out[0], X)
    np.testing.assert_array_equal(dot[0], 0 * X)
    np.testing.assert_allclose(dot[1], np.cos(X) * X)


def test_a_missing_rule() -> None:
    bare = Primitive("bare_in_jvp")
    def_impl(bare, np.sin)
    def_abstract(bare, lambda x: x)
    with pytest.raises(MissingRuleError, match="primitive 'bare_in_jvp' has no derivative rule"):
        ft.jvp(lambda x: bare.bind(x), (X,), (X,))
    ft.jvp(lambda x, y: lax.mul(bare.bind(x), y), (np.arange(2), X.astype(int)), (None, None))


def test_calls_stay_calls() -> None:
    jaxpr = program(ft.jit(lambda x: lax.sin(x)), X)
    derived, _ = jvp(jaxpr, (True,))
    assert names(derived) == ["jit"]
    assert names(derived.eqns[0].params["jaxpr"]) == ["sin", "cos", "mul"]
