"""`functrans.extend`: primitives that users add."""

import pickle
import warnings
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import extend
from functrans.errors import MissingRuleError
from functrans.test_util import check_grads

X = np.array([0.5, 1.5, -2.0])


@extend.primitive
def softplus(x: Any) -> Any:
    """log(1 + exp(x))."""
    return np.logaddexp(x, x.dtype.type(0))


@softplus.def_vjp
def _(ct: Any, out: Any, x: Any) -> Any:
    return ct / (1 + np.exp(-x))


@extend.primitive(elementwise=True)
def cubed(x: Any, *, scale: float = 1.0) -> Any:
    return scale * x**3


@cubed.def_jvp
def _(t: Any, out: Any, x: Any, *, scale: float) -> Any:
    return t * (3 * scale) * x**2


@extend.primitive
def polar(x: Any, y: Any) -> Any:
    return np.hypot(x, y), np.arctan2(y, x)


polar.def_jvp(
    lambda t, out, x, y: (t * x / out[0], -t * y / (x * x + y * y)),
    lambda t, out, x, y: (t * y / out[0], t * x / (x * x + y * y)),
)


@extend.primitive
def cartesian(r: Any, phi: Any) -> Any:
    return r * np.cos(phi), r * np.sin(phi)


@cartesian.def_vjp
def _(ct: Any, out: Any, r: Any, phi: Any) -> Any:
    return ct[0] * np.cos(phi) + ct[1] * np.sin(phi), -ct[0] * out[1] + ct[1] * out[0]


# --------------------------------------------------------------------------------------------------------------------
# The function itself


def test_it_is_a_function_like_any_other() -> None:
    assert softplus.__name__ == "softplus"
    assert softplus.__doc__ == "log(1 + exp(x))."
    assert repr(softplus) == "<primitive softplus>"
    np.testing.assert_array_equal(softplus(X), np.logaddexp(X, 0))
    assert softplus(X.astype(np.float32)).dtype == np.float32
    assert pickle.loads(pickle.dumps(softplus)) is softplus


def test_keyword_only_parameters_are_static() -> None:
    assert cubed(2.0, scale=0.5) == 4.0
    assert ft.grad(cubed)(2.0) == 12.0
    assert ft.grad(lambda x: cubed(x, scale=0.5))(2.0) == 6.0
    assert "cubed[scale=0.5]" in str(ft.make_jaxpr(lambda x: cubed(x, scale=0.5))(2.0))


def test_one_equation() -> None:
    assert str(ft.make_jaxpr(softplus)(X)) == "{ lambda ; a:f64[3]. let\n    b:f64[3] = softplus a\n  in (b,) }"


def test_a_name_that_is_taken_gets_a_number() -> None:
    first = extend.primitive(np.sinh, name="taken")
    second = extend.primitive(np.sinh, name="taken")
    assert [repr(first), repr(second)] == ["<primitive taken>", "<primitive taken_2>"]


def test_results_that_lie_in_an_operand_are_copied() -> None:
    same = extend.primitive(lambda x: x, name="same")
    part = extend.primitive(lambda x: x[::2], name="part")
    for function in (same, part):
        x = X.copy()
        out = ft.jit(function)(x)
        assert not np.shares_memory(out, x)


# --------------------------------------------------------------------------------------------------------------------
# Derivatives


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("function", [softplus, cubed])
def test_one_rule_is_enough(function: Any, order: int) -> None:
    check_grads(function, (X,), order)


@pytest.mark.parametrize("function", [polar, cartesian])
def test_multiple_results(function: Any) -> None:
    check_grads(function, (X + 3, X + 4), order=2)
    r, phi = function(1.0, 2.0)
    assert ft.jit(function)(1.0, 2.0) == (r, phi)
    assert ft.grad(lambda x: function(x, 2.0)[1])(1.0).shape == ()


def test_all_transformations() -> None:
    sigmoid = 1 / (1 + np.exp(-X))
    np.testing.assert_allclose(ft.vmap(ft.grad(softplus))(X), sigmoid, rtol=1e-14)
    np.testing.assert_allclose(ft.jit(ft.vmap(ft.grad(softplus)))(X), sigmoid, rtol=1e-14)
    np.testing.assert_allclose(
        np.diag(ft.hessian(lambda x: np.sum(softplus(x)))(X)), sigmoid * (1 - sigmoid), rtol=1e-13
    )
    np.testing.assert_allclose(ft.jvp(softplus, (X,), (X,))[1], sigmoid * X, rtol=1e-14)


def test_a_backward_pass_that_is_not_linear() -> None:
    """Gradient clipping works in reverse mode; forward mode says why it cannot."""
    clipped = extend.primitive(lambda x: x.copy(), name="clip_gradient")
    clipped.def_vjp(lambda ct, out, x: np.clip(ct, -1.0, 1.0))
    np.testing.assert_array_equal(ft.grad(lambda x: np.sum(clipped(x) ** 2))(X), [1, 1, -1])
    with pytest.raises(MissingRuleError, match="not linear"):
        ft.jvp(clipped, (X,), (X,))


