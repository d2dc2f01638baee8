"""`functrans.test_util`: right rules pass, wrong ones are named, word for word."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import lax
from functrans.core.aval import Aval
from functrans.core.primitive import Primitive
from functrans.core.rules import def_abstract, def_constant, def_impl, def_jvp, def_linear, def_vjp
from functrans.errors import MissingRuleError
from functrans.test_util import check_grads, check_jvp, check_vjp

X = np.array([1.0, 2.0, 3.0])


def elementwise(name: str, impl: Callable[..., Any]) -> Primitive:
    primitive = Primitive(name)
    def_impl(primitive, impl)
    def_abstract(primitive, lambda *avals: Aval(avals[0].shape, avals[0].dtype))
    return primitive


def message(f: Callable[..., Any], args: tuple[Any, ...], order: int = 1, **options: Any) -> list[str]:
    """The lines of the error that `check_grads` raises."""
    with pytest.raises(AssertionError) as caught:
        check_grads(f, args, order, **options)
    return str(caught.value).split("\n")


# --------------------------------------------------------------------------------------------------------------------
# Right derivatives


def test_order_two_of_a_pytree() -> None:
    def loss(params: Any, scale: Any) -> Any:
        hidden = lax.tanh(lax.mul(params["W"][0], params["b"]))
        return {"loss": lax.mul(hidden, scale), "again": [hidden]}

    params = {"W": [np.linspace(-1, 1, 4)], "b": np.linspace(1, 2, 4), "steps": 3}
    check_grads(loss, (params, np.full(4, 2.0)), order=2)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_function_that_changes_fast(order: int) -> None:
    check_grads(lambda x: lax.sin(lax.mul(x, 1e3)), (np.linspace(0.0, 1.0, 5),), order)


def test_close_to_a_pole() -> None:
    check_grads(lax.log, (1e-6,), order=2)
    check_grads(lax.log, (np.array([1e-6, 1.0, 1e6]),), order=1)


@pytest.mark.parametrize("dtype", ["float16", "float32", "complex64"])
def test_narrow_dtypes(dtype: str) -> None:
    x = np.array([0.5, 1.5, -2.0], dtype)
    check_grads(lambda x: lax.mul(lax.sin(x), lax.exp(x)), (x,), order=2)


def test_large_arguments_in_float32() -> None:
    check_grads(lax.sin, (np.linspace(0, 1000, 7, dtype=np.float32),), order=2)


def test_complex_numbers() -> None:
    z = np.array([1.0 + 2.0j, -0.5 + 0.25j])
    check_grads(lambda z: lax.mul(lax.exp(z), z), (z,), order=2)


def test_python_scalars_and_values_that_are_not_differentiated() -> None:
    check_grads(lambda x, n: x if n == 0 else lax.mul(x, x), (2.0, 1), order=2)


def test_control_flow_and_jit() -> None:
    check_grads(ft.jit(lambda x: lax.mul(lax.sin(x), x)), (1.5,), order=2)
    check_grads(lambda x: lax.exp(x) if x > 0 else lax.sin(x), (1.5,), order=2)


def relu_with_slope_at_zero(name: str, slope: float) -> Primitive:
    step = elementwise(f"{name}_step", lambda x: np.where(x == 0, slope, x > 0).astype(x.dtype))
    def_constant(step, 1)
    relu = elementwise(name, lambda x: np.maximum(x, 0))
    def_jvp(relu, lambda t, out, x: lax.mul(t, step.bind(x)))
    return relu


@pytest.mark.parametrize("slope", [0.0, 0.3, 0.5, 1.0])
def test_every_slope_at_a_kink_is_a_derivative(slope: float) -> None:
    relu = relu_with_slope_at_zero(f"relu_{slope}", slope)
    check_grads(relu.bind, (np.array([-1.0, 0.0, 1.0]),), order=1)
    check_grads(lambda x: lax.add(relu.bind(x), relu.bind(lax.neg(x))), (np.array(0.0),), order=1)  # |x|


def test_only_one_mode_is_asked() -> None:
    clipped = elementwise("clipped", lambda x: x)
    def_vjp(clipped, lambda ct, out, x: lax.mul(lax.tanh(ct), 1.0))  # not linear: there is no forward mode
    with pytest.raises(MissingRuleError, match="tanh"):
        check_grads(clipped.bind, (X,), order=1, modes=["fwd"])
    check_grads(lambda x: lax.mul(x, x), (X,), order=2, modes="rev")


def test_wider_tolerances() -> None:
    nearly = elementwise("nearly_sin", np.sin)
    def_jvp(nearly, lambda t, out, x: lax.mul(t, lax.mul(lax.cos(x), 1.0 + 1e-4)))
    message(nearly.bind, (X,))
    check_grads(nearly.bind, (X,), order=1, rtol=1e-3)
    check_grads(nearly.bind, (X,), order=1, atol=1e-3, rtol=0.0)
    check_grads(nearly.bind, (X,), order=1, rtol=1e-3, eps=1e-3)


# --------------------------------------------------------------------------------------------------------------------
# Wrong derivatives


def test_twice_what_it_should_be() -> None:
    wrong = elementwise("wrong_sin", np.sin)
    def_jvp(wrong, lambda t, out, x: lax.mul(t, lax.mul(lax.cos(x), 2.0)))

    def loss(params: Any) -> Any:
        return lax.exp(wrong.bind(lax.mul(params["W"][2], 1.0)))

    assert message(loss, ({"W": [1.0, 2.0, X]},)) == [
        "the JVP rule of primitive 'wrong_sin' (operand 0) is wrong: it is twice what it should be",
        "  in wrong_sin, entry [0] of the output by entry [0] of operand 0: the rule gives 1.0806, "
        "finite differences give 0.540302, difference 0.54 (allowed 5e-08)",
        "  in the forward derivative (JVP) of loss, order 1, entry [0] of the output by entry [0] of "
        "params['W'][2]: functrans gives 2.50676, finite differences give 1.25338, difference 1.3 (allowed 1e-07)",
    ]


def test_wrong_sign() -> None:
    wrong = elementwise("wrong_cos", np.cos)
    def_jvp(wrong, lambda t, out, x: lax.mul(t, lax.sin(x)))
    assert message(wrong.bind, (0.5,)) == [
        "the JVP rule of primitive 'wrong_cos' (operand 0) is wrong: it has the wrong sign",
        "  in wrong_cos, the output by operand 0: the rule gives 0.479426, "
        "finite differences give -0.479426, difference 0.96 (allowed 5e-08)",
        "  in the forward derivative (JVP) of bind, order 1, the output by operands[0]: functrans gives 0.479426, "
        "finite differences give -0.479426, difference 0.96 (allowed 5e-08)",
    ]


def first_line(f: Callable[..., Any], *args: Any, **options: Any) -> str:
    return message(f, args, **options)[0]


def test_the_other_operand() -> None:
    wrong = elementwise("wrong_product", lambda x, y: x * y**2)
    def_jvp(
        wrong,
        lambda t, out, x, y: lax.mul(t, lax.mul(y, y)),
        lambda t, out, x, y: lax.mul(t, lax.mul(y, y)),
    )
    assert first_line(wrong.bind, X, X + 2) == (
        "the JVP rule of primitive 'wrong_product' (operand 1) is wrong: it is that with respect to operand 0"
    )


def test_another_factor() -> None:
    wrong = elementwise("wrong_tanh", np.tanh)
    def_vjp(wrong, lambda ct, out, x: lax.mul(ct, lax.mul(3.0, lax.sub(1.0, lax.mul(out, out)))))
    expected = "the VJP rule of primitive 'wrong_tanh' (operand 0) is wrong: it is 3 times what it should be"
    assert first_line(wrong.bind, X) == expected
    assert first_line(wrong.bind, X, modes=["rev"]) == expected
    assert first_line(ft.jit(wrong.bind), X) == expected


def test_declared_constant() -> None:
    wrong = elementwise("wrong_constant", np.sin)
    def_constant(wrong, 1)
    assert first_line(lambda x: lax.add(x, wrong.bind(x)), X) == (
        "primitive 'wrong_constant' is declared to have no derivative, and has one"
    )


def test_transpose_rule() -> None:
    wrong = elementwise("wrong_double", lambda x: 2 * x)
    def_linear(wrong, lambda ct, x: (ct,))
    assert first_line(wrong.bind, X) == (
        "the transpose rule of primitive 'wrong_double' (operand 0) is wrong: it is half of what it should be"
    )
    check_grads(wrong.bind, (X,), order=2, modes=["fwd"])


def test_not_transposed() -> None:
    wrong = elementwise("wrong_swap", lambda x: x.T.copy())
    def_linear(wrong, lambda ct, x: (ct,))
    lines = message(wrong.bind, (np.arange(9.0).reshape(3, 3),))
    assert lines[:2] == [
        "the transpose rule of primitive 'wrong_swap' (operand 0) is wrong: it is transposed",
        "  in wrong_swap, entry [0, 1] of the output by entry [0, 1] of operand 0: the rule gives 1, "
        "finite differences give 0, difference 1 (allowed 1e-12)",
    ]


def test_missing_conjugation() -> None:
    wrong = elementwise("wrong_turn", lambda z: z * (1 + 2j))
    def_jvp(wrong, lambda t, out, z: lax.mul(t, 1 - 2j))
    assert first_line(wrong.bind, X + 1j) == (
        "the JVP rule of primitive 'wrong_turn' (operand 0) is wrong: it lacks a conjugation, or has one too many"
    )


def test_second_order() -> None:
    """The rule of `half_sin` is right, but not that of what it uses."""
    inner = elementwise("inner_cos", np.cos)
    def_jvp(inner, lambda t, out, x: lax.mul(t, lax.sin(x)))
    outer = elementwise("outer_sin", np.sin)
    def_jvp(outer, lambda t, out, x: lax.mul(t, inner.bind(x)))
    check_grads(outer.bind, (X,), order=1)
    lines = message(lambda x: outer.bind(x), (X,), order=2)
    assert lines[0] == "the JVP rule of primitive 'inner_cos' (operand 0) is wrong: it has the wrong sign"
    assert lines[2].startswith(
        "  in the forward derivative (JVP) of the forward derivative (JVP) of <lambda>, order 2, "
        "entry [0] of the output by entry [0] of x: functrans gives 0.705"
    )


def test_beyond_the_slopes_at_a_kink() -> None:
    relu = relu_with_slope_at_zero("wrong_relu", -0.5)
    lines = message(relu.bind, (np.array([0.0]),))
    assert lines[0] == "the JVP rule of primitive 'wrong_relu' (operand 0) is wrong"
    assert "the rule gives -0.5, the slopes to the left and to the right are 0 and 1" in lines[1]


def test_a_jump_is_not_confirmed() -> None:
    relu = relu_with_slope_at_zero("relu_at_second_order", 0.0)
    assert first_line(relu.bind, np.array([0.0]), order=2).endswith(
        "cannot be confirmed: finite differences do not settle on a value there, as where a function jumps, "
        "has a pole or is noisy. Check at another point"
    )


def test_wrong_in_float32_alone() -> None:
    wrong = elementwise("wrong_in_float32", np.sin)
    def_jvp(wrong, lambda t, out, x: lax.mul(t, lax.add(lax.cos(x), 0.01 if x.dtype == np.float32 else 0.0)))
    lines = message(wrong.bind, (X.astype(np.float32),))
    assert lines[0] == "the forward derivative (JVP) of bind is wrong"
    assert "in float32: functrans gives" in lines[1]


def test_the_entry_that_is_wrong() -> None:
    """One entry among many, in the second argument."""
    mask = np.zeros((3, 4))
    mask[1, 2] = 1e-3
    zeroed = elementwise("wrong_in_one_entry", lambda x, m: x.copy())
    def_jvp(zeroed, lambda t, out, x, m: lax.sub(t, lax.mul(t, m)), None)

    def f(x: Any, y: Any) -> Any:
        return lax.add(x, zeroed.bind(y, mask))

    lines = message(f, (np.ones((3, 4)), np.ones((3, 4))))
    assert "entry [1, 2] of the output by entry [1, 2] of y" in lines[-1]


# --------------------------------------------------------------------------------------------------------------------
# check_jvp, check_vjp, and their arguments


def f_of_two(x: Any, y: Any) -> Any:
    return lax.mul(lax.sin(x), y)


def test_check_jvp() -> None:
    check_jvp(f_of_two, partial(ft.jvp, f_of_two), (X, X))
    with pytest.raises(AssertionError) as caught:
        check_jvp(
            f_of_two,
            lambda p, t: (f_of_two(*p), np.cos(p[0]) * p[1] * t[0] - np.sin(p[0]) * t[1]),
            (X, X),
            err_msg="by hand",
        )
    assert str(caught.value).split("\n") == [
        "by hand: the forward derivative (JVP) of f_of_two is wrong: it has the wrong sign",
        "  in the forward derivative (JVP) of f_of_two, order 1, entry [0] of the output by entry [0] of y: "
        "it gives -0.841471, finite differences give 0.841471, difference 1.7 (allowed 8e-08)",
    ]


def test_check_vjp() -> None:
    check_vjp(f_of_two, partial(ft.vjp, f_of_two), (X, X))
    with pytest.raises(AssertionError, match="of x: it gives 1, "):
        check_vjp(f_of_two, lambda *p: (f_of_two(*p), lambda ct: (ct, np.sin(p[0]) * ct)), (X, X))


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="order must be at least 1, got 0"):
        check_grads(lax.sin, (X,), order=0)
    with pytest.raises(ValueError, match="modes must be of 'fwd' and 'rev'"):
        check_grads(lax.sin, (X,), order=1, modes=["forward"])
    with pytest.raises(TypeError, match="no argument of f_of_two is a float or complex array"):
        check_grads(f_of_two, (1, 2), order=1)
