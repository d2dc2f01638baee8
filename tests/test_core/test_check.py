"""The type checker accepts what is well typed, and names the first equation that is not."""

from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import lax
from functrans.core.aval import Aval
from functrans.core.check import check_jaxpr
from functrans.core.jaxpr import Jaxpr, Literal, Operation
from functrans.core.params import Params
from functrans.core.primitive import Primitive
from functrans.core.rules import def_abstract
from functrans.errors import JaxprTypeError
from functrans.ops.calls import call_p
from functrans.ops.shape import reduce_sum_p

F64 = np.dtype("float64")
THREE, SCALAR = Aval((3,), F64), Aval((), F64)

SUM = reduce_sum_p.operation((THREE,), {"axes": (0,)})


def unchecked(in_avals: Any, equations: Any, outs: Any) -> Jaxpr:
    """A program that is not interned, so that a wrong one is not kept."""
    return Jaxpr((tuple(in_avals), tuple(equations), tuple(outs)), [None] * len(equations))


def test_well_typed() -> None:
    check_jaxpr(unchecked([THREE], [(SUM, (-1,))], [0]))
    check_jaxpr(unchecked([THREE], [(SUM, (Literal(1.0, THREE),))], [0, -1, Literal(2, SCALAR)]))
    check_jaxpr(ft.make_jaxpr(ft.grad(lambda x: lax.reduce_sum(lax.sin(x), (0,))))(np.ones(3)).jaxpr)


@pytest.mark.parametrize(
    ("in_avals", "equations", "outs", "problem"),
    [
        ([SCALAR], [(SUM, (-1,))], [0], r"equation 0 \(reduce_sum\) was made for float64\[3\] as operand 0 and has "),
        ([THREE], [(SUM, (0,))], [0], "uses operand 0 before it is defined"),
        ([THREE], [(SUM, (-2,))], [0], "uses operand 0 before it is defined"),
        ([THREE], [(SUM, (-1, -1))], [0], "has 2 operands and 1 avals"),
        ([THREE], [(SUM, (-1,)), (SUM, (0,))], [1], r"equation 1 \(reduce_sum\) was made for"),
    ],
)
def test_wrong_equations(in_avals: Any, equations: Any, outs: Any, problem: str) -> None:
    with pytest.raises(JaxprTypeError, match=problem):
        check_jaxpr(unchecked(in_avals, equations, outs))


def test_wrong_results() -> None:
    wrong = Operation(reduce_sum_p, Params.of({"axes": (0,)}), (THREE,), (THREE,))
    with pytest.raises(JaxprTypeError, match=r"gives \(float64\[\],\) by its abstract rule and \(float64\[3\],\)"):
        check_jaxpr(unchecked([THREE], [(wrong, (-1,))], [0]))


def test_programs_inside_are_checked_too() -> None:
    inner = unchecked([SCALAR], [(SUM, (-1,))], [0])
    outer = call_p.operation((SCALAR,), {"jaxpr": inner})
    with pytest.raises(JaxprTypeError, match="equation 0"):
        check_jaxpr(unchecked([SCALAR], [(outer, (-1,))], [0]))


def test_every_recording_is_checked_in_the_tests() -> None:
    """A primitive whose abstract rule says something else the second time."""
    answers = iter([SCALAR, THREE])
    fickle = Primitive("fickle")
    def_abstract(fickle, lambda x: next(answers))
    assert ft.config.check_programs
    with pytest.raises(JaxprTypeError, match="fickle"):
        ft.make_jaxpr(lambda x: fickle.bind(x))(1.0)