def test_both_rules() -> None:
    """Each mode then has its own."""
    both = extend.primitive(np.sin, name="both")
    both.def_jvp(lambda t, out, x: 2 * t)
    both.def_vjp(lambda ct, out, x: 3 * ct)
    assert ft.jvp(both, (1.0,), (1.0,))[1] == 2.0
    assert ft.grad(both)(1.0) == 3.0


def test_operands_without_a_derivative() -> None:
    scaled = extend.primitive(lambda x, n: x * n, name="scaled_by_integer")
    scaled.def_jvp(lambda t, out, x, n: t * n, None)
    assert ft.grad(scaled)(2.0, 3) == 3.0
    pulled = extend.primitive(lambda x, n: x * n, name="pulled_by_integer")
    pulled.def_vjp(lambda ct, out, x, n: (ct * n, None))
    assert ft.grad(pulled)(2.0, 3) == 3.0


def test_rules_may_close_over_arrays() -> None:
    weights = np.array([1.0, 2.0, 3.0])
    dot = extend.primitive(lambda x: np.dot(x, weights), name="weighted_sum")
    dot.def_vjp(lambda ct, out, x: ct * weights)
    np.testing.assert_array_equal(ft.grad(dot)(X), weights)
    assert ft.jvp(dot, (X,), (X,))[1] == np.dot(X, weights)
    np.testing.assert_array_equal(ft.jit(ft.grad(dot))(X), weights)
    forward = extend.primitive(lambda x: x * weights, name="weighted")
    forward.def_jvp(lambda t, out, x: t * weights)
    check_grads(forward, (X,), order=2)


def test_rules_return_what_can_be_broadcast() -> None:
    total = extend.primitive(np.sum, name="total")
    total.def_vjp(lambda ct, out, x: ct)
    np.testing.assert_array_equal(ft.grad(total)(X), np.ones(3))
    constant = extend.primitive(lambda x: 2 * x, name="slope_two")
    constant.def_jvp(lambda t, out, x: t * 2)
    assert ft.grad(constant)(np.float32(1)).dtype == np.float32


def test_a_linear_primitive() -> None:
    doubled = extend.primitive(lambda x: 2 * x, name="doubled")
    doubled.def_linear(lambda ct, x: 2 * ct)
    check_grads(doubled, (X,), order=2)
    np.testing.assert_array_equal(ft.linear_transpose(doubled, X)(X)[0], 2 * X)


def test_a_rule_that_calls_the_primitive_itself() -> None:
    solve = extend.primitive(np.linalg.solve, name="solve")
    solve.def_abstract(lambda a, b: b)

    @solve.def_vjp
    def _(ct: Any, x: Any, a: Any, b: Any) -> Any:
        ct_b = solve(a.T, ct)
        return -ct_b[:, None] * x[None, :], ct_b

    a, b = np.array([[3.0, 1.0, 0.5], [0.0, 2.0, 1.0], [1.0, 0.0, 4.0]]), X
    check_grads(solve, (a, b), order=2, modes=["rev"])
    with pytest.raises(MissingRuleError, match="def_transpose"):
        ft.jvp(solve, (a, b), (a, b))
    solve.def_transpose(lambda ct, a, b: (None, solve(a.T, ct)))
    check_grads(solve, (a, b), order=2)


def test_a_general_jvp() -> None:
    product = extend.primitive(lambda x, y: x * y, name="general_product")

    @product.def_general_jvp
    def _(primals: Any, tangents: Any) -> Any:
        x, y = primals
        dx, dy = [0 * x if t is None else t for x, t in zip(primals, tangents, strict=True)]
        return product(x, y), dx * y + x * dy

    check_grads(product, (X, X + 3), order=2)
    assert ft.grad(product, argnums=1)(2.0, 3.0) == 2.0


# --------------------------------------------------------------------------------------------------------------------
# Types


def test_the_type_is_found_by_a_call_on_ones() -> None:
    calls = []

    def counted(x: Any) -> Any:
        calls.append(x)
        return np.sum(x, axis=0).astype(np.float32)

    function = extend.primitive(counted)
    out = ft.eval_shape(function, np.zeros((2, 3)))
    assert (out.shape, out.dtype) == ((3,), np.float32)
    ft.eval_shape(function, np.zeros((2, 3)))
    assert len(calls) == 1
    np.testing.assert_array_equal(calls[0], np.ones((2, 3)))


def test_the_type_can_be_given() -> None:
    inverse = extend.primitive(np.linalg.inv, name="inverse")
    with pytest.raises(TypeError, match=r"inverse: shape and dtype .* LinAlgError: Singular .*@inverse.def_abstract"):
        ft.eval_shape(inverse, np.eye(2))
    inverse.def_abstract(lambda a: ft.ShapeDtypeStruct(a.shape, a.dtype))
    assert ft.eval_shape(inverse, np.eye(2)).shape == (2, 2)


