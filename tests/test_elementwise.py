"""Elementwise primitives where they are not smooth, and their errors. Everything else is in the table of primitives.

Warnings are errors here: where a derivative exists, no rule may pass through an infinity or a NaN to get it.
"""

import math

import numpy as np
import pytest

import functrans as ft
from functrans import lax
from functrans.core.aval import Aval

INF, NAN = np.inf, np.nan


def derivatives(f, *points):
    """The partial derivatives at a point, in reverse mode; those of forward mode are the same."""
    xs = [np.asarray(x, float) for x in points]
    backward = ft.vjp(f, *xs)[1](np.ones(()))
    for i, expected in enumerate(backward):
        tangents = [np.ones(()) if j == i else np.zeros(()) for j in range(len(xs))]
        np.testing.assert_array_equal(ft.jvp(f, xs, tangents)[1], expected)
    return [float(ct) for ct in backward]


@pytest.mark.parametrize(
    ("f", "point", "expected"),
    [
        (lax.abs, (0.0,), [1]),
        (lax.abs, (-0.0,), [1]),
        (lax.max, (1, 1), [0.5, 0.5]),
        (lax.max, (INF, INF), [0.5, 0.5]),
        (lax.max, (-INF, 0), [0, 1]),
        (lax.max, (NAN, 0), [0, 0]),
        (lax.min, (1, 1), [0.5, 0.5]),
        (lax.min, (1, 2), [1, 0]),
        (lax.clamp, (0, 0, 1), [0, 0, 0]),
        (lax.clamp, (0, 1, 1), [0, 0, 0]),
        (lax.clamp, (0, -1, 1), [1, 0, 0]),
        (lax.clamp, (0, 3, 1), [0, 0, 1]),
        (lax.clamp, (2, 1.5, 1), [0, 0, 1]),
        (lax.copysign, (0.0, -1), [-1, 0]),
        (lax.copysign, (-2, -1), [1, 0]),
        (lax.hypot, (0, 0), [0, 0]),
        (lax.hypot, (1e-200, 0), [1, 0]),
        (lax.hypot, (0, -1e200), [0, -1]),
        (lax.atan2, (0, 0), [0, 0]),
        (lax.atan2, (0, 1e-200), [1e200, 0]),
        (lax.atan2, (1e200, 0), [0, -1e-200]),
        (lax.asinh, (1e200,), [1e-200]),
        (lax.logistic, (-1000,), [0]),
        (lax.logistic, (1000,), [0]),
        (lax.logaddexp, (-INF, -INF), [0.5, 0.5]),
        (lax.logaddexp, (INF, INF), [0.5, 0.5]),
        (lax.logaddexp, (-INF, 1), [0, 1]),
        (lax.logaddexp, (1, INF), [0, 1]),
        (lax.logaddexp, (0, 1000), [0, 1]),
        (lax.logaddexp2, (-INF, -INF), [0.5, 0.5]),
        (lax.logaddexp2, (0, 0), [0.5, 0.5]),
        (lax.pow, (0, 2), [0, 0]),
        (lax.pow, (0, 1), [1, 0]),
        (lax.pow, (0, 0), [0, 0]),
        (lax.pow, (2, 0), [0, math.log(2)]),
        (lambda x: lax.pow(x, 2.0), (0,), [0]),
        (lambda x: lax.pow(x, 0.0), (0,), [0]),
        (lambda x: lax.pow(x, 3.0), (-2,), [12]),
        (lambda x: lax.integer_pow(x, 0), (0,), [0]),
        (lambda x: lax.integer_pow(x, 1), (0,), [1]),
        (lambda x: lax.integer_pow(x, 2), (0,), [0]),
        (lambda x: lax.integer_pow(x, 3), (0,), [0]),
        (lax.rem, (0.3, 0.1), [1, -2]),
        (lax.mod, (-7, 3), [1, 3]),
        (lax.mod, (1, INF), [1, 0]),
        (lax.floor_divide, (7.5, 2), [0, 0]),
        (lax.sign, (0,), [0]),
        (lax.round, (0.5,), [0]),
        (lax.nextafter, (1, 2), [1, 0]),
        (lax.erf, (50,), [0]),
        (lax.stop_gradient, (1,), [0]),
    ],
)
def test_derivatives_at_edges(f, point, expected):
    np.testing.assert_allclose(derivatives(f, *point), expected, rtol=1e-12)


