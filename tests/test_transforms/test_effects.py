"""Effects happen once in a run, in the order of the program, under every transformation and after every pass."""

import functools
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import lax
from functrans.backends.running import run
from functrans.core.check import check_jaxpr
from functrans.core.jaxpr import Jaxpr
from functrans.passes.dead_code import drop_unused_inputs
from functrans.passes.inline import inline, inline_all
from functrans.passes.pipeline import PASSES, finalize, tidied
from functrans.transforms.batch import BatchAxis, batch
from functrans.transforms.jvp import jvp
from functrans.transforms.linearize import linearize
from functrans.transforms.transpose import transpose
from tests.effect_log import SCALAR, Log

log = Log()


def f(x: Any) -> Any:
    """Effects before, between and after what the output needs; on equal operands; on none; with and without results."""
    log.note("in", x)
    y = np.sin(x)
    log.note("again", x)
    log.note("again", x)
    log.note("nothing")
    unused = log.ask("asked", lax.stop_gradient(y))
    log.note("answer", unused)
    z = y * log.ask("factor", answer=2.0)
    log.note("unused", np.exp(z))
    return z * x


def entries(x: float) -> list[Any]:
    y = np.sin(x)
    return [
        ("in", x), ("again", x), ("again", x), "nothing", ("asked", y), ("answer", 1.0), "factor",
        ("unused", np.exp(2.0 * y)),
    ]  # fmt: skip


class approximately:  # noqa: N801  (reads as pytest.approx does)
    """Equal to entries but for rounding."""

    def __init__(self, expected: list[Any]) -> None:
        self.expected = expected

    def __eq__(self, got: object) -> bool:
        flat = lambda entries: [x for entry in entries for x in (entry if isinstance(entry, tuple) else (entry,))]
        return len(got) == len(self.expected) and flat(got) == [  # type: ignore[arg-type]
            x if isinstance(x, str) else pytest.approx(x, rel=1e-9) for x in flat(self.expected)
        ]

    def __repr__(self) -> str:
        return repr(self.expected)


def summed(g: Any) -> Any:
    return lambda x: np.sum(g(x))


SCALAR_TRANSFORMS: dict[str, Any] = {
    "none": lambda f: f,
    "grad": ft.grad,
    "value_and_grad": ft.value_and_grad,
    "jvp": lambda f: lambda x: ft.jvp(f, (x,), (1.0,)),
    "vjp": lambda f: lambda x: ft.vjp(f, x)[1](1.0),
    "linearize": lambda f: lambda x: ft.linearize(f, x)[1](1.0),
    "jacfwd": ft.jacfwd,
    "jacrev": ft.jacrev,
    "hessian": ft.hessian,
    "jit": ft.jit,
    "vmap of nothing": lambda f: lambda x: ft.vmap(f, in_axes=None, axis_size=3)(x),
    "vmap of one": lambda f: lambda x: ft.vmap(f)(ft.numpy.stack([x])),
    "checkpoint": ft.checkpoint,
}


@pytest.mark.parametrize("outer", SCALAR_TRANSFORMS)
@pytest.mark.parametrize("inner", SCALAR_TRANSFORMS)
def test_once_and_in_order(inner: str, outer: str) -> None:
    g = SCALAR_TRANSFORMS[inner](f)
    if inner not in ("none", "grad", "jit", "checkpoint"):
        g = functools.partial(lambda g, x: ft.tree.reduce(lambda a, b: a + np.sum(b), g(x), 0.0), g)
    h = SCALAR_TRANSFORMS[outer](g)
    assert log.during(h, 0.7) == approximately(entries(0.7))
    assert log.during(h, 0.5) == approximately(entries(0.5)), "in the second run"


@pytest.mark.parametrize(
    "transform",
    [
        lambda f: ft.vmap(f),
        lambda f: ft.jit(ft.vmap(f)),
        lambda f: ft.vmap(ft.jit(f)),
        lambda f: ft.vmap(ft.grad(f)),
        lambda f: ft.grad(summed(ft.vmap(f))),
        lambda f: ft.vmap(ft.jit(ft.grad(f))),
    ],
)
def test_members_one_after_the_other(transform: Any) -> None:
    """Each effect that a mapped argument reaches happens for each member, in their order; the others happen once."""

    def g(x: Any) -> Any:
        log.note("x", x)
        log.note("shared", 5.0)
        y = log.ask("y", lax.stop_gradient(x))
        log.note("y is", y)
        return x * y

    got = log.during(transform(g), np.array([1.0, 2.0]))
    assert got == [
        ("x", 1.0), ("x", 2.0), ("shared", 5.0), ("y", 1.0), ("y", 2.0), ("y is", 1.0), ("y is", 1.0),
    ]  # fmt: skip


