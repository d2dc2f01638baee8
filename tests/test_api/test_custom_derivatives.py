"""custom_jvp, custom_vjp and custom_gradient: rules of one's own under every transformation."""

import copy
import functools
import pickle
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import functrans as ft
from functrans import lax
from functrans.core.primitive import Primitive
from functrans.core.rules import def_abstract, def_batch, def_impl, def_jvp
from functrans.custom_derivatives import SymbolicZero, custom_vjp_primal_tree_values, zero_from_primal
from functrans.dtypes import float0
from functrans.errors import MissingRuleError, TracerBoolConversionError
from functrans.test_util import check_grads

X = np.array([0.3, -1.2, 2.0])
V = np.array([1.0, 0.5, -2.0])


def with_jvp() -> Any:
    """sin(x) * y with a JVP rule, which calls the function again."""

    @ft.custom_jvp
    def f(x: Any, y: Any) -> Any:
        return np.sin(x) * y

    @f.defjvp
    def f_jvp(primals: Any, tangents: Any) -> Any:
        (x, y), (x_dot, y_dot) = primals, tangents
        return f(x, y), np.cos(x) * x_dot * y + np.sin(x) * y_dot

    return f


def with_jvps() -> Any:
    @ft.custom_jvp
    def f(x: Any, y: Any) -> Any:
        return np.sin(x) * y

    f.defjvps(lambda t, out, x, y: np.cos(x) * t * y, lambda t, out, x, y: np.sin(x) * t)
    return f


def with_vjp() -> Any:
    @ft.custom_vjp
    def f(x: Any, y: Any) -> Any:
        return np.sin(x) * y

    def f_fwd(x: Any, y: Any) -> Any:
        return f(x, y), {"cos": np.cos(x), "sin": np.sin(x), "y": y, "what": "static"}

    def f_bwd(residuals: Any, ct: Any) -> Any:
        assert residuals["what"] == "static"
        return residuals["cos"] * ct * residuals["y"], residuals["sin"] * ct

    f.defvjp(f_fwd, f_bwd)
    return f


def with_both() -> Any:
    f, g = with_jvp(), with_vjp()
    f.defvjp(g.rules.fwd, g.rules.bwd)
    return f


def with_jitted_rule() -> Any:
    f = with_jvp()
    f.defjvp(ft.jit(f.rules.jvp))
    return f


def with_gradient() -> Any:
    @ft.custom_gradient
    def f(x: Any, y: Any) -> Any:
        sin, cos = np.sin(x), np.cos(x)
        return sin * y, lambda ct: (ct * cos * y, ct * sin)

    return f


