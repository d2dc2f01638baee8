"""Gradients put together from pieces: the same bits as those of whole programs, and where that is the case."""

import gc
import tracemalloc
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import functrans as ft
import functrans.numpy as fnp
from functrans.api import tape
from functrans.api.arguments import flatten_arguments, record
from functrans.api.execution import run_program
from functrans.api.pieces import NotInPieces
from functrans.api.tape import Plan
from functrans.core.jaxpr import Fresh, cached_equations
from functrans.core.primitive import Primitive, registered_primitives
from functrans.core.rules import def_abstract, def_impl
from functrans.transforms.reverse import gradient
from tests.test_primitives import DIFFERENTIABLE, Point
from tests.test_random_programs import RandomProgram, loss_of, programs

Arrays = Sequence[Any]


def both(f: Callable[..., Any], *args: Any) -> tuple[Arrays, Arrays]:
    """The value and the gradient from the whole program, and from pieces."""
    arguments = flatten_arguments(f, args, {})
    wrt = tuple([i for i, aval in enumerate(arguments.avals) if aval.inexact])
    jaxpr, values, _, _ = record(arguments, arguments.values, lambda out: ([out], None), differentiated=wrt)
    equations = tuple([(eqn.operation, eqn.inputs) for eqn in jaxpr.eqns])
    fresh = Fresh(jaxpr.in_avals, equations, jaxpr.outs, [eqn.source for eqn in jaxpr.eqns])
    whole = run_program(gradient(jaxpr, wrt), values)
    for with_value in (False, True):
        pieces = Plan(fresh, wrt, with_value).run(values)
        assert_same_bits(pieces, whole[1 - with_value :])
    return whole, pieces


def assert_same_bits(xs: Arrays, ys: Arrays) -> None:
    assert len(xs) == len(ys)
    for x, y in zip(xs, ys, strict=True):
        assert np.shape(x) == np.shape(y)
        assert x.dtype == y.dtype
        nan = np.isnan(y)  # whose sign and payload mean nothing
        np.testing.assert_array_equal(np.isnan(x), nan)
        assert np.where(nan, 0, x).tobytes() == np.where(nan, 0, y).tobytes()


def normal(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=shape)


# --------------------------------------------------------------------------------------------------------------------
# The bits


@settings(max_examples=12 * settings().max_examples)
@given(programs())
def test_random_programs(f: RandomProgram) -> None:
    xs = f.inputs()
    with suppress(NotInPieces):  # two equations that become one
        both(loss_of(f), *xs)
        both(loss_of(f), *[x.astype(np.float32) for x in xs])


NUMBERS_AND_TAPES = {"integer_pow-0", "pow-0.0", "replay", "add_tapes", "join_tapes", "choose_tapes"}
"""Cases whose results are numbers of the program, or tapes."""


def leaves_the_pieces(case: Any) -> bool:
    return case.primitive.effectful or case.primitive.is_collective or str(case) in NUMBERS_AND_TAPES


@pytest.mark.parametrize("case", [case for case in DIFFERENTIABLE if not leaves_the_pieces(case)], ids=str)
def test_every_primitive(case: Any) -> None:
    for dtype in [dtype for dtype in case.dtypes if np.dtype(dtype).kind in "fc"] or case.dtypes[:1]:
        point = Point(case, dtype, seed=3)
        weights = [normal(*np.shape(out), seed=1).astype(np.float32) for out in point.function(*point.xs)]

        def loss(*xs: Any) -> Any:
            once, again = point.function(*xs), point.function(*[x * 1.0 for x in xs])  # noqa: B023
            terms = [np.sum(np.real(y * (w + z))) for y, z, w in zip(once, again, weights, strict=True)]  # noqa: B023
            return sum(terms[1:], terms[0])

        if weights:
            both(loss, *point.xs)


def test_an_operand_used_again_gets_its_cotangents_in_order() -> None:
    def loss(x: Any, y: Any) -> Any:
        a = x * y
        b = a * x + x / y
        c = b * a * b + np.sin(x * x)
        return np.sum(c * c + c * a + x)

    both(loss, normal(5), normal(5, seed=1))
    both(loss, normal(5).astype(np.float32), normal(5, seed=1).astype(np.float32))


def softmax(x: Any) -> Any:
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def attention(x: Any, w: Any) -> Any:
    q = (x @ w.T).reshape(5, 1, 5).swapaxes(0, 1)
    k = np.tanh(w @ x.T).reshape(5, 1, 5).swapaxes(0, 1)
    return (softmax(q @ k.swapaxes(-1, -2)) @ q).swapaxes(0, 1).reshape(5, 5)


