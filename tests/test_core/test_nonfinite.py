"""debug_nans and debug_infs: the first NaN or infinity stops the program, and the message says where it was made."""

import inspect
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import lax
from functrans.errors import NonFiniteError

X = np.array([1.0, -2.0, 3.0])


@pytest.fixture(autouse=True)
def default_setting() -> Iterator[None]:
    yield
    assert not ft.config.debug_nans
    assert not ft.config.checks_values


def root_of_nothing(x: Any) -> Any:
    return np.sum(np.sqrt(x - x) * x)  # the derivative is inf - inf


def line_of(f: Callable[..., Any], offset: int = 0) -> str:
    return f"test_nonfinite.py:{inspect.getsourcelines(f)[1] + offset} "


def message(f: Callable[..., Any], *args: Any) -> str:
    with pytest.raises(NonFiniteError) as caught:
        f(*args)
    return str(caught.value)


def logarithm(x: Any) -> Any:
    return np.sum(np.log(x) * 2.0)


def test_the_operation_its_operands_and_the_line_are_named() -> None:
    with ft.debug_nans(True):
        text = message(ft.jit(logarithm), X)
    assert line_of(logarithm, 1) in text
    assert "(in logarithm):" in text
    assert "log(float64[3]) made NaN of operands without one, in 1 of 3 elements; the first is [1], of -2.0" in text


def test_the_parts_of_a_program() -> None:
    with ft.debug_nans(True), np.errstate(divide="ignore"):
        assert "backward pass" in message(ft.grad(root_of_nothing), X)
        assert line_of(root_of_nothing, 1) in message(ft.jit(ft.grad(ft.jit(root_of_nothing))), X)
        assert "pass" not in message(ft.value_and_grad(logarithm), X)
    with ft.debug_infs(True):
        assert "div(float64[3], float64[3]) made an infinity" in message(ft.grad(root_of_nothing), X)
        assert ", derivative)" in message(ft.grad(root_of_nothing), X)
        assert ", derivative)" in message(lambda x: ft.jvp(np.sqrt, (x,), (x,)), np.zeros(2))


