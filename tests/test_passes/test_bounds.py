"""A maximum or minimum with a number as a clamp, with the same bits, zeros of both signs included."""

import numpy as np
import pytest

from functrans import lax
from functrans.backends.interpreter import interpreted
from functrans.core.check import check_jaxpr
from functrans.passes.dead_code import eliminate_dead_code
from functrans.passes.simplify import simplify_final
from tests.test_passes.programs import SPECIAL, assert_same_bits, eval_directly, program_of

X = np.resize(np.array(SPECIAL), 2048)
NUMBERS = [0.0, -0.0, 1.0, -2.5, np.inf, -np.inf, np.nan]


def becomes(function, expected):
    got = eliminate_dead_code(simplify_final(program_of(function, X)))
    check_jaxpr(got)
    assert str(got) == str(program_of(expected, X))


def test_one_bound():
    becomes(lambda x: lax.max(x, -1.0), lambda x: lax.clamp(-1.0, x, np.inf))
    becomes(lambda x: lax.min(2.0, x), lambda x: lax.clamp(-np.inf, x, 2.0))


def test_both_bounds():
    becomes(lambda x: lax.min(lax.max(x, -1.0), 2.0), lambda x: lax.clamp(-1.0, x, 2.0))
    becomes(lambda x: lax.max(lax.min(x, 2.0), -1.0), lambda x: lax.clamp(-1.0, x, 2.0))


def test_zero_as_the_first_or_the_second_operand():
    becomes(lambda x: lax.max(0.0, x), lambda x: lax.clamp(0.0, x, np.inf))
    becomes(lambda x: lax.max(x, 0.0), lambda x: lax.add(lax.clamp(0.0, x, np.inf), 0.0))
    becomes(lambda x: lax.min(lax.max(x, 0.0), 6.0), lambda x: lax.add(lax.clamp(0.0, x, 6.0), 0.0))


def test_what_stays():
    for function, x in [
        (lambda x: lax.max(x, -0.0), X),
        (lambda x: lax.max(x, np.nan), X),
        (lambda x: lax.max(x, 1.0), X[:100]),
        (lambda x: lax.max(x, 1), np.arange(2048)),
        (lambda x: lax.max(x, 1.0), np.ones(2048, np.float16)),
    ]:
        program = program_of(function, x)
        assert simplify_final(program) == program


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("high", NUMBERS)
@pytest.mark.parametrize("low", NUMBERS)
def test_bits(low, high, dtype):
    with np.errstate(over="ignore"):
        x = X.astype(dtype)
    for function in (
        lambda x: lax.min(lax.max(x, low), high),
        lambda x: lax.min(high, lax.max(low, x)),
        lambda x: lax.max(lax.min(x, high), low),
        lambda x: lax.max(low, lax.min(x, high)),
        lambda x: lax.max(lax.max(x, low), high),
    ):
        program = program_of(function, x)
        assert_same_bits(interpreted(program)([x]), eval_directly(program, [x]))
