"""while_loop and fori_loop: values, derivatives of every kind and order, batches, snapshots, messages."""

import tracemalloc
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import lax
from functrans.control.treeverse import evaluations
from functrans.core.jaxpr import cached_equations

W = np.array([[0.3, -0.2], [0.5, 0.1]])
XS = np.array([[0.7, -0.4], [-0.5, 0.9], [1.1, 0.3], [0.2, 0.25]])


class Loops:
    """The loops of the tests, with an option for all of them."""

    def __init__(self, checkpoint: bool | int) -> None:
        self.checkpoint = checkpoint

    def loop(self, cond: Any, body: Any, init: Any) -> Any:
        return lax.while_loop(cond, body, init, checkpoint=self.checkpoint)

    def count(self, n: Any, body: Any, init: Any) -> Any:
        return lax.fori_loop(0, n, body, init, checkpoint=self.checkpoint)

    def contraction(self, x: Any) -> Any:
        """Another number of iterations for each x."""
        return self.loop(lambda v: np.sum(v * v) > 0.05, lambda v: np.tanh(W @ v) * 0.9 + 0.01 * x, x)

    def cond_inside(self, x: Any) -> Any:
        def body(carry: Any) -> Any:
            i, v = carry
            return i + 1, lax.cond(v[0] > v[1], lambda u: np.sin(u) * x[0], lambda u: u * u + x * 0.1, v)

        return self.loop(lambda c: (c[0] < 4) & (np.sum(c[1]) < 3.0), body, (0, x))[1]

    def inside_cond(self, x: Any) -> Any:
        step = lambda v: v * 1.5 + np.exp(-x * v)
        return lax.cond(x[0] > 0, lambda: self.loop(lambda v: v[0] < 2.0, step, x), lambda: np.cos(x) * x)

    def loop_inside(self, x: Any) -> Any:
        grow = lambda u: u + np.abs(x) * 0.3 + 0.2 * u * u + 0.1
        inner = lambda v: self.loop(lambda u: u[0] < 1.0, grow, v)
        return self.count(3, lambda i, v: inner(v * 0.3 - 1.0) * np.sin(v) + i * x, x)

    def inside_scan(self, x: Any) -> Any:
        def body(carry: Any, k: Any) -> Any:
            carry = self.loop(lambda u: u[0] < k, lambda u: u * 1.3 + np.abs(x) * 0.3 + 0.1, carry)
            return np.sin(carry) * x, carry * k

        carry, ys = lax.scan(body, x, np.array([0.5, 1.0, 0.2]))
        return carry + np.sum(ys, 0)

    def length_by_cond(self, x: Any) -> Any:
        n = lax.cond(x[0] > 0.6, lambda: 4, lambda: 0)
        return self.count(n, lambda i, v: np.sin(v) * x + v * v[::-1], x)


PROGRAMS = ["contraction", "cond_inside", "inside_cond", "loop_inside", "inside_scan", "length_by_cond"]
OPS: dict[str, Callable[[Any], Any]] = {
    "grad": ft.grad,
    "jacfwd": ft.jacfwd,
    "hessian": ft.hessian,
    "reverse over reverse": lambda f: ft.jacrev(ft.grad(f)),
    "reverse over forward": lambda f: ft.jacrev(ft.jacfwd(f)),
    "third": lambda f: ft.grad(lambda x: np.sum(ft.grad(lambda x: np.sum(ft.grad(f)(x) * x))(x))),
}


def in_python(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same with Python's own loops and branches."""

    def plain(x: Any) -> Any:
        with ft.config.jit_disabled(True):
            return f(x)

    return plain


def derivatives() -> list[Any]:
    """Every operation of every program; of those that take long, what the others do not show."""
    long = {"third": ["contraction", "inside_cond"], "reverse over forward": ["contraction", "cond_inside"]}
    cases = []
    for op, program, checkpoint in product(OPS, PROGRAMS, (False, 2)):
        if program in long.get(op, PROGRAMS) and not (checkpoint and program == "loop_inside" and op != "hessian"):
            cases.append(pytest.param(op, program, checkpoint, id=f"{op}-{program}-{'snapshots' * bool(checkpoint)}"))
    return cases


@pytest.mark.parametrize(("op", "program", "checkpoint"), derivatives())
def test_derivatives(op: str, program: str, checkpoint: bool | int) -> None:
    inner, transform = getattr(Loops(checkpoint), program), OPS[op]
    f = lambda x: np.sum(np.sin(inner(x)))
    xs = XS[[0, 3]] if op == "third" else XS[[0, 1, 3]]
    expected = [transform(in_python(f))(x) for x in xs]
    close = lambda got, wanted: np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-10)
    close(transform(f)(xs[0]), expected[0])
    close(ft.jit(ft.vmap(transform(f)))(xs), expected)


