"""Every pair and triple of transformations, over functions of every kind, against formulas.

Each function of the table is smooth, and comes with its n-th derivative by a formula. A transformation takes a function
of a number to another one: the derivatives to g', the Hessian to g'', jit and checkpoint to g itself, and vmap to
g(x) + 2 g(2 x), which it computes as a batch of two. So what a composition must give is a sum of terms
c * f^(n)(s * x), which no transformation has touched.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import functrans as ft
from functrans import lax

Function = Callable[[Any], Any]


class Smooth(NamedTuple):
    """A function as a user writes it, and its n-th derivative."""

    function: Function
    derivative: Callable[[int, float], float]


def sin_derivative(n: int, x: float) -> float:
    return math.sin(x + n * math.pi / 2)


def power_derivative(k: int) -> Callable[[int, float], float]:
    return lambda n, x: math.perm(k, n) * x ** max(k - n, 0)


def xexp_derivative(n: int, x: float) -> float:
    return (x + n) * math.exp(x)


def plus(*derivatives: Callable[[int, float], float]) -> Callable[[int, float], float]:
    return lambda n, x: sum([d(n, x) for d in derivatives])


# --------------------------------------------------------------------------------------------------------------------
# The functions


def matrices(x: Any) -> Any:
    """sin x by way of vectors, matrices, an index and a sum."""
    a = np.array([[1.0, 2.0], [0.5, -1.0]])
    v = np.stack([x, x * x, np.sin(x)]) @ np.array([[0.0, 0.0], [0.0, 0.0], [2.0, 4.0]])
    return np.sum(a * v, axis=1)[0] / 10.0


def python_control_flow(x: Any) -> Any:
    """x**3 by a Python loop; only for what knows the shape and not the value."""
    result = 1.0
    for _ in range(3):
        result = result * x
    return result


def through_a_pytree(x: Any) -> Any:
    state = {"a": x, "b": (x * x, [np.exp(x)])}
    state = ft.tree.map(lambda leaf: leaf * 1.0, state)
    return state["a"] * state["b"][1][0]


def branches(x: Any) -> Any:
    """sin x on the right, x**4 on the left."""
    return lax.cond(x > 0, np.sin, lambda x: x**4, x)


def batched_by_switch(x: Any) -> Any:
    index = np.where(x > 0, 2, 0)
    return lax.switch(index, [np.cos, np.exp, np.sin], x)


def closed_over(x: Any) -> Any:
    """x exp(x), each branch closing over tracers."""
    y = np.exp(x)
    return lax.cond(x > -100.0, lambda: x * y, lambda: 1 / (x - x))


def by_scan(x: Any) -> Any:
    """x**5 by a scan that closes over x, plus sin x that it carries along."""

    def body(carry: Any, k: Any) -> Any:
        power, s = carry
        return (power * x, s), np.where(k == 4, s, 0.0)

    (power, _), outs = lax.scan(body, (1.0, np.sin(x)), np.arange(5))
    return power + np.sum(outs)


def by_while(x: Any) -> Any:
    """x**4 by a loop of unknown length."""
    return lax.while_loop(lambda c: c[0] < 4, lambda c: (c[0] + 1, c[1] * x), (0, 1.0))[1]


def by_fori(x: Any) -> Any:
    return lax.fori_loop(0, 3, lambda i, y: y * x, x * x)


def by_custom_jvp(x: Any) -> Any:
    @ft.custom_jvp
    def sine(y: Any) -> Any:
        return np.sin(y)

    sine.defjvps(lambda t, out, y: t * np.cos(y))
    return sine(x)


def by_custom_vjp(x: Any) -> Any:
    scale = 1.0

    @ft.custom_vjp
    def sine(y: Any, names: Any) -> Any:
        return np.sin(y) * scale

    sine.defvjp(lambda y, names: (np.sin(y), y), lambda y, ct: (ct * np.cos(y), None))
    return sine(x, {"unused": 3})


def inner_jit(x: Any) -> Any:
    return ft.jit(lambda y, z: y * ft.jit(np.exp)(z))(x, x)


FUNCTIONS = {
    "matrices": Smooth(matrices, sin_derivative),
    "python": Smooth(python_control_flow, power_derivative(3)),
    "pytree": Smooth(through_a_pytree, xexp_derivative),
    "cond": Smooth(branches, lambda n, x: sin_derivative(n, x) if x > 0 else power_derivative(4)(n, x)),
    "switch": Smooth(batched_by_switch, lambda n, x: sin_derivative(n + (x <= 0), x)),
    "closure": Smooth(closed_over, xexp_derivative),
    "scan": Smooth(by_scan, plus(power_derivative(5), sin_derivative)),
    "while": Smooth(by_while, power_derivative(4)),
    "fori": Smooth(by_fori, power_derivative(5)),
    "custom_jvp": Smooth(by_custom_jvp, sin_derivative),
    "custom_vjp": Smooth(by_custom_vjp, sin_derivative),
    "jit": Smooth(inner_jit, xexp_derivative),
}

# --------------------------------------------------------------------------------------------------------------------
# The transformations, and what they do to a sum of terms


class Term(NamedTuple):
    """c * f^(n)(s * x)."""

    c: float
    n: int
    s: float


def differentiated(terms: list[Term]) -> list[Term]:
    return [Term(c * s, n + 1, s) for c, n, s in terms]


def doubled(terms: list[Term]) -> list[Term]:
    return terms + [Term(2 * c, n, 2 * s) for c, n, s in terms]


def of_a_batch(f: Function) -> Function:
    def both(x: Any) -> Any:
        return np.dot(ft.vmap(f)(np.stack([x, 2.0 * x])), np.array([1.0, 2.0]))

    return both


TRANSFORMATIONS: dict[str, tuple[Callable[[Function], Function], Callable[[list[Term]], list[Term]]]] = {
    "grad": (ft.grad, differentiated),
    "jvp": (lambda f: lambda x: ft.jvp(f, (x,), (np.ones_like(x),))[1], differentiated),
    "vjp": (lambda f: lambda x: ft.vjp(f, x)[1](np.ones_like(x))[0], differentiated),
    "linearize": (lambda f: lambda x: ft.linearize(f, x)[1](np.ones_like(x)), differentiated),
    "hessian": (ft.hessian, lambda terms: differentiated(differentiated(terms))),
    "vmap": (of_a_batch, doubled),
    "jit": (ft.jit, lambda terms: terms),
    "checkpoint": (ft.checkpoint, lambda terms: terms),
}


def check(names: tuple[str, ...], smooth: Smooth, x: float) -> None:
    """Apply the transformations, the last one first, and compare with the formula."""
    f, terms = smooth.function, [Term(1.0, 0, 1.0)]
    for name in reversed(names):
        transform, rule = TRANSFORMATIONS[name]
        f, terms = transform(f), rule(terms)
    expected = sum([c * smooth.derivative(n, s * x) for c, n, s in terms])
    scale = sum([abs(c * smooth.derivative(n, s * x)) for c, n, s in terms])
    got = f(x)
    assert np.shape(got) == ()
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-11 * (1 + scale), err_msg=" of ".join(names))


@pytest.mark.parametrize("kind", FUNCTIONS)
@pytest.mark.parametrize("outer", TRANSFORMATIONS)
def test_pairs_and_triples(outer: str, kind: str) -> None:
    smooth = FUNCTIONS[kind]
    for inner in TRANSFORMATIONS:
        check((outer, inner), smooth, 0.7)
        for innermost in TRANSFORMATIONS:
            check((outer, inner, innermost), smooth, -0.6 if inner == "vmap" else 0.3)