ACROSS_EQUATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "a product of a transpose": lambda x, w: x.T @ w,
    "a transpose by itself": lambda x, w: np.sin(x.T @ x) @ w.T,
    "transposes of transposes": lambda x, w: x.T.T * w + x,
    "a transpose read twice": lambda x, w: (lambda t: t @ w + np.sin(t) @ x + t @ x)(x.T) + np.sum(x * x),
    "the negative of a negative": lambda x, w: np.negative(-x) * w + x * x,
    "a negative added": lambda x, w: (lambda n: n * x + (-n + w) * n + (w + n))(-x),
    "reshapes": lambda x, w: x.reshape(-1).reshape(2, 10),
    "reshapes of a transpose": lambda x, w: x.T.reshape(-1).reshape(4, 5).T * x,
    "slices of slices": lambda x, w: x[1:][:, 1:] * 3 + x[1:, 1:],
    "elements": lambda x, w: x[1][2] * w + x[1][2] * x,
    "rows": lambda x, w: sum([np.sin(x[i]) * w[i] + x[0] for i in range(4)]),
    "broadcasts": lambda x, w: np.broadcast_to(np.broadcast_to(x, (3, 5, 4)), (2, 3, 5, 4)) * normal(2, 3, 5, 4),
    "slices of concatenations": lambda x, w: np.concatenate([x, w])[3:7] * x[1:],
    "concatenations of slices": lambda x, w: np.concatenate([x[:2], x[2:]]) * x,
    "members of stacks": lambda x, w: np.stack([x, w])[0] * w,
    "transposes of sums": lambda x, w: (x + 1.0).T @ w,
    "means": lambda x, w: (x - np.mean(x, axis=0, keepdims=True)) / np.sqrt(np.var(x, axis=0) + 1e-3),
    "new axes": lambda x, w: x[:, None, :] * w[None],
    "an axis put in and taken out": lambda x, w: (lambda e: np.sqrt(1.0 + e * e)[..., 0] + e[..., 0])(x[..., None]),
    "softmax": lambda x, w: softmax(x @ w.T) @ x + softmax(x),
    "attention": lambda x, w: attention(x, w),
}


@pytest.mark.parametrize("name", ACROSS_EQUATIONS)
def test_simplifications_across_equations(name: str) -> None:
    f = ACROSS_EQUATIONS[name]
    for dtype in (np.float64, np.float32):
        x, w = normal(5, 4).astype(dtype), normal(5, 4, seed=1).astype(dtype)
        if name == "softmax":
            w = x
        both(lambda x, w: np.sum(np.sin(f(x, w)) * 2) + np.sum(x * x), x, w)


def test_what_cannot_be_taken_apart() -> None:
    def loss(x: Any) -> Any:
        y = x * 1.5 + 1.0  # the tangent of the sum is that of the product, its value is not
        return np.sum(np.sin(np.negative(-y) * x)) + np.sum((y.T + 2.0).T @ x)

    with pytest.raises(NotInPieces):
        both(loss, normal(3, 3))
    f = ft.grad(loss)
    assert_same_bits([f(normal(3, 3))], [f(normal(3, 3))])


def test_zeros_that_a_selection_puts_stay_zero() -> None:
    def loss(x: Any) -> Any:
        y = np.where(x > 0, np.sqrt(x), 0.0)
        z = np.where(y > 1, np.log(x) * y, x)
        return np.sum(z * y) + np.max(x) / x[1] + x[0]

    with np.errstate(all="ignore"):
        whole, _ = both(loss, np.array([0.0, 1.0, 4.0]))
        assert np.isfinite(whole[1]).all()
        ft.config.nan_safe_gradients = False
        try:
            both(loss, np.array([0.0, 1.0, 4.0]))
        finally:
            ft.config.nan_safe_gradients = True


def test_numbers() -> None:
    def loss(x: Any) -> Any:
        s = x * 0 + 1 * x - 3 * x
        for i in range(6):
            s = s * i + x / (i + 2) - i
        return np.sum(s**3 + s**2 + 2**x)

    both(loss, normal(4))
    both(loss, normal(4).astype(np.float32))
    both(loss, np.float64(0.3))


def test_integers_have_no_gradient() -> None:
    def loss(x: Any, i: Any, m: Any) -> Any:
        return np.sum(x[i] * np.where(m, 2.0, i) + (x > 0) * x)

    both(loss, normal(4), np.array([2, 0, 2, 1]), np.array([True, False, True, True]))


