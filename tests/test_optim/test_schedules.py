"""functrans.optim: schedules against formulas in plain Python, for ints, arrays of steps, and traced steps."""

from math import cos, floor, pi

import numpy as np
import pytest

import functrans as ft
from functrans import optim


def cosine(t, value, steps, alpha=0.0, power=1.0):
    return value * ((1 - alpha) * (0.5 * (1 + cos(pi * min(t, steps) / steps))) ** power + alpha)


def line(t, a, b, steps):
    return a + (b - a) * min(t, steps) / steps


def onecycle(t, peak=1.0, steps=20, start=0.3, div=25.0, final=1e4):
    up, low = int(start * steps), peak / div
    if t < up:
        return peak + (low - peak) * 0.5 * (1 + cos(pi * t / up))
    last = peak / (div * final)
    return last + (peak - last) * 0.5 * (1 + cos(pi * min((t - up) / (steps - up), 1)))


def warmup(t):
    return line(t, 0.1, 1.0, 5) if t < 5 else cosine(t - 5, 1.0, 10, 0.2, 2.0)


PERIOD = {"init_value": 0.1, "peak_value": 1.0, "warmup_steps": 5, "decay_steps": 15, "end_value": 0.2, "exponent": 2.0}
STEPS = {4: 0.5, 9: 0.1}

CASES = {
    "constant": (optim.constant_schedule(0.3), lambda t: 0.3),
    "linear": (optim.linear_schedule(1.0, 0.0, 10, 3), lambda t: line(max(t - 3, 0), 1.0, 0.0, 10)),
    "polynomial": (
        optim.polynomial_schedule(2.0, 1.0, 3, 8),
        lambda t: 1.0 + (1 - min(t, 8) / 8) ** 3,
    ),
    "no steps": (optim.linear_schedule(2.0, 1.0, 0), lambda t: 2.0),
    "exponential": (optim.exponential_decay(1.0, 4, 0.5), lambda t: 0.5 ** (t / 4)),
    "staircase": (
        optim.exponential_decay(1.0, 4, 0.5, transition_begin=2, staircase=True, end_value=0.2),
        lambda t: max(0.5 ** floor(max(t - 2, 0) / 4), 0.2),
    ),
    "growth": (optim.exponential_decay(1.0, 4, 2.0, end_value=3.0), lambda t: min(2.0 ** (t / 4), 3.0)),
    "cosine": (optim.cosine_decay_schedule(2.0, 12, 0.1, 1.5), lambda t: cosine(t, 2.0, 12, 0.1, 1.5)),
    "piecewise": (optim.piecewise_constant_schedule(1.0, STEPS), lambda t: (1.0, 0.5, 0.05)[(t >= 4) + (t >= 9)]),
    "interpolated": (
        optim.piecewise_interpolate_schedule("linear", 1.0, STEPS),
        lambda t: np.interp(t, [0, 4, 9], [1.0, 0.5, 0.05]),
    ),
    "one cycle": (optim.cosine_onecycle_schedule(20, 1.0), onecycle),
    "linear cycle": (
        optim.linear_onecycle_schedule(20, 1.0),
        lambda t: np.interp(t, [0, 6, 17, 20], [0.04, 1.0, 0.04, 0.04e-4]),
    ),
    "warmup": (optim.warmup_cosine_decay_schedule(**PERIOD), warmup),
    "warmup constant": (optim.warmup_constant_schedule(0.0, 1.0, 4), lambda t: line(t, 0.0, 1.0, 4)),
    "warmup exponential": (
        optim.warmup_exponential_decay_schedule(0.0, 1.0, 4, 3, 0.5),
        lambda t: line(t, 0.0, 1.0, 4) if t < 4 else 0.5 ** ((t - 4) / 3),
    ),
    "sgdr": (optim.sgdr_schedule([PERIOD, PERIOD]), lambda t: warmup(t if t < 15 else t - 15)),
    "joined": (
        optim.join_schedules([lambda t: 7.0 + 0 * t, optim.linear_schedule(1.0, 0.0, 10)], [3]),
        lambda t: 7.0 if t < 3 else line(t - 3, 1.0, 0.0, 10),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_the_formula(name):
    schedule, formula = CASES[name]
    steps = np.arange(40)
    expected = [formula(int(t)) for t in steps]
    np.testing.assert_allclose([float(schedule(int(t))) for t in steps], expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose([schedule(np.int32(t)) for t in steps], expected, rtol=1e-12, atol=1e-15)
    if name not in ("constant", "no steps"):
        np.testing.assert_allclose(schedule(steps), expected, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(ft.vmap(schedule)(steps), expected, rtol=1e-12, atol=1e-15)
    jitted = ft.jit(schedule)
    np.testing.assert_allclose([jitted(np.int32(t)) for t in steps[::7]], expected[::7], rtol=1e-12, atol=1e-15)


def test_derivative_with_respect_to_a_value():
    def rate(peak):
        return optim.warmup_cosine_decay_schedule(0.0, peak, 5, 15)(np.int32(7))

    expected = cosine(2, 1.0, 10)
    np.testing.assert_allclose([ft.grad(rate)(0.5), ft.jit(ft.grad(rate))(0.5)], expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: optim.cosine_decay_schedule(1.0, 0),
            "cosine_decay_schedule: decay_steps must be a positive int, got 0",
        ),
        (lambda: optim.linear_schedule(1.0, 0.0, -3), "transition_steps must be an int that is not negative, got -3"),
        (lambda: optim.linear_schedule(1.0, 0.0, 2.5), "got 2.5"),
        (lambda: optim.linear_schedule(1.0, 0.0, "ten"), "got 'ten'"),
        (lambda: optim.warmup_cosine_decay_schedule(0.0, 1.0, 10, 10), "decay_steps - warmup_steps must be a positive"),
        (lambda: optim.piecewise_constant_schedule(1.0, {3: -1.0}), "factor at step 3 must not be negative"),
        (lambda: optim.piecewise_interpolate_schedule("cubic", 1.0, {}), "'linear' or 'cosine', got 'cubic'"),
        (lambda: optim.join_schedules([abs], [1, 2]), "1 schedules need one boundary less, got 2"),
        (lambda: optim.sgdr_schedule([]), "at least one period"),
    ],
)
def test_messages(make, message):
    with pytest.raises(ValueError, match=message):
        make()
