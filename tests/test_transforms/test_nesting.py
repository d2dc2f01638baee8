"""Transformations of transformed functions: perturbations that must not be confused, and all pairs."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import lax
from functrans.core.primitive import Primitive
from functrans.core.rules import def_abstract, def_batch, def_impl, def_vjp


def derivative(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Forward mode, for functions of a number."""
    return lambda x: ft.jvp(f, (x,), (x * 0.0 + 1.0,))[1]


MODES: dict[str, Callable[..., Any]] = {
    "grad": ft.grad,
    "jvp": derivative,
    "linearize": lambda f: lambda x: ft.linearize(f, x)[1](x * 0.0 + 1.0),
    "vjp": lambda f: lambda x: ft.vjp(f, x)[1](x * 0.0 + 1.0)[0],
    "grad of jit": lambda f: ft.grad(ft.jit(f)),
    "jit of grad": lambda f: ft.jit(ft.grad(f)),
}

pairs = pytest.mark.parametrize(("outer", "inner"), list(product(MODES, MODES)))


@pairs
def test_the_classic_confusion(outer: str, inner: str) -> None:
    """d/dx [x * d/dy (x + y)] is 1; it is 2 when the two perturbations are taken for one (Siskind and Pearlmutter)."""
    d_outer, d_inner = MODES[outer], MODES[inner]
    assert d_outer(lambda x: x * d_inner(lambda y: x + y)(1.0))(1.0) == 1.0


@pairs
def test_closures_over_the_outer_argument(outer: str, inner: str) -> None:
    d_outer, d_inner = MODES[outer], MODES[inner]
    # d/dy of (x*y)**2 at y = x is 2 x**3, whose derivative is 6 x**2
    assert d_outer(lambda x: d_inner(lambda y: (x * y) * (x * y))(x))(2.0) == 24.0
    # the inner function ignores its argument
    assert d_outer(lambda x: d_inner(lambda y: x * x)(x) + x)(3.0) == 1.0
    # or returns it as it is
    assert d_outer(lambda x: d_inner(lambda y: y)(x) * x)(3.0) == 1.0


@pairs
def test_second_derivatives(outer: str, inner: str) -> None:
    f = lambda x: lax.mul(lax.sin(x), lax.exp(x))
    np.testing.assert_allclose(MODES[outer](MODES[inner](f))(0.5), 2 * np.cos(0.5) * np.exp(0.5), rtol=1e-14)


@pytest.mark.parametrize("modes", list(product(["grad", "jvp", "jit of grad"], repeat=3)))
def test_third_derivatives(modes: tuple[str, ...]) -> None:
    f: Any = lambda x: x * x * x * x
    for mode in modes:
        f = MODES[mode](f)
    assert f(2.0) == 48.0


def test_three_levels_of_closures() -> None:
    def f(x: Any) -> Any:
        return ft.grad(lambda y: ft.grad(lambda z: x * y * y * z * z * z)(y) * x)(x)

    # 3 x**2 y**4, by y: 12 x**2 y**3, at y = x: 12 x**5
    assert f(2.0) == 12 * 2.0**5
    assert ft.grad(f)(2.0) == 60 * 2.0**4


def test_a_function_that_returns_a_function() -> None:
    """The derivative of a curried function, one argument after the other (Manzyuk et al.)."""

    def shifted(u: Any) -> Callable[[Any], Any]:
        return lambda f: lambda x: f(x + u)

    d = ft.grad(lambda u: shifted(u)(lambda y: ft.grad(lambda z: z * z * z)(y))(3.0))(0.0)
    assert d == 18.0


@pytest.mark.parametrize("mode", MODES)
def test_under_vmap(mode: str) -> None:
    x = np.array([0.5, 1.0, 2.0])
    f = lambda x: lax.mul(lax.mul(x, x), lax.sin(x))
    expected = [MODES[mode](f)(v) for v in x]
    np.testing.assert_allclose(ft.vmap(MODES[mode](f))(x), expected, rtol=1e-14)
    nested = lambda x: MODES[mode](lambda y: x * x * y)(x)
    np.testing.assert_allclose(ft.vmap(nested)(x), x * x, rtol=1e-14)
    np.testing.assert_allclose(ft.vmap(ft.grad(nested))(x), 2 * x, rtol=1e-14)


@pytest.mark.parametrize("mode", MODES)
def test_vmap_inside(mode: str) -> None:
    x = np.array([0.5, 1.0, 2.0])
    f = lambda a: lax.reduce_sum(ft.vmap(lambda v: v * v * a)(x), (0,))
    np.testing.assert_allclose(MODES[mode](f)(3.0), np.sum(x * x), rtol=1e-14)
    np.testing.assert_allclose(MODES[mode](MODES[mode](lambda a: f(a * a)))(3.0), 2 * np.sum(x * x), rtol=1e-14)


def halved_vjp(name: str) -> Primitive:
    """A sine whose only derivative rule is a VJP."""
    primitive = Primitive(name)
    def_impl(primitive, np.sin)
    def_abstract(primitive, lambda x: x.strong)
    def_vjp(primitive, lambda ct, out, x: lax.mul(ct, lax.cos(x)))
    def_batch(primitive, lambda size, operands, axes: (primitive.bind(operands[0]), axes[0]))
    return primitive


@pairs
def test_a_primitive_with_a_vjp_alone(outer: str, inner: str) -> None:
    sine = halved_vjp(f"sine by vjp, {outer}, {inner}")
    f = lambda x: sine.bind(x) * x
    np.testing.assert_allclose(MODES[inner](f)(0.5), np.cos(0.5) * 0.5 + np.sin(0.5), rtol=1e-14)
    second = 2 * np.cos(0.5) - 0.5 * np.sin(0.5)
    np.testing.assert_allclose(MODES[outer](MODES[inner](f))(0.5), second, rtol=1e-14)
    batched = ft.vmap(MODES[outer](MODES[inner](f)))(np.array([0.5, 0.5]))
    np.testing.assert_allclose(batched, [second, second], rtol=1e-14)


def test_hessian_vector_products_in_every_way() -> None:
    x, v = np.array([0.3, -0.4, 0.5]), np.array([1.0, 2.0, -1.0])
    f = lambda x: lax.reduce_sum(lax.mul(lax.sin(x), lax.exp(lax.mul(x, x))), (0,))
    gradient = ft.grad(f)
    expected = ft.hessian(f)(x) @ v
    ways = [
        ft.jvp(gradient, (x,), (v,))[1],
        ft.vjp(gradient, x)[1](v)[0],
        ft.linearize(gradient, x)[1](v),
        ft.grad(lambda x: lax.reduce_sum(lax.mul(gradient(x), v), (0,)))(x),
        ft.grad(lambda x: ft.jvp(f, (x,), (v,))[1])(x),
        ft.jit(lambda x, v: ft.jvp(gradient, (x,), (v,))[1])(x, v),
    ]
    for way in ways:
        np.testing.assert_allclose(way, expected, rtol=1e-13)
