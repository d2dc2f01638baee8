"""Random functions with effects, nested in loops, branches and transformations: the same happens under every one."""

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import functrans as ft
from functrans import lax
from tests.effect_log import Log
from tests.test_transforms.test_effects import approximately

log = Log()
Function = Callable[[Any], Any]

SIMPLE = ["note", "ask", "factor", "sin", "square"]
FORCING = ["asked", "branch"]
STAGED = ["jit", "checkpoint", "scan", "fori_loop", "while_loop", "cond"]
RECORDED = ["grad", "jvp", "vmap"]


def random_function(rng: np.random.Generator, depth: int, staged: bool, path: str = "at ") -> Function:
    """A function of a scalar. While it is staged nothing can be asked for."""
    kinds = SIMPLE + ([] if staged else FORCING) + ((STAGED + RECORDED) if depth else [])
    steps = []
    for number in range(rng.integers(1, 4)):
        kind = str(rng.choice(kinds))
        inner = [random_function(rng, depth - 1, staged or kind in STAGED, f"{path}{number}{c}") for c in "ab" if depth]
        steps.append(random_step(kind, f"{path}{number}", *inner))

    def function(x: Any) -> Any:
        for step in steps:
            x = step(x)
        return x

    return function


def random_step(kind: str, tag: str, f: Function = np.sin, g: Function = np.cos) -> Function:
    def body(x: Any) -> Any:
        return np.tanh(f(x))

    def ask(x: Any, answer: float = 1.0) -> Any:
        return log.ask(tag, lax.stop_gradient(x), answer=answer)

    return {
        "note": lambda x: log.note(tag, x) or x,
        "ask": lambda x: (ask(x), x)[1],
        "factor": lambda x: x * ask(x, 1.5),
        "sin": lambda x: np.sin(x) + 1.1,
        "square": lambda x: x * x,
        "asked": lambda x: 2.0 * x if ask(x) > 0 else x,
        "branch": lambda x: 2.0 * x if x > 1 else 3.0 * x,
        "jit": ft.jit(f),
        "checkpoint": ft.checkpoint(f),
        "scan": lambda x: lax.scan(lambda c, _: (body(c), c), x, None, length=2)[0],
        "fori_loop": lambda x: lax.fori_loop(0, 2, lambda i, c: body(c), x),
        "while_loop": lambda x: lax.while_loop(lambda c: c[0] < 2, lambda c: (c[0] + 1, body(c[1])), (0, x))[1],
        "cond": lambda x: lax.cond(x > 1, f, g, x),
        "grad": lambda x: np.sin(ft.grad(lambda x: np.sin(f(x)))(x)) + 1.2,
        "jvp": lambda x: np.sin(ft.jvp(f, (x,), (1.0,))[1]) + 1.3,
        "vmap": lambda x: ft.vmap(f, in_axes=None, axis_size=2)(x)[0],
    }[kind]


UNSTAGED: dict[str, Any] = {
    "grad": ft.grad,
    "jvp": lambda f: lambda x: ft.jvp(f, (x,), (1.0,)),
    "vjp": lambda f: lambda x: ft.vjp(f, x)[1](1.0),
    "linearize": lambda f: lambda x: ft.linearize(f, x)[1](1.0),
    "grad of grad": lambda f: ft.grad(ft.grad(f)),
    "hessian": ft.hessian,
}
STAGING: dict[str, Any] = {
    "jit": ft.jit,
    "jit of grad": lambda f: ft.jit(ft.grad(f)),
    "grad of jit": lambda f: ft.grad(ft.jit(f)),
    "grad of checkpoint": lambda f: ft.grad(ft.checkpoint(f)),
    "vmap of grad": lambda f: lambda x: ft.vmap(ft.grad(f))(ft.numpy.stack([x])),
}


@given(seed=st.integers(0, 2**32 - 1), staged=st.booleans())
def test_the_same_happens_under_every_transformation(seed: int, staged: bool) -> None:
    f = random_function(np.random.default_rng(seed), 2, staged)
    expected = approximately(log.during(f, 0.7))
    for name, transform in (UNSTAGED | STAGING if staged else UNSTAGED).items():
        assert log.during(transform(f), 0.7) == expected, name


@given(seed=st.integers(0, 2**32 - 1))
def test_the_derivative_knows_of_the_values_that_were_asked(seed: int) -> None:
    """Under `grad` some effects happen early: against a derivative by differences, where none do."""
    f = random_function(np.random.default_rng(seed), 1, False)
    low, high = f(0.7 - 1e-6), f(0.7 + 1e-6)
    np.testing.assert_allclose(ft.grad(f)(0.7), (high - low) / 2e-6, rtol=1e-4, atol=1e-6)
