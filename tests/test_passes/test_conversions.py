"""Conversions that lose nothing are left out, and those that may lose something are not."""

from functools import partial
from itertools import product

import numpy as np
import pytest

from functrans import lax
from functrans.ops.complex import complex as joined
from functrans.ops.complex import conj, imag, real
from functrans.passes.pipeline import simplified
from tests.test_passes.programs import (
    SPECIAL,
    assert_same_bits,
    assert_simplifies,
    assert_stays,
    eval_directly,
    program_of,
)

INTEGERS = ["bool", "int8", "uint8", "int32", "uint32", "int64", "uint64"]
DTYPES = [*INTEGERS, "float16", "float32", "float64", "complex64", "complex128"]
Z = np.array([complex(a, b) for a in SPECIAL for b in SPECIAL[:4]])
X = np.array(SPECIAL)


def convert(x, dtypes):
    for dtype in dtypes:
        x = lax.convert_element_type(x, dtype)
    return x


@pytest.mark.parametrize(
    ("start", "between", "end", "left"),
    [
        ("float32", "float64", "float32", ()),
        ("int32", "float64", "int32", ()),
        ("uint8", "int64", "uint8", ()),
        ("bool", "float16", "bool", ()),
        ("float32", "complex64", "float32", ()),
        ("int32", "int64", "int8", ("int8",)),
        ("float16", "float64", "float32", ("float32",)),
        ("int32", "float64", "float32", ("float32",)),
        ("float32", "float64", "bool", ("bool",)),
        ("float64", "float32", "float64", None),
        ("int64", "float64", "int64", None),
        ("int32", "float32", "int32", None),
        ("float32", "float64", "int32", None),
        ("complex64", "float32", "complex64", None),
        ("float32", "int32", "float32", None),
        ("float64", "bool", "float64", None),
        ("int8", "uint8", "int16", None),
    ],
)
def test_chains(start, between, end, left):
    x = np.array([0, 1, 100]).astype(start)
    if left is None:
        assert_stays(lambda x: convert(x, (between, end)), x)
    else:
        assert_simplifies(lambda x: convert(x, (between, end)), lambda x: convert(x, left), x)


def extremes(dtype):
    dtype = np.dtype(dtype)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return np.array([info.min, info.max, info.max - 1, info.max // 2, 0, 1, 77], dtype)
    if dtype.kind == "b":
        return np.array([True, False])
    with np.errstate(all="ignore"):
        numbers = np.array([0.0, -0.0, 1.5, -1.0, 3.1, 2.0**24 + 1, 65519.0, 1e-8, 1 + 2.0**-11 + 2.0**-24])
        return (numbers * (1 - 1j)).astype(dtype) if dtype.kind == "c" else numbers.astype(dtype)


@pytest.mark.parametrize("start", DTYPES)
def test_no_chain_changes_a_number(start):
    x = extremes(start)
    for dtypes in product(DTYPES, DTYPES):
        program = program_of(partial(convert, dtypes=dtypes), x)
        assert_same_bits(eval_directly(simplified(program), [x]), eval_directly(program, [x]))


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (lambda z, x: conj(conj(z)), lambda z, x: z),
        (lambda z, x: joined(real(z), imag(z)), lambda z, x: z),
        (lambda z, x: real(conj(z)), lambda z, x: real(z)),
        (lambda z, x: imag(conj(z)), lambda z, x: lax.neg(imag(z))),
        (lambda z, x: lax.sub(real(joined(x, 2.0)), x), lambda z, x: lax.sub(x, x)),
        (lambda z, x: lax.sub(x, imag(joined(2.0, x))), lambda z, x: lax.sub(x, x)),
    ],
)
def test_parts_of_complex_numbers(f, expected):
    assert_simplifies(f, expected, Z, X)


def test_parts_of_two_numbers_stay():
    assert_stays(lambda z, w: joined(real(z), imag(w)), Z, Z + 1)