PROGRAMS: dict[str, Callable[..., Any]] = {
    "jit": ft.jit(ft.jit(logarithm)),
    "value_and_grad": ft.value_and_grad(logarithm),
    "jvp": lambda x: ft.jvp(logarithm, (x,), (x,)),
    "linearize": lambda x: ft.linearize(logarithm, x),
    "vjp": lambda x: ft.vjp(logarithm, x),
    "vmap": lambda x: ft.vmap(logarithm)(x),
    "scan": lambda x: lax.scan(lambda c, y: (c + logarithm(y), c), 0.0, x),
    "jitted scan": ft.jit(lambda x: lax.scan(lambda c, y: (c + logarithm(y), c), 0.0, x)),
    "gradient of scan": ft.value_and_grad(lambda x: lax.scan(lambda c, y: (c * logarithm(y), c), 1.0, x)[0]),
    "cond": lambda x: lax.cond(x[0] > 0, logarithm, np.sum, x),
    "while_loop": ft.jit(lambda x: lax.while_loop(lambda c: c[0] < 2, lambda c: (c[0] + 1, logarithm(x)), (0, 0.0))),
    "fori_loop": ft.jit(lambda x: lax.fori_loop(0, 2, lambda i, c: c + logarithm(x), 0.0)),
    "checkpoint": ft.value_and_grad(ft.checkpoint(logarithm)),
    "custom_jvp": ft.jit(ft.custom_jvp(logarithm)),
    "custom_vjp": ft.jit(ft.custom_vjp(logarithm)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_inner_programs_are_checked(name: str) -> None:
    with ft.debug_nans(True):
        assert line_of(logarithm, 1) in message(PROGRAMS[name], X)


def test_a_value_that_python_asks_for() -> None:
    def f(x: Any) -> Any:
        return x if np.log(x) > 0 else 2 * x

    with ft.debug_nans(True):
        assert line_of(f, 1) in message(ft.grad(f), -1.0)


def test_the_line_is_that_of_this_program_and_not_of_an_equal_one() -> None:
    def f(x: Any) -> Any:
        return np.log(x)

    def g(x: Any) -> Any:
        return np.log(x)

    with ft.debug_nans(True):
        for h in (f, g):
            assert line_of(h, 1) in message(ft.jit(h), -1.0)


def test_scopes_are_named() -> None:
    def f(x: Any) -> Any:
        with ft.named_scope("encoder"), ft.named_scope("attention"):
            return np.log(x)

    with ft.debug_nans(True):
        assert "(in f, scope encoder/attention):" in message(ft.jit(f), -1.0)


def test_operands_that_have_one_already_are_not_blamed() -> None:
    x = np.array([np.nan, np.inf, 1.0])
    with ft.debug_nans(True), ft.debug_infs(True):
        np.testing.assert_array_equal(ft.jit(lambda x: np.sin(x[2:]) + x * 2)(x)[0], np.nan)
        assert "sub(float64[], float64[]) made NaN" in message(ft.jit(lambda x: x[1] - x[1]), x)


def test_gradients_that_are_safe_do_not_stop() -> None:
    with ft.debug_nans(True), np.errstate(divide="ignore"):
        assert ft.grad(lambda x: np.where(x > 0, np.sqrt(x), 0.0))(0.0) == 0


def test_results_are_the_same_and_arrays_of_their_own() -> None:
    def f(x: Any) -> Any:
        return x, x[0], x.T, np.tanh(x) @ np.ones((3, 3)), np.zeros(2), x > 0, np.sum(x)

    x = np.arange(9.0).reshape(3, 3)
    expected = ft.jit(f)(x)
    with ft.debug_nans(True):
        out = ft.jit(f)(x)
    for a, b in zip(out, expected, strict=True):
        assert type(a) is type(b)
        np.testing.assert_array_equal(a, b)
        if type(a) is np.ndarray:
            assert a.flags.writeable
            assert not np.shares_memory(a, x)


def test_numpy_does_not_warn_of_what_is_an_error() -> None:
    with ft.debug_nans(True):
        message(ft.jit(np.log), -1.0)
        with pytest.warns(RuntimeWarning, match="divide by zero"):
            ft.jit(np.log)(0.0)
    with ft.debug_infs(True):
        message(ft.jit(np.log), 0.0)
        message(ft.jit(np.exp), 1000.0)


def test_blocks_and_decorators() -> None:
    assert not ft.config.debug_nans
    with ft.debug_nans(True):
        with ft.debug_nans(False):
            assert not ft.config.checks_values
        assert ft.config.debug_nans
        with ft.debug_infs():
            assert ft.config.debug_nans
            assert ft.config.debug_infs
        assert not ft.config.debug_infs
        assert ft.config.checks_values

    @ft.debug_nans(True)
    def f(x: Any) -> Any:
        return ft.jit(np.log)(x)

    message(f, -1.0)
    with pytest.warns(RuntimeWarning, match="invalid value"):
        ft.jit(np.log)(-1.0)
    with pytest.raises(ZeroDivisionError), ft.debug_nans(True):
        1 / 0  # noqa: B018


def test_it_holds_for_other_threads() -> None:
    found: list[str] = []
    with ft.debug_nans(True):
        thread = threading.Thread(target=lambda: found.append(message(ft.jit(np.log), -1.0)))
        thread.start()
        thread.join()
    assert re.search("log.* made NaN", found[0])


def test_complex_numbers_and_integers() -> None:
    with ft.debug_nans(True), np.errstate(all="ignore"):
        assert "made NaN" in message(ft.jit(lambda z: z / z), 0j)
        assert ft.jit(lambda n: n // 2)(3) == 1
