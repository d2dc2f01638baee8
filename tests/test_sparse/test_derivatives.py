"""Sparse Jacobians and Hessians against dense ones; patterns that miss nothing; as few passes as colours."""

import pickle
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import functrans as ft

sparse = pytest.importorskip("scipy.sparse")


def dense(f, *args, argnums=0):
    """The Jacobian by forward mode, rows and columns leaf by leaf."""
    jacobian = ft.jacfwd(f, argnums=argnums)(*args)
    outs = [np.asarray(x) for x in ft.tree.leaves(f(*args))]
    chosen = [args[i] for i in ((argnums,) if isinstance(argnums, int) else argnums)]
    sizes = [np.size(x) for x in ft.tree.leaves(chosen)]
    blocks = ft.tree.leaves(jacobian)
    rows = [
        np.hstack([np.reshape(blocks[i * len(sizes) + j], (out.size, n)) for j, n in enumerate(sizes)])
        for i, out in enumerate(outs)
    ]
    return np.vstack(rows)


def check(f, *args, argnums=0, modes=("auto", "fwd", "rev", "both")):
    expected = dense(f, *args, argnums=argnums)
    for mode in modes:
        jacobian = ft.sparse.jacobian(f, argnums, mode=mode)
        found = jacobian(*args)
        assert type(found) is sparse.csr_array
        np.testing.assert_allclose(found.toarray(), expected, rtol=1e-12, atol=1e-12, err_msg=mode)
        assert not (~jacobian.pattern(*args).toarray() & (expected != 0)).any()
    return jacobian


X = np.linspace(0.3, 1.7, 6)
INDEX = np.array([3, 0, 5, 3])

FUNCTIONS = {
    "elementwise": lambda x: np.sin(x) * x + np.exp(-x),
    "differences": lambda x: (x[1:] - x[:-1]) ** 2,
    "strides": lambda x: x[::-2] * x[1::2],
    "reshape": lambda x: (x.reshape(2, 3).T @ np.ones((2, 2))).ravel(),
    "broadcast": lambda x: x[:, None] * x[None, :3],
    "concatenate": lambda x: np.concatenate([x[3:], 2 * x, x[:1]]),
    "pad": lambda x: np.pad(x, 2)[1:] ** 2,
    "pad by itself": lambda x: ft.lax.pad(x, x[2], [(1, -2, 1)]),
    "gather": lambda x: x[INDEX] ** 2,
    "gather by values": lambda x: x[np.argsort(-x)],
    "scatter": lambda x: ft.numpy.at(ft.numpy.zeros(8))[INDEX].add(x[:4] ** 2),
    "scatter set": lambda x: ft.numpy.at(x)[np.array([1, 4])].set(x[:2] ** 2),
    "sum": lambda x: np.sum(x.reshape(2, 3) ** 2, axis=1),
    "max": lambda x: np.max(x.reshape(2, 3), axis=1),
    "prod": lambda x: np.prod(x.reshape(3, 2), axis=0),
    "cumsum": lambda x: np.cumsum(x**2),
    "cumprod": lambda x: np.cumprod(x.reshape(2, 3), axis=1),
    "reverse cumsum": lambda x: ft.lax.cumsum(x, reverse=True),
    "sort": lambda x: np.sort(-x),
    "roll": lambda x: np.roll(x, 1) - x,
    "matmul": lambda x: np.arange(12.0).reshape(2, 6) @ x,
    "batched matmul": lambda x: x.reshape(3, 1, 2) @ x.reshape(3, 2, 1),
    "outer": lambda x: np.outer(x[:2], x[2:]),
    "einsum": lambda x: np.einsum("ij,kj->ik", x.reshape(2, 3), np.ones((2, 3))),
    "where": lambda x: np.where(x > 1.0, x**2, 0.0),
    "where of another": lambda x: np.where(np.arange(6) > 2, x, x[::-1]),
    "mean": lambda x: x - np.mean(x),
    "norm": lambda x: x / np.linalg.norm(x),
    "constant": lambda x: np.ones(3) * 2.0 + 0.0 * ft.lax.stop_gradient(x[:3]),
    "a scalar": lambda x: x[2] * x[4],
    "several": lambda x: {"a": x[:2] ** 2, "b": (np.sum(x[3:]), x[0])},
    "jit": lambda x: ft.jit(lambda y: y[1:] * y[:-1])(x),
    "vmap": lambda x: ft.vmap(lambda y: np.sum(y**2))(x.reshape(3, 2)),
    "convolve": lambda x: np.convolve(x, np.array([1.0, -2.0, 1.0]), mode="valid"),
    "arrow": lambda x: np.concatenate([np.sum(x**2)[None], x[1:] * x[0]]),
    "integer index along one axis": lambda x: np.take_along_axis(x.reshape(2, 3), np.argsort(x.reshape(2, 3), 1), 1),
    "float32": lambda x: (x.astype("f4") ** 2)[::-1],
}


