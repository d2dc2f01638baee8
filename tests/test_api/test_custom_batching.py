"""custom_vmap and sequential_vmap: batches by a rule of the user's."""

import pickle
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans.custom_batching import custom_vmap, sequential_vmap

X = np.array([[0.5, 1.0, -2.0], [3.0, 0.0, 1.5]])
Y = np.array([2.0, -1.0, 0.5])


def marked() -> Any:
    """A sine whose batches are cosines, so that a test sees which of the two ran."""

    @custom_vmap
    def f(x: Any, y: Any) -> Any:
        return {"wave": np.sin(x) * y, "sum": np.sum(x)}

    f.calls = []

    @f.def_vmap
    def rule(axis_size: int, in_batched: list[Any], x: Any, y: Any) -> Any:
        f.calls.append((axis_size, in_batched))
        out = {"wave": np.cos(x) * y, "sum": np.sum(x, axis=-1)}
        return out, {"wave": any(in_batched), "sum": in_batched[0]}

    return f


def test_the_rule_computes_batches_and_the_function_the_rest() -> None:
    f = marked()
    np.testing.assert_array_equal(f(X[0], Y)["wave"], np.sin(X[0]) * Y)
    np.testing.assert_array_equal(f(y=Y, x=X[0])["wave"], np.sin(X[0]) * Y)
    assert f.calls == []
    out = ft.vmap(f, (0, None))(X, Y)
    np.testing.assert_array_equal(out["wave"], np.cos(X) * Y)
    np.testing.assert_array_equal(out["sum"], np.sum(X, axis=1))
    assert f.calls == [(2, [True, False])]


@pytest.mark.parametrize("wrap", [lambda f: f, ft.jit], ids=["plain", "jit"])
def test_axes_and_nested_batches(wrap: Any) -> None:
    f = wrap(marked())
    np.testing.assert_array_equal(wrap(ft.vmap(f, (1, None), {"wave": 1, "sum": 0}))(X.T, Y)["wave"], (np.cos(X) * Y).T)
    np.testing.assert_array_equal(ft.vmap(f, (None, 0))(X[0], X)["sum"], [np.sum(X[0])] * 2)
    both = ft.vmap(ft.vmap(f, (0, None)), (None, 0))(X, np.stack([Y, 2 * Y, 3 * Y]))["wave"]
    np.testing.assert_array_equal(both, np.stack([np.cos(X) * Y * k for k in (1, 2, 3)]))


def test_derivatives_are_those_of_the_program_that_runs() -> None:
    f = marked()
    wave = lambda x: f(x, Y)["wave"]
    ones = np.ones_like(X)
    np.testing.assert_allclose(ft.grad(lambda x: np.sum(wave(x)))(X[0]), np.cos(X[0]) * Y)
    np.testing.assert_allclose(ft.vmap(ft.grad(lambda x: np.sum(wave(x))))(X), np.cos(X) * Y)
    np.testing.assert_allclose(ft.grad(lambda x: np.sum(ft.vmap(wave)(x)))(X), -np.sin(X) * Y)
    np.testing.assert_allclose(ft.jvp(wave, (X[0],), (ones[0],))[1], np.cos(X[0]) * Y)
    np.testing.assert_allclose(ft.jvp(ft.vmap(wave), (X,), (ones,))[1], -np.sin(X) * Y)
    # the rule of the JVP is the JVP of the rule
    np.testing.assert_allclose(ft.vmap(lambda x, t: ft.jvp(wave, (x,), (t,))[1])(X, ones), -np.sin(X) * Y)
    np.testing.assert_allclose(ft.vmap(lambda t: ft.jvp(wave, (X[0],), (t,))[1])(X), -np.sin(X[0]) * X * Y)
    np.testing.assert_allclose(ft.vmap(lambda x: ft.jvp(wave, (x,), (Y,))[1])(X), -np.sin(X) * Y * Y)
    assert ft.hessian(lambda x: np.sum(wave(x)))(X[0]).shape == (3, 3)
    np.testing.assert_allclose(ft.jacfwd(wave)(X[0]), np.diag(-np.sin(X[0]) * Y))  # by a batch of directions


def test_rules_made_alike_make_one_program() -> None:
    def loss(x: Any) -> Any:
        f = custom_vmap(lambda x: np.sin(x))
        f.def_vmap(lambda n, batched, x: (np.sin(x), True))
        return f(x)

    programs = [ft.make_jaxpr(loss)(1.0).jaxpr for _ in range(2)]
    assert programs[0] is programs[1]


def test_pytrees_statics_and_closures() -> None:
    scale = np.array([1.0, 2.0, 3.0])

    def outer(z: Any, xs: Any) -> Any:
        @custom_vmap
        def f(p: Any, mode: str, power: int = 2) -> Any:
            return p["x"] ** power * z, {mode: p["k"]}

        @f.def_vmap
        def rule(axis_size: int, in_batched: Any, p: Any, mode: str, power: Any) -> Any:
            assert in_batched[0] == {"x": True, "k": False}
            assert in_batched[1:] == [False, False]
            return (p["x"] ** power * scale, {mode: p["k"]}), (True, False)

        return ft.vmap(lambda x: f({"x": x, "k": 1.0}, mode="m"))(xs)

    out = ft.vmap(lambda z: outer(z, X)[0])(np.arange(2.0))
    np.testing.assert_array_equal(out, np.stack([X**2 * scale] * 2))
    out, extra = outer(5.0, X)
    np.testing.assert_array_equal(out, X**2 * scale)
    np.testing.assert_array_equal(extra["m"], [1.0, 1.0])