KINDS = {
    "jvp": with_jvp,
    "defjvps": with_jvps,
    "vjp": with_vjp,
    "both": with_both,
    "jitted rule": with_jitted_rule,
    "gradient": with_gradient,
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def plain(x: Any, y: Any) -> Any:
    return np.sin(x) * y


def total(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: np.sum(f(*args) ** 2)


WAYS: dict[str, Callable[[Callable[..., Any]], Any]] = {
    "call": lambda f: f(X, V),
    "keywords": lambda f: f(y=V, x=X),
    "grad": lambda f: ft.grad(total(f), (0, 1))(X, V),
    "grad by keywords": lambda f: ft.grad(lambda x, y: np.sum(f(y=y, x=x)))(X, V),
    "jvp": lambda f: ft.jvp(f, (X, V), (V, X)),
    "vjp": lambda f: ft.vjp(f, X, V)[1](X),
    "linearize": lambda f: ft.linearize(f, X, V)[1](V, X),
    "jit": lambda f: ft.jit(f)(X, V),
    "jit of grad": lambda f: ft.jit(ft.grad(total(f), (0, 1)))(X, V),
    "grad of jit": lambda f: ft.grad(ft.jit(total(f)), (0, 1))(X, V),
    "jvp of jit": lambda f: ft.jvp(ft.jit(f), (X, V), (V, X)),
    "jit of jvp": lambda f: ft.jit(lambda x, y: ft.jvp(f, (x, y), (y, x)))(X, V),
    "vmap": lambda f: ft.vmap(f)(X, V),
    "vmap shared": lambda f: ft.vmap(f, (0, None))(X, 2.0),
    "vmap of grad": lambda f: ft.vmap(ft.grad(f, (0, 1)), (None, 0))(0.3, V),
    "grad of vmap": lambda f: ft.grad(total(ft.vmap(f, (None, 0), 0)), (0, 1))(0.3, V),
    "grad of vmap of matrices": lambda f: ft.grad(total(ft.vmap(f, (1, None), 1)), (0, 1))(np.outer(X, V), X),
    "jvp of vmap": lambda f: ft.jvp(ft.vmap(f, (None, 0)), (0.3, V), (1.0, X)),
    "grad of jit of vmap": lambda f: ft.grad(ft.jit(total(ft.vmap(ft.vmap(f)))))(np.outer(X, V), np.outer(V, V)),
    "jacfwd": lambda f: ft.jacfwd(f, (0, 1))(X, V),
    "jacrev": lambda f: ft.jacrev(f, (0, 1))(X, V),
    "hessian": lambda f: ft.hessian(total(f), (0, 1))(X, V),
    "jit of hessian": lambda f: ft.jit(ft.hessian(total(f)))(X, V),
    "hessian of jit": lambda f: ft.hessian(ft.jit(total(f)))(X, V),
    "grad of grad": lambda f: ft.grad(lambda x: np.sum(ft.grad(total(f))(x, V) ** 2))(X),
    "grad of jvp": lambda f: ft.grad(lambda x: np.sum(ft.jvp(f, (x, V), (V, X))[1] ** 2))(X),
    "third order": lambda f: ft.grad(ft.grad(ft.grad(f)))(0.7, 2.0),
    "third order of jit": lambda f: ft.grad(ft.grad(ft.grad(ft.jit(f))))(0.7, 2.0),
    "fourth order, forward": lambda f: ft.jacfwd(ft.jacfwd(ft.jacfwd(ft.jacfwd(f))))(0.7, 2.0),
    "linear in one": lambda f: ft.linear_transpose(lambda y: f(X, y), V)(X),
    "complex": lambda f: ft.vjp(f, X + 1j * V, V * 1j)[1](X + 0j),
    "single": lambda f: ft.grad(total(f))(X.astype("f4"), V.astype("f4")),
    "empty": lambda f: ft.grad(total(f))(X[:0], V[:0]),
    "empty batch": lambda f: ft.vmap(ft.grad(f))(X[:0], V[:0]),
    "scan": lambda f: ft.grad(lambda x: lax.scan(lambda c, v: (f(c, v), c), x, V)[0])(0.3),
    "checkpoint": lambda f: ft.grad(total(ft.checkpoint(f)))(X, V),
}


def assert_trees_close(a: Any, b: Any) -> None:
    assert ft.tree.structure(a) == ft.tree.structure(b)
    for x, y in zip(ft.tree.leaves(a), ft.tree.leaves(b), strict=True):
        assert (np.shape(x), x.dtype) == (np.shape(y), y.dtype)
        np.testing.assert_allclose(x, y, rtol=1e-6 if x.dtype.itemsize == 4 else 1e-12, atol=1e-14)


@each_kind
@pytest.mark.parametrize("way", WAYS)
def test_right_rules_change_nothing(kind: str, way: str) -> None:
    if kind == "gradient" and way == "linear in one":
        pytest.skip("the function is recorded with its pull-back")
    f = KINDS[kind]()
    expected = WAYS[way](plain)
    assert_trees_close(WAYS[way](f), expected)
    assert_trees_close(WAYS[way](f), expected)  # what was kept is right too


@each_kind
def test_against_finite_differences(kind: str) -> None:
    check_grads(KINDS[kind](), (X, V), order=2)


# --------------------------------------------------------------------------------------------------------------------
# The rule that is given is the one that is taken


def wrong(scale_jvp: float | None = None, scale_vjp: float | None = None) -> Any:
    """x**2 with derivatives that are wrong by factors, which tell them apart."""

    @ft.custom_vjp
    def f(x: Any) -> Any:
        return x**2

    if scale_vjp is not None:
        f.defvjp(lambda x: (f(x), x), lambda x, ct: (scale_vjp * 2 * x * ct,))
    if scale_jvp is not None:
        f.defjvp(lambda p, t: (f(*p), scale_jvp * 2 * p[0] * t[0]))
    return f


@pytest.mark.parametrize("outer", [lambda f: f, ft.jit, lambda f: lambda x: ft.vmap(f)(x[None])[0]])
def test_each_mode_takes_its_rule(outer: Any) -> None:
    for factors, forward, reverse in (((10.0, 3.0), 10, 3), ((10.0, None), 10, 10), ((None, 3.0), 3, 3)):
        f = outer(wrong(*factors))
        x = np.float64(1.5)
        np.testing.assert_allclose(ft.jvp(f, (x,), (1.0,))[1], forward * 3.0)
        np.testing.assert_allclose(ft.grad(f)(x), reverse * 3.0)
        np.testing.assert_allclose(ft.jacfwd(f)(x), forward * 3.0)
        np.testing.assert_allclose(ft.jacrev(f)(x), reverse * 3.0)
        np.testing.assert_allclose(ft.linearize(f, x)[1](1.0), reverse * 3.0)


def test_the_rule_is_differentiated_for_the_second_derivative() -> None:
    f = wrong(scale_vjp=3.0)
    np.testing.assert_allclose(ft.grad(ft.grad(f))(1.5), 6.0)
    np.testing.assert_allclose(ft.hessian(f)(1.5), 6.0)


class Runs:
    """A function with both rules that says which of its parts Python runs."""

    def __init__(self) -> None:
        self.log: list[str] = []

        @ft.custom_vjp
        def f(x: Any) -> Any:
            self.log.append("f")
            return np.sin(x)

        def fwd(x: Any) -> Any:
            self.log.append("fwd")
            return np.sin(x), np.cos(x)

        def bwd(cos: Any, ct: Any) -> Any:
            self.log.append("bwd")
            return (cos * ct,)

        def jvp(p: Any, t: Any) -> Any:
            self.log.append("jvp")
            return np.sin(p[0]), np.cos(p[0]) * t[0]

        f.defvjp(fwd, bwd)
        f.defjvp(jvp)
        self.f = f

    def of(self, run: Callable[[Any], Any]) -> list[str]:
        self.log.clear()
        run(self.f)
        return list(self.log)


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (lambda f: f(1.0), ["f"]),
        (lambda f: ft.jit(f)(1.0), ["f"]),
        (lambda f: ft.vmap(f)(X), ["f"]),
        (lambda f: ft.make_jaxpr(f)(1.0), ["f"]),
        (lambda f: ft.grad(f)(1.0), ["fwd", "bwd"]),
        (lambda f: ft.vjp(f, 1.0)[1](1.0), ["fwd", "bwd"]),
        (lambda f: ft.linearize(f, 1.0), ["fwd", "bwd"]),
        (lambda f: ft.jvp(f, (1.0,), (1.0,)), ["jvp"]),
        (lambda f: ft.vmap(ft.grad(f))(X), ["fwd", "bwd"]),
        (lambda f: ft.grad(lambda x: np.sum(ft.vmap(f)(x)))(X), ["fwd", "bwd"]),
        (lambda f: ft.jit(ft.grad(f))(1.0), ["fwd", "bwd"]),
        (lambda f: ft.grad(lambda x: x + f(2.0))(1.0), ["f"]),
        (lambda f: ft.grad(lambda x: x + f(lax.stop_gradient(x)))(1.0), ["f"]),
    ],
)
def test_python_runs_what_is_needed(run: Any, expected: list[str]) -> None:
    assert Runs().of(run) == expected


# --------------------------------------------------------------------------------------------------------------------
# Values inside of rules


def test_a_loss_that_looks_at_values_every_500_steps(capsys: Any) -> None:
    """Softmax with its own gradient, and arguments without."""

    @ft.custom_vjp
    def loss(step: Any, x: Any, labels: Any) -> Any:
        return softmax_loss(step, x, labels)[0]

    def softmax_loss(step: Any, x: Any, labels: Any) -> Any:
        shifted = np.exp(x - np.max(x, axis=1, keepdims=True))
        p = shifted / np.sum(shifted, axis=1, keepdims=True)
        if step % 500 == 0:
            print(f"step {step}: accuracy {np.mean(np.argmax(p, 1) == np.argmax(labels, 1)):.2f}")
            assert 0 <= float(lax.stop_gradient(p)[0, 0]) <= 1
        return -np.sum(labels * np.log(p)), (p, labels)

    def bwd(residuals: Any, ct: Any) -> Any:
        p, labels = residuals
        assert np.all(lax.stop_gradient(p) > 0)  # residuals have values too
        return None, ct * (p - labels), None

    loss.defvjp(softmax_loss, bwd)
    rng = np.random.default_rng(0)
    x, w, labels = rng.normal(size=(8, 4)), rng.normal(size=(4, 3)), np.eye(3)[rng.integers(0, 3, 8)]
    plain_loss = lambda w: -np.sum(labels * (x @ w - np.log(np.sum(np.exp(x @ w), axis=1, keepdims=True))))
    for step in (0, 1, 499, 500):
        gradient = ft.grad(lambda w, step=step: loss(step, x @ w, labels))(w)
        np.testing.assert_allclose(gradient, ft.grad(plain_loss)(w), rtol=1e-12)
    assert capsys.readouterr().out.count("accuracy") == 2
    with pytest.raises(TracerBoolConversionError, match="argument step"):
        ft.jit(ft.grad(lambda w, step: loss(step, x @ w, labels)))(w, 3)