@pytest.mark.parametrize("f", FUNCTIONS.values(), ids=FUNCTIONS)
def test_the_dense_jacobian(f):
    if f is FUNCTIONS["float32"]:
        assert ft.sparse.jacobian(f)(X).dtype == np.float32
        np.testing.assert_allclose(ft.sparse.jacobian(f)(X).toarray(), dense(f, X), rtol=1e-6)
    else:
        check(f, X)


@pytest.mark.parametrize(
    ("f", "entries"),
    [
        ("differences", 10),
        ("strides", 5),
        ("pad", 6),
        ("gather", 4),
        ("scatter", 4),
        ("sum", 6),
        ("cumsum", 21),
        ("batched matmul", 6),
        ("where", 6),
        ("concatenate", 10),
        ("convolve", 12),
        ("several", 6),
        ("vmap", 6),
        ("constant", 0),
        ("integer index along one axis", 18),
        ("cumprod", 12),
    ],
)
def test_the_pattern_has_no_more_than_it_must(f, entries):
    assert ft.sparse.sparsity_pattern(FUNCTIONS[f], X).nnz == entries


class TestControlFlow:
    def test_scan_iteration_by_iteration(self):
        def f(x):
            _, ys = ft.lax.scan(lambda carry, row: (row, carry * row), 1.0, x)
            return ys

        assert check(f, X).pattern(X).nnz == 11

    def test_scan_of_many_iterations(self):
        n = 3000

        def f(x):
            def step(u, _):
                return u + 0.1 * (np.roll(u, 1) - u) * np.sin(u), None

            return ft.lax.scan(step, x, None, length=n)[0]

        check(f, X, modes=["auto"])

    def test_cond_and_while(self):
        def f(x, flag):
            y = ft.lax.cond(flag, lambda x: x * x[::-1], lambda x: x**2, x)
            return ft.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * 2), (0, y))[1]

        check(f, X, True, modes=["fwd"])
        jitted = ft.jit(f)
        check(jitted, X, True, modes=["fwd"])

    def test_python_branches(self):
        check(lambda x: x if x[0] > 0 else np.cumsum(x), X)
        check(lambda x: x if x[0] < 0 else np.cumsum(x), X)

    def test_checkpoint(self):
        check(lambda x: ft.checkpoint(lambda y: np.sin(np.sin(y[1:])) * y[:-1])(x), X)

    def test_dynamic_slices(self):
        check(lambda x: ft.lax.dynamic_slice(x, (2,), (3,)) ** 2, X)
        check(lambda x: ft.lax.dynamic_update_slice(x, x[:2] ** 2, (3,)), X)
        check(lambda x: ft.lax.dynamic_slice(x, (np.argmax(x) - 3,), (3,)) ** 2, X)
        check(lambda x: ft.lax.dynamic_update_slice(x, x[:2] ** 2, (np.argmax(x) - 3,)), X)


def test_custom_derivatives_count_not_values():
    @ft.extend.primitive(name="straight_through_for_sparse")
    def through(x):
        return np.round(x)

    @through.def_vjp
    def _(ct, out, x):
        return ct[::-1].copy()

    expected = np.eye(6)[::-1]
    for mode in ("fwd", "rev"):
        found = ft.sparse.jacobian(through, mode=mode)(X)
        np.testing.assert_array_equal(found.toarray(), expected)


def test_several_arguments_and_pytrees():
    def f(p, y, n):
        return {"a": p["u"][1:] * y, "b": p["v"] ** n}

    args = ({"u": X[:4], "v": np.float64(2.0)}, X[:3], 3)
    for argnums in (0, 1, (0, 1)):
        check(f, *args, argnums=argnums)


