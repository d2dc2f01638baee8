"""custom_linear_solve and custom_root, against solutions and derivatives by formulas."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.linalg import inv, solve

import functrans as ft
from functrans import lax
from functrans.test_util import check_grads

RNG = np.random.default_rng(0)
A = RNG.normal(size=(4, 4)) + 4 * np.eye(4)
S = A @ A.T
B = RNG.normal(size=4)
STACK = RNG.normal(size=(3, 4, 4)) + 4 * np.eye(4)
SIDES = RNG.normal(size=(3, 4))


def by_steps(matvec: Any, b: Any) -> Any:
    """Conjugate gradients with as many steps as unknowns."""
    x, r, p = 0.0 * b, b, b
    for _ in range(b.shape[0]):
        q = matvec(p)
        alpha = (r @ r) / (p @ q)
        x, s = x + alpha * p, r - alpha * q
        p, r = s + (s @ s) / (r @ r) * p, s
    return x


def to_tolerance(matvec: Any, b: Any) -> Any:
    """Conjugate gradients that stop when they are good enough."""
    x, r, p = 0.0 * b, b, b
    while np.linalg.norm(r) > 1e-13 * np.linalg.norm(b):
        q = matvec(p)
        alpha = (r @ r) / (p @ q)
        x, s = x + alpha * p, r - alpha * q
        p, r = s + (s @ s) / (r @ r) * p, s
    return x


def by_loop(matvec: Any, b: Any) -> Any:
    """The same as a loop of the program."""

    def step(state: Any) -> Any:
        x, r, p = state
        q = matvec(p)
        alpha = (r @ r) / (p @ q)
        s = r - alpha * q
        return x + alpha * p, s, s + (s @ s) / (r @ r) * p

    return lax.while_loop(lambda state: state[1] @ state[1] > 1e-26 * (b @ b), step, (0.0 * b, b, b))[0]


def by_numpy(matvec: Any, b: Any) -> Any:
    """By arrays alone, as another library would."""
    matrix = np.stack([np.asarray(matvec(column)) for column in np.eye(len(b))], 1)
    return solve(matrix, np.asarray(b))


CG = {"steps": by_steps, "tolerance": to_tolerance, "loop": by_loop, "numpy": by_numpy}
every_solver = pytest.mark.parametrize("solver", CG.values(), ids=CG)
wraps = pytest.mark.parametrize("wrap", [lambda f: f, ft.jit], ids=["plain", "jit"])


def symmetric(solver: Any) -> Callable[[Any, Any], Any]:
    return lambda a, b: lax.custom_linear_solve(lambda x: a @ x, b, solver, symmetric=True)


def general(a: Any, b: Any) -> Any:
    return lax.custom_linear_solve(lambda x: a @ x, b, by_numpy, by_numpy)


def assert_close(a: Any, b: Any, tolerance: float = 1e-10) -> None:
    ft.tree.map(lambda a, b: np.testing.assert_allclose(a, b, tolerance, tolerance), a, b)


# --------------------------------------------------------------------------------------------------------------------
# Linear equations


@every_solver
@wraps
def test_symmetric_equations(solver: Any, wrap: Any) -> None:
    f = symmetric(solver)
    x = solve(S, B)
    assert_close(wrap(f)(S, B), x)
    ct = 2 * solve(S, x)  # of b, for the loss x . x
    assert_close(wrap(ft.grad(lambda a, b: np.sum(f(a, b) ** 2), (0, 1)))(S, B), (-np.outer(ct, x), ct))
    assert_close(ft.jvp(f, (S, B), (A, x))[1], solve(S, x - A @ x))
    assert_close(wrap(ft.hessian(lambda b: np.sum(f(S, b) ** 2)))(B), 2 * inv(S) @ inv(S))
    assert_close(wrap(ft.jacrev(lambda b: f(S, b)))(B), inv(S))


@every_solver
def test_second_derivatives_by_the_matrix(solver: Any) -> None:
    f = lambda t: np.sum(symmetric(solver)(S + t * np.eye(4), B))
    inverse = inv(S + 0.3 * np.eye(4))
    expected = 2 * np.sum(inverse @ inverse @ inverse @ B)
    for second in (ft.hessian, lambda f: ft.grad(ft.grad(f)), lambda f: ft.jacfwd(ft.jacfwd(f))):
        assert_close(second(f)(0.3), expected)
    assert_close(ft.grad(ft.grad(ft.grad(f)))(0.3), -6 * np.sum(np.linalg.matrix_power(inverse, 4) @ B))


@wraps
def test_equations_that_are_not_symmetric(wrap: Any) -> None:
    x = solve(A, B)
    ct = solve(A.T, 2 * x)
    assert_close(wrap(general)(A, B), x)
    assert_close(wrap(ft.grad(lambda a, b: np.sum(general(a, b) ** 2), (0, 1)))(A, B), (-np.outer(ct, x), ct))
    check_grads(general, (A, B), 2)


@pytest.mark.parametrize("solver", [by_steps, by_loop, by_numpy])
def test_batches(solver: Any) -> None:
    f = symmetric(solver)
    stack = np.stack([a @ a.T for a in STACK])
    expected = np.stack([solve(a, b) for a, b in zip(stack, SIDES, strict=True)])
    assert_close(ft.vmap(f)(stack, SIDES), expected)
    assert_close(ft.vmap(f, (None, 0))(S, SIDES), solve(S, SIDES.T).T)
    assert_close(ft.vmap(f, (2, None), 1)(np.moveaxis(stack, 0, 2), B), np.stack([solve(a, B) for a in stack], 1))
    loss = lambda a, b: np.sum(f(a, b) ** 2)
    single = [ft.grad(loss, (0, 1))(a, b) for a, b in zip(stack, SIDES, strict=True)]
    expected = tuple([np.stack(parts) for parts in zip(*single, strict=True)])
    assert_close(ft.vmap(ft.grad(loss, (0, 1)))(stack, SIDES), expected)
    assert_close(ft.jit(ft.grad(lambda a, b: np.sum(ft.vmap(loss)(a, b)), (0, 1)))(stack, SIDES), expected)


def test_pytrees_closures_and_auxiliary_results() -> None:
    def f(d: Any, b: Any) -> Any:
        def divided(matvec: Any, b: Any) -> Any:
            ones = ft.tree.map(np.ones_like, b)
            return ft.tree.map(lambda b, d: b / d, b, matvec(ones)), {"steps": 1, "norm": np.sum(b["p"])}

        return lax.custom_linear_solve(
            lambda x: {"p": d * x["p"], "q": [2.0 * x["q"][0]]}, b, divided, divided, has_aux=True
        )

    b = {"p": B, "q": [3.0]}
    x, aux = f(2.0, b)
    assert_close(x, {"p": B / 2, "q": [1.5]})
    assert (aux["steps"], aux["norm"]) == (1, np.sum(B))
    gradient = ft.grad(lambda d, b: np.sum(f(d, b)[0]["p"]) + f(d, b)[0]["q"][0] + f(d, b)[1]["norm"], (0, 1))(2.0, b)
    assert_close(gradient, (-np.sum(B) / 4, {"p": np.full(4, 0.5), "q": [0.5]}))


@pytest.mark.parametrize("dtype", ["float32", "complex64", "complex128"])
def test_dtypes(dtype: str) -> None:
    scale = np.array(0 if dtype == "float32" else 1j, dtype)
    a, b = A.astype(dtype) + scale * A.T.astype(dtype), B.astype(dtype)
    f = lambda a, b: lax.custom_linear_solve(
        lambda x: a @ x,
        b,
        lambda matvec, b: ft.pure_callback(lambda a, b: solve(a, b), b, a, b),
        lambda vecmat, b: ft.pure_callback(lambda a, b: solve(a.T, b), b, a, b),
    )
    x = f(a, b)
    assert x.dtype == dtype
    tolerance = 1e-5 if dtype.endswith(("32", "64")) else 1e-12
    assert_close(x, solve(a, b), tolerance)
    gradient = ft.grad(lambda b: np.sum(f(a, b)).real)(b)
    assert gradient.dtype == dtype
    assert_close(gradient, solve(a.T, np.ones(4)), tolerance)


def test_the_solver_is_not_differentiated() -> None:
    """Its steps have no derivative, and wrong ones do not matter."""

    def solver(matvec: Any, b: Any) -> Any:
        return lax.stop_gradient(b) / np.floor(matvec(np.ones_like(b)))

    f = lambda d, b: lax.custom_linear_solve(lambda x: d * x, b, solver, symmetric=True)
    assert_close(ft.grad(lambda d, b: np.sum(f(d, b)), (0, 1))(2.0, B), (-np.sum(B) / 4, np.full(4, 0.5)))


def test_what_does_not_depend_on_the_unknown_costs_no_solution() -> None:
    program = ft.make_jaxpr(ft.grad(lambda y: np.sum(symmetric(by_steps)(S, B)) * y))(1.0)
    assert [eqn.primitive.name for eqn in program.eqns].count("linear_solve") == 1
    program = ft.make_jaxpr(ft.grad(lambda b: np.sum(symmetric(by_steps)(S, b))))(B)
    assert [eqn.primitive.name for eqn in program.eqns].count("linear_solve") == 1  # the transposed one


def test_empty_equations() -> None:
    f = lambda b: lax.custom_linear_solve(lambda x: 2 * x, b, lambda matvec, b: b / 2, symmetric=True)
    assert f(np.zeros(0)).shape == ft.grad(lambda b: np.sum(f(b)))(np.zeros(0)).shape == (0,)
    assert f(3.0) == 1.5
    assert type(f(3.0)) is np.float64


CASES: dict[str, tuple[Callable[[], Any], str]] = {
    "no transpose": (
        lambda: ft.grad(lambda b: np.sum(lax.custom_linear_solve(lambda x: x, b, lambda m, b: b)))(B),
        "custom_linear_solve needs a transpose_solve for reverse mode (grad, vjp): pass transpose_solve=lambda vecmat, "
        "b: ..., which solves the transposed equation, or symmetric=True if matvec is its own transpose",
    ),
    "not square": (
        lambda: lax.custom_linear_solve(lambda x: A[:3] @ x["u"], {"u": B}, by_steps),
        "custom_linear_solve: what matvec returns must be of the structure of b, PyTreeDef({'u': *}), and is "
        "PyTreeDef(*)",
    ),
    "not square in shape": (
        lambda: lax.custom_linear_solve(lambda x: {"u": A[:3] @ x["u"]}, {"u": B}, by_steps),
        "custom_linear_solve: what matvec returns['u'] is float64[3], and must be float64[4], like b['u']",
    ),
    "solution": (
        lambda: lax.custom_linear_solve(lambda x: x, B, lambda m, b: b[:2]),
        "custom_linear_solve: what solve returns is float64[2], and must be float64[4], like b",
    ),
    "dtype of the solution": (
        lambda: lax.custom_linear_solve(lambda x: x, B, lambda m, b: b.astype("float32")),
        "custom_linear_solve: what solve returns is float32[4], and must be float64[4], like b",
    ),
    "argument of matvec": (
        lambda: lax.custom_linear_solve(lambda x: x, B, lambda m, b: m(b[:2])),
        "custom_linear_solve: the argument of matvec is float64[2], and must be float64[4], like b",
    ),
    "integers": (
        lambda: lax.custom_linear_solve(lambda x: x, np.arange(3), by_steps),
        "custom_linear_solve: b is int64[3], and must be of floats, which have derivatives: convert it",
    ),
    "a string": (
        lambda: lax.custom_linear_solve(lambda x: x, {"a": "s"}, by_steps),
        "custom_linear_solve: b['a'] must be an array or a number, got 's'",
    ),
    "no function": (
        lambda: lax.custom_linear_solve(A, B, by_steps),
        "custom_linear_solve: matvec must be a function, got ",
    ),
    "aux": (
        lambda: lax.custom_linear_solve(lambda x: x, B, lambda m, b: b, has_aux=True),
        "custom_linear_solve: with has_aux=True, solve must return a pair (x, aux), got ",
    ),
    "aux of a solver that asks": (
        lambda: lax.custom_linear_solve(lambda x: x, B, lambda m, b: (b, b if b[0] > 0 else 1), has_aux=True),
        "custom_linear_solve: solve asks for values that are unknown while it is recorded.",
    ),
    "called solver": (
        lambda: lax.custom_linear_solve(lambda x: x, B, lambda m, b: np.asarray(b)[:2]),
        "custom_linear_solve: what solve returns is float64[2], and must be float64[4], like b",
    ),
    "root of integers": (
        lambda: lax.custom_root(lambda x: x, 1, lambda f, x: x, lambda g, y: y),
        "custom_root: initial_guess is int64[], and must be of floats, which have derivatives: convert it",
    ),
    "f": (
        lambda: lax.custom_root(lambda x: x[:2], B, lambda f, x: x, lambda g, y: y),
        "custom_root: what f returns is float64[2], and must be float64[4], like initial_guess",
    ),
    "root": (
        lambda: lax.custom_root(lambda x: x, B, lambda f, x: {"x": x}, lambda g, y: y),
        "custom_root: what solve returns must be of the structure of initial_guess, PyTreeDef(*), and is "
        "PyTreeDef({'x': *})",
    ),
    "tangent_solve": (
        lambda: ft.grad(lambda a: lax.custom_root(lambda x: x - a, 1.0, lambda f, x: x - f(x), lambda g, y: [y]))(2.0),
        "custom_root: what tangent_solve returns must be of the structure of initial_guess, PyTreeDef(*), and is "
        "PyTreeDef([*])",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_messages(case: tuple[Callable[[], Any], str]) -> None:
    call, message = case
    with pytest.raises(TypeError) as caught:
        call()
    assert str(caught.value).startswith(message)


# --------------------------------------------------------------------------------------------------------------------
# Roots


def newton(f: Any, x: Any) -> Any:
    while abs(f(x)) > 1e-12:
        y, slope = ft.jvp(f, (x,), (1.0,))
        x = x - y / slope
    return x


def newton_on_floats(f: Any, x: Any) -> Any:
    x = float(x)
    while abs(float(f(x))) > 1e-12:
        x = x - float(f(x)) / (2 * x)
    return x


def newton_loop(f: Any, x: Any) -> Any:
    step = lambda x: x - f(x) / ft.jvp(f, (x,), (1.0,))[1]
    return lax.while_loop(lambda x: abs(f(x)) > 1e-12, step, x)


def square_root(solver: Any) -> Callable[[Any], Any]:
    return lambda a: lax.custom_root(lambda x: x * x - a, 1.0, solver, lambda g, y: y / g(1.0))


@pytest.mark.parametrize("solver", [newton, newton_on_floats, newton_loop])
@wraps
def test_square_roots(solver: Any, wrap: Any) -> None:
    f = square_root(solver)
    assert_close(wrap(f)(4.0), 2.0)
    assert_close(wrap(ft.grad(f))(4.0), 1 / 4)
    assert_close(wrap(ft.grad(ft.grad(f)))(4.0), -1 / 32)
    assert_close(wrap(ft.grad(ft.grad(ft.grad(f))))(4.0), 3 / 256)
    assert_close(wrap(ft.hessian(f))(4.0), -1 / 32)
    assert_close(ft.jvp(f, (4.0,), (2.0,)), (2.0, 0.5))
    squares = np.array([1.0, 4.0, 9.0])
    assert_close(wrap(ft.vmap(f))(squares), np.sqrt(squares))
    assert_close(wrap(ft.vmap(ft.grad(f)))(squares), 0.5 / np.sqrt(squares))
    assert_close(wrap(ft.grad(lambda a: np.sum(ft.vmap(f)(a))))(squares), 0.5 / np.sqrt(squares))


def test_systems_with_auxiliary_results() -> None:
    """x + tanh(W x + a) / 10 = b, by iteration, and its tangents by a linear solve within."""
    w = A / 10

    def fixed_point(a: Any, b: Any) -> Any:
        f = lambda p: {"x": p["x"] + np.tanh(w @ p["x"] + a) / 10 - b}

        def iterate(f: Any, p: Any) -> Any:
            steps = 0
            while np.linalg.norm(f(p)["x"]) > 1e-14:
                p, steps = {"x": p["x"] - f(p)["x"]}, steps + 1
            return p, steps

        def tangent_solve(g: Any, y: Any) -> Any:
            matrix = ft.jacfwd(lambda x: g({"x": x})["x"])(np.zeros(4))
            exact = lambda m, b: ft.pure_callback(solve, b, m, b, vmap_method="sequential")
            x = lax.custom_linear_solve(
                lambda x: matrix @ x, y["x"], lambda _, b: exact(matrix, b), lambda _, b: exact(matrix.T, b)
            )
            return {"x": x}

        root, steps = lax.custom_root(f, {"x": np.zeros(4)}, iterate, tangent_solve, has_aux=True)
        assert steps > 1
        return root["x"]

    x = fixed_point(0.5, B)
    slope = np.diag(1 - np.tanh(w @ x + 0.5) ** 2) / 10
    assert_close(ft.jacrev(fixed_point, 1)(0.5, B), inv(np.eye(4) + slope @ w))
    assert_close(
        ft.grad(lambda a: np.sum(fixed_point(a, B)))(0.5), -np.sum(solve(np.eye(4) + slope @ w, np.diag(slope)))
    )
    check_grads(fixed_point, (0.5, B), 2)


def test_f_is_taken_at_the_root() -> None:
    """At the guess Python takes another branch."""

    def f(a: Any) -> Any:
        return lax.custom_root(
            lambda x: x - a if x > 0 else -1.0 + 0.0 * a, -1.0, lambda f, x: a, lambda g, y: y / g(1.0)
        )

    assert f(2.0) == 2.0
    assert ft.grad(f)(2.0) == 1.0


def test_the_guess_has_no_derivative() -> None:
    f = lambda x0, a: lax.custom_root(lambda x: x * x - a, x0, newton, lambda g, y: y / g(1.0))
    assert_close(ft.grad(f, (0, 1))(1.5, 4.0), (0.0, 0.25))
    np.testing.assert_allclose(ft.vmap(f, (0, None))(np.array([1.0, -1.0]), 4.0), [2.0, -2.0])


# --------------------------------------------------------------------------------------------------------------------
# Solvers that are called with arrays


@wraps
def test_scipys_conjugate_gradients(wrap: Any) -> None:
    linalg = pytest.importorskip("scipy.sparse.linalg")

    def by_scipy(matvec: Any, b: Any) -> Any:
        return linalg.cg(linalg.LinearOperator((4, 4), matvec=matvec), b, rtol=1e-14)[0]

    f = symmetric(by_scipy)
    x = solve(S, B)
    ct = 2 * solve(S, x)
    assert_close(wrap(ft.value_and_grad(lambda a, b: np.sum(f(a, b) ** 2), (0, 1)))(S, B)[1], (-np.outer(ct, x), ct))


@wraps
def test_scipys_roots(wrap: Any) -> None:
    optimize = pytest.importorskip("scipy.optimize")

    def f(a: Any) -> Any:
        by_scipy = lambda f, x: optimize.root(f, x, tol=1e-13).x
        return lax.custom_root(lambda x: a * np.cos(x) - x, np.ones(2), by_scipy, lambda g, y: y / g(np.ones(2)))

    x = f(1.0)
    assert_close(np.cos(x), x)
    assert_close(wrap(ft.grad(lambda a: f(a)[0]))(1.0), np.cos(x[0]) / (1 + np.sin(x[0])))


@wraps
def test_they_cannot_close_over_what_is_traced(wrap: Any) -> None:
    def f(a: Any) -> Any:
        return np.sum(lax.custom_linear_solve(lambda x: a @ x, B, lambda m, b: np.asarray(a) @ np.asarray(b)))

    with pytest.raises(TypeError) as caught:
        ft.jvp(wrap(f), (A,), (A,))
    assert str(caught.value).startswith(
        "custom_linear_solve: solve asks for values that are unknown while it is recorded, so it is called with arrays "
        "when the program runs, and there it met a traced value that it closes over. It gets what is traced only "
        "through matvec and the vector that it is called with. a plain array was asked of a tracer float64[4,4] at "
    )


def test_programs_are_found_again() -> None:
    """Though solvers and equations are defined anew."""

    def loss(t: Any) -> Any:
        return np.sum(
            lax.custom_linear_solve(lambda x: t * (S @ x), B, lambda m, b: to_tolerance(m, b), symmetric=True)
        )

    programs = [ft.make_jaxpr(ft.grad(loss))(1.0).jaxpr for _ in range(2)]
    assert programs[0] is programs[1]