def test_python_branches_in_rules_at_any_order() -> None:
    @ft.custom_jvp
    def f(x: Any) -> Any:
        return x**3 if x > 0 else -(x**3)

    @f.defjvp
    def f_jvp(p: Any, t: Any) -> Any:
        return f(*p), (3.0 if p[0] > 0 else -3.0) * p[0] ** 2 * t[0]

    np.testing.assert_allclose([ft.grad(f)(-2.0), ft.grad(ft.grad(f))(-2.0)], [-12.0, 12.0])
    np.testing.assert_allclose([ft.grad(ft.grad(ft.grad(f)))(-2.0), ft.hessian(f)(2.0)], [-6.0, 12.0])


def test_effects_of_rules_happen_once(capsys: Any) -> None:
    @ft.custom_vjp
    def f(x: Any) -> Any:
        return x * 2

    def fwd(x: Any) -> Any:
        ft.debug.print("fwd {}", x)
        return x * 2, x

    def bwd(x: Any, ct: Any) -> Any:
        ft.debug.print("bwd {}", ct)
        return (2 * ct,)

    f.defvjp(fwd, bwd)
    for transform in (lambda g: g, ft.jit):
        assert transform(ft.grad(lambda x: 3 * f(x)))(1.5) == 6.0
        assert capsys.readouterr().out == "fwd 1.5\nbwd 3.0\n"
    assert ft.grad(lambda x: x * y if (y := f(x)) > 0 else x)(1.5) == 1.5 * 2 + 3.0  # its value is asked for
    assert capsys.readouterr().out == "fwd 1.5\nbwd 1.5\n"


# --------------------------------------------------------------------------------------------------------------------
# Closures


def scaled(x: Any, factor: Any) -> Any:
    """A function defined inside another, whose rules close over what is there."""

    @ft.custom_vjp
    def f(y: Any) -> Any:
        return np.sin(y) * lax.stop_gradient(factor)

    f.defvjp(lambda y: (f(y), y), lambda y, ct: (np.cos(y) * factor * ct,))
    return f(x)


def pushed(x: Any, factor: Any) -> Any:
    @ft.custom_jvp
    def f(y: Any) -> Any:
        return np.sin(y) * lax.stop_gradient(factor)

    f.defjvp(lambda p, t: (f(*p), np.cos(p[0]) * factor * t[0]))
    return f(x)


@pytest.mark.parametrize("function", [scaled, pushed])
@pytest.mark.parametrize("factor", [3.0, np.float64(3.0), np.array(3.0)])
def test_rules_close_over_numbers_arrays_and_tracers(function: Any, factor: Any) -> None:
    expected = 3 * np.cos(0.7)
    for wrap in (lambda f: f, ft.jit):
        np.testing.assert_allclose(wrap(ft.grad(lambda x: function(x, factor)))(0.7), expected)
        np.testing.assert_allclose(ft.grad(wrap(lambda x: function(x, factor)))(0.7), expected)
        np.testing.assert_allclose(ft.grad(wrap(function))(0.7, factor), expected)
        np.testing.assert_allclose(wrap(ft.grad(function))(0.7, factor), expected)
        np.testing.assert_allclose(ft.vmap(wrap(ft.grad(function)), (None, 0))(0.7, 3 * np.ones(2)), [expected] * 2)
        batched = ft.vmap(wrap(function), (None, 0))
        np.testing.assert_allclose(ft.grad(lambda x, f=batched: np.sum(f(x, 3 * np.ones(2))))(0.7), 2 * expected)
        # The rule's own factor has a derivative, where the rule is differentiated.
        np.testing.assert_allclose(
            ft.grad(ft.grad(wrap(lambda x: function(x, x))))(0.7), np.cos(0.7) - 0.7 * np.sin(0.7)
        )
        np.testing.assert_allclose(ft.grad(ft.grad(ft.grad(wrap(lambda x: function(x, 3.0)))))(0.7), -expected)


def test_differentiating_by_what_the_function_closes_over_is_an_error() -> None:
    def outer(x: Any) -> Any:
        @ft.custom_jvp
        def inner(y: Any) -> Any:
            return x * y

        inner.defjvp(lambda p, t: (inner(*p), x * t[0]))
        return inner(2 * x)

    for f in (outer, ft.jit(outer)):
        assert f(2.0) == 8.0
        for derivative in (ft.grad(f), lambda x, f=f: ft.jvp(f, (x,), (1.0,))):
            with pytest.raises(
                TypeError, match=r"inner closes over a value float64.*Make the value an argument of inner"
            ):
                derivative(2.0)


def test_where_no_argument_has_a_derivative_the_function_is_an_ordinary_one() -> None:
    def outer(x: Any, factor: Any) -> Any:
        f = ft.custom_jvp(lambda y: factor**2 * y)
        f.defjvp(lambda p, t: (f(*p), 100 * t[0]))
        return f(x)

    for wrap in (lambda f: f, ft.jit):
        assert ft.grad(wrap(outer), 1)(2.0, 3.0) == 12.0
        assert ft.jvp(wrap(lambda factor: outer(2.0, factor)), (3.0,), (1.0,)) == (18.0, 12.0)
        assert ft.hessian(wrap(outer), 1)(2.0, 3.0) == 4.0


def test_a_rule_kept_for_later_cannot_use_a_tracer() -> None:
    """Under jit, the rules of rules that close over tracers are recorded three levels ahead."""

    @ft.jit
    def f(x: Any) -> Any:
        return scaled(x, lax.stop_gradient(x) * 0 + 3.0)

    g = f
    for _ in range(4):
        g = ft.grad(g)
    np.testing.assert_allclose(g(0.7), 3 * np.sin(0.7))
    with pytest.raises(TypeError, match=r"close over a traced value.*Make the value an argument of f"):
        ft.grad(g)(0.7)