def test_indices_that_change_do_not_reuse_a_pattern():
    jacobian = ft.sparse.jacobian(lambda x, i: x[i] * 2)
    for i in ([0, 1], [5, 5], [2, 0], [0, 1]):
        index = np.array(i)
        expected = np.zeros((2, 6))
        expected[[0, 1], index] = 2
        np.testing.assert_array_equal(jacobian(X, index).toarray(), expected)


def test_indices_computed_from_what_is_known():
    jacobian = ft.sparse.jacobian(lambda x, i: x[(i + 7) % 6] ** 2)
    assert jacobian.pattern(X, INDEX).nnz == 4
    check(lambda x: x[(INDEX + 7) % 6] ** 2, X)


@pytest.mark.parametrize(
    "names", [["batched matmul", "roll", "concatenate"], ["prod", "elementwise", "broadcast", "prod"]]
)
def test_chains(names):
    def f(x):
        for name in names:
            x = FUNCTIONS[name](np.concatenate([x.ravel()] * 6)[:6])
        return x

    check(f, X)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_random_programs(data):
    names = sorted(set(FUNCTIONS) - {"several", "float32", "constant", "matmul"})
    chosen = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=4))
    seed = data.draw(st.integers(0, 99))
    mode = data.draw(st.sampled_from(["auto", "fwd", "rev", "both"]))
    rng = np.random.default_rng(seed)

    def f(x):
        y = x
        for name in chosen:
            if y.shape != (6,):
                y = np.concatenate([y.ravel()] * 6)[:6]
            y = 0.3 * FUNCTIONS[name](y) + 0.5
        return y

    check(f, rng.uniform(0.5, 1.5, 6), modes=[mode])


# --------------------------------------------------------------------------------------------------------------------
# Passes


computed = []


def passes_of(call):
    """In how many directions a derivative is computed, by a primitive that counts them as its tangents pass."""
    computed.clear()
    call()
    return sum(computed)


@ft.extend.primitive(name="counted_tangents")
def counted(x):
    return np.array(x)


@ft.extend.primitive(name="counting_tangents")
def counting(t):
    computed.append(len(t) if t.ndim > 1 else 1)
    return np.array(t)


counting.def_linear(lambda ct, t: counting(ct))
counting.def_batch(lambda size, operands, axes: (counting(operands[0]), axes[0]))
counting.def_abstract(lambda t: t)
counting.primitive.is_elementwise = True
counted.def_jvp(lambda t, out, x: counting(t))


@pytest.mark.parametrize(
    ("f", "mode", "passes"),
    [
        (lambda x: x[1:] * x[:-1], "fwd", 2),
        (lambda x: x[1:] * x[:-1], "rev", 2),
        (lambda x: x[2:] - 2 * x[1:-1] + x[:-2], "auto", 3),
        (lambda x: x**2, "auto", 1),
        (lambda x: np.sum(x**2), "auto", 1),
        (lambda x: x[0] * np.ones(50), "auto", 1),
        (lambda x: np.concatenate([np.sum(x**2)[None], x[1:] * x[0]]), "auto", 3),
    ],
)
def test_one_pass_for_each_color(f, mode, passes):
    x = np.linspace(1, 2, 40)
    jacobian = ft.sparse.jacobian(lambda x: f(counted(x)), mode=mode)
    assert jacobian.coloring(x).n_passes == passes
    assert passes_of(lambda: jacobian(x)) == passes
    np.testing.assert_allclose(jacobian(x).toarray(), dense(f, x), atol=1e-12)


@pytest.mark.parametrize("chunk_size", [1, 2, 3, None])
def test_chunks(chunk_size):
    f = FUNCTIONS["cumsum"]
    np.testing.assert_allclose(ft.sparse.jacobian(f, chunk_size=chunk_size)(X).toarray(), dense(f, X))


def test_plans_are_made_once(monkeypatch):
    made = []
    plan_of = ft.sparse.derivatives.plan_of
    monkeypatch.setattr(ft.sparse.derivatives, "plan_of", lambda *args: made.append(1) or plan_of(*args))
    jacobian = ft.sparse.jacobian(lambda x: np.tanh(x[1:]) * x[:-1] * 7.25)
    for scale in (1.0, 2.0, 3.0):
        jacobian(X * scale)
    ft.sparse.jacobian(lambda x: np.tanh(x[1:]) * x[:-1] * 7.25)(X)
    assert len(made) == 1


