"""Dtypes: NumPy's answers under JAX's names."""

import numpy as np
import pytest

from functrans import dtypes
from functrans.core.aval import Aval
from functrans.core.jaxpr import Literal


def test_float0_holds_nothing():
    zeros = np.zeros((2, 3), dtypes.float0)
    assert zeros.nbytes == 0
    assert zeros.shape == (2, 3)
    assert dtypes.canonicalize_dtype(dtypes.float0) is not None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (float, "float64"),
        (int, "int64"),
        (bool, "bool"),
        (complex, "complex128"),
        ("f4", "float32"),
        (np.uint8, "uint8"),
        (np.dtype(">f8"), "float64"),
        (np.float16, "float16"),
    ],
)
def test_canonicalize_dtype_keeps_precision_and_fixes_byte_order(given, expected):
    found = dtypes.canonicalize_dtype(given)
    assert found == np.dtype(expected)
    assert found.isnative


@pytest.mark.parametrize("given", ["U3", object, "datetime64[s]", "S1"])
def test_canonicalize_dtype_refuses_what_is_no_number(given):
    with pytest.raises(TypeError, match="computes with"):
        dtypes.canonicalize_dtype(given)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (np.float32, np.floating, True),
        (np.dtype("int8"), np.integer, True),
        ("complex64", np.inexact, True),
        (np.float64, np.float32, False),
        (bool, np.number, False),
        (np.zeros(2, "f4"), np.floating, True),
        (np.integer, np.number, True),
    ],
)
def test_issubdtype(a, b, expected):
    assert dtypes.issubdtype(a, b) is expected


SCALARS = [True, 1, 1.5, 2j]
ARRAYS = [np.zeros(2, d) for d in ("bool", "int8", "uint8", "int32", "int64", "float16", "float32", "float64", "c8")]


@pytest.mark.parametrize("a", ARRAYS, ids=lambda x: x.dtype.name)
@pytest.mark.parametrize("b", ARRAYS + SCALARS, ids=lambda x: getattr(x, "dtype", x))
def test_result_type_is_that_of_numpys_arithmetic(a, b):
    assert dtypes.result_type(a, b) == np.add(a, b).dtype
    assert dtypes.result_type(b, a) == np.add(b, a).dtype


@pytest.mark.parametrize("a", SCALARS)
@pytest.mark.parametrize("b", SCALARS)
def test_result_type_of_scalars_alone(a, b):
    assert dtypes.result_type(a, b) == np.result_type(np.asarray(a), np.asarray(b))


def test_result_type_takes_dtypes_types_and_tracer_like_values():
    weak, strong = Literal(2.0), Literal(2.0, Aval((3,), np.dtype("float32")))
    assert dtypes.result_type(np.int8, "float32") == np.dtype("float32")
    assert dtypes.result_type(float, np.float32) == np.dtype("float64")
    assert dtypes.result_type(weak, np.float32(1)) == np.dtype("float32")
    assert dtypes.result_type(weak, strong) == np.dtype("float32")
    assert dtypes.result_type(weak) == np.dtype("float64")


def test_result_type_says_whether_it_is_weak():
    assert dtypes.result_type(1, 2.0, return_weak_type_flag=True) == (np.dtype("float64"), True)
    assert dtypes.result_type(1, np.float32(2), return_weak_type_flag=True) == (np.dtype("float32"), False)


def test_result_type_needs_an_argument():
    with pytest.raises(ValueError, match="at least one"):
        dtypes.result_type()


@pytest.mark.parametrize(
    ("given", "expected"),
    [(True, bool), (np.zeros(2, bool), bool), (3, int), (np.uint8(3), int), (np.float16, float), (1j, complex)],
)
def test_scalar_type_of(given, expected):
    assert dtypes.scalar_type_of(given) is expected


def test_scalar_type_of_refuses_what_is_no_number():
    with pytest.raises(TypeError, match="not a number"):
        dtypes.scalar_type_of("U3")


def test_finfo_and_iinfo_are_numpys():
    assert dtypes.finfo(np.float32).bits == 32
    assert dtypes.iinfo("int8").max == 127