# --------------------------------------------------------------------------------------------------------------------
# Structure, not identity


class Counted:
    """A primitive whose JVP and batching rules count how often they are asked."""

    def __init__(self, name: str) -> None:
        self.rules = 0
        self.primitive = Primitive(name)
        def_impl(self.primitive, np.sin)
        def_abstract(self.primitive, lambda x: x.strong)
        def_jvp(self.primitive, self._jvp)
        def_batch(self.primitive, self._batch)

    def _jvp(self, t: Any, out: Any, x: Any) -> Any:
        self.rules += 1
        return lax.mul(t, lax.cos(x))

    def _batch(self, size: int, operands: Any, axes: Any) -> Any:
        self.rules += 1
        return self.primitive.bind(operands[0]), axes[0]


STRUCTURAL: dict[str, Callable[[Any, Any], Any]] = {
    "hessian": lambda f, x: ft.hessian(lambda x: np.sum(f(x)))(x),
    "vmap": lambda f, x: ft.vmap(f)(x),
    "vmap of grad of grad": lambda f, x: ft.vmap(ft.grad(ft.grad(f)))(x),
    "grad of vmap": lambda f, x: ft.grad(lambda x: np.sum(ft.vmap(f)(x)))(x),
    "jvp of jvp": lambda f, x: ft.jvp(lambda x: ft.jvp(f, (x,), (x,))[1], (x,), (x,)),
    "grad of grad of jit": lambda f, x: ft.grad(ft.grad(ft.jit(f)))(x[0]),
    "vmap of jit": lambda f, x: ft.vmap(ft.jit(f))(x),
}


@pytest.mark.parametrize("way", STRUCTURAL)
@pytest.mark.parametrize("kind", ["jvp", "vjp", "defjvps", "gradient"])
def test_a_function_defined_anew_at_each_call_makes_no_new_program(way: str, kind: str) -> None:
    counter = Counted(f"counted in custom {kind} {way}")
    counted = counter.primitive.bind

    def make(scale: Any) -> Any:
        @ft.custom_jvp
        def f(x: Any) -> Any:
            return counted(x)

        if kind == "jvp":
            f.defjvp(lambda p, t: (f(*p), counted(p[0] + 1.5) * scale * t[0]))
        elif kind == "defjvps":
            f.defjvps(lambda t, out, x: counted(x + 1.5) * scale * t)
        elif kind == "vjp":
            f.defvjp(lambda x: (f(x), x), lambda x, ct: (counted(x + 1.5) * scale * ct,))
        else:
            return ft.custom_gradient(lambda x: (counted(x), lambda ct: counted(x + 1.5) * scale * ct))
        return f

    STRUCTURAL[way](make(2.0), X)
    asked = counter.rules
    assert asked > 0
    for factor in (2.0, 3.0):
        STRUCTURAL[way](make(2.0), factor * X)
    assert counter.rules == asked


def test_numbers_and_arrays_in_closures_make_no_new_program() -> None:
    counter = Counted("counted in custom closures")
    counted = counter.primitive.bind
    for rate in (0.1, 0.2, 0.3):
        weights = rate * X

        @ft.custom_vjp
        def f(x: Any) -> Any:
            return np.sum(counted(x))

        f.defvjp(lambda x: (f(x), x), lambda x, ct, w=weights, r=rate: (counted(x) * w * r * ct,))
        second = ft.jacfwd(ft.grad(f))(X)
        np.testing.assert_allclose(second, np.diag(np.cos(X) * weights * rate))
    assert counter.rules == 1  # the rules are differentiated; the function never is


def test_rules_with_different_numbers_are_different() -> None:
    def make(scale: Any) -> Any:
        @ft.custom_jvp
        def f(x: Any) -> Any:
            return x

        f.defjvp(lambda p, t: (f(*p), scale * t[0]))
        return f

    for scale in (2.0, 3, 2, True, -0.0, np.float64(5.0), np.arange(3.0)):
        for f in (ft.jit(make(scale)), lambda x, s=scale: ft.jit(make(s))(x)):
            f(X)  # the rules are not needed, and kept for later
            np.testing.assert_array_equal(ft.jvp(f, (X,), (V,))[1], scale * V)


def test_a_global_that_changes_is_seen() -> None:
    namespace: dict[str, Any] = {"ft": ft, "scale": 2.0}
    code = "f = ft.custom_jvp(lambda x: x)\nf.defjvp(lambda p, t: (p[0], scale * t[0]))"
    exec(code, namespace)
    for scale in (2.0, 3.0):
        namespace["scale"] = scale
        for f in (namespace["f"], ft.jit(lambda x: namespace["f"](x))):
            f(1.0)
            assert ft.grad(f)(1.0) == scale


def test_the_printed_program_shows_one_equation() -> None:
    f = ft.custom_jvp(np.sin)
    f.defjvp(lambda p, t: t)
    f.defvjp(lambda x: (x, x), lambda x, ct: (ct,))
    assert str(ft.make_jaxpr(f)(1.0)) == (
        "{ lambda ; a:f64[]. let\n    b:f64[] = custom_call[\n      jaxpr={ lambda ; a:f64[]. let\n"
        "          b:f64[] = sin a\n        in (b,) }\n      n_consts=0\n      name=sin\n      rules=jvp,vjp\n    ] a\n"
        "  in (b,) }"
    )
    shown = str(ft.make_jaxpr(ft.vmap(wrong(2.0)))(X))
    assert shown.count("custom_call") == 1
    assert "rules=batched(jvp)" in shown


# --------------------------------------------------------------------------------------------------------------------
# Arguments and results


class Params(NamedTuple):
    w: Any
    b: Any