# --------------------------------------------------------------------------------------------------------------------
# Hessians

SCALARS = {
    "chain": lambda x: np.sum((x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2),
    "separable": lambda x: np.sum(np.sin(x)),
    "arrow": lambda x: np.sum(x[0] * x[1:] ** 2),
    "arrow at the end": lambda x: np.sum(x[-1] * x[:-1] ** 2),
    "dense": lambda x: np.sum(x) ** 3,
    "linear": lambda x: np.sum(x * np.arange(6.0)),
    "gather": lambda x: np.sum(x[INDEX] ** 3 * x[0]),
    "grid": lambda x: np.sum(np.diff(x.reshape(2, 3), axis=0) ** 4) + np.sum(np.diff(x.reshape(2, 3), axis=1) ** 4),
    "pairs": lambda x: np.sum(x[::2] * x[1::2] ** 2),
    "blocks": lambda x: np.sum(ft.vmap(lambda y: np.prod(y))(x.reshape(2, 3))),
}


@pytest.mark.parametrize("f", SCALARS.values(), ids=SCALARS)
def test_the_dense_hessian(f):
    expected = ft.hessian(f)(X)
    hessian = ft.sparse.hessian(f)
    np.testing.assert_allclose(hessian(X).toarray(), expected, rtol=1e-11, atol=1e-12)
    pattern = hessian.pattern(X).toarray()
    assert (pattern == pattern.T).all()
    assert not (~pattern & (expected != 0)).any()


@pytest.mark.parametrize(
    ("f", "passes"),
    [("chain", 3), ("separable", 1), ("arrow", 2), ("arrow at the end", 2), ("linear", 0), ("pairs", 2)],
)
def test_colors_of_hessians(f, passes):
    assert ft.sparse.hessian(SCALARS[f]).coloring(np.linspace(1, 2, 6)).n_passes == passes


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 12), st.integers(0, 10**6), st.floats(0.05, 0.6))
def test_random_symmetric_patterns(n, seed, density):
    rng = np.random.default_rng(seed)
    i, j = np.nonzero(np.triu(rng.random((n, n)) < density))
    w = rng.normal(size=len(i))
    f = lambda x: np.sum(w * x[i] ** 2 * x[j] ** 2)
    x = rng.normal(size=n)
    np.testing.assert_allclose(ft.sparse.hessian(f)(x).toarray(), ft.hessian(f)(x), rtol=1e-9, atol=1e-9)


def test_hessian_of_pytrees():
    def f(p, y):
        return np.sum(p["u"] ** 2 * y) + p["v"] ** 3 * p["u"][0]

    p, y = {"u": X[:3], "v": 2.0}, np.array([1.0, 2.0, 3.0])
    found = ft.sparse.hessian(f)(p, y)
    flat = np.concatenate([p["u"], [2.0]])
    expected = ft.hessian(lambda x: f({"u": x[:3], "v": x[3]}, y))(flat)
    np.testing.assert_allclose(found.toarray(), expected)
    np.testing.assert_allclose(ft.sparse.hessian(f, argnums=(0, 1))(p, y).shape, (7, 7))


# --------------------------------------------------------------------------------------------------------------------
# Large, small and wrong


def test_large_systems():
    n = 100_000
    u = np.linspace(0, 1, n)

    def burgers(u, before, dt):
        inner = (u[1:-1] - before[1:-1]) / dt + u[1:-1] * (u[2:] - u[:-2]) - 0.1 * (u[2:] - 2 * u[1:-1] + u[:-2])
        return np.concatenate([u[:1], inner, u[-1:]])

    jacobian = ft.sparse.jacobian(burgers)
    found = jacobian(u, u, 0.1)
    assert found.shape == (n, n)
    assert jacobian.coloring(u, u, 0.1).n_passes == 3
    small = burgers(u[:5], u[:5], 0.1)
    assert small.shape == (5,)
    direction = np.cos(u)
    expected = ft.jvp(lambda u: burgers(u, np.linspace(0, 1, n), 0.1), (u,), (direction,))[1]
    np.testing.assert_allclose(found @ direction, expected, rtol=1e-9, atol=1e-9)