def test_members_of_members() -> None:
    xs, ys = np.arange(6.0).reshape(3, 2), np.array([10.0, 20.0])
    g = ft.vmap(ft.vmap(lambda x, y: log.note("at", x, y), (0, None)), (1, 0))
    assert log.during(g, xs, ys) == [("at", xs[j, i], ys[i]) for i in range(2) for j in range(3)]
    outer_only = ft.vmap(ft.vmap(lambda x, y: log.note("at", y), (0, None)), (1, 0))
    assert log.during(outer_only, xs, ys) == [("at", 10.0), ("at", 20.0)]
    assert log.during(ft.vmap(lambda x: log.note("never", x)), np.zeros(0)) == []


# --------------------------------------------------------------------------------------------------------------------
# Programs


def program() -> tuple[Jaxpr, list[Any]]:
    closed = ft.make_jaxpr(f)(0.7)
    return closed.jaxpr, list(closed.consts)


def effects_of(jaxpr: Jaxpr) -> list[str]:
    return [eqn.primitive.name for eqn in jaxpr.eqns if eqn.operation.effectful]


@pytest.mark.parametrize(
    "simplify", [*PASSES, inline, inline_all, tidied, finalize, lambda p: drop_unused_inputs(p, 99)[0]]
)
def test_passes_keep_effects(simplify: Any) -> None:
    jaxpr, consts = program()
    simplified = simplify(jaxpr)
    check_jaxpr(simplified)
    assert effects_of(simplified) == effects_of(jaxpr)
    assert log.during(run, simplified, [np.float64(0.7), *consts]) == approximately(entries(0.7))


def test_transformed_programs_have_the_effects_once() -> None:
    """They stay with the primal program: the linear one has none to repeat when it is run, or transposed."""
    jaxpr, consts = program()
    nonzeros = (True, *[False] * len(consts))
    names = effects_of(jaxpr)
    assert effects_of(jvp(jaxpr, nonzeros)[0]) == names
    lin = linearize(jaxpr, nonzeros)
    assert effects_of(lin.primal) == names
    assert effects_of(lin.linear) == []
    linear = (True, *[False] * (len(lin.linear.in_avals) - 1))
    assert effects_of(transpose(lin.linear, linear, (True,))[0]) == []
    assert effects_of(batch(jaxpr, BatchAxis(3), (0, *[None] * len(consts)))[0]) == names


def test_a_linear_map_does_not_repeat_effects() -> None:
    push = ft.linearize(f, 0.7)[1]
    pull = ft.vjp(f, 0.7)[1]
    assert log.during(lambda: [push(1.0), push(2.0), pull(1.0), pull(2.0)]) == []


def test_of_a_transposed_function_what_does_not_depend_on_the_argument_happens() -> None:
    def g(x: Any) -> Any:
        log.note("fixed", 2.0)
        log.note("linear", x)
        return 3.0 * x

    assert log.during(ft.linear_transpose(g, 1.0), 1.0) == [("fixed", 2.0)]


def test_common_subexpressions_with_effects_inside_are_not_merged() -> None:
    @ft.jit
    def g(x: Any) -> Any:
        log.note("g", x)
        return np.sin(x)

    assert log.during(ft.jit(lambda x: g(x) + g(x)), 1.0) == [("g", 1.0)] * 2
    assert log.during(ft.grad(lambda x: (g(x), x)[1]), 1.0) == [("g", 1.0)], "also where nothing uses the result"


