"""checkpoint: what reverse mode keeps, that the rest is computed again, and that nothing else changes."""

import pickle
import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import checkpoint_policies as policies
from functrans import lax
from functrans.ad_checkpoint import checkpoint_name, print_saved_residuals, saved_residuals
from functrans.core.jaxpr import jaxprs_in
from functrans.passes.pipeline import finalize

X = np.array([0.3, 1.1, -0.7])
W = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75], [0.0, 1.0, -2.0]])


def f(x: Any) -> Any:
    return np.sum(np.sin(np.sin(x) * np.exp(x)))


def vector(x: Any) -> Any:
    return np.tanh(np.sin(x) * x)


POLICIES: dict[str, Any] = {
    "none": None,
    "everything": policies.everything_saveable,
    "nothing": policies.nothing_saveable,
    "dots": policies.dots_saveable,
    "own": lambda primitive, *avals, **params: primitive.name == "exp",
}
every_policy = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
both = pytest.mark.parametrize("prevent_cse", [True, False])

NESTINGS: dict[str, Callable[[Any], Any]] = {
    "value": lambda f: f,
    "grad": ft.grad,
    "jit of grad": lambda f: ft.jit(ft.grad(f)),
    "grad of jit": lambda f: ft.grad(ft.jit(f)),
    "jvp": lambda f: lambda x: ft.jvp(f, (x,), (np.ones_like(x),)),
    "linearize": lambda f: lambda x: ft.linearize(f, x)[1](np.ones_like(x)),
    "hessian": ft.hessian,
    "jacrev of grad": lambda f: ft.jacrev(ft.grad(f)),
    "grad of grad": lambda f: ft.grad(lambda x: np.sum(ft.grad(f)(x) ** 2)),
    "grad of jvp": lambda f: ft.grad(lambda x: ft.jvp(f, (x,), (np.ones_like(x),))[1]),
    "third": lambda f: ft.jacfwd(ft.hessian(f)),
    "vmap of grad": lambda f: lambda x: ft.vmap(ft.grad(f))(np.stack([x, 2 * x])),
    "grad of vmap": lambda f: lambda x: ft.grad(lambda x: np.sum(ft.vmap(f)(x)))(np.stack([x, 2 * x])),
    "jit of vmap of hessian": lambda f: lambda x: ft.jit(ft.vmap(ft.hessian(f)))(np.stack([x, 2 * x])),
}


@pytest.mark.parametrize("nesting", NESTINGS.values(), ids=NESTINGS)
@every_policy
@both
def test_derivatives_are_those_of_the_function(nesting: Any, policy: Any, prevent_cse: bool) -> None:
    checkpointed = ft.checkpoint(f, policy=policy, prevent_cse=prevent_cse)
    ft.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-12, 1e-14), nesting(checkpointed)(X), nesting(f)(X))


@pytest.mark.parametrize("nesting", NESTINGS.values(), ids=NESTINGS)
def test_checkpoints_in_checkpoints(nesting: Any) -> None:
    def two(x: Any) -> Any:
        return np.sum(vector(vector(x)))

    def nested(x: Any) -> Any:
        inner = ft.checkpoint(vector)
        return np.sum(ft.checkpoint(lambda x: inner(inner(x)))(x))

    ft.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-12, 1e-13), nesting(nested)(X), nesting(two)(X))


def test_a_program_shows_what_is_computed_again() -> None:
    program = ft.make_jaxpr(ft.grad(ft.checkpoint(lambda x: np.sin(np.sin(x)))))(1.0)
    assert str(program) == (
        "{ lambda ; a:f64[]. let\n"
        "    b:f64[] = rematerialized[\n"
        "      jaxpr={ lambda ; a:f64[] b:f64[]. let\n"
        "          c:f64[] = sin a\n"
        "          d:f64[] = cos a\n"
        "          e:f64[] = cos c\n"
        "          f:f64[] = mul b e\n"
        "          g:f64[] = mul f d\n"
        "        in (g,) }\n"
        "      policy=None\n"
        "      prevent_cse=True\n"
        "    ] a 1.0:f64[]\n"
        "  in (b,) }"
    )


def count(jaxpr: Any, name: str) -> int:
    inner = [p for eqn in jaxpr.eqns for value in eqn.params.values() for p in jaxprs_in(value)]
    return sum([eqn.primitive.name == name for eqn in jaxpr.eqns]) + sum([count(finalize(p), name) for p in inner])


def test_what_is_computed_again_is_not_merged_in_the_final_form() -> None:
    def loss(x: Any, prevent_cse: bool) -> Any:
        return np.sum(ft.checkpoint(lambda x: np.exp(np.exp(x)), prevent_cse=prevent_cse)(x))

    for prevent_cse, exponentials in ((True, 4), (False, 2)):
        program = ft.make_jaxpr(ft.value_and_grad(loss), static_argnums=1)(X, prevent_cse).jaxpr
        assert count(finalize(program), "exp") == exponentials
        assert count(finalize(program), "checkpoint") == 0


