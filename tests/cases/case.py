"""What a row of the table of primitives says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from functrans.core.primitive import Primitive

FLOATS = ("float32", "float64")
INEXACT = ("float32", "float64", "complex64", "complex128")
COMPLEXES = ("complex64", "complex128")
INTEGERS = ("int8", "int32", "int64", "uint8")
NUMBERS = (*INTEGERS, "float16", *INEXACT)
REALS = (*INTEGERS, "float16", *FLOATS)
ANY = ("bool", *NUMBERS)


@dataclass(frozen=True)
class Operand:
    """How to draw an operand: its shape, its range, and what it must stay away from.

    Attributes:
        shape: its shape.
        low, high: the range (of the real and of the imaginary part); for integers both inclusive.
        dtype: its dtype, where it is not that of the case.
        avoid: points (kinks, poles) from which each element stays at least 0.05 away.
        distinct: whether all elements differ by at least 0.05 (for max, sort).
    """

    shape: tuple[int, ...]
    low: float = -2.0
    high: float = 2.0
    dtype: str | None = None
    avoid: tuple[float, ...] = ()
    distinct: bool = False


@dataclass(frozen=True)
class Case:
    """One way of applying a primitive, from which all of its checks are generated.

    Attributes:
        primitive: the primitive.
        function: it, as a function of its operands, parameters bound.
        reference: the same in plain NumPy.
        operands: how to draw the operands.
        dtypes: the dtypes of the operands that do not fix theirs.
        differentiable: whether the derivative rules are checked (for the inexact dtypes among `dtypes`).
        order: up to which order.
        tolerance: how many times the usual tolerance of the dtype is allowed against NumPy.
        name: what tells the cases of one primitive apart.
    """

    primitive: Primitive
    function: Callable[..., Any]
    reference: Callable[..., Any]
    operands: tuple[Operand, ...]
    dtypes: tuple[str, ...]
    differentiable: bool = True
    order: int = 2
    tolerance: float = 1.0
    name: str = ""

    def __str__(self) -> str:
        return f"{self.primitive.name}{'-' + self.name if self.name else ''}"
