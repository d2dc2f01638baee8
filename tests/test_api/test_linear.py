"""jvp, linearize, vjp and linear_transpose."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import functrans as ft


def f(p, x):
    return {"y": np.tanh(p["w"] @ x) * p["b"], "z": np.sum(x**2)}


def point(seed):
    rng = np.random.default_rng(seed)
    draw = lambda: ({"w": rng.normal(size=(2, 3)), "b": rng.normal(size=2)}, rng.normal(size=3))
    return draw(), draw(), {"y": rng.normal(size=2), "z": np.float64(rng.normal())}


def inner(a, b):
    return sum(np.sum(x * y) for x, y in zip(ft.tree.leaves(a), ft.tree.leaves(b), strict=True))


@given(st.integers(0, 2**32 - 1))
def test_forward_and_reverse_agree(seed):
    primals, tangents, ct = point(seed)
    out, out_dot = ft.jvp(f, primals, tangents)
    again, pull = ft.vjp(f, *primals)
    _, push = ft.linearize(f, *primals)
    for key in out:
        np.testing.assert_array_equal(out[key], f(*primals)[key])
        np.testing.assert_array_equal(out[key], again[key])
        np.testing.assert_allclose(push(*tangents)[key], out_dot[key], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(inner(ct, out_dot), inner(pull(ct), tangents), rtol=1e-9, atol=1e-11)


def test_jvp_against_finite_differences():
    primals, tangents, _ = point(1)
    moved = lambda eps: f(*ft.tree.map(lambda x, t: x + eps * t, primals, tangents))
    _, out_dot = ft.jvp(f, primals, tangents)
    for key in out_dot:
        np.testing.assert_allclose(out_dot[key], (moved(1e-6)[key] - moved(-1e-6)[key]) / 2e-6, rtol=1e-7)


def test_aux():
    g = lambda x: (x * 2, {"x": x, "name": "aux"})
    assert ft.jvp(g, (3.0,), (1.0,), has_aux=True) == (6.0, 2.0, {"x": 3.0, "name": "aux"})
    out, pull, aux = ft.vjp(g, 3.0, has_aux=True)
    assert (out, pull(1.0), aux) == (6.0, (2.0,), {"x": 3.0, "name": "aux"})
    out, push, aux = ft.linearize(g, 3.0, has_aux=True)
    assert (out, push(1.0), aux) == (6.0, 2.0, {"x": 3.0, "name": "aux"})


def test_integers_have_tangents_of_dtype_float0():
    g = lambda x, n: (x * n, n + 1)
    (_, dn), pull = ft.jvp(g, (2.0, 3), (1.0, None))[1], ft.vjp(g, 2.0, 3)[1]
    assert dn.dtype == ft.dtypes.float0
    dx, dn = pull((1.0, np.zeros((), ft.dtypes.float0)))
    assert dx == 3.0
    assert dn.dtype == ft.dtypes.float0
    with pytest.raises(TypeError, match=r"the primal n is int64\[\] and has no tangent"):
        ft.jvp(g, (2.0, 3), (1.0, 1.0))


def test_what_a_vjp_keeps_does_not_change_with_the_arguments():
    x = np.array([1.0, 2.0])
    _, pull = ft.vjp(lambda x: np.sum(x * x), x)
    x[:] = 100.0
    np.testing.assert_array_equal(pull(1.0)[0], [2.0, 4.0])


def test_pulling_back_twice():
    _, pull = ft.vjp(np.sin, 0.3)
    assert pull(1.0)[0] == pull(1.0)[0] == np.cos(0.3)
    assert pull(2.0)[0] == 2 * np.cos(0.3)


def test_derivatives_of_derivatives():
    assert ft.grad(lambda x: ft.vjp(np.sin, x)[1](1.0)[0])(0.3) == pytest.approx(-np.sin(0.3))
    assert ft.grad(lambda x: ft.linearize(np.sin, x)[1](2.0))(0.3) == pytest.approx(-2 * np.sin(0.3))
    assert ft.jvp(lambda x: ft.jvp(np.sin, (x,), (1.0,))[1], (0.3,), (1.0,))[1] == pytest.approx(-np.sin(0.3))


def test_linear_transpose():
    a = np.arange(6.0).reshape(2, 3)
    transposed = ft.linear_transpose(lambda p: {"out": a @ p["x"] + p["y"]}, {"x": np.ones(3), "y": np.ones(2)})
    (ct,) = transposed({"out": np.array([1.0, 2.0])})
    np.testing.assert_array_equal(ct["x"], a.T @ [1.0, 2.0])
    np.testing.assert_array_equal(ct["y"], [1.0, 2.0])
    shaped = ft.linear_transpose(lambda x: np.sum(x), ft.ShapeDtypeStruct((2,), "float32"))
    (ct,) = shaped(np.float32(3.0))
    np.testing.assert_array_equal(ct, np.full(2, 3, "f4"))


def test_complex_directions():
    z, t = 1.0 + 2.0j, 0.5 - 1.0j
    out, out_dot = ft.jvp(lambda z: z * z, (z,), (t,))
    assert (out, out_dot) == (z * z, 2 * z * t)
