"""Avals: interned, and of everything that counts as an array."""

import pickle
from typing import Any

import numpy as np
import pytest

from functrans.core.aval import Aval, aval_of


def test_equal_avals_are_the_same_object() -> None:
    a = Aval((2, 3), np.dtype("float32"))
    assert a is Aval((2, 3), np.dtype("f4"))
    assert a is not Aval((3, 2), np.dtype("float32"))
    assert a is not Aval((2, 3), np.dtype("float32"), weak=True)
    assert a is pickle.loads(pickle.dumps(a))
    assert Aval((2, 3), np.dtype("float32"), weak=True).strong is a


def test_attributes() -> None:
    a = Aval((2, 3), np.dtype("int8"))
    assert (a.shape, a.ndim, a.size, a.inexact, repr(a)) == ((2, 3), 2, 6, False, "int8[2,3]")
    assert a.with_shape(()) is Aval((), np.dtype("int8"))
    assert Aval((), np.dtype(complex)).inexact


def test_shapes_and_byte_order_are_made_canonical() -> None:
    a = Aval((np.int64(2),), np.dtype(">f8"))  # type: ignore[arg-type]
    assert a is Aval((2,), np.dtype("float64"))
    assert type(a.shape[0]) is int


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (True, "bool[]"),
        (3, "int64*[]"),
        (2.0, "float64*[]"),
        (1j, "complex128*[]"),
        (np.float32(1), "float32[]"),
        (np.float64(1), "float64[]"),
        (np.zeros((2, 0)), "float64[2,0]"),
        (np.zeros(3, "uint8"), "uint8[3]"),
    ],
)
def test_aval_of(x: Any, text: str) -> None:
    assert repr(aval_of(x)) == text


@pytest.mark.parametrize(
    ("x", "problem"),
    [
        ("text", "expected an array or a number, got 'text' of type str"),
        (None, "expected an array or a number"),
        (np.array([None]), "unsupported dtype 'object'"),
        (np.array(["a"]), "unsupported dtype"),
        (np.ma.masked_array([1.0]), "MaskedArray is not supported"),
    ],
)
def test_what_is_no_array(x: Any, problem: str) -> None:
    with pytest.raises(TypeError, match=problem):
        aval_of(x)


def test_dtypes_are_the_objects_that_arrays_have():
    """Else each call with an array would convert it."""
    for name in ("float64", "float32", "int64", "bool", "complex128"):
        plain = np.dtype(name)
        other = pickle.loads(pickle.dumps(plain.newbyteorder("S").newbyteorder("S")))
        aval = Aval((97, 3), other)
        assert aval.dtype is plain
        assert Aval((97, 3), plain) is aval
        assert Aval((97, 3), plain.newbyteorder("S")) is aval
