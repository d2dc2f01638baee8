"""Generated functions against the interpreter: the same bits, whatever the layout of the inputs."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import functrans as ft
from functrans.backends import clusters
from functrans.backends.interpreter import interpreted
from functrans.backends.numpy_codegen import function
from functrans.backends.numpy_codegen.generate import generated, write_function
from functrans.backends.numpy_codegen.module import Module
from functrans.core.jaxpr import Jaxpr
from functrans.passes.pipeline import finalize
from functrans.transforms.batch import BatchAxis, batch
from functrans.transforms.jvp import jvp
from functrans.transforms.linearize import linearize
from functrans.transforms.transpose import transpose
from tests.cases import CASES
from tests.cases.case import Case
from tests.numerical import draw_all
from tests.test_random_programs import RandomProgram, programs


def source(function: Any, *args: Any) -> str:
    """The generated source of a function, without its first line and the last one's brackets."""
    module = Module()
    write_function(module, finalize(ft.make_jaxpr(function)(*args).jaxpr))
    return module.source


def relaid(x: Any, layout: str) -> Any:
    """The same array in another memory layout."""
    x = np.asarray(x)
    if layout == "F":
        return x.copy(order="F")
    if layout == "strided":
        spread = np.zeros([2 * n for n in x.shape], x.dtype)
        spread[(*[slice(None, None, 2)] * x.ndim, ...)] = x
        return spread[(*[slice(None, None, 2)] * x.ndim, ...)]
    if layout == "reversed" and x.ndim:
        return x[::-1].copy()[::-1]
    return x


def assert_same_bits(actual: Sequence[Any], expected: Sequence[Any]) -> None:
    for a, b in zip(actual, expected, strict=True):
        if not isinstance(b, (np.ndarray, np.generic)):
            continue  # a tape
        assert type(a) is type(b)
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        if a.dtype.kind != "V":
            assert a.tobytes() == b.tobytes()


def check_program(jaxpr: Jaxpr, operands: Sequence[Any]) -> None:
    """The generated function gives the bits of the interpreter, shares no memory, and leaves its operands alone."""
    interpret, function = interpreted(jaxpr), generated(jaxpr)
    for layout in ("C", "F", "strided", "reversed"):
        inputs = [relaid(x, layout) for x in operands]
        before = [x.tobytes() for x in inputs]
        with np.errstate(all="ignore"):
            expected, actual = interpret(inputs), function(*inputs)
        assert_same_bits(actual, expected)
        assert [x.tobytes() for x in inputs] == before
        arrays = [x for x in actual if isinstance(x, np.ndarray)]
        assert not any([np.shares_memory(a, x) for a, x in product(arrays, inputs)])
        assert not any([np.shares_memory(a, b) for i, a in enumerate(arrays) for b in arrays[:i]])
        assert all([x.flags.writeable for x in arrays])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_primitive_gives_the_interpreters_bits(case: Case) -> None:
    for dtype in case.dtypes[-2:]:
        operands = draw_all(np.random.default_rng(0), case.operands, dtype)
        jaxpr = ft.make_jaxpr(case.function)(*operands).jaxpr
        if len(jaxpr.in_avals) == len(operands):
            check_program(jaxpr, operands)


@pytest.mark.parametrize("case", [case for case in CASES if case.differentiable], ids=str)
def test_derivatives_and_batches_give_the_interpreters_bits(case: Case) -> None:
    dtype = case.dtypes[-1]
    operands = draw_all(np.random.default_rng(1), case.operands, dtype)
    jaxpr = ft.make_jaxpr(case.function)(*operands).jaxpr
    nonzeros = tuple([aval.inexact for aval in jaxpr.in_avals])
    if not any(nonzeros) or len(jaxpr.in_avals) != len(operands):
        return
    tangents = [x for x, nonzero in zip(operands, nonzeros, strict=True) if nonzero]
    check_program(jvp(jaxpr, nonzeros)[0], [*operands, *tangents])
    lin = linearize(jaxpr, nonzeros)
    with np.errstate(all="ignore"):
        results = interpreted(lin.primal)(operands)
    residuals = lin.read_residuals(operands, results)
    linear = tuple([i < len(tangents) for i in range(len(lin.linear.in_avals))])
    back = transpose(lin.linear, linear, (True,) * len(lin.linear.outs))[0]
    rng = np.random.default_rng(2)
    cts = [rng.normal(size=aval.shape).astype(aval.dtype) for aval in lin.linear.out_avals]
    if all([a.dtype.kind != "V" for a in back.in_avals]):
        check_program(back, [*residuals, *cts])
    stacked = [np.stack([x, x]) for x in operands]
    check_program(batch(jaxpr, BatchAxis(2), (0,) * len(operands))[0], stacked)


