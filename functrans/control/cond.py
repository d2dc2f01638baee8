"""The rules of `cond`: the branches are transformed one by one, and made to agree in what they take and give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.backends.numpy_codegen.generate import write_function
from functrans.backends.numpy_codegen.rules import Writer, def_source, write_call
from functrans.backends.numpy_codegen.values import Value
from functrans.backends.running import executable
from functrans.control.members import (
    chosen,
    empty_batch,
    front_axis,
    in_the_place_of,
    joined,
    member,
    source_of,
    to_front,
)
from functrans.control.rearranging import rearranged
from functrans.core.aval import Aval, aval_of
from functrans.core.effects import is_effectful
from functrans.core.evaluation import eval_jaxpr, stage
from functrans.core.jaxpr import Equation, Jaxpr, Literal, axis_names_in, derived
from functrans.core.rules import (
    BatchAxis,
    UndefinedPrimal,
    def_general_jvp,
    def_linearize,
    def_program_batch,
    def_specialized_impl,
    def_transpose,
    zeros_like,
)
from functrans.core.tapes import is_tape
from functrans.errors import MissingRuleError
from functrans.ops.bitwise import bitwise_not
from functrans.ops.comparison import eq, ge, le
from functrans.ops.cond import cond_p
from functrans.ops.families import constant_like
from functrans.ops.reductions import reduce_or
from functrans.passes.pipeline import finalize
from functrans.transforms.batch import batch, batch_to
from functrans.transforms.jvp import jvp
from functrans.transforms.linearize import Linearized, linearize
from functrans.transforms.tangents import Nonzeros, fill_zeros, without_zeros
from functrans.transforms.transpose import masked_cotangents, transpose

__all__ = ["bind_cond"]

Branches = tuple[Jaxpr, ...]
Slots = tuple[int, ...]


def bind_cond(
    index: Any, operands: Sequence[Any], branches: Sequence[Jaxpr], slots: Sequence[int] = ()
) -> Sequence[Any]:
    """One equation that runs one of several programs."""
    return cond_p.bind(index, *operands, branches=tuple(branches), slots=tuple(slots))


# --------------------------------------------------------------------------------------------------------------------
# The value


def _impl(index: Aval, *operands: Aval, branches: Branches, slots: Slots) -> Callable[..., Any]:
    last = len(branches) - 1
    prepared: list[Any] = [None] * len(branches)  # a branch that never runs is never prepared

    def run(index: Any, *values: Any) -> Any:
        number = int(index)
        number = 0 if number < 0 else last if number > last else number
        branch = prepared[number]
        if branch is None:
            branch = prepared[number] = executable(branches[number])
        return branch(values)

    return run


def _write_call(writer: Writer, eqn: Equation, operands: Sequence[Value]) -> list[Value]:
    """The source of an equation: each branch is a function of its own."""
    index, *values = operands
    branches = eqn.params["branches"]
    functions = [write_function(writer.module, finalize(branch)) for branch in branches]
    results: list[Value] = []
    number = writer.name()
    writer.line(f"{number} = int({index.text})")
    for place, function in enumerate(functions[:-1]):
        with writer.block(f"{'if' if place == 0 else 'elif'} {number} {'<=' if place == 0 else '=='} {place}:"):
            results = write_call(writer, function, values, eqn.out_avals, results)
    if len(functions) == 1:
        return write_call(writer, functions[0], values, eqn.out_avals)
    with writer.block("else:"):
        return write_call(writer, functions[-1], values, eqn.out_avals, results)


# --------------------------------------------------------------------------------------------------------------------
# Derivatives


def _any_of(nonzeros: Sequence[Nonzeros]) -> Nonzeros:
    return tuple([any(each) for each in zip(*nonzeros, strict=True)])


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], *, branches: Branches, slots: Slots) -> tuple[Any, Any]:
    given, nonzeros_in = without_zeros(tangents[1:])
    nonzeros = _any_of([jvp(branch, nonzeros_in)[1] for branch in branches])
    programs = [jvp(branch, nonzeros_in, nonzeros)[0] for branch in branches]
    n_outs = len(branches[0].outs)
    places = fill_zeros(range(n_outs, n_outs + sum(nonzeros)), nonzeros)
    both = [*slots, *[places[slot] for slot in slots if nonzeros[slot]]]
    results = bind_cond(primals[0], [*primals[1:], *given], programs, both)
    return results[:n_outs], fill_zeros(results[n_outs:], nonzeros)


class _Residuals:
    """Where the residuals of all branches are: among the operands, the outputs, or in slots behind them.

    Branches share slots of one aval, since only one of them runs; but not those of tapes, so that each has one writer.
    """

    def __init__(self, lins: Sequence[Linearized], n_outs: int) -> None:
        self.slots: list[Aval] = []
        self.written: list[dict[int, int]] = []
        """For each branch: the slots that it writes, and the number of the output of its own that goes there."""
        self.places: list[list[int]] = []
        """For each branch: the place of each of its residuals, as in `Linearized`, a slot counted as an output."""
        for lin in lins:
            written: dict[int, int] = {}
            slot_of: dict[int, int] = {}
            for place in lin.residuals:
                if place >= n_outs and place not in slot_of:
                    slot_of[place] = self._slot(lin.primal.out_avals[place].strong, written)
                    written[slot_of[place]] = place
            self.written.append(written)
            self.places.append([n_outs + slot_of[p] if p in slot_of else p for p in lin.residuals])
        self.read = sorted({place for places in self.places for place in places})

    def _slot(self, aval: Aval, written: dict[int, int]) -> int:
        for number, have in enumerate(self.slots):
            if have is aval and number not in written and not is_tape(aval):
                return number
        self.slots.append(aval)
        return len(self.slots) - 1

    def unshared(self) -> list[int]:
        """The slots of one branch only. In one that is shared, a branch may have a value whose tangent is zero."""
        return [n for n in range(len(self.slots)) if sum([n in written for written in self.written]) == 1]

    def outputs(self, number: int, n_outs: int) -> list[Any]:
        """The outputs of a branch: its own, then the slots, with zeros in those of other branches."""
        written = self.written[number]
        return [*range(n_outs), *[written.get(slot, zeros_like(aval)) for slot, aval in enumerate(self.slots)]]


def _linearize(primals: Sequence[Any], tangents: Sequence[Any], *, branches: Branches, slots: Slots) -> tuple[Any, Any]:
    index, operands = primals[0], primals[1:]
    given, nonzeros_in = without_zeros(tangents[1:])
    nonzeros = _any_of([linearize(branch, nonzeros_in).nonzeros for branch in branches])
    lins = [linearize(branch, nonzeros_in, nonzeros) for branch in branches]
    n_outs, in_avals = len(branches[0].outs), branches[0].in_avals
    residuals = _Residuals(lins, n_outs)
    own_inputs = [-1 - i for i in range(len(in_avals))]
    primal_branches = [
        rearranged(lin.primal, in_avals, own_inputs, residuals.outputs(number, n_outs))
        for number, lin in enumerate(lins)
    ]
    outs = bind_cond(index, operands, primal_branches, [*slots, *[n_outs + slot for slot in residuals.unshared()]])
    values = [outs[place] if place >= 0 else operands[-1 - place] for place in residuals.read]
    avals = [aval_of(x).strong for x in [*given, *values]]
    where = {place: -1 - len(given) - i for i, place in enumerate(residuals.read)}
    linear_branches = [
        rearranged(
            lin.linear,
            avals,
            [*[-1 - i for i in range(len(given))], *[where[place] for place in places]],
            range(len(lin.linear.outs)),
        )
        for lin, places in zip(lins, residuals.places, strict=True)
    ]
    places = fill_zeros(range(sum(nonzeros)), nonzeros)
    dots = bind_cond(index, [*given, *values], linear_branches, [places[slot] for slot in slots if nonzeros[slot]])
    return outs[:n_outs], fill_zeros(dots, nonzeros)


def _transpose(cts: Sequence[Any], index: Any, *operands: Any, branches: Branches, slots: Slots) -> list[Any]:
    if type(index) is UndefinedPrimal:
        raise MissingRuleError("the function is not linear in what is transposed: the choice of a branch hangs on it")
    given, nonzeros_in = without_zeros(cts)
    linear = tuple([type(x) is UndefinedPrimal for x in operands])
    masked = masked_cotangents(cts)
    pairs = [transpose(branch, linear, nonzeros_in, masked=masked) for branch in branches]
    wanted = _any_of([nonzeros for _, nonzeros in pairs])
    avals = [aval for aval, is_linear in zip(branches[0].in_avals, linear, strict=True) if is_linear]
    programs = [_with_zeros(program, nonzeros, wanted, avals) for program, nonzeros in pairs]
    fixed = [x for x in operands if type(x) is not UndefinedPrimal]
    outs = iter(fill_zeros(bind_cond(index, [*fixed, *given], programs), wanted))
    return [None, *[next(outs) if is_linear else None for is_linear in linear]]


def _with_zeros(program: Jaxpr, have: Nonzeros, wanted: Nonzeros, avals: Sequence[Aval]) -> Jaxpr:
    """The program with zeros among its outputs: it has some of them, and more are wanted."""
    numbers = fill_zeros(range(len(program.outs)), have)
    outs = [
        zeros_like(aval) if number is None else number
        for number, aval, is_wanted in zip(numbers, avals, wanted, strict=True)
        if is_wanted
    ]
    return rearranged(program, program.in_avals, [-1 - i for i in range(len(program.in_avals))], outs)


# --------------------------------------------------------------------------------------------------------------------
# Batches


def _batch(
    axis: BatchAxis, operands: Sequence[Any], axes: Sequence[int | None], *, branches: Branches, slots: Slots
) -> tuple[Sequence[Any], Sequence[int | None]]:
    index, *rest = operands
    index_axis, *rest_axes = axes
    if index_axis is None:
        return _batch_shared(axis, index, rest, tuple(rest_axes), branches, slots)
    if axis.size == 0:
        return empty_batch(branches[0].out_avals)
    if any([is_effectful(branch) for branch in branches]):
        return _one_by_one(axis, operands, axes, branches, slots)
    return _batch_chosen(axis, index, rest, rest_axes, branches, slots)


def _out_axes(branches: Branches, axis: BatchAxis, axes: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """Where all branches can have the batch axes of their outputs: those of tapes stay where the writer has them."""
    given = [batch(branch, axis, axes)[1] for branch in branches]
    found = [next((along for along in each if along is not None), None) for each in zip(*given, strict=True)]
    return tuple([front_axis(aval, along) for aval, along in zip(branches[0].out_avals, found, strict=True)])


def _batch_shared(
    axis: BatchAxis, index: Any, operands: Sequence[Any], axes: tuple[int | None, ...], branches: Branches, slots: Slots
) -> tuple[Sequence[Any], Sequence[int | None]]:
    """All members take the same branch."""
    out_axes = _out_axes(branches, axis, axes)
    return bind_cond(index, operands, [batch_to(b, axis, axes, out_axes) for b in branches], slots), out_axes


def _batch_chosen(
    axis: BatchAxis, index: Any, operands: Sequence[Any], axes: Sequence[int | None], branches: Branches, slots: Slots
) -> tuple[list[Any], list[int | None]]:
    """Each branch runs if a member takes it, for the others with the inputs of one that does."""
    operands, front = to_front(operands, axes, axis.size)
    avals = branches[0].out_avals
    out_axes = [
        along if is_tape(aval) and (along is not None or number in slots) else along or 0
        for number, (aval, along) in enumerate(zip(avals, _out_axes(branches, axis, front), strict=True))
    ]
    cases: list[Any] = []
    for number, branch in enumerate(branches):
        program = batch_to(branch, axis, front, tuple(out_axes))
        if not branch.eqns:
            cases.append(eval_jaxpr(program, operands))
        elif axis.name is not None and axis.name in axis_names_in(branch):
            cases.append(eval_jaxpr(program, operands))  # a collective is over all members, with their own inputs
        else:
            active = _takes(index, number, len(branches))
            run, skip = _guarded(program, front, axis.size)
            cases.append(bind_cond(reduce_or(active, (0,)), [active, *operands], (skip, run), slots))
    outs: list[Any] = []
    for number, values in enumerate(zip(*cases, strict=True)):
        given = {branch.outs[number] for branch in branches}
        if len(given) == 1 and type(literal := next(iter(given))) is Literal:
            outs.append(literal)
            out_axes[number] = None
            continue
        writers = [x for x, branch in zip(values, branches, strict=True) if type(branch.outs[number]) is not Literal]
        along = out_axes[number]
        if (number in slots and len(writers) == 1) or along is None:
            outs.append([*writers, values[0]][0])
        else:
            outs.append(chosen(index, values, along))
    return outs, out_axes


def _takes(index: Any, number: int, n_branches: int) -> Any:
    """Which members take a branch."""
    if index.dtype.kind == "b":
        return index if number else bitwise_not(index)
    at = constant_like(index, number)
    if n_branches == 1:
        return ge(index, constant_like(index, np.iinfo(index.dtype).min))
    if number == 0:
        return le(index, at)
    return ge(index, at) if number == n_branches - 1 else eq(index, at)


def _guarded(program: Jaxpr, axes: tuple[int | None, ...], size: int) -> tuple[Jaxpr, Jaxpr]:
    """A batched branch as a function of who takes it and the operands, and what stands for it if nobody does."""
    return derived(program, ("guarded", axes, size), lambda: _guard(program, axes, size))


def _guard(program: Jaxpr, axes: tuple[int | None, ...], size: int) -> tuple[Jaxpr, Jaxpr]:
    avals = [Aval((size,), np.dtype(bool)), *program.in_avals]
    with stage("cond", avals) as recording:
        active, *operands = recording.inputs()
        run, _ = recording.close(eval_jaxpr(program, in_the_place_of(operands, axes, source_of(active)), recording))
    zeros = [zeros_like(aval) for aval in program.out_avals]
    return run, rearranged(run, avals, [-1 - i for i in range(len(avals))], zeros)


def _one_by_one(
    axis: BatchAxis, operands: Sequence[Any], axes: Sequence[int | None], branches: Branches, slots: Slots
) -> tuple[Sequence[Any], Sequence[int | None]]:
    """Branches with effects run for those members that take them, one after the other."""
    results = []
    for number in range(axis.size):
        index, *own = [member(x, number, along) for x, along in zip(operands, axes, strict=True)]
        results.append(bind_cond(index, own, branches, slots))
    return [joined(outs) for outs in zip(*results, strict=True)], [0] * len(branches[0].outs)


def_specialized_impl(cond_p, _impl)
def_source(cond_p, _write_call)
def_general_jvp(cond_p, _jvp)
def_linearize(cond_p, _linearize)
def_transpose(cond_p, _transpose)
def_program_batch(cond_p, _batch)