def test_pytrees_integers_and_static_leaves() -> None:
    @ft.custom_vjp
    def layer(params: Any, x: Any, power: Any, kind: str, double: Any) -> Any:
        return {"y": double(params.w * x["x"] ** power + params.b[0]), "n": power + 1}

    def fwd(params: Any, x: Any, power: Any, kind: str, double: Any) -> Any:
        assert kind == "affine"
        return layer(params, x, power, kind, double), (params, x, power)

    def bwd(residuals: Any, ct: Any) -> Any:
        params, x, power = residuals
        assert ct["n"].dtype == float0
        assert ct["n"].shape == ()
        ct = 2 * ct["y"]
        return (
            Params(ct * x["x"] ** power, None),
            {"x": ct * params.w * power * x["x"] ** (power - 1)},
            None,
            None,
            None,
        )

    layer.defvjp(fwd, bwd)
    params, x = Params(X, [2.0]), {"x": V}

    def loss(params: Any, x: Any, power: Any) -> Any:
        return np.sum(layer(params, x, power, "affine", lambda y: 2 * y)["y"])

    for f in (loss, ft.jit(loss)):
        dp, dx = ft.grad(f, (0, 1))(params, x, 3)
        np.testing.assert_allclose(dp.w, 2 * V**3)
        assert dp.b == [0.0]
        np.testing.assert_allclose(dx["x"], 2 * X * 3 * V**2)
        dp = ft.grad(f, (0, 2), allow_int=True)(params, x, 3)
        assert dp[1].dtype == float0
    out, dot = ft.jvp(lambda w: layer(Params(w, [2.0]), x, 3, "affine", lambda y: 2 * y), (X,), (V,))
    assert (out["n"], dot["n"].dtype) == (4, float0)
    np.testing.assert_allclose(dot["y"], 2 * V * V**3)


def test_tangents_of_integers_are_float0() -> None:
    @ft.custom_jvp
    def f(x: Any, n: Any) -> Any:
        return x * n, n

    @f.defjvp
    def f_jvp(primals: Any, tangents: Any) -> Any:
        assert tangents[1].dtype == float0
        assert tangents[1].shape == ()
        return f(*primals), (tangents[0] * primals[1], tangents[1])

    assert ft.grad(lambda x: f(x, 3)[0])(2.0) == 3.0
    (_, n), (t, t_n) = ft.jvp(lambda x: f(x, 3), (2.0,), (1.0,))
    assert (n, t, t_n.dtype) == (3, 3.0, float0)


@pytest.mark.parametrize("options", [{"nondiff_argnums": (0, 2)}, {"nondiff_argnames": ("fun", "scale")}])
@pytest.mark.parametrize("scale", [3.0, np.array(3.0)])
def test_arguments_without_derivative(options: Any, scale: Any) -> None:
    @functools.partial(ft.custom_jvp, **options)
    def push(fun: Any, x: Any, scale: Any) -> Any:
        return scale * fun(x)

    @push.defjvp
    def push_jvp(fun: Any, scale: Any, primals: Any, tangents: Any) -> Any:
        return push(fun, primals[0], scale), 10 * scale * tangents[0]

    @functools.partial(ft.custom_vjp, **options)
    def pull(fun: Any, x: Any, scale: Any = 3.0) -> Any:
        return scale * fun(x)

    pull.defvjp(lambda fun, x, scale: (pull(fun, x, scale), None), lambda fun, scale, res, ct: (10 * scale * ct,))
    for f in (push, pull):
        for g in (lambda x, f=f: f(np.sin, x, scale), ft.jit(lambda x, f=f: f(fun=np.sin, x=x, scale=scale))):
            assert ft.grad(g)(0.0) == 30.0
            assert ft.jvp(g, (0.0,), (1.0,)) == (0.0, 30.0)
        # A value that is traced has no derivative through such an argument.
        assert ft.grad(lambda x, s, f=f: f(np.sin, x, s), (0, 1))(0.5, 3.0) == (30.0, 0.0)
        assert ft.grad(lambda s, f=f: f(np.sin, 0.5, s))(3.0) == 0.0
    assert ft.grad(lambda x: pull(np.sin, x))(0.0) == 30.0


def test_methods() -> None:
    class Model:
        def __init__(self, scale: float) -> None:
            self.scale = scale

        @ft.custom_vjp
        def __call__(self, x: Any) -> Any:
            return self.scale * x

        def _fwd(self, x: Any) -> Any:
            return self(x), None

        def _bwd(self, residuals: Any, ct: Any) -> Any:
            return None, 10 * ct

        __call__.defvjp(_fwd, functools.partial(_bwd, None))

        @functools.partial(ft.custom_jvp, nondiff_argnums=(0,))
        def push(self, x: Any) -> Any:
            return self.scale * x

        @push.defjvp
        def _push_jvp(self, primals: Any, tangents: Any) -> Any:
            return self.push(*primals), 10 * self.scale * tangents[0]

    model = Model(2.0)
    for wrap in (lambda f: f, ft.jit):
        assert ft.grad(wrap(lambda x: model(x)))(1.0) == 10.0
        assert ft.grad(wrap(lambda x: model.push(x)))(1.0) == 20.0


@ft.tree_util.register_pytree_node_class
class Module:
    def __init__(self, w: Any) -> None:
        self.w = w

    def tree_flatten(self) -> Any:
        return (self.w,), None

    @classmethod
    def tree_unflatten(cls, data: Any, children: Any) -> Any:
        return cls(*children)

    @ft.custom_vjp
    def apply(self, x: Any) -> Any:
        return self.w * x

    apply.defvjp(lambda self, x: (self.w * x, (self, x)), lambda res, ct: (Module(2 * ct * res[1]), 3 * ct * res[0].w))


def test_methods_of_pytrees() -> None:
    gradients = ft.grad(lambda m, x: m.apply(x), (0, 1))(Module(5.0), 7.0)
    assert (gradients[0].w, gradients[1]) == (14.0, 15.0)


# --------------------------------------------------------------------------------------------------------------------
# Rules that are not linear, symbolic zeros


@ft.custom_vjp
def clip_gradient(x: Any, bound: Any) -> Any:
    return x


clip_gradient.defvjp(lambda x, b: (x, b), lambda b, ct: (np.clip(ct, -b, b), None))


def test_clipping_serves_reverse_mode() -> None:
    f = lambda x: np.sum(10 * clip_gradient(x, 0.5) * x)
    expected = 10 * X + np.clip(10 * X, -0.5, 0.5)
    for g in (ft.grad(f), ft.jit(ft.grad(f)), ft.grad(ft.jit(f)), ft.vmap(ft.grad(f)), ft.jit(ft.vmap(ft.grad(f)))):
        np.testing.assert_allclose(g(X), expected)
    np.testing.assert_allclose(ft.grad(lambda x: np.sum(ft.vmap(f)(x)))(X), expected)
    np.testing.assert_allclose(ft.hessian(f)(np.array([0.01])), [[20.0]])
    scanned = lambda x: lax.scan(lambda c, v: (clip_gradient(c, 0.5) * v, None), x, np.array([3.0, 5.0]))[0]
    assert ft.grad(scanned)(1.0) == 0.5


