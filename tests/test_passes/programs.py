"""What the tests of passes have in common: programs of functions, and what programs compute, bit for bit."""

import numpy as np

import functrans as ft
from functrans.core.check import check_jaxpr
from functrans.passes.dead_code import eliminate_dead_code
from functrans.passes.inline import inline
from functrans.passes.simplify import simplify

SPECIAL = (0.0, -0.0, 1.0, -1.0, 2.5, np.inf, -np.inf, np.nan, 5e-324, -1e308)


def program_of(f, *args):
    """The program of a function of strict primitives, with its calls inlined and nothing else done."""
    return inline(ft.make_jaxpr(f)(*args).jaxpr)


def assert_becomes(run_pass, f, expected, *args):
    """That a pass makes of the program of one function that of another, with the same bits."""
    program = program_of(f, *args)
    got = run_pass(program)
    check_jaxpr(got)
    assert str(got) == str(program_of(expected, *args))
    assert_same_bits(eval_directly(got, args), eval_directly(program, args))


def assert_simplifies(f, expected, *args, rules=simplify):
    assert_becomes(lambda jaxpr: eliminate_dead_code(rules(jaxpr)), f, expected, *args)


def assert_stays(f, *args):
    program = program_of(f, *args)
    assert simplify(program) is program


def assert_same_bits(outs, expected):
    """Equal in dtype, shape and bits, but for those of NaN."""
    assert len(outs) == len(expected)
    for a, b in zip(map(np.asarray, outs), map(np.asarray, expected), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        for x, y in ((a.real, b.real), (a.imag, b.imag)):
            np.testing.assert_array_equal(x, y)
            if x.dtype.kind == "f":
                there = ~np.isnan(x)
                np.testing.assert_array_equal(np.signbit(x[there]), np.signbit(y[there]))


def eval_directly(jaxpr, values):
    """The outputs of a program, one equation after the other, with no pass and nothing left to NumPy's broadcasting."""
    results = []

    def read(atom):
        if type(atom) is not int:
            return atom.array
        return results[atom] if atom >= 0 else values[-1 - atom]

    with np.errstate(all="ignore"):
        for eqn in jaxpr.eqns:
            out = eqn.primitive.evaluate(eqn.operation, [read(atom) for atom in eqn.inputs])
            results.extend(out if eqn.primitive.multiple_results else [out])
    return [read(atom) for atom in jaxpr.outs]
