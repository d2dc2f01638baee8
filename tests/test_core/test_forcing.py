"""Values that Python asks for while effects wait: which of them happen, when, and that none happens twice."""

from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import lax
from functrans.core.effects import is_effectful, without_effects, without_unused_effects
from functrans.core.tracer import Tracer
from functrans.errors import ConcretizationTypeError, MissingRuleError
from tests.effect_log import SCALAR, Log

log = Log()

NESTINGS: dict[str, Any] = {
    "grad": ft.grad,
    "jvp": lambda f: lambda x: ft.jvp(f, (x,), (1.0,))[1],
    "vjp": lambda f: lambda x: ft.vjp(f, x)[1](1.0)[0],
    "linearize": lambda f: lambda x: ft.linearize(f, x)[1](1.0),
    "vmap": lambda f: ft.vmap(f, in_axes=None, axis_size=2),
    "grad of grad": lambda f: ft.grad(ft.grad(f)),
    "grad of jvp": lambda f: ft.grad(lambda x: ft.jvp(f, (x,), (1.0,))[1]),
    "hessian": ft.hessian,
}
every_nesting = pytest.mark.parametrize("transform", NESTINGS.values(), ids=NESTINGS)


@every_nesting
def test_an_effect_whose_result_is_asked_happens_then_and_once(transform: Any) -> None:
    seen = []

    def f(x: Any) -> Any:
        log.note("first", x)
        n = log.ask("n", answer=3.0)
        log.note("second", x)
        if n > 2:
            seen.append(list(log))
            x = x * n
        log.note("third", x)
        return x * x

    assert log.during(transform(f), 2.0) == [("first", 2.0), "n", ("second", 2.0), ("third", 6.0)]
    assert seen == [[("first", 2.0), "n"]]


def test_the_derivative_is_that_of_the_values_that_came() -> None:
    def f(x: Any) -> Any:
        n = log.ask("n", answer=3.0)
        y = x * n
        for _ in range(int(n)):
            y = y * x
        return y

    assert ft.grad(f)(2.0) == 3.0 * 4 * 8.0
    assert ft.grad(ft.grad(f))(2.0) == 3.0 * 4 * 3 * 4.0


@every_nesting
def test_a_value_that_does_not_come_from_an_effect_makes_none_happen(transform: Any) -> None:
    def f(x: Any) -> Any:
        log.note("first", x)
        log.ask("n")
        y = np.sin(x)
        if y > 0:
            y = y * 2.0
        assert not log, "too early"
        return y

    assert log.during(transform(f), 0.5) == [("first", 0.5), "n"]


def test_what_is_printed_inside_of_a_jitted_function_waits_too() -> None:
    @ft.jit
    def cube(x: Any) -> Any:
        log.note("cube", x)
        return x * x * x

    def f(x: Any) -> Any:
        y = cube(x)
        if y > 0:
            y = y * 2.0
        assert not log
        if log.ask("n") > 0:
            y = y + 1.0
        assert log == [("cube", 2.0), "n"]
        return y

    for transform in (ft.grad, lambda f: ft.grad(ft.grad(f))):
        log.clear()
        assert transform(f)(2.0) == 24.0
        assert log == [("cube", 2.0), "n"]


def test_of_a_jitted_function_only_the_effect_that_is_asked_is_forced() -> None:
    @ft.jit
    def f(x: Any) -> Any:
        n = log.ask("n", answer=2.0)
        log.note("later", x)
        return x * x * n

    def g(x: Any) -> Any:
        y = f(x)
        if y > 0:
            assert log == ["n"]
            y = y * 3.0
        return y

    assert log.during(ft.grad(g), 1.0) == ["n", ("later", 1.0)]
    log.clear()
    assert ft.grad(g)(1.0) == 12.0


@pytest.mark.parametrize("transform", [lambda f: f, ft.grad, lambda f: ft.grad(ft.grad(f))])
def test_effects_around_an_inner_recording_come_first(transform: Any) -> None:
    def outer(x: Any) -> Any:
        log.note("outer", x)

        def inner(y: Any) -> Any:
            log.note("y", y)
            log.note("x", x)  # although it belongs to the outer function
            n = log.ask("n", answer=2.0)
            log.note("after", y)
            assert n.item() == 2.0
            return y * y * x * n

        z = ft.grad(inner)(2.0 * x)
        log.note("z", z)
        return z * x

    got = log.during(transform(outer), 3.0)
    assert got == [("outer", 3.0), ("y", 6.0), ("x", 3.0), "n", ("after", 6.0), ("z", 72.0)]