def test_outputs_that_do_not_depend_on_an_argument() -> None:
    _, pieces = both(lambda x, y: np.sum(np.floor(x)) + y, normal(3), np.float64(2.0))
    assert pieces[1].tolist() == [0.0, 0.0, 0.0]
    assert pieces[2] == 1.0
    both(lambda x, y: y, normal(3), np.float64(2.0))
    both(lambda x, y: np.sum(np.floor(x)), normal(3), np.float64(2.0))
    both(lambda x, y: np.floor(y), normal(3), np.float64(2.0))
    both(lambda x: np.sum(x * 2), np.zeros((0, 3)))


def test_complex() -> None:
    z = normal(3) + 1j * normal(3, seed=1)
    both(lambda z: np.sum(np.abs(np.exp(z) * z + z.conj())), z)
    both(lambda z: np.sum(z * z * np.sin(z)), z)
    both(lambda z: np.sum(np.real(z) * np.imag(z * z)), z.astype(np.complex64))


def test_programs_inside() -> None:
    x, w = normal(3), normal(3, 3)

    def loss(x: Any, w: Any) -> Any:
        h, ys = ft.lax.scan(lambda h, a: (np.tanh(w @ h + a), h * a), x, np.stack([x, x * x]))
        h = ft.lax.cond(np.sum(h) > 0, lambda h: h * x, lambda h: h / 2, h)
        h = ft.lax.fori_loop(0, 3, lambda i, h: np.sin(h) + x, h)
        h = ft.jit(lambda a, b: a * b + np.exp(-a))(h, x)
        h = ft.checkpoint(lambda a: np.tanh(a * a))(h)
        return np.sum(h) + np.sum(ys[1])

    both(loss, x, w)


def test_custom_rules() -> None:
    @ft.custom_vjp
    def f(x: Any, y: Any) -> Any:
        return x * y

    f.defvjp(lambda x, y: (np.sin(x) * y, (x, y)), lambda r, ct: (ct * r[1] * 2, ct))

    @ft.custom_jvp
    def g(x: Any) -> Any:
        return x**2

    g.defjvp(lambda primals, tangents: (primals[0] ** 2, 5 * primals[0] * tangents[0]))

    def loss(x: Any, y: Any) -> Any:
        a = f(x, y)
        return np.sum(g(a) * x + f(a, y))

    both(loss, normal(3), normal(3, seed=1))


def test_layouts() -> None:
    def loss(x: Any, w: Any) -> Any:
        y = np.sin(x.T) @ np.sin(w[:, ::2] * x[:, :3])
        z = np.sum(np.tanh(y)[::-1].T * np.sin(1.5), axis=0) - np.mean(x[1:, 1:])
        return np.sum(np.concatenate([z, np.ravel(np.tanh(y.T))]) ** 2) + np.sum(np.broadcast_to(z, (3, *z.shape)))

    both(loss, normal(5, 4), normal(5, 6))
    both(loss, np.asfortranarray(normal(5, 4)), normal(6, 5).T)


