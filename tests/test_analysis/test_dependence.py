"""Which inputs outputs depend on."""

import numpy as np
import pytest

import functrans as ft
from functrans.analysis.dependence import inputs_of_outputs

X = np.ones(3)


def inputs(f, *args):
    return [set(found) for found in inputs_of_outputs(ft.make_jaxpr(f)(*args).jaxpr)]


def scan(x, y, z):
    """The second carry reaches the first one after an iteration, the rows reach the stack alone."""
    (a, b), rows = ft.lax.scan(lambda c, row: ((c[0] + c[1], c[1]), row * 2), (x, y), z)
    return a, b, rows


def unused_carry(x, y):
    return ft.lax.scan(lambda c, _: ((c[0] * 2, c[1] + c[0]), None), (x, y), None, length=3)[0][0]


def counted(n, x, y):
    return ft.lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, c[1] * 2, c[2]), (0, x, y))


@pytest.mark.parametrize(
    ("f", "args", "expected"),
    [
        (lambda x, y: x + y, (X, X), [{0, 1}]),
        (lambda x, y: (x, y * 2, 3.0), (X, X), [{0}, {1}, set()]),
        (lambda x, y: x + 0 * y.shape[0], (X, X), [{0}]),
        (ft.grad(lambda x, y: np.sum(x * y)), (X, X), [{1}]),
        (ft.grad(lambda x, y: np.sum(x + y)), (X, X), [set()]),
        (scan, (1.0, 2.0, X), [{0, 1}, {1}, {2}]),
        (unused_carry, (1.0, 2.0), [{0}]),
        (counted, (3, X, X), [{0}, {0, 1}, {2}]),
        (lambda p, x, y: ft.lax.cond(p, lambda: (x, y), lambda: (x, x)), (True, X, X), [{0, 1}, {0, 1, 2}]),
        (ft.jit(lambda x, y: ft.checkpoint(np.sin)(x)), (X, X), [{0}]),
    ],
)
def test_outputs_depend_on(f, args, expected):
    assert inputs(f, *args) == expected


def test_many_inputs_and_equations():
    def f(xs):
        total = 0.0
        for x in xs[:-1]:
            total = np.sin(total + x)
        return total

    (found,) = inputs_of_outputs(ft.make_jaxpr(f)([1.0] * 1000).jaxpr)
    assert found == frozenset(range(999))
