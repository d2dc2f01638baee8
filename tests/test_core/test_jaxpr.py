"""A program is a value: equal computations give one object."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import lax
from functrans.core.aval import Aval
from functrans.core.jaxpr import Literal
from functrans.transforms.jvp import jvp
from functrans.transforms.linearize import linearize

X = np.ones(3)
F64 = np.dtype("float64")


def program(f: Any, *args: Any) -> Any:
    return ft.make_jaxpr(f)(*args).jaxpr


def test_two_recordings_of_one_computation_are_one_program() -> None:
    first = program(lambda x, y: lax.mul(lax.sin(x), y), X, X)
    second = program(lambda a, b: lax.mul(lax.sin(a), b), X, 2 * X)
    assert first is second
    assert program(lambda x, y: lax.mul(y, lax.sin(x)), X, X) is not first
    assert program(lambda x, y: lax.mul(lax.sin(x), y), X[:2], X[:2]) is not first


def test_what_is_derived_is_kept() -> None:
    jaxpr = program(lambda x: lax.sin(x), X)
    assert jvp(jaxpr, (True,))[0] is jvp(jaxpr, (True,))[0]
    assert linearize(jaxpr, (True,)) is linearize(jaxpr, (True,))


def test_atoms_are_numbered() -> None:
    jaxpr = program(lambda x, y: (lax.mul(lax.sin(x), y), y, 2.0), X, X)
    assert [(e.primitive.name, e.inputs, list(e.outs)) for e in jaxpr.eqns] == [
        ("sin", (-1,), [0]),
        ("mul", (0, -2), [1]),
    ]
    assert jaxpr.outs[:2] == (1, -2)
    assert [repr(a) for a in jaxpr.in_avals] == ["float64[3]", "float64[3]"]


def test_a_capture_renumbers_nothing() -> None:
    closed = ft.make_jaxpr(lambda x: lax.mul(lax.sin(x), X))(X)
    assert [e.inputs for e in closed.eqns] == [(-1,), (0, -2)]
    np.testing.assert_array_equal(closed.consts[0], X)
    assert closed.in_avals == closed.jaxpr.in_avals[:1]


def test_arrays_are_no_part_of_a_program() -> None:
    assert program(lambda x: lax.mul(x, np.zeros(3)), X) is program(lambda x: lax.mul(x, np.ones(3)), X)


NAN = float("nan")


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [(0.0, -0.0, False), (1.0, 1.0, True), (NAN, NAN, True), (1.0, 2.0, False), (1, 1.0, True)],
)
def test_literals_of_programs(a: Any, b: Any, same: bool) -> None:
    """Of float64: 0.0 is not -0.0, NaN equals itself."""
    assert (Literal(a, Aval((3,), F64)) is Literal(b, Aval((3,), F64))) is same
    assert (program(lambda x: lax.mul(x, a), X) is program(lambda x: lax.mul(x, b), X)) is same


def test_literals_are_typed() -> None:
    one = Literal(1, Aval((), F64))
    assert one is not Literal(1, Aval((), np.dtype("float32")))
    assert one is not Literal(1, Aval((2,), F64))
    assert one is not Literal(1, Aval((), np.dtype(bool)))
    assert Literal(1) is not Literal(True)
    assert Literal(300, Aval((), np.dtype("float32"))).value == 300.0
    assert pickle.loads(pickle.dumps(one)) is one


def test_a_literal_is_a_splat() -> None:
    literal = Literal(2.5, Aval((2, 3), np.dtype("float32")))
    assert (literal.shape, literal.dtype, literal.ndim) == ((2, 3), np.float32, 2)
    np.testing.assert_array_equal(literal.array, np.full((2, 3), 2.5, np.float32))
    assert not literal.scalar.flags.writeable
    literal.array[0] = 0  # a fresh array each time
    assert literal.array.min() == 2.5


def test_programs_can_be_pickled_and_copied() -> None:
    jaxpr = program(lambda x, y: lax.mul(lax.sin(x), lax.add(y, 3.0)), X, X)
    assert pickle.loads(pickle.dumps(jaxpr)) is jaxpr
    assert copy.deepcopy(jaxpr) is jaxpr


def test_equality_is_structural() -> None:
    jaxpr = program(lambda x: lax.sin(x), X)
    other = program(lambda x: lax.cos(x), X)
    assert jaxpr == pickle.loads(pickle.dumps(jaxpr))
    assert jaxpr != other
    assert jaxpr != "a program"
    assert len({jaxpr, other, jaxpr}) == 2
    assert len(jaxpr) == 1


def test_lines_do_not_matter() -> None:
    def f(x: Any) -> Any:
        return lax.sin(x)

    def g(x: Any) -> Any:
        y = lax.sin(x)
        return y  # noqa: RET504

    assert program(f, X) is program(g, X)
