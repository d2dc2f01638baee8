"""The gradient of a program that was never seen before, put together from pieces, one for each equation.

To transform a program as a whole takes a hundred times as long as to run it, which pays where it is run again. A
function whose loop has another length at each call makes a new program at each call, of operations that are the same.
So at first sight a gradient is planned by two walks over the equations, forwards for what there is to compute and
backwards for the cotangents, in which everything that depends on the operation alone is looked up
(`functrans.api.pieces`); then it is run, and forgotten. Seen again, the program goes the usual way. Both give the same
bits, since a piece is made by the same transformations, and cotangents are added in the same order.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from functrans.api.execution import run_program
from functrans.api.pieces import (
    ACTIVE,
    APART,
    INACTIVE,
    JOINED,
    NUMBER,
    RENAMED,
    ZERO,
    Kind,
    NotInPieces,
    Piece,
    Tangent,
    keep,
    known_key,
    literal_in,
    piece,
    table_key,
    takes_number,
)
from functrans.backends.interpreter import owned
from functrans.config import config
from functrans.core.aval import Aval
from functrans.core.jaxpr import Atom, Fresh, Jaxpr, Literal, Operation, gc_paused
from functrans.core.recording import staging_open
from functrans.core.tracer import Tracer
from functrans.transforms.reverse import gradient

__all__ = ["run_gradient"]

_COST_OF_A_PIECE = 3
"""To make the pieces of an operation costs as much as to transform so many equations of a program."""


def run_gradient(
    program: Jaxpr | Fresh, wrt: tuple[int, ...], with_value: bool, values: Sequence[Any]
) -> Sequence[Any]:
    """The outputs of a program and the gradient of the first one.

    Args:
        program: a program whose first output is a scalar.
        wrt: with respect to which inputs.
        with_value: whether the first output itself is wanted.
        values: the values of the inputs.
    """
    if isinstance(program, Fresh):
        if _suits(program, values):
            try:
                with gc_paused():
                    plan = Plan(program, wrt, with_value)
            except Exception:  # where it is more than `NotInPieces`, the whole program says what is wrong, and where
                plan = None
            if plan is not None:
                return plan.run(values)
        program = program.interned()
    return run_program(gradient(program, wrt, with_value), values)


def _suits(program: Fresh, values: Sequence[Any]) -> bool:
    """Whether to put the gradient together from pieces is possible at all, and pays."""
    if config.checks_values or staging_open():
        return False
    if any([type(x) is Tracer for x in values]):
        return False
    key = table_key()
    operations = {operation for operation, _ in program.equations}
    unmet = [operation for operation in operations if key not in operation.memo]
    for operation in unmet:
        operation.memo[key] = {}  # they are not unmet when they come again, in another program
    return _COST_OF_A_PIECE * len(unmet) <= len(program.equations)


_FUSED_AT_MOST = 6
"""Pieces that are made one."""

Step = tuple[Any, tuple[int, ...], Any]
"""A function, the slots of what it is called with, and the slot of its result, or those of several."""


class Plan:
    """What to run for a gradient. Values have slots: the results of the equations their numbers, inputs theirs (which
    count from the end), and what comes from pieces the numbers in between.
    """

    def __init__(self, program: Fresh, wrt: tuple[int, ...], with_value: bool) -> None:
        self.program = program
        self.wrt = wrt
        self.n_inputs = len(program.in_avals)
        self.n_results = sum([len(operation.out_avals) for operation, _ in program.equations])
        self.n_slots = self.n_results
        self.constants: list[tuple[int, Any]] = []
        self.pieces: list[tuple[Piece, tuple[int, ...], int]] = []
        """For each equation its piece, the slots of its operands, and the number of its first result."""
        self.tangents: list[Any] = [INACTIVE] * (self.n_results + self.n_inputs)
        """For each atom that has a tangent the `Tangent` that it comes from, or `ACTIVE` for an input."""
        self.alias: dict[int, int] = {}
        """Atoms whose tangent is that of another one."""
        self.copies: dict[Atom, int] = {}
        """Atoms that are another one."""
        self.uses: Counter[Atom] | None = None
        self._find_pieces()
        size = self.n_slots + self.n_inputs
        self.kinds: list[Kind] = [ZERO] * size
        self.places = [0] * size
        """Of each atom what its cotangent is, and in which slot."""
        self.needed = [False] * size
        """Whether the value of an atom is read."""
        self.values_wanted = program.outs if with_value else program.outs[1:]
        for atom in self.values_wanted:
            if type(atom) is int:
                self.needed[atom] = True
        self.forward: list[Step] = []
        self.backward: list[Step] = []
        self._pull_back(program.outs[0])

    # ---- planning: forwards

    def _find_pieces(self) -> None:
        tangents, pieces = self.tangents, self.pieces
        for number in self.wrt:
            if self.program.in_avals[number].inexact:
                tangents[-1 - number] = ACTIVE
        known, first = known_key(), 0
        for operation, inputs in self.program.equations:
            if self.copies:
                inputs = tuple([self.copies.get(x, x) for x in inputs])
            marks: Any = None
            if len(inputs) == 2:  # the usual cases, without a loop
                x, y = inputs
                if x.__class__ is int and y.__class__ is int and x != y:
                    marks = tangents[x], tangents[y]
            elif len(inputs) == 1 and inputs[0].__class__ is int:
                marks = tangents[inputs[0]]
            table = operation.memo.get(known)
            found = table.get(marks) if table is not None and marks is not None else None
            slots: Any = inputs
            if found is None:
                found, slots = self._piece_for(operation, inputs, marks)
            pieces.append((found, slots, first))
            if found.is_simple:
                tangents[first] = found.tangents[0]
                first += 1
            else:
                tangents[first : first + found.n_outs] = found.tangents
                for result, i in found.aliases:
                    self._note_alias(first + result, slots[i], result in found.copies)
                first += found.n_outs

    def _note_alias(self, atom: int, other: int, is_copy: bool) -> None:
        if is_copy:
            self.copies[atom] = other
        self.tangents[atom] = self.tangents[other]
        self.alias[atom] = root = self.alias.get(other, other)
        uses = self._readers()
        uses[root] += uses[atom]

    def _piece_for(self, operation: Operation, inputs: tuple[Atom, ...], marks: Any) -> tuple[Piece, tuple[int, ...]]:
        """The piece for an equation, and its operands."""
        if operation.effectful or operation.axis_names:
            raise NotInPieces
        pattern = self._pattern(operation, inputs)
        found = piece(operation, pattern)
        slots: tuple[int, ...] = inputs  # type: ignore[assignment]
        if len(found.operands) != len(inputs) or NUMBER in pattern:
            slots = tuple([self._operand(inputs[i]) for i in found.operands])
        if found.linear is not None:
            return self._made_independent(operation, found, slots, marks)
        if marks is not None:
            keep(operation.memo.setdefault(known_key(), {}), marks, found)
        return found, slots

    def _pattern(self, operation: Operation, inputs: tuple[Atom, ...]) -> tuple[Any, ...]:
        pattern: list[Any] = []
        for position, atom in enumerate(inputs):
            if isinstance(atom, Literal):
                scalar = not atom.aval.shape and atom.value not in (-1, 0, 1)
                pattern.append(NUMBER if scalar and takes_number(operation, position) else atom)
            elif position and atom in inputs[:position]:
                pattern.append(-1 - inputs.index(atom))
            else:
                pattern.append(ACTIVE if self.tangents[atom] else INACTIVE)
        return tuple(pattern)

    def _operand(self, atom: Atom) -> int:
        if type(atom) is int:
            return atom
        self.constants.append((self.n_slots, atom.scalar))  # type: ignore[union-attr]
        self.n_slots += 1
        return self.n_slots - 1

    def _made_independent(
        self, operation: Operation, found: Piece, slots: tuple[int, ...], marks: Any
    ) -> tuple[Piece, tuple[int, ...]]:
        """A piece, together with those before it with which something would be simplified. If there are none, and what
        its operands are is said by the marks, it is noted.
        """
        for _ in range(_FUSED_AT_MOST):
            for i in found.active:
                tangent = self.tangents[slots[i]]
                relation = found.relation_to(tangent, i) if type(tangent) is Tangent else APART
                if relation != APART:
                    marks = None
                if relation == JOINED or (
                    relation == RENAMED and self._readers()[self.alias.get(slots[i], slots[i])] > 1
                ):
                    found, slots = self._fused(found, slots, i)
                    break
            else:
                if marks is not None:
                    keep(operation.memo.setdefault(known_key(), {}), marks, found)
                return found, slots
        raise NotInPieces

    def _readers(self) -> Counter[Atom]:
        """How often each atom is read, and those whose tangent is its."""
        if self.uses is None:
            self.uses = Counter([x for _, inputs in self.program.equations for x in inputs if type(x) is int])
            self.uses.update(self.program.outs)
        return self.uses

    def _fused(self, found: Piece, slots: tuple[int, ...], number: int) -> tuple[Piece, tuple[int, ...]]:
        """A piece together with the one that makes one of its operands."""
        atom = slots[number]
        if atom in self.alias:  # its tangent is made elsewhere, its value is not
            raise NotInPieces
        _, made_of, _ = self.pieces[bisect_right(self.pieces, atom, key=lambda entry: entry[2]) - 1]
        merged = tuple(dict.fromkeys((*made_of, *[slot for slot in slots if slot != atom])))
        places = tuple([merged.index(slot) if slot in merged else 0 for slot in (*made_of, *slots)])
        return found.fuse(self.tangents[atom], number, places), merged

    # ---- planning: backwards

    def _pull_back(self, out: Atom) -> None:
        kinds, alias, needed, forward = self.kinds, self.alias, self.needed, self.forward
        if type(out) is int and self.tangents[out]:
            kinds[alias.get(out, out)] = Literal(1, self._aval(out).strong)
        for found, slots, first in reversed(self.pieces):
            extra = 0
            if found.is_simple:
                kind = kinds[first]
                if kind:
                    extra = self._pull_back_piece(found, slots, first, (kind,))
                if not extra:
                    if needed[first]:
                        forward.append((found.value or found.value_function(), slots, first))
                        for slot in slots:
                            needed[slot] = True
                    continue
            elif found.linear is not None:
                cts = [ZERO if first + i in alias else kinds[first + i] for i in range(found.n_outs)]
                if any(cts):
                    extra = self._pull_back_piece(found, slots, first, tuple(cts))
            self._plan_forward(found, slots, first, extra)
        forward.reverse()

    def _plan_forward(self, found: Piece, slots: tuple[int, ...], first: int, extra: int) -> None:
        """Plan the forward part of a piece, where something needs it; `extra` is the slot of its first other residual,
        0 if none is read.
        """
        wanted = self.needed[first : first + found.n_outs]
        if not extra and not any(wanted):
            return
        outs = [first + i for i, is_wanted in enumerate(wanted) if is_wanted]
        if extra:
            outs += range(extra, extra + found.extra)
        function = found.forward((*wanted, *[bool(extra)] * found.extra))
        self.forward.append((function, slots, outs[0] if len(outs) == 1 else outs))
        for slot in slots:
            self.needed[slot] = True

    def _pull_back_piece(self, found: Piece, slots: tuple[int, ...], first: int, cts: tuple[Kind, ...]) -> int:
        """Plan the backward part of a piece. Gives the slot of the first of its other residuals, 0 if none is read."""
        kinds, places, needed, alias = self.kinds, self.places, self.needed, self.alias
        atoms = [slots[i] for i in found.active]
        if alias:
            atoms = [alias.get(atom, atom) for atom in atoms]
            if len(set(atoms)) < len(atoms):
                raise NotInPieces  # two operands are different, and their tangent is the same
        before = tuple([kinds[atom] for atom in atoms])
        backward = found.backwards.get(cts + before) or found.backward(cts, before)
        function, reads, primals, reads_extra, n_outs, outs = backward
        n_results = found.n_outs
        extra = 0
        if n_results == 1:
            local = [*slots, first, places[first], *[places[atom] for atom in atoms]]
        else:
            results = range(first, first + n_results)
            local = [*slots, *results, *[places[i] for i in results], *[places[atom] for atom in atoms]]
        if reads_extra:
            extra = self.n_slots
            self.n_slots = extra + found.extra
            local.extend(range(extra, self.n_slots))
        made = self.n_slots
        if function is not None:
            for i in primals:
                needed[local[i]] = True
            read = tuple([local[i] for i in reads])
            if n_outs == 1:
                self.backward.append((function, read, made))
            else:
                self.backward.append((function, read, range(made, made + n_outs)))
            self.n_slots = made + n_outs
        for atom, (kind, number, place) in zip(atoms, outs, strict=True):
            kinds[atom] = kind
            places[atom] = local[place] if number < 0 else made + number
        return extra

    def _aval(self, atom: int) -> Aval:
        if atom < 0:
            return self.program.in_avals[-1 - atom]
        operation, first = next(
            (operation, first)
            for (operation, _), (_, _, first) in zip(self.program.equations[::-1], self.pieces[::-1], strict=True)
            if first <= atom
        )
        return operation.out_avals[atom - first]

    # ---- running

    def run(self, values: Sequence[Any]) -> list[Any]:
        """The outputs, and the gradient."""
        slots = [None] * self.n_slots + list(values[::-1])
        for slot, value in self.constants:
            slots[slot] = value
        get = slots.__getitem__
        if not any([found.is_large for found, _, _ in self.pieces]):
            for function, operands, out in (*self.forward, *self.backward):
                if out.__class__ is int:
                    slots[out] = function(*map(get, operands))
                else:
                    for slot, result in zip(out, function(*map(get, operands)), strict=True):
                        slots[slot] = result
        else:
            for (function, operands, out), dead in self._with_ends():
                results = function(*map(get, operands))
                if type(out) is int:
                    slots[out] = results
                else:
                    for slot, result in zip(out, results, strict=True):
                        slots[slot] = result
                results = None
                for slot in dead:
                    slots[slot] = None
        return self._owned_outputs(slots, values)

    def _with_ends(self) -> Iterable[tuple[Step, Sequence[int]]]:
        """What is to be run, each step with the slots that nothing reads after it."""
        read = {atom for atom in self.values_wanted if type(atom) is int}
        read.update([self.places[-1 - number] for number in self.wrt])
        ends: list[tuple[Step, list[int]]] = []
        for step in reversed(self.forward + self.backward):
            _, operands, out = step
            outs = (out,) if type(out) is int else out
            dead = [slot for slot in {*operands, *outs} if slot >= 0 and slot not in read]
            read.update(operands)
            ends.append((step, dead))
        return reversed(ends)

    def _owned_outputs(self, slots: list[Any], values: Sequence[Any]) -> list[Any]:
        """The outputs, each with memory of its own."""
        outs = [slots[atom] if type(atom) is int else owned(atom.array) for atom in self.values_wanted]  # type: ignore[union-attr]
        outs += [self._gradient(number, slots) for number in self.wrt]
        taken = {id(_owner(x)) for x in values}
        for i, x in enumerate(outs):
            if type(x) is np.ndarray:
                owner = _owner(x)
                if not x.shape or id(owner) in taken or 0 in x.strides or not owner.flags.writeable:
                    outs[i] = owned(x)
                taken.add(id(owner))
        return outs

    def _gradient(self, number: int, slots: list[Any]) -> Any:
        atom = -1 - number
        kind = self.kinds[atom]
        if type(kind) is not int:
            return owned(literal_in(kind).array)
        if kind == ZERO:
            return owned(Literal(0, self.program.in_avals[number].strong).array)
        return slots[self.places[atom]]


def _owner(x: Any) -> Any:
    """The array whose memory an array shares."""
    while type(x) is np.ndarray and x.base is not None:
        x = x.base
    return x