@given(program=programs())
def test_random_programs_give_the_interpreters_bits(program: RandomProgram) -> None:
    inputs = program.inputs()
    closed = ft.make_jaxpr(program)(*inputs)
    check_program(closed.jaxpr, [*inputs, *closed.consts])

    def loss(*xs: Any) -> Any:
        return sum([np.sum(x) for x in program(*xs)])

    closed = ft.make_jaxpr(ft.grad(loss, argnums=tuple(range(len(inputs)))))(*inputs)
    check_program(closed.jaxpr, [*inputs, *closed.consts])


@given(program=programs())
def test_donated_inputs_change_no_bit(program: RandomProgram) -> None:
    inputs = program.inputs()
    jaxpr = ft.make_jaxpr(lambda *xs: (*program(*xs), *[x * 0.5 - np.sin(x) for x in xs]))(*inputs).jaxpr
    donated = [i for i, aval in enumerate(jaxpr.in_avals) if aval.ndim and i < len(inputs)]
    consts = ft.make_jaxpr(program)(*inputs).consts
    values = [*[x.copy() if x.ndim else x for x in inputs], *consts]
    assert_same_bits(generated(jaxpr, donated)(*values), interpreted(jaxpr)([*inputs, *consts]))


class TestClusters:
    """Elementwise operations on large arrays, a block after the other; here everything is large."""

    @pytest.fixture(autouse=True)
    def _everything_is_large(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr(clusters, "_LARGE", 1)
        monkeypatch.setattr(clusters, "_FEWEST", 2)
        monkeypatch.setattr(function, "_BLOCK", 3)
        ft.clear_caches()
        yield
        ft.clear_caches()

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(program=programs())
    def test_random_programs_give_the_interpreters_bits(self, program: RandomProgram) -> None:
        test_random_programs_give_the_interpreters_bits.hypothesis.inner_test(program)
        test_donated_inputs_change_no_bit.hypothesis.inner_test(program)

    def test_optimizer(self) -> None:
        def adam(p: Any, g: Any, m: Any, v: Any, rate: Any) -> Any:
            m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g**2
            return p - rate * m / (np.sqrt(v) + 1e-8), m, v

        rng = np.random.default_rng(0)
        p, q = [rng.uniform(0.5, 1.0, (4, 5, 2)) for _ in range(2)], [rng.uniform(0.5, 1.0, 7) for _ in range(2)]
        args = (p[0], p[1], p[0] * 2, p[1] * 2), (q[0], q[1], q[0] * 2, q[1] * 2)
        jaxpr = ft.make_jaxpr(lambda a, b, r: (adam(*a, r), adam(*b, r)))(*args, 0.1).jaxpr
        check_program(jaxpr, [*args[0], *args[1], np.float64(0.1)])
        module = Module()
        write_function(module, finalize(jaxpr))
        assert module.source.count("for i in range(0, 40, 3)") == 1
        assert module.source.count("for i in range(0, 7, 3)") == 1

    def test_an_operand_that_is_read_later_is_not_overwritten(self) -> None:
        def f(w: Any, x: Any) -> Any:
            h = w @ x
            a = h * 2.0
            b = a + h
            return b - a, np.sum(h)

        check_program(ft.make_jaxpr(f)(np.ones((3, 3)), np.ones((3, 3))).jaxpr, [np.eye(3) * 1.5, np.ones((3, 3))])


class TestDonation:
    def test_an_update_is_made_in_place(self) -> None:
        x, g = np.ones(3), np.full(3, 2.0)
        step = generated(ft.make_jaxpr(lambda x, g: x - 0.1 * g)(x, g).jaxpr, (0,))
        (out,) = step(x, g)
        assert out is x
        np.testing.assert_array_equal(x, 0.8)

    def test_nothing_is_written_before_the_last_equation_that_can_raise(self) -> None:
        x, y, i = np.ones(3), np.arange(3.0), np.array([0, 7])
        jaxpr = ft.make_jaxpr(lambda x, y, i: (x * 2.0, np.take(y, i)))(x, y, i).jaxpr
        with pytest.raises(IndexError):
            generated(jaxpr, (0,))(x, y, i)
        np.testing.assert_array_equal(x, 1.0)


class TestSource:
    def test_results_go_where_operands_are_read_for_the_last_time(self) -> None:
        x, w, b = np.ones((4, 3)), np.ones((3, 2)), np.ones(2)
        assert source(lambda x, w, b: np.tanh(x @ w + b) * 2.0, x, w, b) == (
            "def program0(x0, x1, x2):\n"
            "    t0 = x0.dot(x1)\n"
            "    t0 += x2\n"
            "    np.tanh(t0, out=t0)\n"
            "    t0 *= c0\n"
            "    return [t0]\n"
        )

    def test_a_scan_is_a_plain_loop(self) -> None:
        scan = partial(ft.lax.scan, lambda carry, row: (carry * 0.5 + row, carry))
        assert source(scan, np.ones(3), np.ones((4, 3))) == (
            "def scan0(x0, x1):\n"
            "    t0 = np.empty((4, 3), dtype0)\n"
            "    t1 = x0.copy()\n"
            "    for t3, t2 in zip(range(4), x1, strict=True):\n"
            "        t4 = t1 * c0\n"
            "        t4 += t2\n"
            "        t0[t3] = t1\n"
            "        t1 = t4\n"
            "    return [t1, t0]\n"
            "\n"
            "def program0(x0, x1):\n"
            "    t0, t1 = scan0(x0, x1)\n"
            "    return [t0, t1]\n"
        )

    def test_a_while_loop_writes_to_its_carry(self) -> None:
        halve = partial(ft.lax.while_loop, lambda x: np.sum(x) > 1.0, lambda x: x * 0.5)
        assert source(halve, np.ones(3)) == (
            "def loop0(x0):\n"
            "    t0 = x0.copy()\n"
            "    while True:\n"
            "        t3 = np.add.reduce(t0, 0)\n"
            "        t4 = t3 > c0\n"
            "        if not t4:\n"
            "            break\n"
            "        t0 *= c1\n"
            "    return [t0]\n"
            "\n"
            "def program0(x0):\n"
            "    t0, = loop0(x0)\n"
            "    return [t0]\n"
        )

    def test_inputs_are_not_written_to_and_outputs_are_copies(self) -> None:
        assert source(lambda x: (x, x.T, x + 1.0), np.ones((2, 3))) == (
            "def program0(x0):\n    t0 = x0.T\n    t1 = x0 + c0\n    return [x0.copy(), t0.copy(), t1]\n"
        )


@pytest.mark.parametrize("layout", ["C", "F", "strided", "reversed"])
@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 2)])
def test_sums_of_larger_arrays(axes: tuple[int, ...], layout: str) -> None:
    x = relaid(np.random.default_rng(0).normal(size=(40, 30, 20)).astype(np.float32), layout)
    program = ft.make_jaxpr(lambda x: (ft.lax.reduce_sum(x, axes), ft.lax.reduce_sum(ft.lax.sin(x), axes)))(x).jaxpr
    check_program(program, [x])