@pytest.mark.parametrize(
    "loop",
    [
        lambda body, x: lax.scan(lambda c, _: (body(c), c), x, None, length=2)[0],
        lambda body, x: lax.while_loop(lambda c: c[0] < 2, lambda c: (c[0] + 1, body(c[1])), (0, x))[1],
        lambda body, x: lax.cond(x > 0, lambda x: body(body(x)), body, x),
        lambda body, x: ft.checkpoint(lambda x: body(body(x)))(x),
    ],
)
def test_a_loop_whose_effects_have_happened_keeps_its_derivative(loop: Any) -> None:
    """The callbacks give again what they gave."""
    answers = iter(range(2, 1000))

    def body(x: Any) -> Any:
        log.note("step", x)
        return x * ft.io_callback(lambda: float(next(answers)), SCALAR)

    def f(x: Any) -> Any:
        nonlocal answers
        answers = iter(range(2, 1000))
        y = loop(body, x)
        log.note("end", y)
        if y > 0:
            assert log == [("step", 1.0), ("step", 2.0)]
            y = y * x
        return y

    for transform in (ft.grad, lambda f: ft.grad(ft.grad(f))):
        log.clear()
        assert transform(f)(1.0) == 12.0
        assert log == [("step", 1.0), ("step", 2.0), ("end", 6.0)]


def test_printing_and_formatting_ask_for_the_value(capsys: pytest.CaptureFixture[str]) -> None:
    def f(x: Any) -> Any:
        n = log.ask("n", answer=3.0)
        print(n, f"{n:.2f}")
        return x * n

    assert log.during(ft.grad(f), 1.0) == ["n"]
    assert capsys.readouterr().out == "3.0 3.00\n"


def test_an_effect_that_reads_the_result_of_another() -> None:
    def f(x: Any) -> Any:
        a = log.ask("a", answer=2.0)
        b = log.ask("b", a + 1.0, answer=5.0)
        log.note("waits", b)
        return x * b if b > a else x

    assert log.during(ft.grad(f), 1.0) == ["a", ("b", 3.0), ("waits", 5.0)]
    assert ft.grad(f)(1.0) == 5.0


def test_many_effects_take_linear_time() -> None:
    def f(x: Any) -> Any:
        n: Any = 0.0
        for i in range(300):
            n = ft.io_callback(lambda n: n + 1.0, SCALAR, n)
            if i % 10 == 0:
                assert n > i
        return x * n

    assert ft.grad(f)(1.0) == 300.0


# --------------------------------------------------------------------------------------------------------------------
# What cannot happen yet


@pytest.mark.parametrize(
    "transform", [ft.jit, lambda f: ft.jit(ft.grad(f)), lambda f: ft.grad(ft.jit(f)), ft.make_jaxpr]
)
def test_while_a_program_is_staged_no_effect_happens(transform: Any) -> None:
    def f(x: Any) -> Any:
        log.note("x", x)
        return x if log.ask("n") > 0 else -x

    message = r"the result of the io_callback at .*effect_log.py.*, which has no value"
    assert log.during(transform(f), 1.0, raises=ConcretizationTypeError, match=message) == []


def test_one_that_waits_for_a_mapped_argument() -> None:
    def f(x: Any, shared: Any) -> Any:
        log.note("x", x)
        return shared if log.ask("n", shared) > 0 else -shared

    message = r"argument x of f \(on which the debug_callback at .* depends, which has to happen before\)"
    g = ft.vmap(f, (0, None))
    assert log.during(g, np.ones(2), 1.0, raises=ConcretizationTypeError, match=message) == []


def test_a_derivative_that_would_be_lost() -> None:
    def f(x: Any) -> Any:
        return x if log.ask("n", x) > 0 else -x

    message = r"io_callback at .* derivative with respect to argument x of f would be lost.*stop_gradient"
    assert log.during(ft.grad(f), 1.0, raises=MissingRuleError, match=message) == []
    assert ft.grad(lambda x: f(lax.stop_gradient(x)) * x)(2.0) == 2.0


# --------------------------------------------------------------------------------------------------------------------
# Errors


class BrokenError(Exception):
    pass


def broken(x: Any) -> Any:
    log.note("before", x)
    log.note("just before", 2.0 * x)
    raise BrokenError("by the function")