@pytest.mark.parametrize("checkpoint", [False, 2], ids=["tapes", "snapshots"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_batches(program: str, checkpoint: bool | int) -> None:
    inner = getattr(Loops(checkpoint), program)
    f = lambda x: np.sum(np.sin(inner(x)))
    expected = [ft.grad(in_python(f))(x) for x in XS]
    close = lambda got, wanted: np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-10)
    close(ft.vmap(inner)(XS), [in_python(inner)(x) for x in XS])
    close(ft.vmap(ft.grad(f), in_axes=1)(XS.T), expected)
    close(ft.grad(lambda xs: np.sum(ft.vmap(f)(xs)))(XS), expected)
    close(ft.vmap(ft.vmap(ft.grad(f)))(np.stack([XS, XS[::-1]])), [expected, expected[::-1]])
    close(ft.jvp(lambda xs: ft.vmap(ft.grad(f))(xs), (XS,), (XS * 0,))[0], expected)
    assert ft.vmap(ft.grad(f))(XS[:0]).shape == (0, 2)


def falling(x: Any, n: Any) -> Any:
    """The sum of log(x) / k for k from n down to 1."""
    return lax.while_loop(lambda c: c[0] > 0, lambda c: (c[0] - 1, c[1] + np.log(x) / c[0]), (n, 0.0 * x))[1]


def test_members_that_are_done_do_nothing() -> None:
    """They would take the logarithm of 0, and divide by 0: no warning, no NaN, at any order."""
    xs, ns = np.array([0.0, 2.0, 3.0, 0.0]), np.array([0, 3, 1, 0])
    harmonic = np.array([0.0, 11 / 6, 1.0, 0.0])
    safe = np.where(ns > 0, xs, 1.0)
    np.testing.assert_allclose(ft.vmap(falling)(xs, ns), np.log(safe) * harmonic)
    np.testing.assert_allclose(ft.vmap(ft.grad(falling))(xs, ns), harmonic / safe)
    second = -harmonic / safe**2
    np.testing.assert_allclose(ft.vmap(ft.grad(ft.grad(falling)))(xs, ns), second)
    total = lambda xs: np.sum(ft.vmap(falling)(xs, ns))
    np.testing.assert_allclose(ft.grad(total)(xs), harmonic / safe)
    np.testing.assert_allclose(ft.hessian(total)(xs), np.diag(second))
    np.testing.assert_allclose(ft.jacrev(ft.grad(total))(xs), np.diag(second))


def test_a_loop_that_does_not_begin_has_no_derivative_of_its_body() -> None:
    f = lambda x: lax.while_loop(lambda v: v > 5.0, lambda v: np.sqrt(v - 10.0) / 0.0, x * 2.0)
    assert f(1.0) == 2.0
    assert ft.grad(f)(1.0) == 2.0
    assert ft.grad(ft.grad(f))(1.0) == 0.0


def test_other_bounds_are_no_other_program() -> None:
    f = lambda n, x: lax.fori_loop(0, n, lambda i, v: v * x, 1.0)
    gradients = [ft.grad(f, 1)(3, 2.0), ft.grad(f, 1)(1, 2.0)]
    before = cached_equations()
    gradients += [ft.grad(f, 1)(n, 2.0) for n in (0, 2, 5)]
    gradients += [ft.grad(lambda x, n=n: f(n, x))(2.0) for n in (3, 4)]
    assert gradients == [12.0, 1.0, 0.0, 4.0, 80.0, 12.0, 32.0]
    assert cached_equations() - before < 30  # the second way to write it
    jitted = ft.jit(ft.grad(f, 1))
    assert [jitted(n, 2.0) for n in (0, 1, 2, 5)] == [0.0, 1.0, 4.0, 80.0]


def test_bounds() -> None:
    add = lambda i, total: total + i
    assert lax.fori_loop(2, 6, add, 0) == 14
    assert lax.fori_loop(np.int8(2), np.int8(6), add, 0) == 14
    assert lax.fori_loop(6, 2, add, 5) == 5
    assert lax.fori_loop(-3, 0, add, 0.5) == -5.5
    assert lax.fori_loop(0, 4, add, 0, unroll=True) == 6
    assert lax.fori_loop(0, 4, add, 0, unroll=2) == 6
    assert lax.fori_loop(0, 3, lambda i, v: v + i.dtype.itemsize, 0) == 24


def test_pytrees_and_what_does_not_change() -> None:
    init = {"v": [np.arange(3.0), 1.0], "fixed": np.ones(2)}
    body = lambda i, s: {"v": [s["v"][0] * s["v"][1], s["v"][1] + s["fixed"][0]], "fixed": s["fixed"]}
    out = lax.fori_loop(0, 3, body, init)
    np.testing.assert_array_equal(out["v"][0], np.arange(3.0) * 6)
    assert out["v"][1] == 4.0
    assert not np.shares_memory(out["fixed"], init["fixed"])
    grads = ft.grad(lambda s: np.sum(lax.fori_loop(0, 3, body, s)["v"][0]))(init)
    assert grads["v"][1] == 3 * 11.0  # of v (v + 1) (v + 2) at 1, times 0 + 1 + 2
    np.testing.assert_array_equal(grads["fixed"], [3 * (1 * 3 + 2 * 2), 0.0])
    assert lax.while_loop(lambda v: True & (v is not None) & False, lambda v: v, None) is None


def test_results_are_arrays_of_their_own() -> None:
    x = np.arange(3.0)
    swapped = lax.fori_loop(0, 2, lambda i, s: (s[1], s[0]), (x, x))
    nothing = lax.while_loop(lambda v: np.sum(v) < 0, lambda v: v + 1, x)
    for out in (*swapped, nothing):
        np.testing.assert_array_equal(out, x)
        assert not np.shares_memory(out, x)
    assert not np.shares_memory(*swapped)


def test_what_vjp_keeps_does_not_change_with_its_argument() -> None:
    x = np.array([1.0, 2.0])
    y, pull = ft.vjp(lambda x: lax.fori_loop(0, 3, lambda i, v: v * v, x), x)
    expected = 8 * x**7
    x[:] = 0.0
    y[:] = 0.0
    np.testing.assert_allclose(pull(np.ones(2))[0], expected)
    np.testing.assert_allclose(ft.vmap(pull)(np.eye(2))[0], np.diag(expected))
    np.testing.assert_allclose(ft.jit(pull)(np.ones(2))[0], expected)


def test_numbers_take_the_dtype_that_the_body_returns() -> None:
    assert lax.fori_loop(0, 2, lambda i, v: v + np.float32(1), 1.0).dtype == np.float32
    assert lax.fori_loop(0, 2, lambda i, v: v + 0.5, 1).dtype == np.float64
    assert lax.while_loop(lambda v: v < 3, lambda v: v + 1, np.int8(1)).dtype == np.int8
    pair = lax.fori_loop(0, 3, lambda i, s: (s[1], s[1] + 0.5), (0, 1))
    assert [x.dtype.kind for x in pair] == ["f", "f"]


def test_linear_loops_are_transposed_as_they_stand() -> None:
    factorial = lambda x: lax.fori_loop(0, 5, lambda i, v: 2 * v * (i + 1), x)
    assert ft.linear_transpose(factorial, 1.0)(1.0) == (32.0 * 120,)
    weighted = lambda x: lax.fori_loop(0, 3, lambda i, total: total + x[i] * (i + 1.0), 0.0)
    np.testing.assert_array_equal(ft.linear_transpose(weighted, np.ones(3))(1.0)[0], [1.0, 2.0, 3.0])
    doubled = ft.vmap(lambda x, n: lax.fori_loop(0, n, lambda i, v: 2 * v, x))
    transposed = ft.linear_transpose(lambda x: doubled(x, np.array([1, 3])), np.ones(2))
    np.testing.assert_array_equal(transposed(np.ones(2))[0], [2.0, 8.0])
    with pytest.raises(ft.errors.MissingRuleError, match="'mul' is linear in each"):
        ft.linear_transpose(lambda x: lax.fori_loop(0, 2, lambda i, v: v * v, x), 1.0)(1.0)
    with pytest.raises(ft.errors.MissingRuleError, match="condition of a while loop"):
        ft.linear_transpose(lambda x: lax.while_loop(lambda v: v < 3, lambda v: v * 2, x), 1.0)(1.0)


def steps(x: Any) -> Any:
    return lax.while_loop(lambda v: v < 4.0, lambda v: v + np.abs(np.sin(v) * x) * 0.3 + 0.4, x)


def rows(x: Any) -> Any:
    """A scan whose body has a branch with a loop of unknown length."""

    def body(carry: Any, k: Any) -> Any:
        grow = lambda u: u + np.abs(u) * x * x * 0.2 + 0.5
        loop = lambda: lax.while_loop(lambda u: u < 3.0, grow, carry)
        carry = lax.cond(carry > k, loop, lambda: np.sin(carry) * x)
        return carry, carry * k

    carry, ys = lax.scan(body, x, np.array([0.1, -0.5, 0.7]))
    return carry + np.sum(ys)


def derivative_in_branches(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function whose branches both read the tapes of a derivative that is taken outside of them."""

    def g(x: Any) -> Any:
        y, push = ft.linearize(f, x)
        return lax.cond(x > 0, lambda: np.sin(push(x)) * push(1.0), lambda: x * x + push(0.5) * y)

    return g


@pytest.mark.parametrize("f", [rows, derivative_in_branches(steps), derivative_in_branches(rows)])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_tapes_go_through_branches_and_batches(f: Callable[[Any], Any], order: int) -> None:
    """Members that take different branches share no part of a tape, nor of the cotangent of one."""
    transform = {0: lambda f: f, 1: ft.grad, 2: lambda f: ft.grad(ft.grad(f))}[order]
    xs = np.array([0.5, -0.7, 1.2, -2.0, 6.0])
    expected = [transform(in_python(f))(x) for x in xs]
    close = lambda got, wanted: np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-10)
    close([transform(f)(x) for x in xs], expected)
    close(ft.vmap(transform(f))(xs), expected)
    close(ft.vmap(ft.vmap(transform(f)))(np.stack([xs, xs[::-1]])), [expected, expected[::-1]])


# --------------------------------------------------------------------------------------------------------------------
# Snapshots


def counted(length: int, checkpoint: bool | int) -> tuple[int, Any]:
    """How often the gradient of a loop evaluates its body, and the gradient."""
    evaluated = []

    def body(v: Any) -> Any:
        return ft.pure_callback(lambda v: evaluated.append(1) or v, ft.ShapeDtypeStruct((), float), v)

    @ft.custom_jvp
    def step(v: Any) -> Any:
        return np.sin(body(v)) + 1.0

    step.defjvp(lambda primals, tangents: (np.sin(body(primals[0])) + 1.0, np.cos(primals[0]) * tangents[0]))
    f = lambda x: lax.fori_loop(0, length, lambda i, v: step(v), x, checkpoint=checkpoint)
    gradient = ft.grad(f)(0.3)
    return len(evaluated), gradient


@pytest.mark.parametrize(("length", "snapshots"), [(1, 1), (7, 1), (10, 3), (30, 3), (30, 40), (60, 5)])
def test_evaluations_of_the_body(length: int, snapshots: int) -> None:
    from_tapes, expected = counted(length, False)
    evaluated, gradient = counted(length, snapshots)
    assert from_tapes == length
    assert gradient == expected
    # forwards, once more where each iteration is reversed, and what the schedule takes
    assert evaluated <= 2 * length + evaluations(length, snapshots)


def test_snapshots_keep_little() -> None:
    def kept(checkpoint: bool | int) -> int:
        x = np.linspace(0.0, 1.0, 1000)
        f = lambda x: lax.fori_loop(0, 200, lambda i, v: np.sin(v) + x, x, checkpoint=checkpoint)
        ft.grad(lambda x: np.sum(f(x)))(x)
        tracemalloc.start()
        ft.grad(lambda x: np.sum(f(x)))(x)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert kept(5) < 200_000 < 1_000_000 < kept(False)


# --------------------------------------------------------------------------------------------------------------------
# Effects, collectives, Python


def test_effects_are_for_one_member_after_the_other() -> None:
    seen: list[float] = []
    body = lambda x: lambda v: (ft.debug.callback(lambda v: seen.append(float(v)), v), v * v + x)[1]
    f = lambda x: lax.while_loop(lambda v: v < 3.0, body(x), x)
    quiet = lambda x: lax.while_loop(lambda v: v < 3.0, lambda v: v * v + x, x)
    xs = np.array([1.0, 0.5, 4.0])
    for transform in (lambda f: f, ft.grad, lambda f: ft.grad(ft.grad(f))):
        np.testing.assert_allclose(ft.vmap(transform(f))(xs), ft.vmap(transform(quiet))(xs))
        assert seen == [1.0, 2.0, 0.5, 0.75, 1.0625, 1.62890625]
        seen.clear()


def test_collectives_are_over_all_members() -> None:
    f = lambda x: lax.fori_loop(0, 3, lambda i, v: v + lax.psum(v, "i"), x)
    np.testing.assert_array_equal(ft.vmap(f, axis_name="i")(np.array([1.0, 2.0])), [40.0, 41.0])


def test_disable_jit() -> None:
    seen = []
    with ft.config.jit_disabled(True):
        assert lax.fori_loop(0, 3, lambda i, v: seen.append(i) or v + i, 0) == 3
        assert lax.while_loop(lambda v: v < 3, lambda v: v + 1, 0) == 3
    assert seen == [0, 1, 2]


# --------------------------------------------------------------------------------------------------------------------
# Messages


def message(kind: type[Exception], call: Callable[[], Any]) -> str:
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


def test_messages_of_types_that_change() -> None:
    carry = {"h": [np.ones(3), np.ones(2)]}

    def grow(c: Any) -> Any:
        return {"h": [c["h"][0], np.ones((2, 2))]}

    text = message(TypeError, lambda: lax.while_loop(lambda c: True, grow, carry))
    assert "while_loop: all iterations need a value of the same shapes and dtypes, but grow changes it" in text
    assert "init_val['h'][1] is float64[2] before and float64[2,2] after" in text
    assert "test_while_loops.py" in text
    text = message(TypeError, lambda: lax.fori_loop(0, 3, lambda i, v: v.astype(float), np.int32(1)))
    assert "init_val is int32[] before and float64[] after" in text
    text = message(TypeError, lambda: lax.while_loop(lambda c: True, lambda c: {"h": [c["h"][0]]}, carry))
    assert "value['h'][1] is in init_val and not in what <lambda> returns" in text


def test_messages_of_what_is_given() -> None:
    assert "<lambda> must return a boolean scalar, got float64[]" in message(
        TypeError, lambda: lax.while_loop(lambda v: v, lambda v: v, 1.0)
    )
    assert "must return a boolean scalar, got bool[2]" in message(
        TypeError, lambda: lax.while_loop(lambda v: v > 0, lambda v: v, np.ones(2))
    )
    assert "must return a boolean scalar, got None" in message(
        TypeError, lambda: lax.while_loop(lambda v: None, lambda v: v, 1.0)
    )
    assert "cond_fun must be a function" in message(TypeError, lambda: lax.while_loop(1, lambda v: v, 1.0))
    assert "init_val['name'] is 'x' of type str" in message(
        TypeError, lambda: lax.while_loop(lambda v: True, lambda v: v, {"name": "x"})
    )
    assert "upper must be an integer scalar, got float64[]" in message(
        TypeError, lambda: lax.fori_loop(0, 2.5, lambda i, v: v, 1.0)
    )
    assert "checkpoint must be a bool or a positive int, got 0" in message(
        ValueError, lambda: lax.fori_loop(0, 2, lambda i, v: v, 1.0, checkpoint=0)
    )
    with pytest.raises(ft.errors.TracerBoolConversionError, match="val of body"):
        lax.while_loop(lambda v: True, body_that_branches, 1.0)

    with pytest.raises(ft.errors.TracerBoolConversionError, match=r"argument state\['x'\] of body"):
        lax.fori_loop(0, 3, counted_body_that_branches, {"x": 1.0})
    with pytest.raises(ft.errors.TracerBoolConversionError, match="argument i of <lambda>"):
        lax.fori_loop(0, 3, lambda i, v: v if i else -v, 1.0)


def counted_body_that_branches(i: Any, state: Any) -> Any:
    return state if state["x"] > 0 else {"x": 0.0}


counted_body_that_branches.__name__ = "body"


def body_that_branches(val: Any) -> Any:
    return val if val > 0 else -val


body_that_branches.__name__ = "body"


def test_the_number_between_python_ints_does_not_decide_dtypes() -> None:
    total = lax.fori_loop(0, 3, lambda i, v: v + i, np.float32(1))
    assert total == 4.0
    assert total.dtype == np.float32
    assert lax.fori_loop(np.int64(0), 3, lambda i, v: v + i, 1.0) == 4.0
