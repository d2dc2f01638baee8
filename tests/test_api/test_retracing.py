"""The warning about functions that are recorded again and again."""

import functools
import gc
import threading
import warnings

import numpy as np
import pytest

import functrans as ft
from functrans.errors import RetraceWarning

LIMIT = 4


@pytest.fixture(autouse=True)
def limit():
    ft.clear_caches()
    ft.config.retrace_warning = LIMIT
    yield
    ft.config.retrace_warning = None


def warnings_of(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [w for w in caught if w.category is RetraceWarning]


def message_of(call):
    (warning,) = warnings_of(call)
    return str(warning.message)


def call_with(f, calls):
    return lambda: [f(*args) for args in calls]


def test_a_static_value_is_named_and_the_warning_comes_once():
    power = ft.jit(lambda x, n: x**n, static_argnums=1)
    message = message_of(call_with(power, [(2.0, n) for n in range(3 * LIMIT)]))
    assert "argument n changed its value 4 times, and it is static (last 3 -> 4)" in message
    assert "Pass it as an array" in message
    assert "recorded 5 times" in message


def test_as_many_programs_as_allowed_are_silent():
    power = ft.jit(lambda x, n: x**n, static_argnames="n")
    assert not warnings_of(lambda: [power(2.0, n=n) for _ in range(3) for n in range(LIMIT)])


def test_the_line_is_the_users():
    f = ft.jit(lambda x: x + 1)
    (warning,) = warnings_of(lambda: [f(np.ones(n)) for n in range(LIMIT + 1)])
    assert warning.filename == __file__


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        (
            lambda i: {"W": [np.ones(2), np.ones(2 + i)]},
            "argument params['W'][1] changed its shape 4 times (last float64[5] -> float64[6])",
        ),
        (
            lambda i: np.ones(2, [float, "f4", int, bool, complex][i]),
            "argument params changed its dtype 4 times (last bool[2] -> complex128[2])",
        ),
        (
            lambda i: {f"w{i}": 1.0},
            "params changed its structure 4 times (last params['w3']: a Python float -> nothing)",
        ),
        (
            lambda i: (np.sum, f"mode {i}", 1.0),
            "argument params[1] was another object 4 times, and it is static (last 'mode 3' -> 'mode 4')",
        ),
        (lambda i: (lambda x: x, 1.0), "make it once, outside of the loop"),
    ],
)
def test_the_argument_is_named_by_its_path(argument, expected):
    f = ft.jit(lambda params: ft.tree.leaves(params)[-1] * 2)
    assert expected in message_of(call_with(f, [(argument(i),) for i in range(LIMIT + 1)]))


def test_a_changing_number_of_arguments():
    f = ft.jit(lambda *xs: xs[0])
    message = message_of(call_with(f, [[1.0] * (i + 1) for i in range(LIMIT + 1)]))
    assert "xs changed its structure 4 times (last xs[4]: nothing -> a Python float)" in message


def test_weak_types_and_settings():
    f = ft.jit(lambda x, y: x * y)
    values = [1.0, np.ones(()), 1, np.ones((), int), np.ones((), "f4")]
    message = message_of(call_with(f, [(x, 1.0) for x in values]))
    assert "argument x" in message
    assert "a Python" in message


def test_the_reason_is_what_changed_most():
    f = ft.jit(lambda x, n: x * n, static_argnums=1)
    message = message_of(call_with(f, [(np.ones(1 + (i == 2)), i) for i in range(LIMIT + 1)]))
    assert "argument n changed its value 4 times" in message
    assert "and 1 more change." in message


def test_a_value_of_an_enclosing_transformation():
    held = {}
    inner = ft.jit(lambda x: x * held["w"])

    def loss(w):
        held["w"] = w
        return inner(2.0)

    message = message_of(lambda: [ft.grad(loss)(1.0) for _ in range(LIMIT + 1)])
    assert "is being differentiated or batched outside of it" in message


def test_clearing_is_no_retracing():
    f = ft.jit(lambda x: x + 1)

    def clear_and_call():
        for _ in range(3 * LIMIT):
            f.clear_cache()
            f(1.0)

    assert not warnings_of(clear_and_call)


@pytest.mark.parametrize("off", [None, 0])
def test_it_can_be_turned_off(off):
    ft.config.retrace_warning = off
    f = ft.jit(lambda x: x + 1)
    assert not warnings_of(lambda: [f(np.ones(n)) for n in range(50)])
    assert not warnings_of(lambda: [ft.jit(lambda x: x + 1)(1.0) for n in range(50)])


def test_a_function_jitted_anew_in_a_loop():
    def step(x):
        return ft.jit(lambda y: y * 2)(x)

    message = message_of(lambda: [step(1.0) for _ in range(3 * LIMIT)])
    assert f"<lambda> ({__file__}:" in message
    assert "jitted 5 times, each time anew" in message


class Model:
    def __init__(self):
        self.scale = 2.0

    def loss(self, x):
        return x * self.scale


def bound_method_of_an_object():
    return ft.jit(Model().loss)


def gradient_of_a_function():
    return ft.jit(ft.grad(lambda x: x**3))


def partial_of_a_function():
    return ft.jit(functools.partial(lambda y, x: x + y, 2.0))


@pytest.mark.parametrize("make", [bound_method_of_an_object, gradient_of_a_function, partial_of_a_function])
def test_code_is_found_behind_what_wraps_it(make):
    assert "each time anew" in message_of(lambda: [make()(1.0) for _ in range(3 * LIMIT)])


def test_functions_that_are_used_and_let_go_are_no_mistake():
    def train(rate):
        step = ft.jit(lambda x: x * rate)
        return [step(1.0) for _ in range(3)]

    assert not warnings_of(lambda: [train(i) for i in range(5 * LIMIT)])


def test_many_functions_that_live_are_no_mistake():
    def layer(scale):
        return ft.jit(lambda x: x * scale)

    kept = []
    assert not warnings_of(lambda: [kept.append(layer(i)) or kept[-1](1.0) for i in range(5 * LIMIT)])


def test_gradients_of_one_function_are_told_from_the_function():
    def f(x):
        return x**2

    kinds = [lambda: ft.jit(f), lambda: ft.jit(ft.grad(f)), lambda: ft.jit(ft.vmap(f, in_axes=None, axis_size=2))]
    assert not warnings_of(lambda: [kind()(1.0) for kind in kinds for _ in range(LIMIT - 1)])


def test_threads_count_together():
    f = ft.jit(lambda x, n: x + n, static_argnums=1)

    def call_all():
        threads = [threading.Thread(target=lambda i=i: f(1.0, i)) for i in range(3 * LIMIT)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(warnings_of(call_all)) == 1
    assert f.retraces.count == 3 * LIMIT


def test_functions_are_not_kept_alive():
    ft.config.retrace_warning = 100
    gc.collect()
    before = len([x for x in gc.get_objects() if type(x).__name__ == "Retraces"])
    for i in range(20):
        ft.jit(lambda x, i=i: x + i)(1.0)
    gc.collect()
    after = len([x for x in gc.get_objects() if type(x).__name__ == "Retraces"])
    assert after == before