# --------------------------------------------------------------------------------------------------------------------
# What is kept


def kept(g: Any, *args: Any) -> list[str]:
    """What reverse mode keeps, without the lines."""
    return [f"{aval} {origin.partition(' from /')[0]}" for aval, origin in saved_residuals(g, *args)]


def layers(x: Any, w: Any) -> Any:
    hidden = checkpoint_name(np.tanh(x @ w), "hidden")
    waves = checkpoint_name(np.sin(hidden), "waves")
    return np.sum(waves * np.cos(waves))


X_, W_, DOT = "float64[3] from the argument x", "float64[3,3] from the argument w", "float64[3] output of dot_general"
HIDDEN, WAVES = "float64[3] named 'hidden'", "float64[3] named 'waves'"


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (None, [X_, W_]),
        (policies.nothing_saveable, [X_, W_]),
        (policies.dots_saveable, [X_, W_, DOT]),
        (policies.checkpoint_dots, [X_, W_, DOT]),
        (policies.dots_with_no_batch_dims_saveable, [X_, W_, DOT]),
        (policies.save_only_these_names("hidden"), [X_, W_, HIDDEN]),
        (policies.save_only_these_names("hidden", "waves"), [X_, W_, HIDDEN, WAVES]),
        (policies.save_only_these_names("nowhere"), [X_, W_]),
        (policies.save_any_names_but_these("hidden"), [X_, W_, WAVES]),
        (policies.save_from_both_policies(policies.dots_saveable, policies.save_only_these_names("waves")),
         [X_, W_, DOT, WAVES]),
        (lambda primitive, *avals, **params: "name" in params and params["name"] == "waves", [X_, W_, WAVES]),
    ],
)  # fmt: skip
def test_policies_say_what_is_kept(policy: Any, expected: list[str]) -> None:
    assert kept(ft.checkpoint(layers, policy=policy), X, W) == expected
    assert kept(ft.checkpoint(ft.jit(layers), policy=policy), X, W) == expected
    for g in (ft.grad, ft.hessian):
        ours, plain = (g(h, argnums=(0, 1))(X, W) for h in (ft.checkpoint(layers, policy=policy), layers))
        ft.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-12, 1e-12), ours, plain)


def test_everything_is_what_is_kept_without_a_checkpoint() -> None:
    assert kept(ft.checkpoint(layers, policy=policies.everything_saveable), X, W) == kept(layers, X, W)
    names = kept(ft.checkpoint(layers, policy=policies.save_anything_except_these_names("waves")), X, W)
    assert WAVES not in names
    assert len(names) > 3


def test_products_of_batches_may_be_computed_again() -> None:
    policy = policies.dots_with_no_batch_dims_saveable
    g = ft.checkpoint(lambda x: np.sum(np.sin(x @ x)), policy=policy)
    assert kept(g, W) == ["float64[3,3] from the argument x", "float64[3,3] output of dot_general"]
    assert kept(g, np.stack([W, W])) == ["float64[2,3,3] from the argument x"]


def test_policies_made_alike_are_equal() -> None:
    for make in (policies.save_only_these_names, policies.save_any_names_but_these):
        assert make("a", "b") == make("b", "a")
        assert make("a") != make("b")
    assert policies.save_only_these_names("a") != policies.save_any_names_but_these("a")
    assert pickle.loads(pickle.dumps(policies.save_only_these_names("a"))) == policies.save_only_these_names("a")


def has_name(name: str, primitive: Any, *avals: Any, **params: Any) -> bool:
    return primitive.name == name


@pytest.mark.parametrize("make", [lambda: lambda *equation, **params: True, lambda: partial(has_name, "cos")])
def test_a_policy_that_is_defined_anew_makes_no_new_program(make: Callable[[], Any]) -> None:
    programs = [ft.make_jaxpr(ft.grad(ft.checkpoint(np.sin, policy=make())))(1.0).jaxpr for _ in range(2)]
    assert programs[0] is programs[1]


def test_printed_residuals(capsys: pytest.CaptureFixture[str]) -> None:
    print_saved_residuals(lambda x, p: np.sin(x) * p["a"][0] * np.ones(3), X, {"a": [X]})
    lines = capsys.readouterr().out.splitlines()
    assert "f64[3] from the argument p['a'][0]" in lines
    assert any([line.startswith(f"f64[3] output of cos from {__file__}:") for line in lines])
    assert any([line == "f64[3] from a constant" for line in lines])


# --------------------------------------------------------------------------------------------------------------------
# Memory


def layer(x: Any, w: Any) -> Any:
    y = np.tanh(x * w)
    return y + 0.1 * np.sin(y) * np.exp(-y * y)