def test_mixed_second_derivative_of_pow_where_the_exponent_is_zero():
    slope = lambda x, y: ft.grad(lax.pow)(x, y)
    assert ft.grad(slope, argnums=1)(2.0, 0.0) == 0.5
    assert ft.grad(ft.grad(lax.pow))(3.0, 0.0) == 0.0


def test_second_derivative_of_integer_pow_at_zero():
    np.testing.assert_array_equal(
        [ft.grad(ft.grad(lambda x, n=n: lax.integer_pow(x, n)))(0.0) for n in range(5)], [0, 0, 2, 0, 0]
    )


def test_derivative_of_complex_abs_at_zero_is_zero():
    np.testing.assert_array_equal(ft.vjp(lax.abs, np.zeros(2, complex))[1](np.ones(2)), [np.zeros(2)])


def test_gradient_of_a_real_function_of_complex_numbers_is_not_conjugated():
    z = np.array([3 - 4j])
    np.testing.assert_allclose(ft.vjp(lax.abs, z)[1](np.ones(1))[0], z.conj() / 5)
    np.testing.assert_array_equal(ft.vjp(lax.imag, z)[1](np.ones(1))[0], [-1j])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_rounding_halves(dtype):
    info = np.finfo(dtype)
    below = np.nextafter(np.array(0.5, dtype), np.array(0, dtype))
    x = np.array([0.5, 1.5, 2.5, -0.5, -2.5, below, -below, -0.0, 1 / info.eps + 1, -INF, NAN], dtype)
    expected = np.array([1, 2, 3, -1, -3, 0, -0.0, -0.0, 1 / info.eps + 1, -INF, NAN], dtype)
    rounded = lax.round(x)
    np.testing.assert_array_equal(rounded, expected, strict=True)
    np.testing.assert_array_equal(np.signbit(rounded), np.signbit(expected))
    np.testing.assert_array_equal(lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN), np.rint(x), strict=True)


def test_logistic_does_not_overflow():
    x = np.array([-1e5, -700.0, 0.0, 1e5, -INF, INF])
    np.testing.assert_allclose(lax.logistic(x), [0, np.exp(-700), 0.5, 1, 0, 1], rtol=1e-14)


@pytest.mark.parametrize(("f", "limits"), [(lax.erf, (-1, 1)), (lax.erfc, (2, 0))])
def test_erf_at_infinity(f, limits):
    np.testing.assert_array_equal(f(np.array([-INF, INF, NAN, -1e300, 1e300])), [*limits, NAN, *limits])


@pytest.mark.parametrize(("f", "exact"), [(lax.erf, math.erf), (lax.erfc, math.erfc)])
def test_erf_keeps_its_digits(f, exact):
    x = np.concatenate([np.linspace(-6, 26, 2001), np.logspace(-300, 0, 300)])
    np.testing.assert_allclose(f(x), [exact(v) for v in x], rtol=4e-15)


def test_erf_inv_keeps_its_digits():
    tails = 1 - np.logspace(-16, -1, 50)
    p = np.concatenate([np.linspace(-0.99, 0.99, 199), tails, -tails])
    x = lax.erf_inv(p)
    # Where erf is flat, erfc tells.
    np.testing.assert_allclose([math.erfc(abs(v)) for v in x], 1 - np.abs(p), rtol=2e-13)
    np.testing.assert_allclose(
        lax.erf_inv(np.array([1e-300, 1e-9])) / [1e-300, 1e-9], math.sqrt(math.pi) / 2, rtol=1e-15
    )
    np.testing.assert_array_equal(lax.erf_inv(np.array([-1, 1, 2, NAN])), [-INF, INF, NAN, NAN])


def test_shifting_everything_out():
    x, far = np.array([-7, 7], np.int8), np.array([8, 100], np.int8)
    np.testing.assert_array_equal(lax.shift_left(x, far), [0, 0])
    np.testing.assert_array_equal(lax.shift_right_arithmetic(x, far), [-1, 0])
    np.testing.assert_array_equal(lax.shift_right_logical(x, far), [0, 0])
    np.testing.assert_array_equal(lax.shift_right_logical(x, np.array([-1, -1], np.int8)), [0, 0])