def test_an_argument_that_is_part_of_the_program_must_be_hashable() -> None:
    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

    f = custom_vmap(lambda x, option: x)
    f.def_vmap(lambda size, in_batched, x, option: (x, True))
    with pytest.raises(TypeError, match="of type Unhashable, which is no array and therefore part of the program"):
        f(1.0, Unhashable())


def test_what_the_rule_closes_over_is_read_again_when_it_changes() -> None:
    weights = np.ones(3)

    @custom_vmap
    def f(x: Any) -> Any:
        return np.sum(x)

    f.def_vmap(lambda n, batched, x: (x @ weights, True))
    np.testing.assert_array_equal(ft.vmap(f)(X), np.sum(X, axis=1))
    weights[:] = 2.0
    np.testing.assert_array_equal(ft.vmap(f)(X), 2 * np.sum(X, axis=1))


def _rule_of_sum(n: int, batched: Any, x: Any) -> Any:
    return 10 * np.sum(x, axis=1), True


def test_pickles_and_printed_programs() -> None:
    f = custom_vmap(np.sum)
    f.def_vmap(_rule_of_sum)
    np.testing.assert_array_equal(ft.vmap(pickle.loads(pickle.dumps(f)))(X), 10 * np.sum(X, axis=1))
    assert "rule=_rule_of_sum" in str(ft.make_jaxpr(f)(Y))
    assert "rule=jvp of _rule_of_sum" in str(ft.make_jaxpr(lambda x: ft.jvp(f, (x,), (x,)))(Y))


def test_sequential_vmap() -> None:
    g = sequential_vmap(lambda p, y: {"out": np.sin(p["x"]) * y})
    expected = np.sin(X) * Y
    np.testing.assert_array_equal(ft.vmap(g, ({"x": 0}, None))({"x": X}, Y)["out"], expected)
    np.testing.assert_array_equal(ft.jit(ft.vmap(g, ({"x": 0}, None)))({"x": X}, Y)["out"], expected)
    np.testing.assert_array_equal(
        ft.vmap(ft.vmap(g, ({"x": 0}, None)), ({"x": 1}, None))({"x": np.stack([X, X], 1)}, Y)["out"],
        np.stack([expected, expected]),
    )
    gradient = ft.grad(lambda x: np.sum(ft.vmap(g, ({"x": 0}, None))({"x": x}, Y)["out"]))(X)
    np.testing.assert_allclose(gradient, np.cos(X) * Y)
    program = ft.make_jaxpr(ft.vmap(g, ({"x": 0}, None)))({"x": X}, Y)
    assert [eqn.primitive.name for eqn in program.eqns] == ["scan"]


HAS = "the batching rule <lambda> of f"


@pytest.mark.parametrize(
    ("rule", "kind", "message"),
    [
        (lambda n, b, x: 3, TypeError, f"{HAS} must return a pair (out, out_batched), got 3 of type int"),
        (
            lambda n, b, x: (x, True),
            TypeError,
            f"{HAS} must return what f returns, of structure PyTreeDef({{'a': *}}), and its out is of structure "
            "PyTreeDef(*)",
        ),
        (
            lambda n, b, x: ({"a": np.sum(x)}, True),
            TypeError,
            f"{HAS} returned output['a'] as float64[], and float64[2] was expected: f returns float64[], and "
            "out_batched says that it is stacked, with 2 members along axis 0",
        ),
        (
            lambda n, b, x: ({"a": np.sum(x, axis=1)}, False),
            TypeError,
            f"{HAS} returned output['a'] as float64[2], and float64[] was expected: f returns float64[], and "
            "out_batched says that it is not stacked",
        ),
        (
            lambda n, b, x: ({"a": np.sum(x, axis=1)}, [True]),
            ValueError,
            f"{HAS}: out_batched is not a prefix of out: at out, out_batched has a list of length 1, out has a dict "
            "with keys ['a']",
        ),
        (
            lambda n, b, x: ({"a": np.sum(x, axis=1)}, {"a": 0}),
            TypeError,
            f"{HAS}: out_batched must hold bools, got 0",
        ),
        (lambda n, b, x: ({"a": "q"}, True), TypeError, f"{HAS}: output['a'] must be an array or a number, got 'q'"),
    ],
)
def test_messages_for_rules(rule: Any, kind: type[Exception], message: str) -> None:
    @custom_vmap
    def f(x: Any) -> Any:
        return {"a": np.sum(x)}

    f.def_vmap(rule)
    with pytest.raises(kind) as caught:
        ft.vmap(f)(X)
    assert str(caught.value) == message


def test_messages() -> None:
    f = custom_vmap(lambda x, *, k=1: x)
    with pytest.raises(AttributeError, match=r"<lambda> has no batching rule: give it one, @<lambda>.def_vmap"):
        f(1.0)
    with pytest.raises(TypeError, match="def_vmap needs a function, got 3 of type int"):
        f.def_vmap(3)
    f.def_vmap(lambda n, b, x: (x, True))
    with pytest.raises(TypeError, match=r"with keywords that have no position \(k\), and"):
        f(1.0, k=2)
    assert f(1.0) == 1.0
    with pytest.raises(TypeError, match="custom_vmap needs a function"):
        custom_vmap("f")

    def through(y: Any) -> Any:
        g = custom_vmap(np.sum)
        g.def_vmap(lambda n, b, x: (np.sum(x, axis=1) * y, True))
        return np.sum(ft.vmap(g)(X))

    with pytest.raises(TypeError, match=r"the batching rule <lambda> of sum closes over a traced value"):
        ft.grad(through)(1.0)

    def shifted(z: Any) -> Any:
        g = custom_vmap(lambda x: x + z)
        g.def_vmap(lambda n, b, x: (x, b[0]))
        return g(1.0)

    with pytest.raises(TypeError, match="<lambda> closes over a value that differs between the members of a batch"):
        ft.vmap(shifted)(Y)