def test_a_value_of_another_type() -> None:
    unsteady = extend.primitive(lambda x: x[x > 0], name="unsteady")
    with pytest.raises(TypeError, match=r"unsteady returned float64\[2\], and float64\[3\] was expected"):
        ft.jit(unsteady)(X)


# --------------------------------------------------------------------------------------------------------------------
# Batches


def test_vmap_without_a_rule_loops_and_says_so_once() -> None:
    reverse = extend.primitive(lambda x: x[::-1] * 2, name="reversed_twice_as_large")
    stack = np.arange(6.0).reshape(2, 3)
    with pytest.warns(UserWarning, match="primitive 'reversed_twice_as_large' has no batching rule"):
        out = ft.vmap(reverse)(stack)
    np.testing.assert_array_equal(out, 2 * stack[:, ::-1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(ft.vmap(reverse, in_axes=1)(stack.T), out)


def test_vmap_with_a_rule() -> None:
    kept = np.array([1.0, -1.0])
    norm = extend.primitive(lambda x: np.sqrt(np.sum(x * x, axis=-1)), name="norm")

    @norm.def_batch
    def _(size: int, operands: Any, axes: Any) -> Any:
        (x,), (axis,) = operands, axes
        assert (size, axis) == (2, 0)
        return norm(x) * np.abs(kept), 0

    stack = np.arange(6.0).reshape(2, 3)
    np.testing.assert_allclose(ft.vmap(norm)(stack), np.linalg.norm(stack, axis=1))


def test_elementwise_needs_no_rule() -> None:
    stack = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(ft.vmap(cubed)(stack), stack**3)


# --------------------------------------------------------------------------------------------------------------------
# Messages


def test_without_a_derivative() -> None:
    bare = extend.primitive(np.sin, name="bare")
    with pytest.raises(MissingRuleError, match="primitive 'bare' has no derivative rule"):
        ft.grad(bare)(1.0)


def test_a_cotangent_of_the_wrong_shape() -> None:
    function = extend.primitive(lambda x: np.sum(x), name="wrong_shape")
    function.def_vjp(lambda ct, out, x: ct * np.ones((2, 3)))
    with pytest.raises(
        TypeError,
        match=r"the VJP rule of primitive 'wrong_shape' gave a cotangent float64\[2,3\] "
        r"for the operand, which is float64\[3\]",
    ):
        ft.grad(function)(X)


def test_the_wrong_number_of_rules_or_cotangents() -> None:
    product = extend.primitive(lambda x, y: x * y, name="one_rule_for_two")
    product.def_jvp(lambda t, out, x, y: t * y)
    with pytest.raises(TypeError, match=r"called with 2 operands, but def_jvp was given 1 rules"):
        ft.grad(product)(1.0, 2.0)
    product.def_vjp(lambda ct, out, x, y: ct * y)
    with pytest.raises(TypeError, match=r"must return 2 cotangents, one for each operand .* and returned 1"):
        ft.grad(product)(1.0, 2.0)


def test_a_rule_that_closes_over_a_tracer() -> None:
    def outer(y: Any) -> Any:
        scaled = extend.primitive(lambda x: x, name="closing_over")
        scaled.def_vjp(lambda ct, out, x: ct * y)
        return ft.grad(scaled)(1.0)

    with pytest.raises(TypeError, match="closes over a traced value"):
        ft.grad(outer)(2.0)


def test_what_is_no_array() -> None:
    with pytest.raises(TypeError, match="primitive needs a function of arrays, got 3"):
        extend.primitive(3)
    words = extend.primitive(lambda x: "one", name="words")
    with pytest.raises(TypeError, match="words must return an array"):
        ft.jit(words)(1.0)


def test_a_rule_that_is_given_again() -> None:
    @extend.primitive
    def cubed_again(x: Any) -> Any:
        return x**3

    cubed_again.def_vjp(lambda ct, out, x: ct * x)
    assert ft.grad(cubed_again)(2.0) == 2.0
    cubed_again.def_vjp(lambda ct, out, x: ct * 3 * x**2)
    assert ft.grad(cubed_again)(2.0) == 12.0


def test_no_derivative_rule_names_the_decorator() -> None:
    @extend.primitive
    def ruleless(x: Any) -> Any:
        return x

    with pytest.raises(
        MissingRuleError, match=r"Give it a JVP, @ruleless.def_jvp, or a VJP, @ruleless.def_vjp; one of"
    ):
        ft.grad(ruleless)(2.0)


def test_an_empty_batch_without_a_batching_rule() -> None:
    @extend.primitive
    def row_sum(x: Any) -> Any:
        return np.sum(x)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert ft.vmap(row_sum)(np.ones((0, 3))).shape == (0,)
