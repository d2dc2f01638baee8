"""The pipeline, and its passes that look at more than one equation: each as a comparison of programs."""

import numpy as np
from hypothesis import given, settings

import functrans as ft
from functrans import lax
from functrans.core.check import check_jaxpr
from functrans.passes.common_subexpressions import merge_common_subexpressions
from functrans.passes.dead_code import drop_unused_inputs, eliminate_dead_code
from functrans.passes.inline import inline_all
from functrans.passes.pipeline import PASSES, finalize, stages
from functrans.passes.simplify import simplify_final
from tests.test_passes.programs import assert_becomes, assert_same_bits, eval_directly, program_of
from tests.test_random_programs import RandomProgram, loss_of, programs

X = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, -0.0]])
Y = X[::-1] + 1.0


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


def test_marks_for_transformations_are_left_out_of_the_final_form():
    assert_becomes(
        lambda jaxpr: eliminate_dead_code(simplify_final(jaxpr)),
        lambda x, y: lax.add(lax.stop_gradient(x), ft.ad_checkpoint.checkpoint_name(np.copy(y), "y")),
        lambda x, y: lax.add(x, y),
        X,
        Y,
    )


@settings(max_examples=4 * settings().max_examples)
@given(programs())
def test_each_pass_keeps_the_bits_of_random_programs(f: RandomProgram) -> None:
    xs = f.inputs()
    check_stages(f, xs)
    check_stages(ft.value_and_grad(loss_of(f), tuple(range(len(xs)))), xs)


def check_stages(f, xs):
    closed = ft.make_jaxpr(f)(*xs)
    values, expected = [*xs, *closed.consts], None
    for _, step in stages(closed.jaxpr):
        check_jaxpr(step)
        outs = eval_directly(step, values)
        expected = expected or outs
        assert_same_bits(outs, expected)
    check_jaxpr(finalize(closed.jaxpr))
    assert len(finalize(closed.jaxpr)) <= len(stages(closed.jaxpr)[1][1])
