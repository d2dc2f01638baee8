"""Times of equations: what runs, and how often."""

import numpy as np
import pytest

import functrans as ft
from functrans.explaining.timing import time_program
from functrans.passes.pipeline import finalize


def times_of(f, *args):
    program = ft.make_jaxpr(f)(*args)
    values = [*ft.tree.leaves(args), *program.consts]
    return time_program(program.jaxpr, finalize(program.jaxpr), values)


def test_every_equation_has_a_time():
    times = times_of(lambda x: np.sum(np.exp(x) @ x), np.ones((50, 50)))
    assert len(times.equations) == 3
    assert all(seconds > 0 for seconds in times.equations)
    assert times.whole > 0
    assert times.rounds >= 3


def test_the_dear_equation_is_found():
    x = np.ones((300, 300))
    times = times_of(lambda x: (x @ x @ x)[0] + 1.0, x)
    assert np.argmax(times.equations) in (0, 1)


def test_effects_happen_once_and_their_results_go_on():
    calls = []

    def count(x):
        calls.append(float(x))
        return np.float64(len(calls))

    def f(x):
        ft.debug.callback(lambda y: calls.append("seen"), x)
        return ft.io_callback(count, np.float64(0), x) * np.sin(x)

    times = times_of(f, 2.0)
    assert sorted(map(str, calls)) == ["2.0", "seen"]
    assert times.whole is None
    assert len(times.equations) == 4
    assert times.rounds >= 3


def test_loops_branches_and_keys_run():
    def f(key, x):
        x = ft.lax.fori_loop(0, 3, lambda i, x: np.sin(x), x)
        x = ft.lax.cond(x[0] > 0, np.cos, np.sin, x)
        return x + ft.random.normal(key, x.shape)

    assert times_of(f, ft.random.key(0), np.ones(4)).whole > 0


def test_a_program_without_equations():
    times = times_of(lambda x: x, np.ones(3))
    assert times.equations == ()
    assert times.whole > 0


def test_slow_programs_run_once(monkeypatch):
    monkeypatch.setattr("functrans.explaining.timing._LONG", 0.0)
    monkeypatch.setattr("functrans.explaining.timing._SECONDS", 0.0)
    calls = []
    times = times_of(lambda x: ft.pure_callback(lambda y: calls.append(1) or y, x, x), 1.0)
    assert times.rounds == 1
    assert len(calls) == 2  # once by itself, once in the whole


def test_arguments_stay_as_they_are():
    x = np.ones(4)
    x.flags.writeable = False
    assert times_of(lambda x: x * 2, x).whole > 0
    assert (x == 1).all()


def test_errors_of_the_program_are_raised():
    def fails(x):
        raise ZeroDivisionError("in the callback")

    with pytest.raises(ZeroDivisionError, match="in the callback"):
        times_of(lambda x: ft.pure_callback(fails, x, x), 1.0)
