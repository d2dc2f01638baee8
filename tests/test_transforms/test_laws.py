"""The laws of the transformations, on programs that Hypothesis draws, with control flow in them.

A program is a list of statements on vectors of three numbers, each of which reads earlier values; a statement may hold
programs of its own: branches, the bodies of loops, functions under `jit`, `checkpoint`, `vmap` and custom rules. All
values are bounded, so that nothing overflows. The points are random numbers from a seed: predicates have no ties.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import functrans as ft
from functrans import lax
from functrans.core.check import check_jaxpr
from functrans.extend.core import jaxpr_as_fun

N = 3
MATRIX = np.array([[0.5, -0.3, 0.2], [0.1, 0.4, -0.6], [-0.2, 0.7, 0.3]])

UNARY: dict[str, Callable[[Any], Any]] = {
    "sin": np.sin,
    "tanh": np.tanh,
    "negative": lambda a: -a,
    "matmul": lambda a: a @ MATRIX,
    "reverse": lambda a: a[::-1],
    "mean": lambda a: np.broadcast_to(np.mean(a), (N,)),
    "cumsum": lambda a: np.cumsum(a) / N,
    "first": lambda a: np.stack([a[0], np.sin(a[0]), a[2]]),
    "sort": np.sort,
}
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: 0.5 * (a + b),
    "multiply": lambda a, b: np.tanh(a) * np.tanh(b),
    "where": lambda a, b: np.where(a > b, a, np.cos(b)),
    "maximum": np.maximum,
    "outer": lambda a, b: np.tanh(np.sum(a[:, None] * b, axis=0)),
}


def by_cond(a: Any, b: Any, f: Any, g: Any) -> Any:
    return lax.cond(np.sum(a) > np.sum(b), f, g, a, b)


def by_scan(a: Any, b: Any, f: Any, g: Any) -> Any:
    def body(carry: Any, x: Any) -> Any:
        return f(carry, x * b), np.sum(g(carry, a))

    carry, sums = lax.scan(body, a, np.stack([b, a, b]), reverse=True)
    return 0.3 * (carry + sums)


def by_while(a: Any, b: Any, f: Any, g: Any) -> Any:
    def unfinished(state: Any) -> Any:
        i, x = state
        return (i < 4) & ((np.sum(x) > -1.0) | (i < 2))

    return lax.while_loop(unfinished, lambda s: (s[0] + 1, f(s[1], b)), (0, g(a, b)))[1]


def by_jit(a: Any, b: Any, f: Any, g: Any) -> Any:
    return ft.jit(f)(a, g(b, a))


def by_checkpoint(a: Any, b: Any, f: Any, g: Any) -> Any:
    return ft.checkpoint(f)(a, ft.checkpoint(g)(a, b))


def by_vmap(a: Any, b: Any, f: Any, g: Any) -> Any:
    rows = np.stack([a, b])
    return np.mean(ft.vmap(f, in_axes=(0, None))(rows, g(a, b)), axis=0)


def by_custom_jvp(a: Any, b: Any, f: Any, g: Any) -> Any:
    wrapped = ft.custom_jvp(f)

    @wrapped.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        return ft.jvp(f, primals, tangents)

    return wrapped(a, g(a, b))


def by_custom_vjp(a: Any, b: Any, f: Any, g: Any) -> Any:
    wrapped = ft.custom_vjp(f)
    wrapped.defvjp(lambda a, b: (f(a, b), (a, b)), lambda kept, ct: ft.vjp(f, *kept)[1](ct))
    return wrapped(a, g(a, b))


NESTED: dict[str, Callable[..., Any]] = {
    "cond": by_cond,
    "scan": by_scan,
    "while": by_while,
    "jit": by_jit,
    "checkpoint": by_checkpoint,
    "vmap": by_vmap,
    "custom_jvp": by_custom_jvp,
    "custom_vjp": by_custom_vjp,
}


@dataclass(frozen=True)
class Statement:
    name: str
    a: int
    b: int
    inner: tuple[Program, ...] = ()


@dataclass(frozen=True)
class Program:
    """A function of two vectors: each statement appends a value, the last one is the result."""

    statements: tuple[Statement, ...]

    def __call__(self, x: Any, y: Any) -> Any:
        values = [x, y]
        for s in self.statements:
            a, b = values[s.a % len(values)], values[s.b % len(values)]
            if s.name in UNARY:
                values.append(UNARY[s.name](a))
            elif s.name in BINARY:
                values.append(BINARY[s.name](a, b))
            else:
                values.append(NESTED[s.name](a, b, *s.inner))
        return values[-1]


def programs(depth: int) -> st.SearchStrategy[Program]:
    places = st.integers(0, 5)
    flat = st.builds(Statement, st.sampled_from([*UNARY, *BINARY]), places, places)
    if depth == 0:
        return st.builds(Program, st.lists(flat, min_size=1, max_size=3).map(tuple))
    inner = st.tuples(programs(depth - 1), programs(depth - 1))
    nested = st.builds(Statement, st.sampled_from([*NESTED]), places, places, inner)
    return st.builds(
        lambda before, middle, after: Program((*before, middle, *after)),
        st.lists(flat, max_size=2),
        nested,
        st.lists(flat, max_size=2),
    )


drawn = given(program=programs(2), seed=st.integers(0, 2**32 - 1))


def vectors(seed: int, count: int) -> list[Any]:
    return list(np.random.default_rng(seed).normal(size=(count, N)))


def close(got: Any, expected: Any, tolerance: float = 1e-9) -> None:
    assert ft.tree.structure(got) == ft.tree.structure(expected)
    for g, e in zip(ft.tree.leaves(got), ft.tree.leaves(expected), strict=True):
        assert np.shape(g) == np.shape(e)
        np.testing.assert_allclose(g, e, rtol=tolerance, atol=tolerance)


@drawn
def test_forward_mode_agrees_with_finite_differences(program: Program, seed: int) -> None:
    x, y, dx, dy = vectors(seed, 4)
    h = 1e-6
    out, dot = ft.jvp(program, (x, y), (dx, dy))
    close(out, program(x, y))
    central = (program(x + h * dx, y + h * dy) - program(x - h * dx, y - h * dy)) / (2 * h)
    close(dot, central, 2e-6 * (1 + np.max(np.abs(dot))))


@drawn
def test_linearize_is_jvp(program: Program, seed: int) -> None:
    x, y, dx, dy = vectors(seed, 4)
    out, push = ft.linearize(program, x, y)
    close((out, push(dx, dy)), ft.jvp(program, (x, y), (dx, dy)))


@drawn
def test_reverse_mode_is_the_adjoint_of_forward_mode(program: Program, seed: int) -> None:
    x, y, dx, dy, w = vectors(seed, 5)
    out, dot = ft.jvp(program, (x, y), (dx, dy))
    value, pull = ft.vjp(program, x, y)
    close(value, out)
    cx, cy = pull(w)
    close(cx @ dx + cy @ dy, w @ dot)


@drawn
def test_second_derivatives_agree(program: Program, seed: int) -> None:
    x, y, dx, w = vectors(seed, 4)

    def loss(x: Any) -> Any:
        return program(x, y) @ w

    reverse_over_reverse = ft.grad(lambda x: ft.grad(loss)(x) @ dx)(x)
    forward_over_reverse = ft.jvp(ft.grad(loss), (x,), (dx,))[1]
    reverse_over_forward = ft.grad(lambda x: ft.jvp(loss, (x,), (dx,))[1])(x)
    close(forward_over_reverse, reverse_over_reverse, 1e-8)
    close(reverse_over_forward, reverse_over_reverse, 1e-8)


@drawn
def test_vmap_is_the_stack_of_calls(program: Program, seed: int) -> None:
    xs, ys = np.split(np.stack(vectors(seed, 6)), 2)
    calls = [program(x, y) for x, y in zip(xs, ys, strict=True)]
    close(ft.vmap(program)(xs, ys), np.stack(calls))
    close(ft.vmap(program, in_axes=(1, None), out_axes=1)(xs.T, ys[0]).T, np.stack([program(x, ys[0]) for x in xs]))


@drawn
def test_vmap_and_grad_commute(program: Program, seed: int) -> None:
    xs, ys = np.split(np.stack(vectors(seed, 6)), 2)

    def loss(x: Any, y: Any) -> Any:
        return np.sum(program(x, y))

    of_each = ft.vmap(ft.grad(loss, argnums=(0, 1)))(xs, ys)
    close(ft.grad(lambda xs, ys: np.sum(ft.vmap(loss)(xs, ys)), argnums=(0, 1))(xs, ys), of_each)
    close(np.stack([ft.grad(loss)(x, y) for x, y in zip(xs, ys, strict=True)]), of_each[0])


@drawn
def test_jit_and_checkpoint_change_nothing(program: Program, seed: int) -> None:
    x, y, w = vectors(seed, 3)
    expected, pull = ft.vjp(program, x, y)
    for transform in (ft.jit, ft.checkpoint, lambda f: ft.jit(ft.checkpoint(f)), lambda f: ft.checkpoint(ft.jit(f))):
        value, pull_transformed = ft.vjp(transform(program), x, y)
        close((value, pull_transformed(w)), (expected, pull(w)))
    close(ft.jit(lambda x, y, w: ft.vjp(program, x, y)[1](w))(x, y, w), pull(w))


@drawn
def test_transposing_twice_is_the_identity(program: Program, seed: int) -> None:
    x, y, dx, dy = vectors(seed, 4)
    _, push = ft.linearize(program, x, y)
    once = ft.linear_transpose(push, x, y)
    twice = ft.linear_transpose(lambda w: once(w), x)
    close(twice((dx, dy))[0], push(dx, dy))


@drawn
def test_the_program_is_well_typed_and_evaluates_to_the_function(program: Program, seed: int) -> None:
    x, y = vectors(seed, 2)
    closed = ft.make_jaxpr(program)(x, y)
    check_jaxpr(closed.jaxpr)
    assert str(closed).count("\n") >= len(closed.eqns)
    close(jaxpr_as_fun(closed)(x, y)[0], program(x, y))
    gradient = ft.make_jaxpr(ft.grad(lambda x, y: np.sum(program(x, y))))(x, y)
    check_jaxpr(gradient.jaxpr)
    close(jaxpr_as_fun(gradient)(x, y)[0], ft.grad(lambda x, y: np.sum(program(x, y)))(x, y))


@pytest.mark.parametrize("kind", NESTED)
def test_every_kind_of_program_can_be_drawn(kind: str) -> None:
    """Each nested statement works with the simplest programs inside; so the laws above are about all of them."""
    simple = Program((Statement("sin", 0, 0), Statement("add", 2, 1)))
    program = Program((Statement(kind, 0, 1, (simple, simple)),))
    x, y, w = vectors(0, 3)
    assert np.all(np.isfinite(ft.grad(lambda x: program(x, y) @ w)(x)))
