"""cond and switch: values, derivatives and batches; what does not run does not count."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import lax

XS = np.array([0.0, 2.0, -1.0, 0.0])


def reciprocal_or_linear(x: Any) -> Any:
    return lax.cond(x > 0, lambda: 1 / x, lambda: 3 * x)


def by_hand(x: Any) -> Any:
    return 1 / x if x > 0 else 3 * x


OPS: dict[str, Callable[[Any], Any]] = {
    "grad": ft.grad,
    "grad of grad": lambda f: ft.grad(ft.grad(f)),
    "jvp of grad": lambda f: lambda x: ft.jvp(ft.grad(f), (x,), (1.0,))[1],
    "grad of jvp": lambda f: ft.grad(lambda x: ft.jvp(f, (x,), (1.0,))[1]),
    "third": lambda f: ft.grad(ft.grad(ft.grad(f))),
    "linearize": lambda f: lambda x: ft.linearize(f, x)[1](1.0),
    "grad of jit": lambda f: ft.grad(ft.jit(f)),
    "jit of grad": lambda f: ft.jit(ft.grad(f)),
}


@pytest.mark.parametrize("op", OPS)
def test_only_the_branch_that_is_taken_counts(op: str) -> None:
    """Where x is 0 the division never runs: no warning, no NaN, at any order; for members of a batch too."""
    transform = OPS[op]
    expected = [transform(by_hand)(x) for x in XS] if "jit" not in op else [ft.grad(by_hand)(x) for x in XS]
    assert [transform(reciprocal_or_linear)(x) for x in XS] == expected
    np.testing.assert_allclose(ft.vmap(transform(reciprocal_or_linear))(XS), expected, rtol=1e-14)
    np.testing.assert_allclose(ft.jit(ft.vmap(transform(reciprocal_or_linear)))(XS), expected, rtol=1e-14)


def test_derivatives_of_batches() -> None:
    total = lambda xs: np.sum(ft.vmap(reciprocal_or_linear)(xs))
    first, second = [[op(by_hand)(x) for x in XS] for op in (ft.grad, OPS["grad of grad"])]
    np.testing.assert_allclose(ft.grad(total)(XS), first, rtol=1e-14)
    np.testing.assert_allclose(ft.hessian(total)(XS), np.diag(second), rtol=1e-14)
    np.testing.assert_allclose(ft.jacrev(ft.grad(total))(XS), np.diag(second), rtol=1e-14)
    np.testing.assert_allclose(ft.vmap(ft.grad(total))(np.stack([XS, XS[::-1]])), [first, first[::-1]], rtol=1e-14)


def test_nothing_is_hoisted_out_of_a_branch() -> None:
    program = str(ft.make_jaxpr(ft.grad(reciprocal_or_linear))(1.0))
    assert "div" not in program.replace(program[program.index("cond[") : program.rindex("]")], "")
    assert ft.grad(reciprocal_or_linear)(0.0) == 3.0


def test_a_branch_that_raises_must_not_run() -> None:
    def lookup(x: Any) -> Any:
        raise RuntimeError("ran")

    f = lambda p: lax.cond(p, lambda: ft.pure_callback(lookup, ft.ShapeDtypeStruct((), float), 1.0), lambda: 2.0)
    assert f(False) == 2.0
    np.testing.assert_array_equal(ft.vmap(f)(np.zeros(3, bool)), [2.0, 2.0, 2.0])
    with pytest.raises(RuntimeError, match="ran"):
        f(True)


def test_effects_are_for_the_members_that_take_the_branch() -> None:
    seen: list[Any] = []
    note = lambda name: lambda x: (ft.debug.callback(lambda v: seen.append((name, float(v))), x), x * x)[1]
    f = lambda x: lax.cond(x > 0, note("positive"), note("other"), x)
    xs = np.array([1.0, -1.0, 2.0])
    np.testing.assert_array_equal(ft.vmap(f)(xs), xs * xs)
    assert seen == [("positive", 1.0), ("other", -1.0), ("positive", 2.0)]
    seen.clear()
    np.testing.assert_array_equal(ft.vmap(ft.grad(f))(xs), 2 * xs)
    assert seen == [("positive", 1.0), ("other", -1.0), ("positive", 2.0)]


def test_operands_of_every_form() -> None:
    params = {"w": np.array([1.0, 2.0]), "b": 3.0}
    double = lambda p: {"w": p["w"] * 2, "b": p["b"]}
    out = lax.cond(True, double, lambda p: p, params)
    assert out["b"] == 3.0
    np.testing.assert_array_equal(out["w"], [2.0, 4.0])
    assert lax.cond(1, lambda x: x + 1, lambda x: x, operand=2.0) == 3.0
    assert lax.cond(np.float32(0), lambda: 1, lambda: 2) == 2
    assert lax.cond(True, lambda a, b: a + b, lambda a, b: a - b, 1.0, 2.0) == 3.0
    assert lax.cond(False, lambda: None, lambda: None) is None
    grads = ft.grad(lambda p: np.sum(lax.cond(True, double, lambda p: p, p)["w"]))(params)
    np.testing.assert_array_equal(grads["w"], [2.0, 2.0])
    assert grads["b"] == 0.0


def test_numbers_take_the_dtype_of_the_other_branch() -> None:
    assert lax.cond(True, lambda: 1, lambda: np.float32(2)).dtype == np.float32
    assert lax.cond(True, lambda: 1, lambda: 2.5).dtype == np.float64
    assert lax.cond(True, lambda: np.float32(1), lambda: 2.5).dtype == np.float32
    assert lax.switch(1, [lambda: 0, lambda: np.int8(3)]).dtype == np.int8


def test_switch() -> None:
    branches = [lambda x: x, np.sin, lambda x: x**3]
    assert [lax.switch(i, branches, 2.0) for i in (-5, 0, 1, 2, 9)] == [2.0, 2.0, np.sin(2.0), 8.0, 8.0]
    index, xs = np.array([2, 0, 1, 7, -1]), np.linspace(0.5, 2.5, 5)
    by_member = lambda f: [f(int(i), x) for i, x in zip(index, xs, strict=True)]
    f = lambda i, x: lax.switch(i, branches, x)
    np.testing.assert_allclose(ft.vmap(f)(index, xs), by_member(f))
    np.testing.assert_allclose(ft.vmap(ft.grad(f, 1))(index, xs), by_member(ft.grad(f, 1)))
    np.testing.assert_allclose(ft.vmap(f)(index.astype(np.uint8), xs)[:3], by_member(f)[:3])
    assert lax.switch(0, [np.cos], 0.0) == 1.0
    np.testing.assert_allclose(ft.vmap(lambda i, x: lax.switch(i, [np.cos], x))(index, xs), np.cos(xs))


def test_shared_predicates_stay_one_choice() -> None:
    f = lambda p, x: lax.cond(p, np.sin, lambda x: x * 2.0, x)
    program = ft.make_jaxpr(ft.vmap(f, in_axes=(None, 0)))(True, XS)
    assert [eqn.primitive.name for eqn in program.eqns] == ["cond"]
    np.testing.assert_array_equal(ft.vmap(f, in_axes=(None, 0))(False, XS), XS * 2)
    mixed = lambda p, x: lax.cond(p, lambda x: (x, 1.0), lambda x: (0.0, 2.0), x)
    a, b = ft.vmap(mixed, in_axes=(None, 0), out_axes=(0, None))(True, XS)
    np.testing.assert_array_equal(a, XS)
    assert b == 1.0


def test_residuals_are_shared_and_forwarded() -> None:
    x = np.ones(1000)
    f = lambda x, y: np.sum(lax.cond(y > 0, lambda: np.tanh(np.exp(x)), lambda: np.sin(np.cosh(x) * 1.5)))
    program = ft.make_jaxpr(lambda x, y: ft.vjp(f, x, y)[1](1.0))(x, 1.0)
    (first, *_) = [eqn for eqn in program.eqns if eqn.primitive.name == "cond"]
    # one slot for the residual of either branch, besides the output; x itself is not copied
    assert sum(aval.size == 1000 for aval in first.out_avals) <= 3


def test_python_may_look_at_known_operands() -> None:
    f = lambda x: lax.cond(True, lambda v: v * 2 if v > 1 else v, lambda v: v, x)
    assert ft.grad(f)(3.0) == 2.0
    with pytest.raises(ft.errors.TracerBoolConversionError):
        ft.jit(f)(3.0)


def test_disable_jit() -> None:
    ran = []
    with ft.config.jit_disabled(True):
        assert lax.cond(True, lambda x: ran.append("true") or x, lambda x: ran.append("false") or x, 1.0) == 1.0
    assert ran == ["true"]


def test_collectives_are_over_all_members() -> None:
    f = lambda x: lax.cond(x > 0, lambda: lax.psum(x, "i"), lambda: x)
    np.testing.assert_array_equal(ft.vmap(f, axis_name="i")(np.array([1.0, -2.0, 3.0])), [2.0, -2.0, 2.0])


# --------------------------------------------------------------------------------------------------------------------
# Messages


def message(kind: type[Exception], call: Callable[[], Any]) -> str:
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


def test_messages_of_what_is_given() -> None:
    pick = lambda p: lax.cond(p, lambda: 1.0, lambda: 2.0)
    text = message(TypeError, lambda: pick(np.ones(3, bool)))
    assert text.startswith("cond: the predicate must be a boolean scalar, got bool[3] at ")
    assert "test_branches.py" in text
    assert "functrans.numpy.where" in text
    assert message(TypeError, lambda: pick("yes")).startswith(
        "cond: the predicate must be a boolean scalar, got 'yes' of type str at "
    )
    assert "true_fun must be a function, got 1.0 of type float" in message(
        TypeError, lambda: lax.cond(True, 1.0, lambda x: x)
    )
    assert "branches[1] must be a function" in message(TypeError, lambda: lax.switch(0, [lambda: 1, 2]))
    assert message(ValueError, lambda: lax.switch(0, [])) == "switch needs at least one branch"
    assert "the index must be an integer scalar, got float64[]" in message(
        TypeError, lambda: lax.switch(1.5, [lambda: 1, lambda: 2])
    )
    assert "give them one way" in message(TypeError, lambda: lax.cond(True, abs, abs, 1.0, operand=2.0))


def test_messages_of_what_branches_return() -> None:
    def first(x: Any) -> Any:
        return {"a": x, "b": [x, x]}

    def second(x: Any) -> Any:
        return {"a": x, "b": [x]}

    text = message(TypeError, lambda: lax.cond(True, first, second, 1.0))
    assert "the functions must return the same structure" in text
    assert "output['b'][1] is in true_fun (first) and not in false_fun (second)" in text

    text = message(TypeError, lambda: lax.cond(True, first, lambda x: {"a": np.ones(2), "b": [x, x]}, 1.0))
    assert "output['a'] is float64[2] in false_fun (<lambda>), float64[] in true_fun (first)" in text
    text = message(TypeError, lambda: lax.switch(0, [lambda: np.int32(1), lambda: np.float64(2)]))
    assert "output is int32[] in branches[0] (<lambda>), float64[] in branches[1] (<lambda>)" in text
    assert lax.cond(True, lambda: 1.0, lambda: 2.0) == 1.0


def test_branches_that_are_no_sequence() -> None:
    with pytest.raises(TypeError, match=r"switch needs a sequence of branches, got <function"):
        lax.switch(1, lambda: 1.0)
