"""Random programs of smooth operations: every transformation against the others, and against finite differences.

Values stay small (what grows goes through tanh), so that neither kinks nor poles nor overflow are met.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import functrans as ft
from functrans.core.check import check_jaxpr
from tests.numerical import assert_close, direction, directional_derivative, pairing

SHAPES = [(), (3,), (2, 3), (3, 2), (1, 3), (2, 1, 3), (3, 3)]
SIZE_MAX = 36

Array = np.ndarray[Any, Any]
Step = Callable[[list[Any]], Any]

UNARY: dict[str, Callable[[Any], Any]] = {
    "tanh": np.tanh,
    "sin": np.sin,
    "cos": lambda x: np.cos(x) * 0.5,
    "exp": lambda x: np.exp(np.tanh(x)),
    "log": lambda x: np.log(2.0 + np.tanh(x)),
    "sqrt": lambda x: np.sqrt(1.0 + x * x),
    "reciprocal": lambda x: 1 / (x**2 + 1),
    "neg": lambda x: -x,
    "scaled": lambda x: 0.7 * x - 0.2,
    "power": lambda x: np.tanh(x**3),
}

BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda x, y: np.tanh(x + y),
    "sub": lambda x, y: np.tanh(x - y),
    "mul": lambda x, y: np.tanh(x * y),
    "div": lambda x, y: x / (1.5 + np.tanh(y)),
    "outer": lambda x, y: x * np.sum(y) / 4,
}

STRUCTURE: dict[str, Callable[[Any], Any]] = {
    "transpose": lambda x: x.T,
    "ravel": lambda x: np.reshape(x, (-1,)),
    "new axis": lambda x: x[None],
    "last axis": lambda x: x[..., None],
    "first": lambda x: x[0],
    "last": lambda x: x[..., -1],
    "reversed": lambda x: x[::-1],
    "some": lambda x: x[..., 1:],
    "strided": lambda x: x[..., ::2],
    "sum": lambda x: np.tanh(np.sum(x)),
    "sum 0": lambda x: np.tanh(np.sum(x[None], axis=0)),
    "mean": lambda x: np.mean(x[None], axis=-1, keepdims=True),
    "broadcast": lambda x: np.broadcast_to(x, (2, *x.shape)),
    "gram": lambda x: np.tanh(x @ x.T),
    "dot": lambda x: np.tanh(np.dot(x, x)),
    "twice": lambda x: np.concatenate([x, np.sin(x)]),
    "stack": lambda x: np.stack([x, x * x], axis=-1),
    "swapped": lambda x: np.swapaxes(x, 0, -1),
    "take": lambda x: x[np.array([0, -1, 0])],
}


@dataclass(frozen=True)
class RandomProgram:
    """A list of steps, each of which reads values made before, by number."""

    shapes: tuple[tuple[int, ...], ...]
    steps: tuple[tuple[str, tuple[int, ...]], ...]
    seed: int

    def __call__(self, *xs: Any) -> Any:
        values = list(xs)
        for name, inputs in self.steps:
            values.append(apply(name, [values[i] for i in inputs]))
        return tuple(values[-2:])

    def inputs(self) -> list[Array]:
        rng = np.random.default_rng(self.seed)
        return [rng.uniform(-1.5, 1.5, shape) for shape in self.shapes]


def apply(name: str, operands: list[Any]) -> Any:
    if name in UNARY:
        return UNARY[name](operands[0])
    if name in STRUCTURE:
        return STRUCTURE[name](operands[0])
    if name == "where":
        mask = np.arange(operands[0].size).reshape(operands[0].shape) % 3 == 0
        return np.where(mask, operands[0], np.sin(operands[0]))
    return BINARY[name](*operands)


def allowed(name: str, operands: list[Any]) -> Any:
    """What a step gives on arrays; None where it does not apply."""
    try:
        out = apply(name, operands)
    except (ValueError, IndexError):
        return None
    return out if 0 < np.size(out) <= SIZE_MAX and np.ndim(out) <= 4 else None


@st.composite
def programs(draw: st.DrawFn) -> RandomProgram:
    shapes = tuple(draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=2)))
    values: list[Any] = [np.ones(shape) for shape in shapes]
    steps: list[tuple[str, tuple[int, ...]]] = []
    names = [*UNARY, *BINARY, *STRUCTURE, "where"]
    for _ in range(draw(st.integers(1, 12))):
        name = draw(st.sampled_from(names))
        inputs = tuple(
            [len(values) - 1 - draw(st.integers(0, min(3, len(values) - 1))) for _ in range(2 if name in BINARY else 1)]
        )
        with np.errstate(all="ignore"):
            out = allowed(name, [values[i] for i in inputs])
        if out is None:
            name, inputs = "tanh", (len(values) - 1,)
            out = np.tanh(values[-1])
        values.append(np.asarray(out))
        steps.append((name, inputs))
    return RandomProgram(shapes, tuple(steps), draw(st.integers(0, 2**32 - 1)))


examples = settings(max_examples=16 * settings().max_examples)


def loss_of(f: RandomProgram) -> Callable[..., Any]:
    return lambda *xs: sum([np.sum(y * (i + 0.5)) for i, y in enumerate(f(*xs))])


@examples
@given(programs())
def test_programs_compute_what_numpy_computes(f: RandomProgram) -> None:
    xs = f.inputs()
    eager = f(*xs)
    assert_close(ft.jit(f)(*xs), eager, 1e-13)
    assert_close(ft.jvp(f, xs, xs)[0], eager, 1e-13)
    types = ft.eval_shape(f, *xs)
    assert [(t.shape, t.dtype) for t in types] == [(np.shape(y), y.dtype) for y in eager]


@examples
@given(programs())
def test_programs_are_values(f: RandomProgram) -> None:
    """Recorded twice they are the same object, well typed, and print."""
    xs = f.inputs()
    first, second = ft.make_jaxpr(f)(*xs), ft.make_jaxpr(f)(*xs)
    assert first.jaxpr is second.jaxpr
    check_jaxpr(first.jaxpr)
    assert str(first).count("\n") >= len(first.eqns)


@examples
@given(programs())
def test_first_derivatives(f: RandomProgram) -> None:
    xs = f.inputs()
    rng = np.random.default_rng(f.seed)
    v = direction(rng, xs)
    out, dot = ft.jvp(f, xs, v)
    assert_close(dot, directional_derivative(f, xs, v), 1e-7)
    assert_close(ft.linearize(f, *xs)[1](*v), dot, 1e-13)
    assert_close(ft.jit(lambda *xs: ft.jvp(f, xs, v)[1])(*xs), dot, 1e-13)
    ct = direction(rng, [np.asarray(y) for y in out])
    cts = ft.vjp(f, *xs)[1](tuple(ct))
    assert abs(pairing(ct, dot) - pairing(cts, v)) < 1e-11 * (
        1 + pairing([np.abs(c) for c in ct], [np.abs(t) for t in dot])
    )


@examples
@given(programs())
def test_gradients(f: RandomProgram) -> None:
    xs = f.inputs()
    loss, argnums = loss_of(f), tuple(range(len(xs)))
    v = direction(np.random.default_rng(f.seed), xs)
    grads = ft.grad(loss, argnums)(*xs)
    expected = directional_derivative(lambda *xs: [loss(*xs)], xs, v)[0]
    assert abs(pairing(grads, v) - expected) < 1e-7 * (1 + abs(expected))
    for other in (ft.jit(ft.grad(loss, argnums)), ft.grad(ft.jit(loss), argnums), ft.jacrev(loss, argnums)):
        assert_close(other(*xs), grads, 1e-12)


@examples
@given(programs())
def test_second_derivatives(f: RandomProgram) -> None:
    xs = f.inputs()
    gradient = ft.grad(loss_of(f), tuple(range(len(xs))))
    v = direction(np.random.default_rng(f.seed), xs)
    dot = ft.jvp(gradient, xs, v)[1]
    assert_close(dot, directional_derivative(gradient, xs, v), 1e-6)
    pulled = ft.vjp(gradient, *xs)[1](tuple(v))  # the Hessian is symmetric
    assert_close(pulled, dot, 1e-10)


@examples
@given(programs(), st.integers(1, 3))
def test_batches(f: RandomProgram, size: int) -> None:
    rng = np.random.default_rng(f.seed)
    members = [[rng.uniform(-1.5, 1.5, shape) for shape in f.shapes] for _ in range(size)]
    stacked = [np.stack(xs) for xs in zip(*members, strict=True)]
    check_batch(f, stacked, members)
    check_batch(ft.grad(loss_of(f)), stacked, members)
    last = [np.moveaxis(x, 0, -1) for x in stacked]
    check_batch(f, last, members, in_axes=-1)


def check_batch(f: Callable[..., Any], stacked: Sequence[Array], members: list[list[Array]], in_axes: int = 0) -> None:
    out = ft.vmap(f, in_axes)(*stacked)
    loop = [f(*xs) for xs in members]
    if not isinstance(out, tuple):
        out, loop = (out,), [(y,) for y in loop]
    assert_close(out, [np.stack(ys) for ys in zip(*loop, strict=True)], 1e-12)