def chain(n: int, segment: int, inner: Callable[..., Any] = layer) -> Callable[..., Any]:
    """The loss of n layers, in checkpoints of so many."""

    def several(x: Any, w: Any) -> Any:
        for _ in range(segment):
            x = inner(x, w)
        return x

    def loss(w: Any, x: Any) -> Any:
        for _ in range(n // segment):
            x = ft.checkpoint(several)(x, w)
        return np.sum(x)

    return loss


def halves(n: int) -> Callable[..., Any]:
    """The loss of n layers, in checkpoints of half as many, recursively."""

    def part(x: Any, w: Any, n: int) -> Any:
        if n == 1:
            return layer(x, w)
        recurse = ft.checkpoint(part, static_argnums=2)
        return recurse(recurse(x, w, n // 2), w, n - n // 2)

    return lambda w, x: np.sum(part(x, w, n))


def plain(w: Any, x: Any) -> Any:
    for _ in range(36):
        x = layer(x, w)
    return np.sum(x)


def peak(loss: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    """The gradient, and how many arrays of the size of the first argument are alive at a time to compute it."""
    g = ft.grad(loss)
    g(*args)
    tracemalloc.start()
    try:
        return g(*args), tracemalloc.get_traced_memory()[1] / args[0].nbytes
    finally:
        tracemalloc.stop()


def test_memory_of_a_chain_of_layers() -> None:
    rng = np.random.default_rng(0)
    w, x = rng.normal(size=16_384), rng.normal(size=16_384)
    expected, without = peak(plain, w, x)
    for loss, allowed in (
        (chain(36, 1), 1.5 * 36),
        (chain(36, 6), without / 3),
        (chain(36, 6, ft.checkpoint(layer)), without / 8),
        (halves(36), without / 8),
    ):
        gradient, alive = peak(loss, w, x)
        np.testing.assert_allclose(gradient, expected, rtol=1e-10, atol=1e-12)
        assert alive < allowed, (alive, without)


def test_memory_of_a_scan() -> None:
    rng = np.random.default_rng(0)
    w, x = rng.normal(size=16_384), rng.normal(size=16_384)

    def loss(body: Any) -> Any:
        return lambda w, x: np.sum(lax.scan(lambda c, _: (body(c, w), None), x, None, length=64)[0])

    expected, without = peak(loss(layer), w, x)
    gradient, alive = peak(loss(ft.checkpoint(layer)), w, x)
    np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-14)
    assert alive < without / 2


# --------------------------------------------------------------------------------------------------------------------
# The function


def test_python_may_branch_on_known_values() -> None:
    @ft.checkpoint
    def g(x: Any) -> Any:
        return x**3 if x > 0 else np.sin(x)

    assert ft.grad(g)(2.0) == 12.0
    assert ft.grad(g)(-1.0) == np.cos(-1.0)
    with pytest.raises(ft.errors.TracerBoolConversionError, match="depends on argument x of g"):
        ft.jit(g)(2.0)


def test_arguments_and_results_are_pytrees() -> None:
    @ft.checkpoint(static_argnums=1, static_argnames="name")
    def g(p: Any, power: int, *, scale: float, name: str) -> Any:
        assert isinstance(power, int)
        return {name: (p["x"] ** power * scale, [p["n"]])}

    out = g({"x": X, "n": 2}, 3, scale=2.0, name="out")
    np.testing.assert_allclose(out["out"][0], 2 * X**3)
    gradient = ft.grad(lambda x: np.sum(g({"x": x, "n": 2}, 3, scale=2.0, name="out")["out"][0]))(X)
    np.testing.assert_allclose(gradient, 6 * X**2)


def test_closures_over_tracers_are_differentiated() -> None:
    def loss(y: Any, z: Any) -> Any:
        g = ft.checkpoint(lambda x: np.sum(np.sin(x * y)) * z)
        return g(X) + ft.checkpoint(lambda: y * z)()

    grads = ft.grad(loss, argnums=(0, 1))(2.0, 3.0)
    np.testing.assert_allclose(grads, (3 * np.sum(X * np.cos(2 * X)) + 3, np.sum(np.sin(2 * X)) + 2))
    assert ft.grad(lambda y: ft.grad(lambda x: ft.checkpoint(lambda x: x * x * y)(x))(3.0))(2.0) == 6.0


def test_effects_happen_once() -> None:
    calls = []

    def noisy(x: Any) -> Any:
        count = ft.io_callback(lambda: calls.append(1) or 2.0, ft.ShapeDtypeStruct((), float))
        return np.sin(x * count) * x

    for transform in (lambda f: f, ft.grad, lambda f: ft.jit(ft.grad(f)), ft.hessian, lambda f: ft.grad(ft.grad(f))):
        calls.clear()
        value = transform(ft.checkpoint(noisy))(0.5)
        assert len(calls) == 1
        np.testing.assert_allclose(value, transform(lambda x: np.sin(2.0 * x) * x)(0.5), rtol=1e-14)


@pytest.mark.parametrize("inside", [True, False])
def test_control_flow(inside: bool) -> None:
    def loop(x: Any, step: Any) -> Any:
        x = lax.scan(lambda c, _: (step(c), c), x, None, length=4)[0]
        return lax.cond(x > 0, lambda x: step(x), lambda x: x * x, x)

    def g(x: Any) -> Any:
        return loop(x, ft.checkpoint(vector)) if inside else ft.checkpoint(lambda x: loop(x, vector))(x)

    for nesting in ("value", "grad", "jit of grad", "hessian", "grad of jvp"):
        expected = NESTINGS[nesting](lambda x: loop(x, vector))(1.3)
        np.testing.assert_allclose(NESTINGS[nesting](g)(1.3), expected, rtol=1e-12)


def test_zeros_of_selections_stay_zero() -> None:
    for root in (np.sqrt, ft.checkpoint(np.sqrt)):
        g = lambda x, root=root: np.where(x > 0, root(x), 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            assert ft.grad(g)(0.0) == ft.grad(ft.checkpoint(g))(0.0) == 0.0


@pytest.mark.parametrize("x", [np.zeros((0, 3)), np.array(0.5), np.array([1 + 2j, 0.5j]), np.float32(2)], ids=repr)
def test_kinds_of_arrays(x: Any) -> None:
    g = lambda x: np.sum(np.abs(np.sin(x) * x))
    ours, plain = ft.grad(ft.checkpoint(g))(x), ft.grad(g)(x)
    np.testing.assert_array_equal(ours, plain)
    assert ours.dtype == plain.dtype


def test_integers_pass_through() -> None:
    g = ft.checkpoint(lambda x, n: (x * n, n, np.argmax(x)))
    n = np.array([1, 2, 3])
    np.testing.assert_array_equal(ft.grad(lambda x: np.sum(g(x, n)[0]) + g(x, n)[2])(X), n)


def test_linear_functions_are_transposed() -> None:
    np.testing.assert_array_equal(ft.linear_transpose(ft.checkpoint(lambda x: 3 * x), X)(X)[0], 3 * X)


def test_collectives() -> None:
    def normalized(x: Any) -> Any:
        return np.sin(x) / lax.psum(x, "i")

    for h in (lambda g: g(X), lambda g: ft.grad(lambda x: np.sum(g(x) ** 2))(X)):
        ours, plain = (h(ft.vmap(k, axis_name="i")) for k in (ft.checkpoint(normalized), normalized))
        np.testing.assert_allclose(ours, plain, rtol=1e-13)


def test_methods_and_pickles() -> None:
    class Model:
        w = 2.0

        @ft.checkpoint
        def __call__(self, x: Any) -> Any:
            return np.sin(x * self.w)

    assert ft.grad(Model())(1.0) == 2 * np.cos(2.0)
    again = pickle.loads(pickle.dumps(ft.checkpoint(np.sin, policy=policies.dots_saveable)))
    assert ft.grad(again)(1.0) == np.cos(1.0)


def test_names_are_identities() -> None:
    tree = {"a": X, "b": [1.0]}
    named = checkpoint_name(tree, "parts")
    assert ft.tree.structure(named) == ft.tree.structure(tree)
    np.testing.assert_array_equal(named["a"], X)
    assert "name[name=parts]" in str(ft.make_jaxpr(lambda x: checkpoint_name(x, "parts"))(X))
    assert ft.remat is ft.checkpoint


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ft.checkpoint(3), "checkpoint needs a function, got 3 of type int"),
        (
            lambda: ft.checkpoint(np.sin, policy="dots"),
            "checkpoint needs a policy(primitive, *avals, **params) -> bool, got 'dots' of type str: take one from "
            "functrans.checkpoint_policies",
        ),
        (
            lambda: ft.checkpoint(lambda x: "a")(1.0),
            "output of <lambda> must be an array or a number, got 'a' of type str",
        ),
        (lambda: checkpoint_name(1.0, 3), "checkpoint_name needs a string as the name, got 3 of type int"),
        (
            lambda: policies.save_only_these_names(["a"]),  # type: ignore[arg-type]
            "a policy takes names as strings, each as an argument of its own, got ['a'] of type list",
        ),
        (
            lambda: policies.save_from_both_policies(policies.dots_saveable, "a"),  # type: ignore[arg-type]
            "save_from_both_policies needs two policies, got 'a'",
        ),
    ],
)
def test_messages(call: Any, message: str) -> None:
    with pytest.raises(TypeError) as caught:
        call()
    assert str(caught.value) == message
