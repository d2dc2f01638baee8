"""jacfwd, jacrev and hessian."""

import tracemalloc

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
    with pytest.raises(TypeError, match=r"needs real.* outputs, but output\['n'\] of <lambda> is int64\[\]"):
        jacobian(lambda x: {"n": np.argmax(x)})(X)


@pytest.mark.parametrize("jacobian", [ft.jacfwd, ft.jacrev])
def test_the_structure_of_arguments_and_outputs(jacobian):
    x, y = np.array([1.0, 2.0]), {"a": np.ones((2, 3)), "none": None, "empty": np.ones((0, 2))}
    f = lambda x, y, s: {"out": (x * s, [y["a"].sum(0)]), "none": None, "scalar": x[0] * s, "empty": y["empty"]}
    dx, dy = (jacobian(f, argnums=(0, -2))(x, y, 3.0)[key] for key in ("out", "empty"))
    assert dx[0][0].shape == (2, 2)
    assert dx[1][0][1]["a"].shape == (3, 2, 3)
    assert dx[1][0][1]["none"] is None
    assert (dy[0].shape, dy[1]["a"].shape, dy[1]["empty"].shape) == ((0, 2, 2), (0, 2, 2, 3), (0, 2, 0, 2))
    single = jacobian(f, argnums=[2])(x, y, 3.0)
    np.testing.assert_array_equal(single["out"][0][0], x)
    assert single["scalar"][0] == 1.0
    assert single["none"] is None
    assert jacobian(lambda x: ())(x) == ()
    assert jacobian(lambda t, x: x)((), x) == ()
    np.testing.assert_array_equal(jacobian(lambda x: 3.0)(x), [0.0, 0.0])
    np.testing.assert_array_equal(jacobian(lambda x, *, s: x * s)(x, s=2.0), 2 * np.eye(2))


def test_dtypes():
    x = np.ones(2, np.float32)
    f = lambda x: x.astype(np.float64)
    assert (ft.jacfwd(f)(x).dtype, ft.jacrev(f)(x).dtype) == (np.float64, np.float32)
    hessian = ft.hessian(lambda a, b: np.sum(a * b), argnums=(0, 1))(x, np.ones(2))
    np.testing.assert_array_equal(hessian[0][1], np.eye(2))
    assert (hessian[0][1].dtype, hessian[1][0].dtype) == (np.float32, np.float64)


def test_complex_outputs_of_real_arguments():
    np.testing.assert_array_equal(ft.jacfwd(lambda x: x * 2j)(X), 2j * np.eye(3))
    with pytest.raises(TypeError, match=r"needs real outputs, but output of <lambda> is complex128\[3\]: return its"):
        ft.jacrev(lambda x: x * 2j)(X)


@pytest.mark.parametrize("jacobian", [ft.jacfwd, ft.jacrev])
def test_errors_of_complex_functions(jacobian):
    with pytest.raises(TypeError, match=r"real floats, but z of <lambda> is complex128\[3\].*pass holomorphic=True"):
        jacobian(lambda z: z)(X * 1j)
    with pytest.raises(TypeError, match=r"complex arguments \(holomorphic=True\), but x of <lambda> is float64\[3\]"):
        jacobian(lambda x: x, holomorphic=True)(X)
    with pytest.raises(TypeError, match=r"needs complex outputs, but output of <lambda> is float64\[3\]"):
        jacobian(lambda z: z.real, holomorphic=True)(X * 1j)


def test_integers():
    by_int, by_float = ft.jacrev(lambda n, x: x**n, argnums=(0, 1), allow_int=True)(np.array([2, 3, 1]), X)
    assert (by_int.shape, by_int.dtype) == ((3, 3), ft.dtypes.float0)
    np.testing.assert_allclose(by_float, np.diag([2 * X[0], 3 * X[1] ** 2, 1]))


@pytest.mark.parametrize("chunk", [1, 2, 5, 100])
def test_chunks(chunk):
    f = lambda p: {"y": np.sin(A @ p["x"]) * p["s"], "s": p["s"] ** 2}
    params = {"x": X, "s": 2.0}
    same = lambda a, b: ft.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14), a, b)
    for jacobian in (ft.jacfwd, ft.jacrev, ft.hessian):
        expected = jacobian(f)(params)
        chunked = jacobian(f, chunk_size=chunk)
        same(chunked(params), expected)
        same(ft.jit(chunked)(params), expected)
        stacks = {"x": np.stack([X, -X]), "s": np.array([2.0, 3.0])}
        same(ft.vmap(chunked)(stacks), ft.vmap(jacobian(f))(stacks))
        total = lambda g: lambda p: sum([np.sum(np.sin(leaf)) for leaf in ft.tree.leaves(g(p))])
        same(ft.grad(total(chunked))(params), ft.grad(total(jacobian(f)))(params))
    got, aux = ft.jacfwd(lambda x: (A @ x, {"x": x, "name": "A"}), has_aux=True, chunk_size=chunk)(X)
    same(got, A)
    assert aux["name"] == "A"
    z = X + 1j
    same(ft.jacrev(lambda z: z**3, holomorphic=True, chunk_size=chunk)(z), np.diag(3 * z**2))
    assert ft.jacfwd(lambda x: x, chunk_size=chunk)(np.ones((0, 2))).shape == (0, 2, 0, 2)


def test_chunks_bound_the_memory():
    def f(x):  # of 50 numbers, through arrays of 50 x 200
        return np.sum(np.tanh(np.outer(x, np.ones(200))) ** 2, 1)

    def peak(function):
        function(x)
        tracemalloc.start()
        function(x)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    x = np.linspace(-1.0, 1.0, 50)
    for jacobian in (ft.jacfwd, ft.jacrev):
        assert peak(jacobian(f, chunk_size=5)) < peak(jacobian(f)) / 4


@pytest.mark.parametrize("jacobian", [ft.jacfwd, ft.jacrev, ft.hessian])
def test_errors_of_chunk_size(jacobian):
    with pytest.raises(ValueError, match=f"{jacobian.__name__}: chunk_size must be a positive int or None, got 0"):
        jacobian(lambda x: x, chunk_size=0)


def test_hessian_vector_product():
    f = lambda x: np.sum(np.sin(x) * x[::-1] ** 2)
    v = np.array([1.0, -2.0, 0.5])
    hvp = lambda x, v: ft.jvp(ft.grad(f), (x,), (v,))[1]
    np.testing.assert_allclose(hvp(X, v), ft.hessian(f)(X) @ v, rtol=1e-12)
    np.testing.assert_allclose(ft.jit(hvp)(X, v), ft.hessian(f)(X) @ v, rtol=1e-12)
    np.testing.assert_allclose(ft.vmap(hvp, (None, 0))(X, np.eye(3)), ft.hessian(f)(X), rtol=1e-12)