# --------------------------------------------------------------------------------------------------------------------
# When it is done


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of the programs whose gradients were put together from pieces."""
    lengths: list[int] = []

    class Counted(Plan):
        def run(self, values: Any) -> Any:
            lengths.append(len(self.program.equations))
            return super().run(values)

    monkeypatch.setattr(tape, "Plan", Counted)
    ft.clear_caches()
    return lengths


def steps(x: Any, w: Any, n: int) -> Any:
    for i in range(n):
        x = np.tanh(x @ w) * 0.5 + x
        x = np.where(x > i, x[::-1], np.maximum(x, 0.0))
    return np.sum(x)


def test_at_first_sight_alone(planned: list[int]) -> None:
    x, w = normal(4), normal(4, 4)
    f = ft.grad(steps, (0, 1))
    for n in (20, 21, 22):
        calls = [f(x, w, n) for _ in range(3)]
        assert_same_bits(calls[0], calls[1])
        assert_same_bits(calls[0], calls[2])
    assert len(planned) == 3


def test_value_and_aux(planned: list[int]) -> None:
    def f(x: Any, w: Any, n: int) -> Any:
        y = steps(x, w, n)
        return y, {"half": y / 2, "x": x, "n": n}

    x, w = normal(4), normal(4, 4)
    g = ft.value_and_grad(f, has_aux=True)
    (first, aux), grads = g(x, w, 20)
    assert planned
    (second, aux_again), grads_again = g(x, w, 20)
    assert_same_bits([first, aux["half"], aux["x"], grads], [second, aux_again["half"], aux_again["x"], grads_again])
    assert not np.shares_memory(aux["x"], x)
    assert len(planned) == 1


def test_few_operations_that_are_new_are_transformed_as_a_whole(planned: list[int]) -> None:
    ft.grad(lambda x: np.sum(np.sin(x) * x))(normal(7, 11))
    assert not planned
    ft.grad(lambda x: np.sum(np.sin(x) * x + np.sin(x)))(normal(7, 11))  # all but one have come before
    ft.grad(lambda x: np.sum(np.sin(np.sin(x) * x) + x))(normal(7, 11))
    assert planned


def test_inner_gradients_are_recorded(planned: list[int]) -> None:
    g = ft.grad(lambda x, n: ft.grad(lambda x: steps(x, normal(4, 4), n))(x)[0])
    first = g(normal(4), 12)
    assert_same_bits([first], [g(normal(4), 12)])


def test_effects_and_checks_of_values_go_the_usual_way(planned: list[int], capsys: Any) -> None:
    def f(x: Any, n: int) -> Any:
        for _ in range(n):
            x = np.sin(x) * x
        ft.debug.print("x {}", x)
        return x

    ft.grad(f)(2.0, 20)
    assert capsys.readouterr().out.count("x ") == 1
    with ft.debug_nans(True), pytest.raises(ft.errors.NonFiniteError):
        ft.value_and_grad(lambda x: sum([np.log(x - i) for i in range(20)]))(3.5)
    assert not planned


def test_what_only_the_value_needs_is_not_run(planned: list[int]) -> None:
    def f(x: Any, n: int) -> Any:
        for _ in range(n):
            x = x * x + x
        return np.log(x - x)  # would warn

    with np.errstate(divide="ignore", invalid="ignore"):
        ft.grad(f)(0.1, 20)
    with pytest.raises(RuntimeWarning, match="divide by zero"):
        ft.value_and_grad(f)(0.1, 21)
    assert len(planned) == 2


def test_errors_are_those_of_the_whole_program(planned: list[int]) -> None:
    primitive = Primitive("without_derivative")
    def_impl(primitive, lambda x: x + 1)
    def_abstract(primitive, lambda x: x)

    def f(x: Any) -> Any:
        for _ in range(20):
            x = primitive.bind(x)
        return x

    for _ in range(2):
        with pytest.raises(ft.errors.MissingRuleError, match="without_derivative"):
            ft.grad(f)(1.0)


def test_programs_that_never_come_again_are_not_kept() -> None:
    f = ft.grad(steps, (0, 1))
    x, w = normal(4), normal(4, 4)
    f(x, w, 30)
    f(x, w, 31)
    before = cached_equations()
    for n in range(40, 80):
        f(x, w, n)
    assert cached_equations() <= before + 200  # what the numbers i made, and no program of hundreds of equations


def test_what_is_kept_for_operations_is_bounded() -> None:
    def f(x: Any, n: int) -> Any:
        for i in range(n):
            x = np.tanh(x**i * (i + 0.5) + x)
        return x

    ft.grad(f)(0.5, 20)
    gc.collect()
    tables = [
        table
        for primitive in registered_primitives().values()
        for operation in primitive.operations()
        for key, table in operation.memo.items()
        if key == "pieces"
    ]
    assert tables
    ft.grad(f)(0.5, 600)
    assert max(map(len, tables)) <= 256
    assert ft.cache_info().tables["pieces of gradients"].size >= max(map(len, tables))
    ft.clear_caches()
    assert ft.cache_info().tables["pieces of gradients"].size == 0


def test_values_are_let_go() -> None:
    def f(x: Any, n: int) -> Any:
        for _ in range(n):
            x = x * 2.0 + 1.0  # linear: nothing is kept
        return np.sum(x)

    x = np.ones((256, 256))
    ft.grad(f)(x, 20)
    tracemalloc.start()
    try:
        ft.grad(f)(x, 30)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * x.nbytes


def test_outputs_are_arrays_of_their_own() -> None:
    def f(x: Any, y: Any) -> Any:
        for _ in range(12):
            x = x + y
        return np.sum(x[:2]) + np.sum(fnp.ravel(y)), (x, y, x.T, y.T)

    x, y = normal(3, 3), normal(3, 3)
    (_, aux), grads = ft.value_and_grad(f, (0, 1), has_aux=True)(x, y)
    arrays = [x, y, *aux, *grads]
    for i, a in enumerate(arrays):
        assert i < 2 or a.flags.writeable
        assert not any([np.shares_memory(a, b) for b in arrays[:i]])
