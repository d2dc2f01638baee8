"""constant: an array inside a program.

Programs have none but where a user's rule, or his composition of primitives, closes over one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans.core.aval import aval_of
from functrans.core.evaluation import eval_jaxpr
from functrans.core.jaxpr import Jaxpr
from functrans.core.primitive import Primitive
from functrans.core.rules import declare_absent, def_abstract, def_constant, def_specialized_impl
from functrans.core.tracer import Tracer

__all__ = ["Constant", "constant_p", "eval_closed"]


def eval_closed(jaxpr: Jaxpr, operands: Sequence[Any], closed_over: Sequence[Any], what: str) -> list[Any]:
    """Run a program on tracers, with the arrays that its function closed over as constants.

    Raises:
        TypeError: if it closed over a tracer.
    """
    if any([type(x) is Tracer for x in closed_over]):
        raise TypeError(
            f"{what} closes over a traced value. It computes with its arguments: make the value one of them"
        )
    constants = [constant_p.bind(value=Constant(x)) for x in closed_over]
    return eval_jaxpr(jaxpr, [*operands, *constants])


class Constant:
    """An array as a parameter of an equation: compared and hashed by its contents."""

    __slots__ = ("_hash", "array")

    def __init__(self, array: Any) -> None:
        self.array = np.array(array)
        self.array.flags.writeable = False
        self._hash = hash((self.array.shape, self.array.dtype, self.array.tobytes()))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if type(other) is not Constant:
            return NotImplemented
        a, b = self.array, other.array
        return self._hash == other._hash and a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()

    def __reduce__(self) -> tuple[Any, ...]:
        return Constant, (self.array,)

    def __repr__(self) -> str:
        return f"{aval_of(self.array)}"


constant_p = Primitive("constant")
"""An array that a rule of a user's closes over."""
def_abstract(constant_p, lambda *, value: aval_of(value.array))
def_specialized_impl(constant_p, lambda *, value: lambda: value.array.copy())
def_constant(constant_p, 0, "it has no operands")
declare_absent(constant_p, "batch", "it has no operands")