@pytest.mark.parametrize("name", ["less", "less_equal", "greater", "greater_equal", "equal", "not_equal"])
def test_comparisons_of_booleans_that_are_done_with(name: str) -> None:
    """Their result may take the memory of an operand, and there is no `a <== b`; `a <= b` would do nothing."""
    compare = getattr(np, name)
    x, y = np.array([0.5, 1.0, 2.0, -1.0]), np.array([1.0, 0.5, 3.0, -2.0])
    f = lambda x, y: compare(np.isfinite(x) & (x > 1), (y > 1) & (x < 2))
    jaxpr = finalize(ft.make_jaxpr(f)(x, y).jaxpr)
    check_program(jaxpr, [x, y])


@pytest.mark.parametrize("shape", [(1,), (1, 1), (2,), (3, 1), (2**17 + 1,)])
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_products_of_complex_numbers(dtype: Any, shape: tuple[int, ...]) -> None:
    """Of one element alone, NumPy's product in place has other last bits."""
    rng = np.random.default_rng(0)

    def f(x: Any, y: Any) -> Any:
        for _ in range(4):
            x = (x + y) * (x - y)
            x = np.square(x * (0.4 + 0.3j) + y)
        return x

    for _ in range(10):
        x, y = [(rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(dtype) for _ in range(2)]
        check_program(ft.make_jaxpr(f)(x, y).jaxpr, [x, y])


@pytest.mark.parametrize(
    "views", [(lambda x: x[::-1], lambda x: x.T), (lambda x: x.reshape(2, 8).T, lambda x: x.reshape(4, 4))]
)
def test_long_chains_of_views(views: tuple[Any, Any]) -> None:
    def f(x: Any) -> Any:
        for i in range(6000):
            x = views[i % 2](x)
        return x

    x = np.arange(16.0).reshape(4, 4)
    check_program(ft.make_jaxpr(f)(x).jaxpr, [x])


def test_loops_in_loops_are_written_in_time_that_grows_with_their_depth() -> None:
    def deep(depth: int, x: Any) -> Any:
        if not depth:
            return np.sin(x) * x
        return ft.lax.scan(lambda c, _: (deep(depth - 1, c) + c, None), x, None, length=1)[0]

    x = np.array([0.5, 0.7])
    check_program(ft.make_jaxpr(lambda x: deep(30, x))(x).jaxpr, [x])
