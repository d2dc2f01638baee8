"""jacfwd, jacrev and hessian."""

import numpy as np
import pytest

import functrans as ft

A = np.array([[1.0, 2.0, -1.0], [0.5, 0.0, 3.0]])
X = np.array([0.1, -0.4, 0.7])


@pytest.mark.parametrize("jacobian", [ft.jacfwd, ft.jacrev])
def test_of_arrays(jacobian):
    np.testing.assert_allclose(jacobian(lambda x: np.sin(A @ x))(X), np.cos(A @ X)[:, None] * A, rtol=1e-12)
    got = jacobian(lambda x: np.outer(x, x))(X)
    assert got.shape == (3, 3, 3)
    eye = np.eye(3)
    expected = np.einsum("ik,j->ijk", eye, X) + np.einsum("i,jk->ijk", X, eye)
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("jacobian", [ft.jacfwd, ft.jacrev])
def test_of_trees(jacobian):
    def f(p, scale):
        return {"out": p["w"] @ p["x"] * scale, "sum": np.sum(p["x"])}

    params = {"w": A, "x": X}
    got = jacobian(f)(params, 2.0)
    np.testing.assert_allclose(got["out"]["x"], 2 * A)
    np.testing.assert_allclose(got["out"]["w"], 2 * np.einsum("ik,j->ikj", np.eye(2), X))
    np.testing.assert_allclose(got["sum"]["x"], np.ones(3))
    np.testing.assert_allclose(got["sum"]["w"], np.zeros((2, 3)))
    both = jacobian(f, argnums=(1, 0))(params, 2.0)
    np.testing.assert_allclose(both["out"][0], A @ X)
    np.testing.assert_allclose(both["out"][1]["x"], 2 * A)


@pytest.mark.parametrize("jacobian", [ft.jacfwd, ft.jacrev])
def test_aux_and_scalars(jacobian):
    got, aux = jacobian(lambda x: (x**2, {"x": x, "n": 1}), has_aux=True)(3.0)
    assert (got, aux["x"], aux["n"]) == (6.0, 3.0, 1)


@pytest.mark.parametrize("jacobian", [ft.jacfwd, ft.jacrev])
def test_holomorphic(jacobian):
    z = np.array([1.0 + 1.0j, 2.0j])
    np.testing.assert_allclose(jacobian(lambda z: z**3, holomorphic=True)(z), np.diag(3 * z**2))


def test_hessian():
    f = lambda x: np.sum(np.sin(x) * x[::-1] ** 2)
    got = ft.hessian(f)(X)
    eps = 1e-6
    g = ft.grad(f)
    expected = np.stack([(g(X + eps * e) - g(X - eps * e)) / (2 * eps) for e in np.eye(3)], -1)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(got, got.T, rtol=1e-12)
    np.testing.assert_allclose(ft.jit(ft.hessian(f))(X), got, rtol=1e-12)
    for other in (ft.jacrev(ft.jacrev(f)), ft.jacfwd(ft.jacfwd(f)), ft.jacrev(ft.jacfwd(f))):
        np.testing.assert_allclose(other(X), got, rtol=1e-12)


def test_hessian_of_a_tree():
    h = ft.hessian(lambda p: p["a"] ** 2 * p["b"])({"a": 3.0, "b": 2.0})
    assert (h["a"]["a"], h["a"]["b"], h["b"]["a"], h["b"]["b"]) == (4.0, 6.0, 6.0, 0.0)


def test_third_order():
    assert ft.jacfwd(ft.hessian(lambda x: x**4))(2.0) == 48.0


@pytest.mark.parametrize("jacobian", [ft.jacfwd, ft.jacrev])
def test_errors(jacobian):
    with pytest.raises(TypeError, match=r"with respect to real floats, but x of <lambda> is int64\[3\]"):
        jacobian(lambda x: x)(np.arange(3))
    with pytest.raises(ValueError, match="argnums=1 is out of range for the 1 positional arguments of <lambda>"):
        jacobian(lambda x: x, argnums=1)(X)


@pytest.mark.parametrize("jacobian", [ft.jacfwd, ft.jacrev])
def test_static_leaves(jacobian):
    (dx, none), aux = jacobian(lambda p: (p[0] ** 2, {"name": p[1], "x": p[0]}), has_aux=True)((3.0, "square"))
    assert (dx, none, aux) == (6.0, None, {"name": "square", "x": 3.0})


@pytest.mark.parametrize("jacobian", [ft.jacfwd, ft.jacrev, ft.hessian])
def test_scalars(jacobian):
    assert type(jacobian(lambda x: x**2)(3.0)) is np.float64


@pytest.mark.parametrize("jacobian", [ft.jacfwd, ft.jacrev])
def test_output_that_is_an_integer(jacobian):
    with pytest.raises(TypeError, match=r"needs real outputs, but output\['n'\] of <lambda> is int64\[\]"):
        jacobian(lambda x: {"n": np.argmax(x)})(X)
