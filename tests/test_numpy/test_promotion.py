"""Promotion and broadcasting of operands."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import functrans as ft
import functrans.numpy as fnp
from functrans.core.aval import Aval, aval_of
from functrans.numpy.promotion import loop_dtypes, result_type
from tests.test_numpy.agreement import DTYPES

NAMES = st.sampled_from(DTYPES)
SCALARS = st.sampled_from([1, 1.5, 1j])


@given(x=NAMES, y=NAMES)
def test_loops_are_numpys(x, y):
    x, y = np.zeros(2, x), np.zeros(2, y)
    assert loop_dtypes(np.add, (aval_of(x), aval_of(y)))[-1] == np.add(x, y).dtype


@given(x=NAMES, y=SCALARS)
def test_python_scalars_give_way(x, y):
    x = np.zeros(2, x)
    assert loop_dtypes(np.multiply, (aval_of(x), aval_of(y)))[-1] == np.multiply(x, y).dtype
    assert result_type(aval_of(x), aval_of(y)) == np.result_type(x, y)


@given(x=SCALARS, y=SCALARS)
def test_python_scalars_alone(x, y):
    assert loop_dtypes(np.add, (aval_of(x), aval_of(y)))[-1] == np.add(x, y).dtype
    assert result_type(aval_of(x), aval_of(y)) == np.result_type(type(x), type(y))


def test_a_dtype_that_is_asked_for():
    aval = Aval((), np.dtype("int8"))
    assert loop_dtypes(np.add, (aval, aval), np.dtype("float64")) == (np.dtype("float64"),) * 3
    with pytest.raises(TypeError, match="cast"):
        loop_dtypes(np.sin, (Aval((), np.dtype("complex128")),), np.dtype("float64"))


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="broadcast"):
        ft.jit(lambda x, y: x + y)(np.ones(2), np.ones(3))
    with pytest.raises(ValueError, match="broadcast"):
        ft.jit(lambda x: fnp.broadcast_to(x, (2,)))(np.ones(3))


def test_result_type_of_tracers():
    def function(x):
        assert np.result_type(x, np.float32) == np.float64
        assert fnp.result_type(x, 1.0) == np.float64
        return x

    ft.jit(function)(np.ones(2))


def test_a_gradient_has_its_parameters_dtype():
    x = np.float32([1, 2])
    assert ft.grad(lambda x: np.sum(x * np.ones(2)))(x).dtype == np.float32
    assert ft.grad(lambda x: np.mean(x * np.ones(2, np.float16)))(x).dtype == np.float32