@pytest.mark.parametrize(
    "forward",
    [
        lambda f: ft.jvp(f, (X,), (V,)),
        lambda f: ft.jit(lambda x: ft.jvp(f, (x,), (x,)))(X),
        lambda f: ft.jacfwd(f)(X),
        lambda f: ft.linearize(f, X)[1](V),
    ],
)
def test_clipping_cannot_serve_forward_mode(forward: Any) -> None:
    with pytest.raises(MissingRuleError, match=r"(?s)backward rule is not linear in the cotangent.*give.*JVP rule"):
        forward(lambda x: clip_gradient(x, 0.5))


def test_a_jvp_rule_that_is_not_linear() -> None:
    @ft.custom_jvp
    def f(x: Any) -> Any:
        return x

    f.defjvp(lambda p, t: (p[0], t[0] ** 2))
    assert ft.jvp(f, (1.0,), (3.0,))[1] == 9.0
    with pytest.raises(MissingRuleError, match="JVP rule of f is not linear in its tangents"):
        ft.grad(f)(1.0)


@pytest.mark.parametrize("wrap", [lambda f: f, ft.jit])
def test_symbolic_zeros_in_jvp_rules(wrap: Any) -> None:
    seen: list[Any] = []

    @ft.custom_jvp
    def f(x: Any, y: Any, n: Any) -> Any:
        return x * y, x

    def f_jvp(primals: Any, tangents: Any) -> Any:
        (x, y, n), (tx, ty, tn) = primals, tangents
        seen.append((type(tx) is SymbolicZero, type(ty) is SymbolicZero, tn))
        zero = SymbolicZero(x)
        dot = (0.0 if type(tx) is SymbolicZero else tx * y) + (0.0 if type(ty) is SymbolicZero else x * ty)
        return f(x, y, n), (dot, zero if type(tx) is SymbolicZero else tx)

    f.defjvp(f_jvp, symbolic_zeros=True)
    g = wrap(lambda x, y: f(x, y, 2)[0])
    assert ft.grad(g)(2.0, 3.0) == 3.0
    assert ft.grad(g, 1)(2.0, 3.0) == 2.0
    assert ft.grad(g, (0, 1))(2.0, 3.0) == (3.0, 2.0)
    assert [flags[:2] for flags in seen] == [(False, True), (True, False), (False, False)]
    assert all(tn == SymbolicZero(np.zeros((), int)) and tn.dtype == float0 and tn.shape == () for *_, tn in seen)


@pytest.mark.parametrize("wrap", [lambda f: f, ft.jit])
def test_symbolic_zeros_in_vjp_rules(wrap: Any) -> None:
    seen: list[Any] = []

    @ft.custom_vjp
    def f(x: Any, y: Any) -> Any:
        return x["x"] * y

    def fwd(x: Any, y: Any) -> Any:
        seen.append((x["x"].perturbed, y.perturbed))
        values = custom_vjp_primal_tree_values((x, y))
        return f(*values), values

    def bwd(residuals: Any, ct: Any) -> Any:
        y = residuals[1]
        return {"x": ct * y}, SymbolicZero(y)

    f.defvjp(fwd, bwd, symbolic_zeros=True)
    g = wrap(lambda x, y: f({"x": x}, y))
    assert ft.grad(g)(2.0, 3.0) == 3.0
    assert ft.grad(g, 1)(2.0, 3.0) == 0.0
    assert seen == [(True, False), (False, True)]
    with pytest.raises(TypeError, match="must be a CustomVJPPrimal, got one of type float"):
        custom_vjp_primal_tree_values([1.0])


def test_zero_from_primal() -> None:
    np.testing.assert_array_equal(zero_from_primal(X), np.zeros(3))
    assert zero_from_primal(3).dtype == float0
    assert repr(zero_from_primal(X, symbolic_zeros=True)) == "SymbolicZero(float64[3])"
    assert zero_from_primal(X, symbolic_zeros=True).size == 3


def test_defjvps_skips_arguments_that_are_not_perturbed() -> None:
    @ft.custom_jvp
    def f(x: Any, y: Any, z: Any) -> Any:
        return {"out": x["a"] * y + z}

    def never(*_: Any) -> Any:
        raise AssertionError("nothing is differentiated by this argument")

    f.defjvps(lambda t, out, x, y, z: {"out": t["a"] * y + t["b"]}, never, None)
    for wrap in (lambda f: f, ft.jit):
        gradient = ft.grad(wrap(lambda x, z: f(x, 3.0, z)["out"]), (0, 1))({"a": 2.0, "b": 1.0}, 5.0)
        assert gradient == ({"a": 3.0, "b": 1.0}, 0.0)


# --------------------------------------------------------------------------------------------------------------------
# Errors


