"""make_jaxpr, eval_shape and concrete."""

import numpy as np
import pytest

import functrans as ft


def test_program_of_a_function():
    program = ft.make_jaxpr(lambda x, y: np.sum(np.tanh(x @ y) * 2.0) + np.sum(y))(np.ones((2, 3)), np.ones((3, 1)))
    assert str(program).startswith("{ lambda ; a:f64[2,3] b:f64[3,1]. let\n")


def test_program_prints_as_a_jaxpr():
    def f(x, b):
        return np.sum(np.exp(x) * 2.0 + b)

    assert str(ft.make_jaxpr(f)(np.ones((2, 3)), np.ones(3))) == (
        "{ lambda ; a:f64[2,3] b:f64[3]. let\n"
        "    c:f64[2,3] = exp a\n"
        "    d:f64[2,3] = mul c 2.0:f64[2,3]\n"
        "    e:f64[2,3] = broadcast_in_dim[broadcast_dimensions=(1,) shape=(2, 3)] b\n"
        "    f:f64[2,3] = add d e\n"
        "    g:f64[] = reduce_sum[axes=(0, 1)] f\n"
        "  in (g,) }"
    )


def test_constants_come_first():
    a = np.ones(3)
    program = ft.make_jaxpr(lambda x: x * a)(2.0)
    assert str(program).startswith("{ lambda a:f64[3] ; b:f64[]. let\n")
    assert [c.tolist() for c in program.consts] == [[1.0, 1.0, 1.0]]


def test_static_arguments():
    program = ft.make_jaxpr(lambda x, n: x * n, static_argnums=1)(2.0, 3)
    assert len(program.in_avals) == 1


def test_eval_shape_computes_nothing():
    shape = ft.eval_shape(
        lambda p: {"y": p["w"] @ p["x"]},
        {"w": ft.ShapeDtypeStruct((10**6, 10**6), "f4"), "x": np.ones(10**6)},
    )
    assert shape == {"y": ft.ShapeDtypeStruct((10**6,), "float64")}


def test_a_shape_is_no_value():
    with pytest.raises(
        TypeError, match="argument x of <lambda> must have a value; a ShapeDtypeStruct is for eval_shape"
    ):
        ft.grad(lambda x: x)(ft.ShapeDtypeStruct((), "f4"))


def test_concrete():
    seen = []

    def f(p):
        seen.append(ft.concrete({"p": p, "n": 1}))
        return p["x"] * 2

    assert ft.grad(f)({"x": 3.0})["x"] == 2.0
    assert seen == [{"p": {"x": 3.0}, "n": 1}]
    with pytest.raises(ft.errors.ConcretizationTypeError, match="the value of a tracer"):
        ft.jit(lambda x: ft.concrete(x))(1.0)


def test_static_argument_that_does_not_exist():
    with pytest.raises(ValueError, match="static_argnums=5 is out of range: <lambda> has 1 positional parameters"):
        ft.make_jaxpr(lambda x: x, static_argnums=5)


def test_constants_are_copies():
    a = np.ones(20_000)
    program = ft.make_jaxpr(lambda x: x * a)(2.0)
    assert not np.shares_memory(program.consts[0], a)