def test_rules_may_have_effects() -> None:
    """Those of users' primitives: what reads a tangent happens when the linear program runs."""

    @ft.extend.primitive
    def sine_with_effects(x: Any) -> Any:
        return np.sin(x)

    @sine_with_effects.def_jvp
    def _(t: Any, out: Any, x: Any) -> Any:
        log.note("primal", x)
        log.note("tangent", t)
        return t * ft.numpy.cos(x)

    assert log.during(lambda: ft.jvp(sine_with_effects, (0.5,), (2.0,))) == [("primal", 0.5), ("tangent", 2.0)]
    push = ft.linearize(sine_with_effects, 0.5)[1]
    log.clear()
    assert log.during(push, 3.0) == [("tangent", 3.0)]
    assert log.during(ft.grad(sine_with_effects), 0.5) == [("primal", 0.5)]


def test_rules_that_are_vjps_may_have_effects() -> None:
    @ft.extend.primitive
    def sine_with_effects_backwards(x: Any) -> Any:
        return np.sin(x)

    @sine_with_effects_backwards.def_vjp
    def _(ct: Any, out: Any, x: Any) -> Any:
        log.note("backward", x, ct)
        return ct * ft.numpy.cos(x)

    g = ft.grad(lambda x: 2.0 * sine_with_effects_backwards(x))
    assert log.during(g, 0.5) == [("backward", 0.5, 2.0)]
    assert log.during(ft.jit(g), 0.5) == [("backward", 0.5, 2.0)]


# --------------------------------------------------------------------------------------------------------------------
# Loops and branches


def in_scan(x: Any) -> Any:
    def body(c: Any, a: Any) -> Any:
        log.note("step", c, a)
        return c * a, c

    return lax.scan(body, x, np.array([1.0, 2.0]))[0]


def in_fori_loop(x: Any) -> Any:
    def body(i: Any, c: Any) -> Any:
        log.note("step", c, i + 1.0)
        return c * (i + 1.0)

    return lax.fori_loop(0, 2, body, x)


def in_while_loop(x: Any) -> Any:
    def body(c: Any) -> Any:
        log.note("step", c[1], c[0])
        return c[0] + 1.0, c[1] * c[0]

    return lax.while_loop(lambda c: c[0] < 3.0, body, (1.0, x))[1]


LOOP_TRANSFORMS = {
    name: SCALAR_TRANSFORMS[name]
    for name in ("none", "grad", "jvp", "vjp", "linearize", "hessian", "jit", "vmap of one", "checkpoint")
}


@pytest.mark.parametrize("transform", LOOP_TRANSFORMS)
@pytest.mark.parametrize("loop", [in_scan, in_fori_loop, in_while_loop])
def test_once_for_each_iteration(loop: Any, transform: str) -> None:
    assert log.during(LOOP_TRANSFORMS[transform](loop), 5.0) == [("step", 5.0, 1.0), ("step", 5.0, 2.0)]
    assert log.during(ft.jit(LOOP_TRANSFORMS[transform](loop)), 5.0) == [("step", 5.0, 1.0), ("step", 5.0, 2.0)]


@pytest.mark.parametrize("loop", [in_scan, in_fori_loop, in_while_loop])
def test_once_for_each_iteration_and_member(loop: Any) -> None:
    got = log.during(ft.vmap(loop), np.array([5.0, 7.0]))
    assert got == [("step", x, n) for n in (1.0, 2.0) for x in (5.0, 7.0)]


def test_loops_of_different_length_under_vmap() -> None:
    """A member that has ended its loop has no more effects."""

    def body(c: Any) -> Any:
        log.note("step", c)
        return c - 1.0

    got = log.during(ft.vmap(lambda x: lax.while_loop(lambda c: c > 0, body, x)), np.array([1.0, 3.0, 0.0]))
    assert sorted(got) == [("step", 1.0), ("step", 1.0), ("step", 2.0), ("step", 3.0)]


@pytest.mark.parametrize("transform", LOOP_TRANSFORMS)
@pytest.mark.parametrize("x", [1.0, -1.0])
def test_only_those_of_the_branch_taken(transform: str, x: float) -> None:
    def yes(x: Any) -> Any:
        log.note("yes", x)
        return x * 2.0

    def no(x: Any) -> Any:
        log.note("no", x)
        return x * 3.0

    def g(x: Any) -> Any:
        return lax.cond(x > 0, yes, no, x)

    expected = [("yes", 1.0)] if x > 0 else [("no", -1.0)]
    assert log.during(LOOP_TRANSFORMS[transform](g), x) == expected
    assert log.during(ft.jit(LOOP_TRANSFORMS[transform](g)), x) == expected