@every_nesting
def test_what_was_printed_before_an_error_is_seen(transform: Any) -> None:
    got = log.during(transform(broken), 1.0, raises=BrokenError)
    assert got == [("before", 1.0), ("just before", 2.0)]


@pytest.mark.parametrize("transform", [ft.jit, lambda f: ft.jit(ft.grad(f)), lambda f: ft.grad(ft.jit(f))])
def test_but_nothing_of_a_program_that_is_staged(transform: Any) -> None:
    assert log.during(transform(broken), 1.0, raises=BrokenError) == []


def test_an_error_that_is_caught_repeats_no_effect() -> None:
    def f(x: Any) -> Any:
        log.note("outer", x)
        n = log.ask("n", answer=2.0)
        try:
            ft.grad(broken)(x)
        except BrokenError:
            assert log == [("outer", 1.0), "n", ("before", 1.0), ("just before", 2.0)]
        log.note("after", x)
        return x * x * n

    assert ft.grad(f)(1.0) == 4.0
    assert log.during(ft.grad(f), 1.0) == [("outer", 1.0), "n", ("before", 1.0), ("just before", 2.0), ("after", 1.0)]


def failing(*_: Any) -> Any:
    log.append("fails")
    raise BrokenError("by the callback")


def test_effects_before_an_error_do_not_hide_it() -> None:
    def f(x: Any) -> Any:
        log.note("first", x)
        ft.debug.callback(failing)
        log.note("not after a failure", x)
        raise ValueError("of the function")

    got = log.during(ft.grad(f), 1.0, raises=ValueError, match="of the function")
    assert got == [("first", 1.0), "fails"]


def test_the_error_of_a_callback_is_raised_where_its_result_is_asked() -> None:
    def f(x: Any) -> Any:
        n = ft.io_callback(failing, SCALAR)
        try:
            return x * 2.0 if n > 0 else x
        except BrokenError:
            log.note("survived", x)
            return x * 5.0

    assert ft.grad(f)(1.0) == 5.0
    assert log.during(ft.grad(f), 1.0) == ["fails", ("survived", 1.0)]


@pytest.mark.parametrize("use", [lambda x, n: x * n, lambda x, n: (log.note("n", n), x)[1]])
def test_the_result_of_a_callback_that_has_failed_cannot_be_used(use: Any) -> None:
    def f(x: Any) -> Any:
        n = ft.io_callback(failing, SCALAR)
        for _ in range(2):
            with pytest.raises(BrokenError):
                bool(n)
        return use(x, n)

    assert log.during(ft.grad(f), 1.0, raises=BrokenError) == ["fails"]


# --------------------------------------------------------------------------------------------------------------------
# Programs without effects


def test_without_effects() -> None:
    @ft.jit
    def f(x: Any) -> Any:
        log.note("x", x)
        n = log.ask("n")
        return lax.sin(x), lax.mul(x, n)

    closed = ft.make_jaxpr(f)(1.0)
    (eqn,) = closed.jaxpr.eqns
    assert is_effectful(closed.jaxpr)
    assert without_effects(eqn.operation).effectful, "the second output needs one"
    inner = eqn.params["jaxpr"]
    stripped = without_unused_effects(inner)
    assert [e.primitive.name for e in stripped.eqns] == ["io_callback", "sin", "mul"]
    pure = ft.make_jaxpr(lambda x: x * 2.0)(1.0).jaxpr
    assert without_unused_effects(pure) is pure
    assert without_effects(pure.eqns[0].operation) is pure.eqns[0].operation


def test_an_effect_in_plain_code_happens_at_once() -> None:
    assert log.during(lambda: log.note("now", 1.0)) == [("now", 1.0)]
    assert not isinstance(log.ask("now"), Tracer)
    log.clear()


def test_callbacks_may_use_functrans() -> None:
    """What a callback computes is no business of the recording in which it is called."""

    def inside(x: Any) -> Any:
        log.note("inside", x)
        return ft.grad(lambda x: (log.note("deeper", x), x * x)[1])(x)

    def f(x: Any) -> Any:
        log.note("before", x)
        n = ft.io_callback(inside, SCALAR, lax.stop_gradient(x))
        return x * n if n > 0 else x

    assert log.during(ft.grad(f), 3.0) == [("before", 3.0), ("inside", 3.0), ("deeper", 3.0)]
    assert ft.grad(f)(3.0) == 6.0
