"""Each pass as a comparison of programs: what it makes of one is what another function records."""

import numpy as np
import pytest

import functrans as ft
from functrans import lax
from functrans.core.check import check_jaxpr
from functrans.passes.algebra import simplify
from functrans.passes.common_subexpressions import merge_common_subexpressions
from functrans.passes.dead_code import drop_unused_inputs, eliminate_dead_code
from functrans.passes.inline import inline, inline_all
from functrans.passes.pipeline import PASSES, finalize, stages

X = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, -0.0]])
Y = X[::-1] + 1.0


def program_of(f, *args):
    """The program of a function of strict primitives, with its calls inlined and nothing else done."""
    return inline(ft.make_jaxpr(f)(*args).jaxpr)


def assert_becomes(run_pass, f, expected, *args):
    got = run_pass(program_of(f, *args))
    check_jaxpr(got)
    assert str(got) == str(program_of(expected, *args))
    for a, b in zip(eval_directly(got, args), eval_directly(program_of(f, *args), args), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (lambda x, y: lax.mul(x, 1.0), lambda x, y: x),
        (lambda x, y: lax.mul(1.0, lax.add(x, y)), lambda x, y: lax.add(x, y)),
        (lambda x, y: lax.mul(x, -1.0), lambda x, y: lax.neg(x)),
        (lambda x, y: lax.div(x, 1.0), lambda x, y: x),
        (lambda x, y: lax.sub(x, 0.0), lambda x, y: x),
        (lambda x, y: lax.add(x, -0.0), lambda x, y: x),
        (lambda x, y: lax.transpose(lax.transpose(x, (1, 0)), (1, 0)), lambda x, y: x),
        (lambda x, y: lax.reshape(lax.reshape(x, (6,)), (2, 3)), lambda x, y: x),
        (
            lambda x, y: lax.transpose(lax.transpose(lax.reshape(x, (1, 2, 3)), (1, 2, 0)), (1, 0, 2)),
            lambda x, y: lax.transpose(lax.reshape(x, (1, 2, 3)), (2, 1, 0)),
        ),
        (
            lambda x, y: lax.broadcast_in_dim(lax.broadcast_in_dim(x, (4, 2, 3), (1, 2)), (4, 2, 5, 3), (0, 1, 3)),
            lambda x, y: lax.broadcast_in_dim(x, (4, 2, 5, 3), (1, 3)),
        ),
    ],
)
def test_identities(f, expected):
    tidy = lambda jaxpr: eliminate_dead_code(simplify(jaxpr))
    got = tidy(program_of(f, X, Y))
    assert str(got) == str(program_of(expected, X, Y))


def test_a_difference_instead_of_the_sum_with_a_negative():
    assert_becomes(
        lambda jaxpr: eliminate_dead_code(simplify(jaxpr)),
        lambda x, y: lax.add(x, lax.neg(y)),
        lambda x, y: lax.sub(x, y),
        X,
        Y,
    )


@pytest.mark.parametrize(
    "f",
    [
        lambda x, y: lax.add(x, 0.0),  # turns -0.0 into 0.0
        lambda x, y: lax.sub(x, -0.0),
        lambda x, y: lax.mul(x, 0.0),  # x may be infinite
        lambda x, y: lax.sub(x, x),
        lambda x, y: lax.div(x, x),
    ],
)
def test_what_only_looks_like_an_identity_stays(f):
    program = program_of(f, X, Y)
    assert str(simplify(program)) == str(program)


@pytest.mark.parametrize("f", [lambda z: lax.mul(z, 1.0), lambda z: lax.add(z, 0.0), lambda z: lax.sub(z, 0.0)])
def test_complex_numbers_stay(f):
    # (inf + nanj) times 1 is not itself, and -0.0 plus 0.0 is 0.0 in either part.
    program = program_of(f, np.array([1j]))
    assert len(simplify(program)) == 1


def test_common_subexpressions():
    assert_becomes(
        merge_common_subexpressions,
        lambda x, y: lax.add(lax.mul(lax.sin(x), y), lax.mul(y, lax.sin(x))),
        lambda x, y: (lambda p: lax.add(p, p))(lax.mul(lax.sin(x), y)),
        X,
        Y,
    )


def test_order_matters_where_it_does():
    program = program_of(lambda x, y: lax.add(lax.sub(x, y), lax.sub(y, x)), X, Y)
    assert len(merge_common_subexpressions(program)) == 3


def test_dead_code():
    def wasteful(x, y):
        lax.exp(lax.sin(y))
        return lax.cos(x)

    assert_becomes(eliminate_dead_code, wasteful, lambda x, y: lax.cos(x), X, Y)


def test_unused_inputs():
    program = program_of(lambda x, y, z: lax.mul(x, z), X, Y, X)
    smaller, kept = drop_unused_inputs(program, 1)
    assert kept == (2,)
    assert str(smaller) == str(program_of(lambda x, z: lax.mul(x, z), X, X))


def test_inlining_keeps_jit_until_the_backend():
    f = ft.jit(lambda x: np.sin(x) * 2.0)
    program = program_of(lambda x: f(x) + 1.0, X)
    assert [eqn.primitive.name for eqn in program.eqns] == ["jit", "add"]
    assert [eqn.primitive.name for eqn in inline_all(program).eqns] == ["sin", "mul", "add"]


def test_the_pipeline_keeps_every_bit():
    rng = np.random.default_rng(0)
    w, x = rng.normal(size=(3, 4)), rng.normal(size=(5, 3))
    program = ft.make_jaxpr(ft.value_and_grad(lambda w: np.mean(np.tanh(x @ w) ** 2)))(w)
    values = [w, *program.consts]
    step, expected = program.jaxpr, None
    for run_pass in (lambda jaxpr: jaxpr, *PASSES):
        step = run_pass(step)
        check_jaxpr(step)
        outs = eval_directly(step, values)
        expected = expected or outs
        for a, b in zip(outs, expected, strict=True):
            np.testing.assert_array_equal(a, b)
    assert finalize(program.jaxpr) == step


def test_stages_lead_from_the_recorded_program_to_the_final_form():
    program = ft.make_jaxpr(lambda x, y: np.sum(x * 1.0 + y))(X, Y).jaxpr
    steps = stages(program)
    assert [name for name, _ in steps] == ["recorded", *[run_pass.__name__ for run_pass in PASSES]]
    assert steps[0][1] is program
    assert steps[-1][1] == finalize(program)
    for run_pass, (_, before), (_, after) in zip(PASSES, steps, steps[1:], strict=False):
        assert run_pass(before) == after


def eval_directly(jaxpr, values):
    """The outputs of a program, one equation after the other, with no pass and nothing left to NumPy's broadcasting."""
    results = []

    def read(atom):
        if type(atom) is not int:
            return atom.array
        return results[atom] if atom >= 0 else values[-1 - atom]

    for eqn in jaxpr.eqns:
        out = eqn.primitive.evaluate(eqn.operation, [read(atom) for atom in eqn.inputs])
        results.extend(out if eqn.primitive.multiple_results else [out])
    return [read(atom) for atom in jaxpr.outs]
