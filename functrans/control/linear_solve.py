"""The rules of solutions of equations.

Of a linear equation `A x = b`: `A dx = db - dA x`, and the cotangent of b solves the transposed equation. Of a root of
`f(x, a) = 0`: `df/dx dx = -df/da da` (Griewank and Walther, Evaluating Derivatives, chapter 15). Neither looks into the
program that solves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from functrans.backends.running import run_inner
from functrans.core.evaluation import eval_jaxpr
from functrans.core.jaxpr import Jaxpr
from functrans.core.rules import (
    BatchAxis,
    UndefinedPrimal,
    declare_absent,
    def_constant,
    def_general_jvp,
    def_program_batch,
    def_specialized_impl,
    def_transpose,
    zeros_like,
)
from functrans.errors import MissingRuleError
from functrans.ops.elementwise import neg
from functrans.ops.families import stacked
from functrans.ops.linear_solve import linear_solve_p, root_p, undifferentiated_p
from functrans.transforms.batch import batch, batch_to
from functrans.transforms.linearize import linearize
from functrans.transforms.tangents import add_tangents, fill_zeros, without_zeros

__all__: list[str] = []

Axes = Sequence[int | None]


def _change(program: Jaxpr, consts: Sequence[Any], tangents: Sequence[Any], x: Sequence[Any]) -> list[Any]:
    """The tangents of what a program gives for x, while x stays and what it closes over changes; None is zero."""
    given, nonzeros = without_zeros(tangents)
    if not given:
        return [None] * len(program.outs)
    lin = linearize(program, nonzeros + (False,) * len(x))
    results = eval_jaxpr(lin.primal, [*consts, *x])
    dots = eval_jaxpr(lin.linear, [*given, *lin.read_residuals([*consts, *x], results)])
    return fill_zeros(dots, lin.nonzeros)


def _negative(x: Any) -> Any:
    return None if x is None else neg(x)


def _filled(tangents: Sequence[Any], like: Sequence[Any]) -> list[Any]:
    return [zeros_like(x) if t is None else t for t, x in zip(tangents, like, strict=True)]


# --------------------------------------------------------------------------------------------------------------------
# Linear equations


def _solve_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, n: int, **programs: Any) -> tuple[Any, Any]:
    results = linear_solve_p.bind(*primals, n=n, **programs)
    n_consts = len(primals) - n
    changes = _change(programs["matvec"], primals[:n_consts], tangents[:n_consts], results[:n])
    rhs = [add_tangents(t, _negative(c)) for t, c in zip(tangents[n_consts:], changes, strict=True)]
    if all([t is None for t in rhs]):
        return results, [None] * len(results)
    solved = linear_solve_p.bind(*primals[:n_consts], *_filled(rhs, results[:n]), n=n, **programs)
    return results, [*solved[:n], *[None] * (len(results) - n)]


def _solve_transpose(
    cts: Sequence[Any], *operands: Any, n: int, jaxpr: Jaxpr, matvec: Jaxpr, vecmat: Any, transpose_solve: Any
) -> list[Any]:
    n_consts = len(operands) - n
    consts, b = operands[:n_consts], operands[n_consts:]
    if any([type(x) is UndefinedPrimal for x in consts]):
        raise MissingRuleError(
            "the function is not linear in what is transposed: the solution of a linear equation is not linear in "
            "the values that matvec and solve close over"
        )
    if transpose_solve is None:
        raise TypeError(
            "custom_linear_solve needs a transpose_solve for reverse mode (grad, vjp): pass transpose_solve="
            "lambda vecmat, b: ..., which solves the transposed equation, or symmetric=True if matvec is its own "
            "transpose"
        )
    solved = linear_solve_p.bind(
        *consts,
        *_filled(cts[:n], b),
        n=n,
        jaxpr=transpose_solve,
        matvec=vecmat,
        vecmat=matvec,
        transpose_solve=jaxpr,
    )
    return [None] * n_consts + list(solved[:n])


def _solve_batch(
    axis: BatchAxis, operands: Sequence[Any], axes: Axes, *, n: int, **programs: Jaxpr | None
) -> tuple[Sequence[Any], Sequence[int]]:
    n_consts = len(operands) - n
    within = (*axes[:n_consts], *(0,) * n)
    b = [stacked(x, axis.size, along, 0) for x, along in zip(operands[n_consts:], axes[n_consts:], strict=True)]
    batched = {
        name: None if program is None else batch_to(program, axis, within, (0,) * len(program.outs))
        for name, program in programs.items()
    }
    outs = linear_solve_p.bind(*operands[:n_consts], *b, n=n, **batched)
    return outs, (0,) * len(outs)


def_specialized_impl(linear_solve_p, run_inner)
def_general_jvp(linear_solve_p, _solve_jvp)
def_transpose(linear_solve_p, _solve_transpose)
def_program_batch(linear_solve_p, _solve_batch)


# --------------------------------------------------------------------------------------------------------------------
# Roots


def _undifferentiated_batch(
    axis: BatchAxis, operands: Sequence[Any], axes: Axes, *, jaxpr: Jaxpr
) -> tuple[Sequence[Any], Axes]:
    program, out_axes = batch(jaxpr, axis, tuple(axes))
    return undifferentiated_p.bind(*operands, jaxpr=program), out_axes


def_specialized_impl(undifferentiated_p, run_inner)
def_constant(undifferentiated_p, 0, "its results are constants")
def_program_batch(undifferentiated_p, _undifferentiated_batch)


def _root_jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, n: int, f: Jaxpr, tangent_solve: Jaxpr, **rest: Any
) -> tuple[Any, Any]:
    roots = root_p.bind(*primals, n=n, f=f, tangent_solve=tangent_solve, **rest)
    n_consts = len(primals) - n
    consts = primals[:n_consts]
    changes = _change(f, consts, tangents[:n_consts], roots)
    if all([t is None for t in changes]):
        return roots, [None] * n
    dots = eval_jaxpr(tangent_solve, [*consts, *roots, *_filled(changes, roots)])
    return roots, [neg(t) for t in dots]


def _root_batch(
    axis: BatchAxis, operands: Sequence[Any], axes: Axes, *, n: int, jaxpr: Jaxpr, f: Jaxpr, tangent_solve: Jaxpr
) -> tuple[Sequence[Any], Sequence[int]]:
    n_consts = len(operands) - n
    within, zeros = tuple(axes[:n_consts]), (0,) * n
    x = [stacked(x, axis.size, along, 0) for x, along in zip(operands[n_consts:], axes[n_consts:], strict=True)]
    outs = root_p.bind(
        *operands[:n_consts],
        *x,
        n=n,
        jaxpr=batch_to(jaxpr, axis, within + zeros, zeros),
        f=batch_to(f, axis, within + zeros, zeros),
        tangent_solve=batch_to(tangent_solve, axis, within + zeros + zeros, zeros),
    )
    return outs, zeros


def_specialized_impl(root_p, run_inner)
def_general_jvp(root_p, _root_jvp)
def_program_batch(root_p, _root_batch)
declare_absent(root_p, "transpose", "a root is not linear in the parameters of the equation")