def linear(fwd: Any = None, bwd: Any = None, jvp: Any = None) -> Any:
    """A loss of a custom function of {'w': w}, x, with one of its rules replaced."""

    @ft.custom_vjp
    def affine(params: Any, x: Any) -> Any:
        return params["w"] * x, x

    if jvp is not None:
        affine.defjvp(jvp)
    else:
        fwd = fwd or (lambda params, x: (affine(params, x), (params, x)))
        affine.defvjp(fwd, bwd or (lambda res, ct: ({"w": ct[0] * res[1]}, ct[1])))
    return lambda params, x: affine(params, x)[0]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            {"bwd": lambda r, ct: ct[0]},
            r"backward rule <lambda> \(.*py:\d+\) of affine must return a tuple with one cotan",
        ),
        ({"bwd": lambda r, ct: (None,)}, r"each of the 2 arguments.*but returned tuple of length 1"),
        ({"bwd": lambda r, ct: None}, "but returned None of type NoneType"),
        (
            {"bwd": lambda r, ct: ([ct[0]], None)},
            r"cotangent of argument 0 .*\{'w': \*\}.* but has PyTreeDef\(\[\*\]\)",
        ),
        ({"bwd": lambda r, ct: (ct[0], None)}, r"cotangent of argument 0 .* must have the structure of the argument"),
        (
            {"bwd": lambda r, ct: ({"w": ct[0] * np.ones(3)}, None)},
            r"argument params\['w'\] .*float64\[\], but is float64\[3\]",
        ),
        ({"bwd": lambda r, ct: ({"w": ct[0].astype("f4")}, None)}, r"float32\[\]: convert it, x.astype\('float64'\)"),
        ({"bwd": lambda r, ct: ({"w": ct[0] * 1j}, None)}, r"complex128\[\]: take its real part"),
        ({"bwd": lambda r, ct: ({"w": "no"}, None)}, r"must be float64\[\], but is 'no' of type str"),
        ({"fwd": lambda p, x: p["w"] * x}, r"rule <lambda> \(.*\) of affine must return a pair \(output, residuals\)"),
        ({"fwd": lambda p, x: (p["w"], x, x)}, "but returned a tuple of length 3"),
        ({"fwd": lambda p, x: ((p["w"] * x, "no"), x)}, r"output\[1\] of <lambda> must be an array or a number"),
        ({"jvp": lambda p, t: t[0]["w"]}, r"must return a pair \(output, tangent of the output\)"),
        ({"jvp": lambda p, t: ((p[1], p[1]), t[1])}, r"tangent that the rule .* must have the structure of the output"),
        ({"jvp": lambda p, t: ((p[1], p[1]), (t[1], t[1] * np.ones(2)))}, r"tangent of output\[1\] .* is float64\[2\]"),
    ],
)
@pytest.mark.parametrize("wrap", [lambda f: f, ft.jit])
def test_what_rules_return_is_checked(rules: dict[str, Any], message: str, wrap: Any) -> None:
    with pytest.raises(TypeError, match=f"(?s){message}"):
        ft.grad(wrap(linear(**rules)))({"w": 2.0}, 3.0)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            {"fwd": lambda p, x: ([p["w"] * x, x], (p, x))},
            r"structure of that of affine, .*\(\*, \*\).* but has .*\[\*, \*\]",
        ),
        (
            {"fwd": lambda p, x: ((p["w"] * x, 3), (p, x))},
            r"output\[1\] that the rule .* must be float64\[\].* is int64\[\]",
        ),
        ({"jvp": lambda p, t: (p[1], t[1])}, "structure of that of affine"),
    ],
)
def test_outputs_of_rules_are_checked_where_the_function_ran(rules: dict[str, Any], message: str) -> None:
    f = ft.jit(linear(**rules))
    f({"w": 2.0}, 3.0)
    with pytest.raises(TypeError, match=f"(?s){message}"):
        ft.grad(f)({"w": 2.0}, 3.0)


def test_a_function_without_rules() -> None:
    f = ft.custom_jvp(np.sin)
    g = ft.jit(f)
    assert (f(0.0), g(0.0), list(ft.vmap(f)(np.zeros(2)))) == (0.0, 0.0, [0.0, 0.0])
    for derivative in (ft.grad(f), ft.grad(g), ft.jacfwd(f)):
        with pytest.raises(MissingRuleError, match=r"sin is differentiated and has no rule: .*sin.defjvp\(rule\)"):
            derivative(0.0)


def test_wrong_use() -> None:
    with pytest.raises(TypeError, match="custom_jvp needs a function"):
        ft.custom_jvp(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="nondiff_argnums of <lambda> must be ints"):
        ft.custom_jvp(lambda x: x, nondiff_argnums=("x",))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="<lambda> has no parameter 'z', only x"):
        ft.custom_vjp(lambda x: x, nondiff_argnames="z")
    f = ft.custom_vjp(lambda x, *, k=1: k * x, nondiff_argnums=(5,))
    with pytest.raises(TypeError, match="a rule of <lambda> must be a function, got 3"):
        f.defvjp(f, 3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="cannot be used together with nondiff_argnums"):
        f.defjvps(None)
    with pytest.raises(TypeError, match=r"by position, so \['k'\] cannot be keyword-only"):
        ft.grad(lambda x: f(x, k=2))(1.0)
    with pytest.raises(ValueError, match="nondiff_argnums=5 of <lambda> is out of range: it got 1 arguments"):
        ft.grad(f)(1.0)
    with pytest.raises(TypeError, match="<lambda>: missing a required argument: 'y'"):
        ft.grad(ft.custom_vjp(lambda x, y: x))(1.0)
    g = ft.custom_jvp(lambda x, y: x * y)
    g.defjvps(None)
    with pytest.raises(TypeError, match="<lambda> has 2 arguments, and defjvps got 1 rules"):
        ft.grad(g)(1.0, 2.0)
    with pytest.raises(TypeError, match="custom_gradient needs a function"):
        ft.custom_gradient(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"must return a pair \(output, function of the cotangent\)"):
        ft.custom_gradient(lambda x: x)(1.0)


def test_errors_of_rules_show_the_users_frames_alone() -> None:
    f = linear(bwd=lambda r, ct: 1 / 0)
    with pytest.raises(ZeroDivisionError) as info:
        ft.grad(f)({"w": 2.0}, 3.0)
    inner = [entry for entry in info.traceback if entry.name != "__call__"]  # where it is raised again
    assert all("/functrans/" not in str(entry.path) for entry in inner)


# --------------------------------------------------------------------------------------------------------------------
# As objects


@ft.custom_vjp
def doubled(x: Any) -> Any:
    """Twice x."""
    return 2 * x


doubled.defvjp(lambda x: (doubled(x), None), lambda _, ct: (3 * ct,))


def test_pickle_copy_and_looks() -> None:
    assert pickle.loads(pickle.dumps(doubled)) is doubled
    assert copy.deepcopy(doubled) is doubled
    assert (doubled.__name__, doubled.__doc__) == ("doubled", "Twice x.")
    local = wrong(scale_vjp=5.0)
    assert ft.grad(copy.deepcopy(local))(1.0) == 10.0
    program = ft.make_jaxpr(ft.grad(doubled))(1.0)
    assert str(pickle.loads(pickle.dumps(program.jaxpr))) == str(program.jaxpr)
    with pytest.raises(TypeError, match="differentiate it before, or pickle the function"):
        pickle.dumps(ft.make_jaxpr(doubled)(1.0).jaxpr)


def test_decorators_nest() -> None:
    f = ft.custom_vjp(ft.custom_jvp(ft.jit(np.sin)))
    f.defvjp(lambda x: (np.sin(x), None), lambda _, ct: (3 * ct,))
    f.fun.defjvp(lambda p, t: (np.sin(p[0]), 5 * t[0]))
    assert (ft.grad(f)(0.0), ft.grad(f.fun)(0.0), ft.grad(ft.jit(f))(0.0)) == (3.0, 5.0, 3.0)


