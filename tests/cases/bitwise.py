"""Cases of `functrans.ops.bitwise`."""

import numpy as np

from functrans.ops import bitwise as ops
from tests.cases.case import Operand
from tests.cases.elementwise import operands, rows

SIGNED, UNSIGNED = ("int8", "int16", "int32", "int64"), ("uint8", "uint16", "uint32", "uint64")
INTEGERS = (*SIGNED, *UNSIGNED)
BITS = ("bool", *INTEGERS)
ANY = operands(2, -100, 100)
SHIFTED = (Operand((2, 3), -100, 100), Operand((2, 3), 0, 9))


def shift_as(kind):
    def reference(x, y):
        other = f"{kind}{x.dtype.itemsize}"
        return np.right_shift(x.view(other), y.view(other)).view(x.dtype)

    return reference


def population_count(x):
    return np.bitwise_count(x.view(f"u{x.dtype.itemsize}")).astype(x.dtype)


CASES = [
    *rows(ops.not_p, ops.bitwise_not, np.invert, ANY[:1], BITS),
    *rows(ops.and_p, ops.bitwise_and, np.bitwise_and, ANY, BITS),
    *rows(ops.or_p, ops.bitwise_or, np.bitwise_or, ANY, BITS),
    *rows(ops.xor_p, ops.bitwise_xor, np.bitwise_xor, ANY, BITS),
    *rows(ops.shift_left_p, ops.shift_left, np.left_shift, SHIFTED, INTEGERS),
    *rows(ops.shift_right_arithmetic_p, ops.shift_right_arithmetic, shift_as("i"), SHIFTED, INTEGERS),
    *rows(ops.shift_right_logical_p, ops.shift_right_logical, shift_as("u"), SHIFTED, INTEGERS),
    *rows(ops.population_count_p, ops.population_count, population_count, ANY[:1], INTEGERS),
]
