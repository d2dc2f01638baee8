"""make_jaxpr, eval_shape and concrete."""

import pickle

import numpy as np
import pytest

import functrans as ft
from functrans.extend.core import jaxpr_as_fun

CONSTANT = np.array([5.0, 6.0])
X = np.array([1.0, 2.0, 3.0])


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


def test_shapes_of_the_output_besides():
    program, shape = ft.make_jaxpr(lambda x, n: {"y": [x[:n]], "z": n}, static_argnums=1, return_shape=True)(X, 2)
    assert shape == {"y": [ft.ShapeDtypeStruct((2,), "f8")], "z": ft.ShapeDtypeStruct((), "i8")}
    assert len(program.out_avals) == 2


@pytest.mark.parametrize(
    "f",
    [ft.grad(np.sum), ft.jit(np.sin), ft.vmap(np.exp), ft.hessian(np.prod), ft.value_and_grad(np.prod), np.cumsum],
    ids=repr,
)
def test_programs_of_transformed_functions(f):
    program = ft.make_jaxpr(f)(X)
    expected = ft.tree.leaves(f(X))
    for outs in (ft.core.eval_jaxpr(program.jaxpr, program.consts, X), jaxpr_as_fun(program)(X)):
        assert [x.tolist() for x in outs] == [x.tolist() for x in expected]


def test_keyword_arguments_are_inputs_after_the_others():
    program = ft.make_jaxpr(lambda x, *, b, a: x * a + b)(1.0, b=np.ones(2), a=3.0)
    assert [aval.shape for aval in program.in_avals] == [(), (), (2,)]
    assert ft.core.eval_jaxpr(program.jaxpr, program.consts, 1.0, 3.0, np.ones(2))[0].tolist() == [4.0, 4.0]


class TestEvalJaxpr:
    program = ft.make_jaxpr(lambda x, y: (x * y, np.sum(x) + len(x) * CONSTANT))(X, 2.0)

    def test_constants_are_the_last_inputs(self):
        assert [c.tolist() for c in self.program.consts] == [[15.0, 18.0]]
        assert self.program.literals is self.program.consts
        outs = ft.core.eval_jaxpr(self.program.jaxpr, self.program.consts, X, 3)
        assert [x.tolist() for x in outs] == [[3.0, 6.0, 9.0], [21.0, 24.0]]

    def test_under_transformations(self):
        def f(x):
            return np.sum(ft.core.eval_jaxpr(self.program.jaxpr, self.program.consts, x, 2.0)[0])

        assert ft.grad(f)(X).tolist() == ft.jit(ft.grad(f))(X).tolist() == [2.0, 2.0, 2.0]

    def test_an_interpreter_in_the_style_of_jax(self):
        def interpret(jaxpr, *args):
            env = dict(zip(jaxpr.invars, args, strict=True))
            read = lambda atom: atom.array if isinstance(atom, ft.core.Literal) else env[atom]
            for eqn in jaxpr.eqns:
                outs = eqn.primitive.bind(*map(read, eqn.invars), **eqn.params)
                env.update(zip(eqn.outvars, outs if eqn.primitive.multiple_results else [outs], strict=True))
            return [read(atom) for atom in jaxpr.outvars]

        outs = interpret(self.program.jaxpr, X, np.float64(3.0), *self.program.consts)
        assert [x.tolist() for x in outs] == [[3.0, 6.0, 9.0], [21.0, 24.0]]

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            ((X,), "the program has 3 inputs, and got 1 arguments and 1 constants"),
            ((X[:2], 1.0), r"argument 0 of the program must be float64\[3\], got float64\[2\]"),
            ((X, 1j), r"argument 1 of the program must be float64\[\], got complex128\[\]"),
            ((X.astype("f4"), 1.0), r"argument 0 of the program must be float64\[3\], got float32\[3\]"),
            ((X, "a"), "argument 1 of the program: expected an array or a number, got 'a' of type str"),
        ],
    )
    def test_arguments_that_do_not_fit(self, args, message):
        with pytest.raises(TypeError, match=message):
            ft.core.eval_jaxpr(self.program.jaxpr, self.program.consts, *args)
        with pytest.raises(TypeError, match=message):
            jaxpr_as_fun(self.program)(*args)

    def test_a_closed_program(self):
        with pytest.raises(TypeError, match=r"needs a Jaxpr, got ClosedJaxpr: pass its .jaxpr and its .consts"):
            ft.core.eval_jaxpr(self.program, (), X, 1.0)
        with pytest.raises(TypeError, match="needs a ClosedJaxpr, got Jaxpr"):
            jaxpr_as_fun(self.program.jaxpr)


def test_a_program_as_a_function():
    f = jaxpr_as_fun(ft.make_jaxpr(lambda x: (x, x[::-1]))(X))
    same, reverse = f(X)
    assert not np.shares_memory(same, X)
    assert not np.shares_memory(reverse, X)
    assert repr(f) == "<function of a program of 1 equations: (float64[3])>"
    assert pickle.loads(pickle.dumps(f))(X)[1].tolist() == [3.0, 2.0, 1.0]
    assert ft.vmap(f)(X[None])[1].tolist() == [[3.0, 2.0, 1.0]]


def test_names_of_jax():
    from_extend = ft.extend.core
    assert from_extend.Jaxpr is ft.core.Jaxpr
    assert ft.core.ShapedArray((2,), np.dtype("f8")) is ft.make_jaxpr(np.sin)(np.ones(2)).in_avals[0]
    assert repr(ft.make_jaxpr(np.sin)(1.0).eqns) == "(0 = sin -1,)"


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