def test_recursion_ends() -> None:
    """A function that calls itself, whose rule calls it too."""

    @functools.partial(ft.custom_jvp, nondiff_argnums=(1,))
    def power(x: Any, n: int) -> Any:
        return x if n == 1 else x * power(x, n - 1)

    @power.defjvp
    def power_jvp(n: int, primals: Any, tangents: Any) -> Any:
        (x,), (t,) = primals, tangents
        return power(x, n), (t if n == 1 else n * power(x, n - 1) * t)

    for f in (lambda x: power(x, 4), ft.jit(lambda x: power(x, 4))):
        np.testing.assert_allclose([ft.grad(f)(1.5), ft.grad(ft.grad(f))(1.5)], [4 * 1.5**3, 12 * 1.5**2])


def test_threads() -> None:
    results: list[tuple[Any, Any]] = []

    def work(n: int) -> None:
        for i in range(10):
            results.append((ft.grad(ft.grad(with_jvp()))(0.1 * n, 2.0 + i % 2), -np.sin(0.1 * n) * (2.0 + i % 2)))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_allclose(*zip(*results, strict=True))
    assert len(results) == 40


def test_custom_functions_in_custom_functions() -> None:
    inner = wrong(scale_vjp=3.0)

    @ft.custom_vjp
    def outer(x: Any) -> Any:
        return inner(x) * 2

    def fwd(x: Any) -> Any:
        out, pull = ft.vjp(lambda x: inner(x) * 2, x)
        return out, pull

    outer.defvjp(fwd, lambda pull, ct: pull(ct))
    for f in (outer, ft.jit(outer)):
        assert (ft.grad(f)(1.5), ft.grad(ft.grad(f))(1.5)) == (18.0, 12.0)


def test_a_batched_backward_rule_sums_over_the_members() -> None:
    """Also where the cotangent of a shared argument is the same for all."""

    @ft.custom_vjp
    def f(w: Any, x: Any) -> Any:
        return w * x

    f.defvjp(lambda w, x: (f(w, x), w), lambda w, ct: (np.ones_like(w), ct * w))
    gradients = ft.grad(lambda w, x: np.sum(ft.vmap(f, (None, 0))(w, x)), (0, 1))(2.0, X)
    assert gradients[0] == 3.0
    np.testing.assert_array_equal(gradients[1], [2.0, 2.0, 2.0])


def test_a_long_chain_takes_time_in_proportion() -> None:
    f = with_jvp()

    def chain(x: Any) -> Any:
        for _ in range(60):
            x = f(x, 1.0)
        return x

    expected, x = 1.0, 0.5
    for _ in range(60):
        expected, x = expected * np.cos(x), np.sin(x)
    np.testing.assert_allclose(ft.grad(chain)(0.5), expected)


# --------------------------------------------------------------------------------------------------------------------
# Calls inside of rules


def tripled() -> Any:
    """A linear function whose derivative is three times too large, which tells that it was taken."""
    g = ft.custom_jvp(lambda v: 2.0 * v)
    g.defjvp(lambda p, t: (g(*p), 6.0 * t[0]))
    return g


def test_functions_of_tangents_and_cotangents_keep_their_rules() -> None:
    g = tripled()
    pushed = ft.custom_jvp(lambda x: np.sin(x))
    pushed.defjvp(lambda p, t: (np.sin(p[0]), np.cos(p[0]) * g(t[0])))
    pulled = ft.custom_vjp(lambda x: np.sin(x))
    pulled.defvjp(lambda x: (np.sin(x), np.cos(x)), lambda cos, ct: (cos * g(ct),))
    slope = np.cos(0.7)
    np.testing.assert_allclose(ft.jvp(pushed, (0.7,), (1.0,))[1], 2 * slope)
    np.testing.assert_allclose(ft.grad(lambda t: ft.jvp(pushed, (0.7,), (t,))[1])(1.0), 6 * slope)
    np.testing.assert_allclose(ft.grad(lambda t: ft.jvp(ft.jit(pushed), (0.7,), (t,))[1])(1.0), 6 * slope)
    pull_back = ft.vjp(pulled, 0.7)[1]
    np.testing.assert_allclose(pull_back(1.0)[0], 2 * slope)
    np.testing.assert_allclose(ft.grad(lambda ct: pull_back(ct)[0])(1.0), 6 * slope)


def test_a_call_that_nobody_differentiates_again_is_run_as_it_is() -> None:
    inside: list[str] = []

    @ft.custom_jvp
    def f(x: Any) -> Any:
        inside.append(x.recording.name if hasattr(x, "recording") else "plain")
        return np.sin(x)

    @f.defjvp
    def f_rule(p: Any, t: Any) -> Any:
        return f(*p), np.cos(p[0]) * t[0]

    def run(derivative: Any) -> list[str]:
        inside.clear()
        derivative(0.7)
        return list(inside)

    assert run(ft.grad(f)) == ["f_rule"]  # as a part of the rule, not as a function of its own
    assert run(lambda x: ft.jvp(f, (x,), (1.0,))) == ["f_rule"]
    assert run(ft.jit(ft.grad(f)))[-1] == "f"  # the program may be differentiated later
    np.testing.assert_allclose(ft.grad(ft.jit(ft.grad(f)))(0.7), -np.sin(0.7))
    np.testing.assert_allclose(ft.grad(ft.grad(f))(0.7), -np.sin(0.7))


def test_outputs_of_calls_inside_of_rules_have_strong_dtypes() -> None:
    f = ft.custom_jvp(lambda x: np.where(x > 0, 1.0, 2.0))
    seen: list[Any] = []

    @f.defjvp
    def f_jvp(p: Any, t: Any) -> Any:
        out = f(*p)
        seen.append(out.dtype)
        return out, 0.0 * t[0].astype(float)

    ft.grad(lambda x: np.sum(f(x)))(X)
    ft.jit(ft.grad(lambda x: np.sum(f(x))))(X)
    assert seen[0] == seen[1] == np.float64


def test_backward_rules_may_draw_numbers() -> None:
    rng = np.random.default_rng(0)
    noisy = ft.custom_vjp(lambda x: x)
    noisy.defvjp(lambda x: (x, None), lambda res, ct: (ct * rng.normal(),))
    expected = np.random.default_rng(0).normal(size=2)
    np.testing.assert_allclose([ft.grad(noisy)(1.0), ft.grad(noisy)(1.0)], expected)