def test_only_those_of_the_branch_that_each_member_takes() -> None:
    def g(x: Any) -> Any:
        return lax.cond(x > 0, lambda x: log.note("yes", x), lambda x: log.note("no", x), x)

    assert log.during(ft.vmap(g), np.array([1.0, -1.0, 2.0])) == [("yes", 1.0), ("no", -1.0), ("yes", 2.0)]


def test_a_switch_shared_by_members() -> None:
    def g(i: Any, x: Any) -> Any:
        return lax.switch(i, [lambda x: log.note("a", x), lambda x: log.note("b", x)], x)

    assert log.during(ft.vmap(g, (None, 0)), 1, np.array([1.0, 2.0])) == [("b", 1.0), ("b", 2.0)]


def test_recomputing_repeats_no_effect() -> None:
    @ft.checkpoint
    def g(x: Any) -> Any:
        y = np.sin(x) * log.ask("ask", answer=2.0)
        log.note("y", y)
        return np.sin(y)

    y = 2.0 * np.sin(0.5)
    assert log.during(ft.grad(g), 0.5) == ["ask", ("y", y)]
    assert ft.grad(g)(0.5) == pytest.approx(np.cos(y) * 2.0 * np.cos(0.5))
    assert log.during(ft.grad(lambda x: in_scan(ft.checkpoint(in_scan)(x))), 5.0) == [
        ("step", c, a) for c, a in [(5.0, 1.0), (5.0, 2.0), (10.0, 1.0), (10.0, 2.0)]
    ]


def test_custom_rules() -> None:
    """Under differentiation only the rule runs, not also the function."""

    @ft.custom_vjp
    def g(x: Any) -> Any:
        log.note("function", x)
        return np.sin(x)

    def forward(x: Any) -> Any:
        log.note("forward", x)
        return np.sin(x), x

    def backward(x: Any, ct: Any) -> Any:
        log.note("backward", ct)
        return (ct * np.cos(x),)

    g.defvjp(forward, backward)
    assert log.during(g, 0.5) == [("function", 0.5)]
    for transform in (lambda f: f, ft.jit):
        assert log.during(transform(ft.grad(g)), 0.5) == [("forward", 0.5), ("backward", 1.0)]

    @ft.custom_jvp
    def h(x: Any) -> Any:
        log.note("function", x)
        return np.sin(x)

    @h.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        log.note("rule", *primals)
        return np.sin(primals[0]), np.cos(primals[0]) * tangents[0]

    assert log.during(h, 0.5) == [("function", 0.5)]
    for transform in (lambda f: f, ft.jit):
        assert log.during(transform(ft.grad(h)), 0.5) == [("rule", 0.5)]
        assert log.during(lambda: transform(lambda x: ft.jvp(h, (x,), (1.0,)))(0.5)) == [("rule", 0.5)]  # noqa: B023


# --------------------------------------------------------------------------------------------------------------------
# Derivatives of callbacks


def test_tangents_do_not_reach_effects() -> None:
    g = lambda x: log.note("x", x) or x * x
    assert ft.jvp(g, (3.0,), (1.0,)) == (9.0, 6.0)
    assert ft.grad(lambda x: x * ft.io_callback(lambda x: x > 0, ft.ShapeDtypeStruct((), bool), x))(2.0) == 1.0
    assert ft.grad(lambda x: x * ft.pure_callback(np.sign, SCALAR, lax.stop_gradient(x)))(-2.0) == -1.0


@pytest.mark.parametrize("callback", [ft.io_callback, ft.pure_callback])
@pytest.mark.parametrize("transform", [ft.grad, ft.jacfwd, lambda f: ft.grad(ft.jit(f)), lambda f: ft.jit(ft.grad(f))])
def test_a_callback_has_no_derivative(callback: Any, transform: Any) -> None:
    g = transform(lambda x: callback(np.sin, x, x))
    with pytest.raises(
        ft.errors.MissingRuleError, match=rf"{callback.__name__} has no derivative.*float64\[\].*stop_gradient"
    ):
        g(1.0)
