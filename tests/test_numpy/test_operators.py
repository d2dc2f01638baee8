"""The operators of tracers against those of NumPy's arrays."""

import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import functrans as ft
from functrans.core.tracer import INSTALLED_METHODS, Tracer
from tests.test_numpy.agreement import arrays, assert_agrees

BINARY = [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.pow,
    operator.and_, operator.or_, operator.xor, operator.lshift, operator.rshift, divmod,
    operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne,
]  # fmt: skip
SCALARS = [2, -1, 3, 300, True, 1.5, 0.5, 2.0, 1j, np.float32(2), np.int8(3), [1, 2], (1.5, 2.5), np.array([1, 2])]


@pytest.mark.parametrize("function", BINARY)
@given(x=arrays(shape=st.sampled_from([(2,), (1, 2)])), y=st.sampled_from(SCALARS))
def test_with_scalars_and_lists(function, x, y):
    assert_agrees(lambda m, x: function(x, y), x)
    assert_agrees(lambda m, x: function(y, x), x)


@pytest.mark.parametrize("function", BINARY)
@given(x=arrays(max_dims=2), y=arrays(shape=st.sampled_from([(), (1,), (2, 1)])))
def test_with_arrays(function, x, y):
    assert_agrees(lambda m, x, y: function(x, y), x, y)
    assert_agrees(lambda m, x: function(x, y), x)
    assert_agrees(lambda m, x: function(y, x), x)


@pytest.mark.parametrize("function", [operator.neg, operator.pos, abs, operator.invert])
@given(x=arrays())
def test_unary(function, x):
    assert_agrees(lambda m, x: function(x), x)


@given(x=arrays(["int64", "float64"], st.sampled_from([(3,), (2, 3), (4, 3, 3)])))
def test_matmul(x):
    a = np.arange(9.0).reshape(3, 3)
    assert_agrees(lambda m, x: x @ a, x)
    assert_agrees(lambda m, x: a @ m.matrix_transpose(x) if x.ndim > 1 else a @ x, x)


@pytest.mark.parametrize("name", INSTALLED_METHODS)
def test_every_declared_method_is_installed(name):
    assert callable(getattr(Tracer, name))


@pytest.mark.parametrize("y", [None, "text", object()])
def test_foreign_operands(y):
    def function(x):
        assert (x == y) is False
        assert (x != y) is True
        with pytest.raises(TypeError):
            x + y
        with pytest.raises(TypeError):
            y * x
        return x

    ft.jit(function)(1.0)


def test_another_array_library_decides_itself():
    class Foreign:
        __array_ufunc__ = None

        def __add__(self, other):
            return "foreign"

        __radd__ = __add__

    class Dispatching:
        def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
            return "dispatched"

        def __array_function__(self, function, types, args, kwargs):
            return "called"

        def __radd__(self, other):
            return "reflected"

    def function(x):
        assert x + Foreign() == Foreign() + x == "foreign"
        assert x + Dispatching() == "reflected"
        assert np.add(x, Dispatching()) == np.add(Dispatching(), x) == "dispatched"
        assert np.concatenate([x, Dispatching()]) == "called"
        return x

    ft.jit(function)(np.ones(2))


def test_operators_keep_python_scalars_weak_and_ufuncs_do_not():
    three = np.float32(3)
    assert ft.jit(lambda x: three * (x * 2))(1.0).dtype == np.float32
    assert ft.jit(lambda x: three * np.multiply(x, 2))(1.0).dtype == np.float64
    assert ft.jit(lambda x: x + 1)(three).dtype == np.float32
    assert ft.jit(lambda x: np.add(x, 1.5))(three).dtype == np.float32
    assert ft.grad(lambda x: np.float32(3) * (x * 2))(1.0) == 6


@pytest.mark.parametrize("n", [-3, -1, 0, 1, 2, 3, 7, 0.5, 2.0, 65, np.int64(2)])
def test_powers_and_their_derivatives(n):
    x = np.array([0.5, 1.25])
    assert_agrees(lambda m, x: x**n, x)
    np.testing.assert_allclose(ft.grad(lambda x: np.sum(x**n))(x), n * x ** (n - 1.0), rtol=1e-12)


def test_a_power_of_zero_has_a_derivative():
    assert ft.grad(lambda x: x**2)(0.0) == 0
    assert ft.grad(lambda x: x**1)(0.0) == 1
    assert ft.grad(ft.grad(lambda x: x**2))(0.0) == 2


def test_negative_powers_of_integers_raise():
    with pytest.raises(ValueError, match="negative integer powers"):
        ft.jit(lambda x: x**-1)(np.arange(3))
    with pytest.raises(ValueError, match="negative integer powers"):
        ft.jit(lambda x: x**-65)(np.arange(3))


@pytest.mark.parametrize("function", [lambda x: x + 300, lambda x: 300 * x, lambda x: np.maximum(x, 300)])
def test_python_ints_must_fit(function):
    with pytest.raises(OverflowError, match="300 out of bounds for int8"):
        ft.jit(function)(np.int8([1]))


@pytest.mark.parametrize("y", [300, -300, 2**70, -(2**70)])
def test_comparisons_with_ints_of_any_size(y):
    for dtype in ("int8", "uint8", "int64", "uint64"):
        assert_agrees(lambda m, x: (x < y, y <= x, x == y, x != y), np.array([1, 2], dtype))


def test_int64_and_uint64_are_compared_exactly():
    x, y = np.array([-1, 2**62, 5]), np.array([2**64 - 1, 2**62, 4], np.uint64)
    for function in BINARY[-6:]:
        assert_agrees(lambda m, x, y, f=function: (f(x, y), f(y, x)), x, y)


def test_in_place_operators_rebind():
    def function(x):
        y = x
        y += 1
        y *= 2
        return x, y

    assert ft.jit(function)(3.0) == (3.0, 8.0)


def test_iteration_unpacking_containment_and_rounding():
    x = np.array([1.0, 2.5, 3.0])
    assert ft.grad(lambda x: sum(v * v for v in x))(x).tolist() == [2, 5, 6]
    assert ft.grad(lambda x: (lambda a, b, c: a * b)(*x))(x).tolist() == [2.5, 1, 0]
    assert ft.grad(lambda x: x[0] if 2.5 in x else x[1])(x).tolist() == [1, 0, 0]
    assert ft.grad(lambda x: x[0] if 7 in x else x[1])(x).tolist() == [0, 1, 0]
    assert ft.jit(round)(2.567) == 3
    assert ft.jit(lambda x: round(x, 2))(2.567) == 2.57
    with pytest.raises(TypeError, match="0-d"):
        ft.jit(list)(1.0)
    assert list(reversed([v.shape for v in [x, x]])) == [(3,), (3,)]


def test_pow_with_a_modulus_is_refused():
    with pytest.raises(TypeError):
        ft.jit(lambda x: pow(x, 2, 3))(5)