def test_numbers_of_select_n_out_of_range_count_as_the_nearest_also_backwards():
    which = np.array([-3, 0, 1, 2, 9])
    a, b = np.zeros(5), np.ones(5)
    np.testing.assert_array_equal(lax.select_n(which, a, b), [0, 0, 1, 1, 1])
    cts = ft.vjp(lambda a, b: lax.select_n(which, a, b), a, b)[1](np.ones(5))
    np.testing.assert_array_equal(cts, [[1, 1, 0, 0, 0], [0, 0, 1, 1, 1]])


def test_select_hides_what_it_does_not_choose():
    x = np.array([0.0, 2.0])
    f = lambda x: lax.reduce_sum(lax.select(lax.gt(x, 1), lax.mul(x, x), x), (0,))
    np.testing.assert_array_equal(ft.grad(f)(x), [1, 4])


def test_views_are_copied_on_the_way_out():
    z = np.array([1 + 2j, 3 - 1j])
    for f in (lax.real, lax.imag, lax.stop_gradient, lax.copy):
        assert not np.shares_memory(ft.jit(f)(z), z)


def test_conj_of_real_numbers_is_themselves():
    x = np.ones(2)
    assert lax.conj(x) is x


WEAK = Aval((), np.dtype(float), True)


def test_results_are_weak_where_all_operands_are():
    def weak(primitive, *avals):
        return primitive.operation(avals, {}).out_avals[0].weak

    assert weak(lax.add_p, WEAK, WEAK)
    assert not weak(lax.add_p, WEAK, WEAK.strong)
    assert not weak(lax.lt_p, WEAK, WEAK)
    assert not weak(lax.abs_p, Aval((), np.dtype(complex), True))
    assert weak(lax.select_n_p, Aval((), np.dtype(bool)), WEAK, WEAK)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: lax.add(np.ones(2), np.ones(3)),
            r"add: operands must have the same shape.*float64\[2\], float64\[3\]",
        ),
        (lambda: lax.add(np.ones(2), np.ones(2, np.float32)), r"add: .*float64\[2\], float32\[2\]"),
        (lambda: lax.sin(np.arange(2)), r"sin takes floats and complex numbers, got int64\[2\]"),
        (lambda: lax.floor(np.ones(2, complex)), r"floor takes floats, got complex128\[2\]"),
        (lambda: lax.neg(np.array([True])), r"neg takes .*, got bool\[1\]"),
        (lambda: lax.add(np.arange(2), 2.5), r"the number 2.5 does not fit .* int64"),
        (lambda: lax.mul(np.ones(2), 1j), r"the number 1j does not fit .* float64"),
        (lambda: lax.complex(np.ones(2, np.float16), 0), r"complex: .* float16"),
        (lambda: lax.round(np.arange(2)), r"round takes floats and complex numbers, got int64\[2\]"),
        (lambda: lax.round(np.ones(2, complex)), r"round .*TO_NEAREST_EVEN only, got complex128\[2\]"),
        (lambda: lax.integer_pow(np.arange(2), -1), r"integer_pow: the power -1 of integers, int64\[2\]"),
        (lambda: lax.integer_pow(np.array([True]), 2), r"integer_pow takes numbers, got bool\[1\]"),
        (lambda: lax.integer_pow(np.ones(2), 2.0), "float"),
        (lambda: lax.select_n(np.ones(2), np.ones(2), np.ones(2)), r"select_n: the first operand must be boolean"),
        (lambda: lax.select_n(np.array([True]), *[np.ones(1)] * 3), r"select_n: booleans choose between two"),
        (
            lambda: lax.select_n(np.array([True]), np.ones(1), np.arange(1)),
            r"select_n: the cases .*float64\[1\], int64\[1\]",
        ),
        (
            lambda: lax.select_n(np.array([True, False]), np.ones(3), np.ones(3)),
            r"select_n: .*bool\[2\] and float64\[3\]",
        ),
        (lambda: lax.select_n(np.array([True])), "select_n needs at least one case"),
    ],
)
def test_errors_say_what_is_wrong(call, message):
    with pytest.raises(TypeError, match=message):
        call()
