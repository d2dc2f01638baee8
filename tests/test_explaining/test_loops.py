"""What the iterations of loops spend their time on."""

import numpy as np
import pytest

import functrans as ft
from functrans.explaining.loops import first_iteration, loop_body
from functrans.passes.pipeline import finalize


def loop_of(f, *args):
    """The only loop of a program, with its operands, which must be arguments of it."""
    closed = ft.make_jaxpr(f)(*args)
    (eqn,) = [eqn for eqn in finalize(closed.jaxpr).eqns if eqn.primitive.name in ("scan", "while")]
    known = [*map(np.asarray, ft.tree.leaves(args)), *closed.consts]
    values = [known[-1 - x] if isinstance(x, int) else x.array for x in eqn.inputs]
    return eqn, values


def scan(x, rows, reverse=False):
    return ft.lax.scan(lambda c, row: (np.sin(c) + row, c), x, rows, reverse=reverse)


def count(x, n):
    return ft.lax.while_loop(lambda c: c[1] < n, lambda c: (np.sin(c[0]), c[1] + 1), (x, 0))


@pytest.mark.parametrize(("reverse", "row"), [(False, 0), (True, 2)])
def test_the_first_row_of_a_scan(reverse, row):
    rows = np.arange(6.0).reshape(3, 2)
    eqn, values = loop_of(lambda x, rows: scan(x, rows, reverse), np.ones(2), rows)
    iteration = first_iteration(eqn, values)
    assert [eqn.primitive.name for eqn in iteration.body.eqns] == ["sin", "add"]
    assert [x.tolist() for x in iteration.values] == [[1.0, 1.0], rows[row].tolist()]


def test_a_scan_without_rows():
    eqn, values = loop_of(scan, np.ones(2), np.ones((0, 2)))
    assert first_iteration(eqn, values) is None
    assert loop_body(eqn) is not None


def test_a_while_loop_that_goes_on_and_one_that_does_not():
    eqn, values = loop_of(count, np.ones(2), 3)
    assert first_iteration(eqn, values) is not None
    eqn, values = loop_of(count, np.ones(2), 0)
    assert first_iteration(eqn, values) is None


def test_loops_with_effects_are_left_alone():
    def f(x):
        return ft.lax.fori_loop(0, 3, lambda i, c: (ft.debug.print("{}", i), c * 2)[1], x)

    eqn, values = loop_of(f, np.ones(2))
    assert first_iteration(eqn, values) is None


def test_what_is_no_loop():
    (eqn,) = ft.make_jaxpr(np.sin)(1.0).eqns
    assert loop_body(eqn) is None
    assert first_iteration(eqn, [1.0]) is None


def nested(x):
    def body(c, row):
        inner = ft.lax.scan(lambda d, _: (np.sin(d) * 2.0, None), c, None, length=4)[0]
        return np.cos(inner) + row, None

    return ft.lax.scan(body, x[0], x)[0]


def test_what_a_loop_does_stands_inside_of_it():
    report = ft.explain(ft.jit(nested), np.ones((5, 100)))
    (outer,) = [eqn for eqn in report.equations if eqn.inside]
    assert sum(eqn.share for eqn in outer.inside) == pytest.approx(outer.share)
    assert sum(eqn.seconds for eqn in outer.inside) == pytest.approx(outer.seconds)
    (inner,) = [eqn for eqn in outer.inside if eqn.inside]
    assert sum(eqn.share for eqn in inner.inside) == pytest.approx(inner.share)
    assert [eqn.equation.primitive.name for eqn in inner.inside] == ["sin", "mul"]
    assert [eqn.cost.flops for eqn in inner.inside] == [10 * 100 * 4 * 5, 100 * 4 * 5]
    assert "in it: scan" in str(report)


@pytest.mark.parametrize("f", [nested, ft.grad(lambda x: np.sum(nested(x))), lambda x: count(x, 7)])
def test_lines_are_those_inside_of_loops(f):
    report = ft.explain(f, np.ones((5, 100)))
    assert sum(line.share for line in report.lines) == pytest.approx(1.0)
    assert sum(line.cost.flops for line in report.lines) == pytest.approx(report.cost.flops)
    assert "np.sin(" in report.lines[0].line.text or "np.cos(" in report.lines[0].line.text


def test_callbacks_in_loops_run_on_what_they_would_see():
    seen = []

    def f(x):
        def body(c, _):
            return ft.pure_callback(lambda y: seen.append(float(y)) or y + 1, c, c), None

        return ft.lax.scan(body, x, None, 3)[0]

    ft.explain(f, 1.0)
    assert set(seen) == {1.0, 2.0, 3.0}
