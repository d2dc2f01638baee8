"""Every check of every primitive, generated from the rows of `tests/cases`."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import functrans as ft
from functrans.core.check import check_jaxpr
from functrans.core.primitive import registered_primitives
from functrans.passes.pipeline import PASSES
from functrans.transforms.batch import BatchAxis, batch
from functrans.transforms.jvp import jvp
from functrans.transforms.linearize import linearize
from functrans.transforms.transpose import transpose
from tests.cases import CASES
from tests.cases.case import Case
from tests.numerical import (
    TOLERANCE,
    Arrays,
    assert_close,
    direction,
    directional_derivative,
    draw_all,
    pairing,
)

DIFFERENTIABLE = [case for case in CASES if case.differentiable]
DOUBLE = ("float64", "complex128")

every_case = pytest.mark.parametrize("case", CASES, ids=str)
every_differentiable_case = pytest.mark.parametrize("case", DIFFERENTIABLE, ids=str)


def with_seeds(check: Callable[..., None]) -> Callable[..., None]:
    """Run a check on seeds that Hypothesis draws: two in the short profile, more in the long one."""
    few = settings(max_examples=max(2, settings().max_examples // 12))
    return few(given(seed=st.integers(0, 2**32 - 1))(check))


def listed(out: Any) -> list[Any]:
    return list(out) if isinstance(out, (tuple, list)) else [out]


def is_inexact(x: Any) -> bool:
    return x.dtype.kind in "fc"


class Point:
    """A case at a point: its function of the operands that can be differentiated, the others fixed."""

    def __init__(self, case: Case, dtype: str, seed: int) -> None:
        self.case = case
        self.dtype = dtype
        self.rng = np.random.default_rng(seed)
        self.operands = draw_all(self.rng, case.operands, dtype)
        self.moved = [i for i, x in enumerate(self.operands) if is_inexact(x)]
        self.xs = [self.operands[i] for i in self.moved]

    def function(self, *xs: Any) -> tuple[Any, ...]:
        """The inexact outputs."""
        operands = list(self.operands)
        for i, x in zip(self.moved, xs, strict=True):
            operands[i] = x
        return tuple([out for out in listed(self.case.function(*operands)) if is_inexact(out)])

    def direction(self) -> Arrays:
        return direction(self.rng, self.xs)

    def cotangent(self) -> Arrays:
        return direction(self.rng, self.function(*self.xs))

    def tolerance(self, at_double: float) -> float:
        return (at_double if self.dtype in DOUBLE else 2e-4) * max(1.0, self.case.tolerance)


def points(case: Case, seed: int, dtypes: Sequence[str]) -> list[Point]:
    """The points at which derivatives are checked: one for each dtype, where an operand is inexact."""
    found = [Point(case, dtype, seed) for dtype in case.dtypes if dtype in dtypes]
    return [point for point in found if point.moved and point.function(*point.xs)]


# --------------------------------------------------------------------------------------------------------------------
# The table is complete


def functrans_primitives() -> list[str]:
    """The names of the primitives that functrans itself registers, asked of a fresh interpreter."""
    code = (
        "import importlib, pkgutil, functrans\n"
        "for module in pkgutil.walk_packages(functrans.__path__, 'functrans.', onerror=lambda name: None):\n"
        "    try: importlib.import_module(module.name)\n"
        "    except ImportError: pass\n"
        "from functrans.core.primitive import registered_primitives\n"
        "print(*registered_primitives())\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout.split()


NAMES = functrans_primitives()


@pytest.mark.parametrize("name", NAMES)
def test_every_primitive_has_a_row(name: str) -> None:
    assert name in {case.primitive.name for case in CASES}


RULES: dict[str, tuple[str, ...]] = {
    "impl": ("impl", "specialize"),
    "abstract": ("abstract",),
    "jvp": ("jvp", "jvp_rules", "vjp"),
    "transpose": ("transpose",),
    "batch": ("batch",),
}


@pytest.mark.parametrize("name", NAMES)
def test_every_rule_is_given_or_declared_absent(name: str) -> None:
    primitive = registered_primitives()[name]
    missing = [
        rule
        for rule, attributes in RULES.items()
        if all([getattr(primitive, attribute) is None for attribute in attributes]) and rule not in primitive.absent
    ]
    assert not missing, f"primitive {name!r} lacks the rules {missing}, and does not declare them absent"


def test_cases_have_distinct_names() -> None:
    names = [str(case) for case in CASES]
    assert len(names) == len(set(names)), sorted({name for name in names if names.count(name) > 1})


# --------------------------------------------------------------------------------------------------------------------
# Values and types


def check_value(case: Case, actual: Any, operands: Arrays) -> None:
    with np.errstate(all="ignore"):
        expected = listed(case.reference(*operands))
    actual = listed(actual)
    assert len(actual) == len(expected)
    for a, b in zip(actual, expected, strict=True):
        b = np.asarray(b)
        assert np.shape(a) == b.shape
        assert a.dtype == b.dtype
        exact = isinstance(case.reference, np.ufunc) and case.reference.signature is None
        if exact or b.dtype.kind not in "fc" or case.tolerance == 0:
            np.testing.assert_array_equal(a, b, strict=b.ndim > 0)
            assert b.dtype.kind not in "fc" or np.array_equal(np.signbit(np.real(a)), np.signbit(np.real(b)))
        else:
            assert_close([a], [b], TOLERANCE[b.dtype.name] * case.tolerance)


@every_case
@with_seeds
def test_value_is_numpys(case: Case, seed: int) -> None:
    """Also from read-only operands, jitted, and with the type that the abstract rule says."""
    for dtype in case.dtypes:
        operands = draw_all(np.random.default_rng(seed), case.operands, dtype)
        for x in operands:
            x.flags.writeable = False
        out = listed(case.function(*operands))
        check_value(case, out[0] if len(out) == 1 else out, operands)
        jitted = listed(ft.jit(case.function)(*operands))
        types = listed(ft.eval_shape(case.function, *operands))
        for eager, compiled, aval in zip(out, jitted, types, strict=True):
            assert (np.shape(eager), eager.dtype) == (aval.shape, aval.dtype)
            assert (np.shape(compiled), compiled.dtype) == (aval.shape, aval.dtype)
            assert np.asarray(eager).tobytes() == np.asarray(compiled).tobytes()
            assert not any([np.shares_memory(compiled, x) for x in operands])


def layouts(x: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """The same array strided, in Fortran order, and as a broadcast."""
    spread = np.zeros([2 * n for n in x.shape], x.dtype)
    strided = spread[(*[slice(None, None, 2)] * x.ndim, ...)]
    strided[...] = x
    return {"strided": strided, "Fortran order": x.copy(order="F")}


@every_case
def test_memory_layout_does_not_matter(case: Case) -> None:
    for dtype in case.dtypes[-1:]:
        operands = draw_all(np.random.default_rng(1), case.operands, dtype)
        tolerance = TOLERANCE.get(dtype, 0.0) * max(1.0, case.tolerance)
        plain = listed(case.function(*operands))
        for name in ("strided", "Fortran order"):
            assert_close(listed(case.function(*[layouts(x)[name] for x in operands])), plain, tolerance)
        constant = [np.full(x.shape, x.flat[0] if x.size else 0, x.dtype) for x in operands]
        flat = [np.broadcast_to(x.flat[0] if x.size else x.dtype.type(0), x.shape) for x in operands]
        with np.errstate(all="ignore"):
            assert_close(listed(case.function(*flat)), listed(case.function(*constant)), tolerance)


@every_case
def test_programs_are_well_typed(case: Case) -> None:
    """After every transformation and every pass; and they print."""
    for dtype in case.dtypes:
        operands = draw_all(np.random.default_rng(2), case.operands, dtype)
        closed = ft.make_jaxpr(case.function)(*operands)
        assert str(closed).startswith("{ lambda")
        jaxpr = closed.jaxpr
        programs = [jaxpr]
        nonzeros = tuple([aval.inexact for aval in jaxpr.in_avals])
        axes = tuple([aval.ndim for aval in jaxpr.in_avals])
        if axes:
            programs.append(batch(jaxpr, BatchAxis(3), axes)[0])
        if case.differentiable and any(nonzeros):
            programs.append(jvp(jaxpr, nonzeros)[0])
            lin = linearize(jaxpr, nonzeros)
            programs += [lin.primal, lin.linear]
            linear = tuple([i < sum(nonzeros) for i in range(len(lin.linear.in_avals))])
            programs.append(transpose(lin.linear, linear, (True,) * len(lin.linear.outs))[0])
        for program, simplify in product(programs, [lambda p: p, *PASSES]):
            simplified = simplify(program)
            check_jaxpr(simplified)
            assert [a.strong for a in simplified.out_avals] == [a.strong for a in program.out_avals]


# --------------------------------------------------------------------------------------------------------------------
# Derivatives


@every_differentiable_case
@with_seeds
def test_jvp_is_the_derivative(case: Case, seed: int) -> None:
    for point in points(case, seed, DOUBLE):
        v = point.direction()
        out, dot = ft.jvp(point.function, point.xs, v)
        assert_close(out, point.function(*point.xs), 1e-12)
        expected = directional_derivative(point.function, point.xs, v)
        assert_close(dot, expected, point.tolerance(2e-7))
        assert [np.asarray(t).dtype for t in dot] == [np.asarray(y).dtype for y in out]
        linear_dot = ft.linearize(point.function, *point.xs)[1](*v)
        assert_close(linear_dot, dot, 1e-12)


@every_differentiable_case
@with_seeds
def test_vjp_is_the_transpose_of_the_jvp(case: Case, seed: int) -> None:
    for point in points(case, seed, ("float32", *DOUBLE, "complex64")):
        v, ct = point.direction(), point.cotangent()
        dot = ft.jvp(point.function, point.xs, v)[1]
        cts = ft.vjp(point.function, *point.xs)[1](tuple(ct))
        assert [(np.shape(c), c.dtype) for c in cts] == [(x.shape, x.dtype) for x in point.xs]
        scale = pairing(map_abs(ct), map_abs(dot)) + 1.0
        assert abs(pairing(ct, dot) - pairing(cts, v)) <= point.tolerance(1e-11) * scale


@every_differentiable_case
def test_transposing_twice_gives_the_derivative_back(case: Case) -> None:
    for point in points(case, 3, DOUBLE):
        v, ct = point.direction(), tuple(point.cotangent())
        derivative = ft.linearize(point.function, *point.xs)[1]
        once = ft.linear_transpose(derivative, *v)
        twice = ft.linear_transpose(once, ct)(tuple(v))
        assert_close(twice[0], derivative(*v), 1e-12)


def is_linear(f: Callable[..., Any], xs: Arrays, vs: Arrays) -> bool:
    """Whether a function is additive, and homogeneous, at two random points."""
    sums = f(*[2.5 * x + v for x, v in zip(xs, vs, strict=True)])
    parts = [2.5 * a + b for a, b in zip(f(*xs), f(*vs), strict=True)]
    return all([y.size and np.allclose(x, y, rtol=1e-12, atol=1e-12) for x, y in zip(sums, parts, strict=True)])


@every_differentiable_case
def test_what_is_linear_is_transposed_as_it_stands(case: Case) -> None:
    """In each operand alone, and in all together if it was declared so, where the primitive has a transpose rule."""
    for point in points(case, 5, DOUBLE) if case.primitive.transpose is not None else ():
        v = point.direction()
        together = case.primitive.jvp is not None  # def_linear, not def_multilinear
        choices = [list(range(len(v)))] * together + [[i] for i in range(len(v))]
        for chosen in choices:

            def f(*xs: Any, chosen: list[int] = chosen, point: Point = point) -> Any:
                whole = list(point.xs)
                for i, x in zip(chosen, xs, strict=True):
                    whole[i] = x
                return point.function(*whole)

            xs, vs = [point.xs[i] for i in chosen], [v[i] for i in chosen]
            if is_linear(f, xs, vs):
                ct = point.cotangent()
                cts = ft.linear_transpose(f, *xs)(tuple(ct))
                assert abs(pairing(ct, f(*vs)) - pairing(cts, vs)) <= 1e-11 * (
                    1 + pairing(map_abs(ct), map_abs(f(*vs)))
                )


def map_abs(xs: Sequence[Any]) -> Arrays:
    return [np.abs(x) for x in xs]


@every_differentiable_case
@with_seeds
def test_higher_derivatives(case: Case, seed: int) -> None:
    """Those of the gradient, against finite differences, and forward against reverse, up to the order of the case."""
    for point in points(case, seed, DOUBLE):
        f: Callable[..., tuple[Any, ...]] = point.function
        for _ in range(case.order - 1):
            f = pulled_back(f, tuple(direction(point.rng, f(*point.xs))))
            v = point.direction()
            dot = ft.jvp(f, point.xs, v)[1]
            assert_close(dot, directional_derivative(f, point.xs, v), point.tolerance(1e-6))
            ct = direction(point.rng, point.xs)
            cts = ft.vjp(f, *point.xs)[1](tuple(ct))
            scale = pairing(map_abs(ct), map_abs(dot)) + 1.0
            assert abs(pairing(ct, dot) - pairing(cts, v)) <= point.tolerance(1e-10) * scale


def pulled_back(f: Callable[..., Any], ct: tuple[Any, ...]) -> Callable[..., tuple[Any, ...]]:
    """The gradient of `f` paired with a fixed cotangent, whose outputs are like the inputs."""
    return lambda *xs: tuple(ft.vjp(f, *xs)[1](ct))


# --------------------------------------------------------------------------------------------------------------------
# Batches


def stacks(case: Case, dtype: str, chosen: Sequence[int], axis: int, size: int) -> tuple[Arrays, list[Arrays]]:
    """Operands of which the chosen ones are stacked, and the operands of each member."""
    rng = np.random.default_rng(4)
    members = [draw_all(rng, case.operands, dtype) for _ in range(max(size, 1))]
    stacked = list(members[0])
    for i in chosen:
        whole = np.stack([operands[i] for operands in members], axis)
        stacked[i] = whole.take(range(size), axis)
    own = [[ops[i] if i in chosen else stacked[i] for i in range(len(stacked))] for ops in members]
    return stacked, own[:size]


def subsets(n: int) -> list[list[int]]:
    """Every subset that is not empty; for many operands all, each alone, and the first two."""
    if n > 3:
        return [list(range(n)), [0, 1], *[[i] for i in range(n)]]
    return [[i for i in range(n) if mask >> i & 1] for mask in range(1, 2**n)]


@every_case
def test_vmap_is_a_loop(case: Case) -> None:
    dtype = case.dtypes[-1]
    for chosen in subsets(len(case.operands)):
        for axis, size in ((0, 3), (-1, 3), (0, 1), (0, 0)):
            stacked, members = stacks(case, dtype, chosen, axis, size)
            in_axes = tuple([axis if i in chosen else None for i in range(len(stacked))])
            outs = listed(ft.vmap(case.function, in_axes)(*stacked))
            single = listed(case.function(*(members[0] if members else stacks(case, dtype, chosen, axis, 1)[1][0])))
            loop = [listed(case.function(*member)) for member in members]
            for number, (out, like) in enumerate(zip(outs, single, strict=True)):
                assert out.dtype == like.dtype
                assert out.shape == (size, *np.shape(like))
                if size:
                    expected = np.stack([outs_of_member[number] for outs_of_member in loop])
                    assert_close([out], [expected], TOLERANCE.get(like.dtype.name, 0.0) * max(1.0, case.tolerance))