def test_dense_parts_in_between_cost_little():
    n = 50_000
    f = lambda x: np.sum((x - np.mean(x)) * np.cumsum(x))
    assert ft.sparse.sparsity_pattern(f, np.ones(n)).nnz == n


def test_a_dense_result_that_is_too_large():
    with pytest.raises(ValueError, match=r"may have 10000000000 entries .* use products with it instead"):
        ft.sparse.jacobian(lambda x: x - np.mean(x))(np.ones(100_000))


@pytest.mark.parametrize("n", [0, 1])
def test_tiny(n):
    x = np.ones(n)
    for mode in ("auto", "fwd", "rev", "both"):
        assert ft.sparse.jacobian(np.sin, mode=mode)(x).shape == (n, n)
    assert ft.sparse.jacobian(lambda x: np.zeros(0))(np.ones(3)).shape == (0, 3)
    assert ft.sparse.hessian(lambda x: np.sum(x**2))(x).shape == (n, n)


def test_a_given_pattern():
    f = FUNCTIONS["sort"]
    given = np.eye(6, dtype=bool)[::-1]
    jacobian = ft.sparse.jacobian(f, sparsity=given)
    np.testing.assert_array_equal(jacobian(X).toarray(), dense(f, X))
    assert jacobian.coloring(X).n_passes == 1
    with pytest.raises(ValueError, match=r"sparsity has shape \(2, 6\), and the Jacobian has \(6, 6\)"):
        ft.sparse.jacobian(f, sparsity=np.ones((2, 6)))(X)


def test_results_may_be_written_to():
    jacobian = ft.sparse.jacobian(np.sin)
    first = jacobian(X)
    first.data[:] = 0
    first.indices[:] = 0
    np.testing.assert_allclose(jacobian(X).toarray(), np.diag(np.cos(X)))


def test_wrong_uses():
    with pytest.raises(TypeError, match="taken with respect to real floats, but x of <lambda> is int64"):
        ft.sparse.jacobian(lambda x: x * 2.0)(np.arange(3))
    with pytest.raises(TypeError, match=r"real floats as outputs, but output\['n'\] of <lambda> is of dtype int64"):
        ft.sparse.jacobian(lambda x: {"n": np.argmax(x)})(X)
    with pytest.raises(TypeError, match="cannot hold tracers, but x is one: call it outside of jit"):
        ft.jit(lambda x: ft.sparse.jacobian(np.sin)(x))(X)
    with pytest.raises(TypeError, match="the function closes over one"):
        ft.grad(lambda y: ft.sparse.jacobian(lambda x: x * y)(X).sum())(2.0)
    with pytest.raises(ValueError, match="mode must be one of 'auto', 'fwd', 'rev', 'both', got 'up'"):
        ft.sparse.jacobian(np.sin, mode="up")
    with pytest.raises(ValueError, match="argnums=1 is out of range for the 1 positional arguments of sin"):
        ft.sparse.jacobian(np.sin, 1)(X)
    with pytest.raises(ValueError, match="chunk_size must be a positive int, got 0"):
        ft.sparse.jacobian(np.sin, chunk_size=0)
    with pytest.raises(TypeError, match="returns a scalar"):
        ft.sparse.hessian(np.sin)(X)


def test_pickle_and_names():
    jacobian = pickle.loads(pickle.dumps(ft.sparse.jacobian(np.sin, mode="rev")))
    np.testing.assert_allclose(jacobian(X).diagonal(), np.cos(X))
    assert jacobian.__name__ == "sin"
    assert pickle.loads(pickle.dumps(ft.sparse.hessian(np.sum)))(X).nnz == 0


def test_without_scipy(monkeypatch):
    ft.sparse.loading.scipy_sparse.cache_clear()
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    with pytest.raises(ImportError, match=r"pip install 'functrans\[scipy\]'"):
        ft.sparse.jacobian(np.sin)


def test_zeros_of_seeds_stay_zero_in_reverse_mode():
    def f(x):
        return np.stack([x[0] * x[1], np.sqrt(x[0])])

    x = np.array([0.0, 3.0])
    with np.errstate(divide="ignore"):
        found = ft.sparse.jacobian(f, mode="rev")(x).toarray()
        assert np.array_equal(found, ft.jacrev(f)(x))
    assert found.tolist() == [[3.0, 0.0], [np.inf, 0.0]]
