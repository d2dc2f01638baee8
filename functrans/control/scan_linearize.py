"""Linearizing `scan`: a scan that also stacks residuals, and a linear scan that reads them row by row.

A residual is stacked only if it must be. One that is a constant, or hangs on constants alone, is the same in each
iteration; one that is a row of an operand is there already; one that is a row of a stacked result is a result. The
values of the carry before and after the iterations are one sequence, which is kept once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from functrans.control.loop_bodies import Body, fixed_point, with_zeros
from functrans.control.rearranging import reordered
from functrans.control.scan_bodies import program_of_atoms
from functrans.core.evaluation import eval_jaxpr
from functrans.core.jaxpr import Atom, Jaxpr, derived
from functrans.core.rules import def_linearize
from functrans.ops.joining import concatenate
from functrans.ops.scan import bind_scan, scan_p
from functrans.ops.shape import expand_dims
from functrans.ops.slicing import slice_in_dim
from functrans.passes.invariants import invariant_atoms
from functrans.passes.pipeline import tidied
from functrans.transforms.linearize import Linearized, linearize
from functrans.transforms.tangents import Nonzeros, fill_zeros, without_zeros

__all__ = ["LinearScan", "linearized_scan"]


class Place(NamedTuple):
    """Where the linear scan finds a residual."""

    kind: str
    """One of: `const` and `init` (an operand), `invariant` (computed once), `x` (a stack that is an operand), `y` (a
    stacked result), `before` and `after` (the values of the carry before and after each iteration)."""
    number: int
    stack: int = -1
    """For `before` and `after`: the number of the stacked result that has the values of the carry."""
    stacked_before: bool = False
    """For them: whether that has the values before each iteration, and not after it."""

    @property
    def is_stacked(self) -> bool:
        """Whether there is a row for each iteration."""
        return self.kind in ("x", "y", "before", "after")


class Plan(NamedTuple):
    """A linearized body."""

    primal: Jaxpr
    """The body with more stacked results."""
    invariants: Jaxpr
    """What is the same in each iteration, from the constants and the initial carry."""
    linear: Jaxpr
    """The linear body: from tangents and residuals to tangents."""
    carry: Nonzeros
    """Which parts of the carry have a tangent."""
    ys: Nonzeros
    """Which stacked results have one."""
    fixed: tuple[Place, ...]
    """The residuals that are the same in each iteration."""
    stacks: tuple[Place, ...]
    """The others."""
    unchanged: tuple[int, ...]
    """Which parts of the carry are the same in each iteration."""


class LinearScan(NamedTuple):
    """A linear scan without its tangents."""

    plan: Plan
    fixed: list[Any]
    stacks: list[Any]
    length: int
    reverse: bool


# --------------------------------------------------------------------------------------------------------------------
# The plan


def _make_plan(jaxpr: Jaxpr, n_consts: int, n_carry: int, nonzeros: Nonzeros) -> Plan:
    body = Body(jaxpr, n_consts, n_carry)
    consts, start, xs = body.parts(nonzeros)

    def nonzero_carry(carry: Nonzeros) -> Nonzeros:
        return linearize(jaxpr, (*consts, *carry, *xs)).nonzeros[:n_carry]

    carry = fixed_point(nonzero_carry, tuple(start))
    lin = linearize(jaxpr, (*consts, *carry, *xs), (*carry, *(False,) * body.n_written))
    residuals = _Residuals(lin, n_consts, n_carry, body.n_written)
    places = [residuals.place(where) for where in lin.residuals]
    fixed = [i for i, place in enumerate(places) if not place.is_stacked]
    stacks = [i for i, place in enumerate(places) if place.is_stacked]
    n_const_dots, n_carry_dots, n_dots = sum(consts), sum(carry), sum(consts) + sum(carry) + sum(xs)
    order = [
        *range(n_const_dots),
        *[n_dots + i for i in fixed],
        *range(n_const_dots, n_const_dots + n_carry_dots),
        *range(n_const_dots + n_carry_dots, n_dots),
        *[n_dots + i for i in stacks],
    ]
    return Plan(
        residuals.primal(),
        residuals.invariants(),
        reordered(lin.linear, order),
        carry,
        lin.nonzeros[n_carry:],
        tuple([places[i] for i in fixed]),
        tuple([places[i] for i in stacks]),
        tuple(residuals.unchanged),
    )


class _Residuals:
    """Finds the residuals of a body, and says what must be stacked for it."""

    def __init__(self, lin: Linearized, n_consts: int, n_carry: int, n_ys: int) -> None:
        self.program = lin.primal
        self.n_consts, self.n_carry, self.n_outs = n_consts, n_carry, n_carry + n_ys
        outs = lin.primal.outs
        self.stacked: list[Atom] = list(outs[n_carry : self.n_outs])
        """What is stacked: the results that there were, then more."""
        self.unchanged = [i for i in range(n_carry) if outs[i] == -1 - (n_consts + i)]
        self.fixed_inputs = [*range(n_consts), *[n_consts + i for i in self.unchanged]]
        self.invariant = invariant_atoms(self.program, self.fixed_inputs)
        self.computed_once: list[int] = []
        self.atoms = [outs[where] if where >= 0 else where for where in lin.residuals]

    def place(self, where: int) -> Place:
        """Where a residual is found, which `Linearized.residuals` names so."""
        atom = self.program.outs[where] if where >= 0 else where
        assert type(atom) is int
        if atom < 0:
            number = -1 - atom
            if number < self.n_consts:
                return Place("const", number)
            if number >= self.n_consts + self.n_carry:
                return Place("x", number - self.n_consts - self.n_carry)
            if number - self.n_consts in self.unchanged:
                return Place("init", number - self.n_consts)
            i = number - self.n_consts
            return Place("before", i, *self._sequence(i))
        if atom in self.invariant:
            return Place("invariant", _position(self.computed_once, atom))
        for i in range(self.n_carry):
            if self.program.outs[i] == atom and self._carry_in(i) in self.atoms and i not in self.unchanged:
                return Place("after", i, *self._sequence(i))
        return Place("y", self._stack(atom))

    def _carry_in(self, i: int) -> int:
        return -1 - (self.n_consts + i)

    def _sequence(self, i: int) -> tuple[int, bool]:
        """The stack that has the values of a part of the carry, and whether those are the ones before."""
        after = self.program.outs[i]
        if after in self.stacked:
            return self.stacked.index(after), False
        return self._stack(self._carry_in(i)), True

    def _stack(self, atom: int) -> int:
        return _position(self.stacked, atom)

    def primal(self) -> Jaxpr:
        """The body that stacks them."""
        outs = (*self.program.outs[: self.n_carry], *self.stacked)
        return tidied_outs(self.program, outs)

    def invariants(self) -> Jaxpr:
        """What is the same in each iteration, from the constants and the parts of the carry that never change."""
        return program_of_atoms(self.program, self.computed_once, self.fixed_inputs, self.invariant)


def tidied_outs(program: Jaxpr, outs: Sequence[Atom]) -> Jaxpr:
    """The program with other outputs, and without what none of them needs."""
    return tidied(reordered(program, range(len(program.in_avals)), outs))


def _position(atoms: list[Any], atom: int) -> int:
    if atom not in atoms:
        atoms.append(atom)
    return atoms.index(atom)


# --------------------------------------------------------------------------------------------------------------------
# The rule


def linearized_scan(
    primals: Sequence[Any],
    nonzeros: Nonzeros,
    *,
    jaxpr: Jaxpr,
    length: int,
    reverse: bool,
    n_consts: int,
    n_carry: int,
) -> tuple[list[Any], LinearScan]:
    """The results of a scan, and the linear scan that gives their tangents.

    Args:
        primals: the operands.
        nonzeros: which of them have a tangent.
        jaxpr, length, reverse, n_consts, n_carry: the parameters of the scan.
    """
    key = ("scan linearize", n_consts, n_carry, nonzeros)
    plan = derived(jaxpr, key, lambda: _make_plan(jaxpr, n_consts, n_carry, nonzeros))
    consts, init, xs = Body(jaxpr, n_consts, n_carry).parts(primals)
    results = bind_scan(plan.primal, consts, init, xs, length, reverse)
    final, stacks = results[:n_carry], results[n_carry:]
    once = eval_jaxpr(plan.invariants, [*consts, *[init[i] for i in plan.unchanged]])
    sequences = _Sequences(plan, init, final, stacks, reverse)

    def read(place: Place) -> Any:
        kept = {"const": consts, "init": init, "invariant": once, "x": xs, "y": stacks}.get(place.kind)
        return sequences.read(place) if kept is None else kept[place.number]

    fixed, moving = [read(place) for place in plan.fixed], [read(place) for place in plan.stacks]
    return list(results[: len(jaxpr.outs)]), LinearScan(plan, fixed, moving, length, reverse)


class _Sequences:
    """The values of the carry before and after each iteration, from the stack of one of the two."""

    def __init__(
        self, plan: Plan, init: Sequence[Any], final: Sequence[Any], stacks: Sequence[Any], reverse: bool
    ) -> None:
        self.init, self.final, self.stacks, self.reverse = init, final, stacks, reverse
        # Where both are wanted they are two views of one array, which has one row more.
        self.both = {place.number for place in plan.stacks if place.kind == "after"}
        self.whole: dict[int, Any] = {}

    def read(self, place: Place) -> Any:
        """The stack of a residual of kind `before` or `after`."""
        stack, number = self.stacks[place.stack], place.number
        n = stack.shape[0]
        if not n:
            return stack
        if number in self.both:
            if number not in self.whole:
                row = self.final[number] if place.stacked_before else self.init[number]
                self.whole[number] = self._joined(stack, row, last=place.stacked_before)
            return self._window(self.whole[number], last=place.kind == "after")
        if place.stacked_before:
            return stack
        return self._joined(self._window(stack, last=False), self.init[number], last=False)

    def _joined(self, stack: Any, row: Any, last: bool) -> Any:
        """A stack with one row more, which is the last or the first in the order of the iterations."""
        parts = [stack, expand_dims(row, (0,))]
        return concatenate(parts if last != self.reverse else parts[::-1], 0)

    def _window(self, stack: Any, last: bool) -> Any:
        """A stack without its first or its last row, in the order of the iterations."""
        n = stack.shape[0]
        return slice_in_dim(stack, 1, n) if last != self.reverse else slice_in_dim(stack, 0, n - 1)


def _linearize(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[list[Any], list[Any]]:
    _, nonzeros = without_zeros(tangents)
    outs, scan = linearized_scan(primals, nonzeros, **params)
    plan = scan.plan
    if not any(plan.carry) and not any(plan.ys):
        return outs, [None] * len(outs)
    body = Body(params["jaxpr"], params["n_consts"], params["n_carry"])
    consts, init, xs = body.parts(tangents)
    init = with_zeros(init, plan.carry, body.parts(body.jaxpr.in_avals)[1])
    dots = bind_scan(
        plan.linear,
        without_zeros(consts)[0] + scan.fixed,
        init,
        without_zeros(xs)[0] + scan.stacks,
        scan.length,
        scan.reverse,
    )
    return outs, fill_zeros(dots[: len(init)], plan.carry) + fill_zeros(dots[len(init) :], plan.ys)


def_linearize(scan_p, _linearize)
