"""Zeros of cotangents that a selection or an index has placed stay zero, through infinite derivatives."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import functrans as ft
import functrans.numpy as fnp
from functrans import lax
from functrans.backends.running import run
from functrans.transforms.linearize import linearize
from functrans.transforms.reverse import pull_back
from functrans.transforms.transpose import transpose

X = np.array([0.0, 1.0, 4.0])
"""Of which the square root has an infinite derivative at the first."""

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's own, of dividing by zero on the way


@pytest.fixture(autouse=True)
def default_setting() -> Iterator[None]:
    yield
    ft.config.nan_safe_gradients = True


def of_scalars(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: np.sum(ft.vmap(f)(x))


@ft.extend.primitive(name="root_with_vjp", elementwise=True)
def root_with_vjp(x: Any) -> Any:
    return np.sqrt(x)


@root_with_vjp.def_vjp
def _(ct: Any, out: Any, x: Any) -> Any:
    return ct * 0.5 / np.sqrt(x)


@ft.custom_vjp
def root_with_custom_vjp(x: Any) -> Any:
    return np.sqrt(x)


root_with_custom_vjp.defvjp(lambda x: (np.sqrt(x), x), lambda x, ct: (ct * (0.5 / np.sqrt(x)),))


@ft.custom_jvp
def root_with_custom_jvp(x: Any) -> Any:
    return np.sqrt(x)


root_with_custom_jvp.defjvp(lambda x, t: (np.sqrt(x[0]), t[0] * (0.5 / np.sqrt(x[0]))))


def carried(x: Any) -> Any:
    """A loop whose body does not select itself what it multiplies."""
    last, _ = lax.scan(lambda c, _: (c / np.where(X > 0, c, 1.0) * np.sqrt(c), None), x, None, length=2)
    return last[1:]


# Each uses the root of the first element of X without counting it.
SELECTIONS: dict[str, Callable[[Any], Any]] = {
    "where": lambda x: np.where(x > 0, np.sqrt(x), 0.0),
    "select_n": lambda x: lax.select_n((x > 0).astype(int), 0 * x, np.sqrt(x), x),
    "slice": lambda x: np.sqrt(x)[1:],
    "strided slice": lambda x: np.sqrt(x)[1::2],
    "index": lambda x: np.sqrt(x)[2],
    "gather": lambda x: np.sqrt(x)[np.array([1, 1, 2])],
    "mask as index": lambda x: np.sqrt(x)[X > 0],
    "dynamic_slice": lambda x: lax.dynamic_slice(np.sqrt(x), (1,), (2,)),
    "dynamic_update_slice": lambda x: lax.dynamic_update_slice(np.sqrt(x), np.ones(1), (0,)),
    "set": lambda x: fnp.at(np.sqrt(x))[0].set(3.0),
    "set, dropped": lambda x: fnp.at(x)[np.array([7, 1])].set(np.sqrt(x)[:2], mode="drop"),
    "multiplied": lambda x: fnp.at(np.sqrt(x))[np.array([0, 1])].multiply(2.0)[1:],
    "max": lambda x: np.max(np.sqrt(x)),
    "min": lambda x: np.min(-np.sqrt(x)),
    "maximum": lambda x: np.maximum(np.sqrt(x), 0.5),
    "minimum": lambda x: np.minimum(-np.sqrt(x), -0.5),
    "clip": lambda x: np.clip(np.sqrt(x), 0.5, 9.0),
    "sort": lambda x: np.sort(np.sqrt(x))[1:],
    "top_k": lambda x: lax.top_k(np.sqrt(x), 2)[0],
    "concatenate": lambda x: np.concatenate([np.sqrt(x), x])[1:],
    "split": lambda x: np.split(np.sqrt(x), 3)[1],
    "crop": lambda x: lax.pad(np.sqrt(x), 0.0, [(-1, 2, 1)]),
    "reversed": lambda x: np.sqrt(x)[::-1][:2],
    "quotient": lambda x: np.where(x > 0, x / np.sqrt(x), 0.0),
    "reciprocal": lambda x: np.where(x > 0, 1 / x, 0.0),
    "logarithm": lambda x: np.where(x > 0, x * np.log(x), 0.0),
    "power": lambda x: np.where(x > 0, x**0.5, 0.0),
    "twice": lambda x: np.where(x > 0, np.sqrt(np.sqrt(x)), 0.0),
    "after a sum": lambda x: np.where(x > 0, np.sqrt(x) + np.log(x), 0.0),
    "before a matrix": lambda x: np.arange(6.0).reshape(2, 3) @ np.where(x > 0, np.sqrt(x), 0.0),
    "after a matrix": lambda x: (np.sqrt(x)[:, None] @ np.ones((1, 2)))[1:],
    "matrix of infinities": lambda x: ((1 / x)[:, None] * np.eye(3) @ x)[1:],
    "cumulative product": lambda x: np.cumprod(1 / x[::-1])[:2],
    "cumulative maximum": lambda x: lax.cummax(np.sqrt(x))[1:],
    "mean": lambda x: np.mean(np.where(x > 0, np.sqrt(x), 0.0)),
    "jit": lambda x: np.where(x > 0, ft.jit(ft.jit(np.sqrt))(x), 0.0),
    "selected in jit": lambda x: np.sqrt(ft.jit(lambda x: x[1:])(np.sqrt(x))),
    "checkpoint": lambda x: np.where(x > 0, ft.checkpoint(np.sqrt)(x), 0.0),
    "cond": of_scalars(lambda x: lax.cond(x > 0, lambda y: y, lambda y: 0.0, np.sqrt(x))),
    "root in cond": lambda x: np.where(x > 0, lax.cond(x[1] > 0, np.sqrt, np.sin, x), 0.0),
    "scan": lambda x: lax.scan(lambda c, y: (c + np.where(y > 0, np.sqrt(y), 0.0) * c, c), 1.0, x)[0],
    "rows of scan": lambda x: lax.scan(lambda c, y: (c, np.sqrt(y)), 0.0, x)[1][1:],
    "carry of scan": lambda x: lax.scan(lambda c, _: (np.where(x > 0, np.sqrt(c), c), None), x, None, length=2)[0],
    "not selected in scan": carried,
    "fori_loop": lambda x: lax.fori_loop(0, 2, lambda i, c: c + np.where(x > 0, np.sqrt(x), 0.0), x),
    "custom_jvp": lambda x: np.where(x > 0, root_with_custom_jvp(x), 0.0),
    "custom_vjp": lambda x: np.where(x > 0, root_with_custom_vjp(x), 0.0),
    "primitive with a VJP": lambda x: np.where(x > 0, root_with_vjp(x), 0.0),
    "vmap": of_scalars(lambda x: np.where(x > 0, np.sqrt(x), 0.0)),
    "gradient inside": lambda x: ft.grad(lambda x: np.sum(np.where(x > 0, x * np.sqrt(x), 0.0)))(x),
}


def total(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: np.sum(f(x) ** 2)


@pytest.mark.parametrize("name", SELECTIONS)
def test_the_gradient_is_finite(name: str) -> None:
    f = total(SELECTIONS[name])
    expected = ft.jacfwd(f)(X)
    assert np.isfinite(expected).all()
    batch = np.stack([X, X + np.array([0, 0.5, 1])])
    for gradient in (ft.grad(f), ft.jit(ft.grad(f)), ft.grad(ft.jit(f)), lambda x: ft.vmap(ft.grad(f))(batch)[0]):
        np.testing.assert_allclose(gradient(X), expected, rtol=1e-12)
    np.testing.assert_allclose(
        ft.grad(lambda xs: np.sum(ft.vmap(f)(xs)))(batch), [ft.grad(f)(x) for x in batch], rtol=1e-12
    )


@pytest.mark.parametrize("name", SELECTIONS)
def test_higher_derivatives_are_finite(name: str) -> None:
    f = total(SELECTIONS[name])
    expected = ft.jacfwd(ft.jacfwd(f))(X)
    assert np.isfinite(expected).all()
    v = np.array([1.0, -2.0, 0.5])
    for second in (ft.hessian(f), ft.jit(ft.hessian(f)), ft.jacfwd(ft.grad(f))):
        np.testing.assert_allclose(second(X), expected, rtol=1e-12, atol=1e-12)
    reverse = ft.grad(lambda x: np.sum(ft.grad(f)(x) * v))
    for product in (reverse, ft.jit(reverse), ft.grad(lambda x: np.sum(ft.jit(ft.grad(f))(x) * v))):
        np.testing.assert_allclose(product(X), expected @ v, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_every_order(order: int) -> None:
    f: Any = SELECTIONS["where"]
    expected = [0.0, *[np.prod(0.5 - np.arange(order)) * x ** (0.5 - order) for x in (1.0, 4.0)]]
    for transform in (ft.grad, lambda f: ft.jit(ft.grad(f)), lambda f: ft.grad(ft.jit(f))):
        g = f
        for _ in range(order):
            g = transform(g)
        np.testing.assert_allclose([g(x) for x in X], expected)
        np.testing.assert_allclose(ft.vmap(g)(X), expected)


def test_true_singularities_show() -> None:
    assert ft.grad(np.sqrt)(0.0) == np.inf
    assert ft.grad(np.log)(0.0) == np.inf
    assert np.isnan(ft.grad(lambda x: np.sqrt(x) * 0.0)(0.0))
    np.testing.assert_array_equal(ft.grad(lambda x: np.sum(np.sqrt(x)[:2]))(X), [np.inf, 0.5, 0])
    np.testing.assert_array_equal(ft.grad(lambda x: np.sum(np.where(x < 2, np.sqrt(x), 0)))(X), [np.inf, 0.5, 0])
    np.testing.assert_array_equal(ft.grad(lambda x: (np.arange(6.0).reshape(2, 3) @ np.sqrt(x))[1])(X)[0], np.inf)


def test_the_setting_turns_it_off_and_on_again() -> None:
    f = total(SELECTIONS["where"])
    gradients = [ft.grad(f), ft.jit(ft.grad(f)), ft.jit(ft.grad(ft.jit(f))), ft.grad(total(SELECTIONS["scan"]))]
    for safe in (True, False, True, False):
        ft.config.nan_safe_gradients = safe
        for gradient in gradients:
            assert np.isnan(gradient(X)).any() == (not safe)
        assert ("guarded" in str(ft.make_jaxpr(ft.grad(f))(X))) == safe


def test_programs_without_a_selection_are_not_changed() -> None:
    def loss(params: Any, x: Any) -> Any:
        for w, b in params:
            x = np.tanh(x @ w + b)
        return np.mean((x / 3.0) ** 2)

    args = [(np.ones((3, 3)), np.ones(3))] * 2, np.ones((4, 3))
    for gradient in (ft.grad(loss), ft.grad(ft.jit(loss)), ft.grad(lambda p, x: np.sum(ft.grad(loss)(p, x)[0][0]))):
        assert "guarded" not in str(ft.make_jaxpr(gradient)(*args))


def test_only_what_is_upstream_of_a_selection_is_guarded() -> None:
    def loss(w: Any, x: Any) -> Any:
        return np.sum(np.tanh(np.maximum(x @ w, 0.0) @ w))

    program = ft.make_jaxpr(ft.grad(loss))(np.ones((3, 3)), np.ones((2, 3)))
    names = [eqn.primitive.name for eqn in program.eqns]
    assert names.count("guarded_dot_general") == 1
    assert "guarded_mul" not in names  # the half at a tie is known to be finite


def test_a_program_is_transposed_with_the_marks_of_its_cotangents() -> None:
    jaxpr = ft.make_jaxpr(lambda a, x: lax.mul(a, x))(X, X).jaxpr
    plain, guarded = [transpose(jaxpr, (False, True), (True,), masked=masked)[0] for masked in ((), (True,))]
    assert [eqn.primitive.name for eqn in plain.eqns] == ["mul"]
    assert [eqn.primitive.name for eqn in guarded.eqns] == ["guarded_mul"]


def test_calls_share_their_program_if_nothing_is_masked() -> None:
    """Whether or not a selection is somewhere else."""
    layer = ft.jit(np.tanh)

    def programs(f: Any) -> set[Any]:
        eqns = ft.make_jaxpr(ft.grad(f))(X).eqns
        return {eqn.params["jaxpr"] for eqn in eqns if eqn.primitive.name == "jit"}

    selected = programs(lambda x: np.sum(np.where(x > 0, x, 0.0)) + np.sum(layer(x)))
    assert selected == programs(lambda x: np.sum(layer(x)))


def test_cotangents_can_be_given_as_masked() -> None:
    """As those of a Jacobian are, unit vectors."""
    lin = linearize(ft.make_jaxpr(np.sqrt)(X).jaxpr, (True,))
    residuals = lin.read_residuals([X], run(lin.primal, [X]))
    for masked, expected in ((False, np.nan), (True, 0.0)):
        (row,) = pull_back(lin.linear, lin.nonzeros, 1, residuals, [np.array([0.0, 1.0, 0.0])], run, masked)
        np.testing.assert_array_equal(row, [expected, 0.5, 0.0])


def test_complex_numbers() -> None:
    out = ft.grad(lambda z: np.sum(np.where(np.abs(z) > 0, 1 / z, 0)).real)(np.array([0j, 2j]))
    assert out[0] == 0
    np.testing.assert_allclose(out[1], 0.25)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_other_dtypes(dtype: str) -> None:
    out = ft.grad(total(SELECTIONS["where"]))(X.astype(dtype))
    assert out.dtype == dtype
    np.testing.assert_array_equal(out, np.array([0, 1, 1], dtype))


def test_empty_arrays() -> None:
    assert ft.grad(total(SELECTIONS["where"]))(np.zeros((0, 3))).shape == (0, 3)
