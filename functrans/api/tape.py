"""The gradient of a program that was never seen before, put together from pieces, one for each equation.

To transform a program as a whole takes a hundred times as long as to run it, which pays where it is run again. A
function whose loop has another length at each call makes a new program at each call, of operations that are the same.
So at first sight a gradient is planned by two walks over the equations, forwards for what there is to compute and
backwards for the cotangents, in which everything that depends on the operation alone is looked up
(`functrans.api.pieces`); then it is run, and forgotten. Seen again, the program goes the usual way. Both give the same
bits, since a piece is made by the same transformations, and cotangents are added in the same order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from functrans.api.execution import run_program
from functrans.api.pieces import (
    ACTIVE,
    APART,
    INACTIVE,
    NUMBER,
    RENAMED,
    ZERO,
    Kind,
    Maker,
    NotInPieces,
    Piece,
    literal_in,
    piece,
    table_key,
    takes_number,
)
from functrans.backends.interpreter import owned
from functrans.config import config
from functrans.core.aval import Aval
from functrans.core.jaxpr import Atom, Fresh, Jaxpr, Literal, Operation
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
                return Plan(program, wrt, with_value).run(values)
            except NotInPieces:
                pass
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

Step = tuple[Any, tuple[int, ...], tuple[int, ...]]
"""A function of a list, the slots of what is in that, and the slots of its results."""


class Plan:
    """What to run for a gradient. Values have slots: the results of the equations their numbers, inputs theirs (which
    count from the end), and what comes from pieces the numbers in between.
    """

    def __init__(self, program: Fresh, wrt: tuple[int, ...], with_value: bool) -> None:
        self.program = program
        self.n_inputs = len(program.in_avals)
        self.n_results = sum([len(operation.out_avals) for operation, _ in program.equations])
        self.n_slots = self.n_results
        self.constants: list[tuple[int, Any]] = []
        self.backward: list[Step] = []
        self.forward: list[Step] = []
        self.pieces: list[tuple[Piece, tuple[int, ...], int]] = []
        """For each equation its piece, the slots of its operands, and the number of its first result."""
        self.alias: dict[int, int] = {}
        """Atoms whose tangent is that of another one."""
        self.uses: Counter[Atom] | None = None
        self._find_pieces(wrt)
        size = self.n_slots + self.n_inputs
        self.kinds: list[Kind] = [ZERO] * size
        self.places = [0] * size
        """Of each atom what its cotangent is, and in which slot."""
        self.needed = [False] * size
        self.values_wanted = program.outs if with_value else program.outs[1:]
        for atom in self.values_wanted:
            if type(atom) is int:
                self.needed[atom] = True
        self._pull_back(program.outs[0])
        self.wrt = wrt

    # ---- planning

    def _find_pieces(self, wrt: tuple[int, ...]) -> None:
        active = [INACTIVE] * (self.n_results + self.n_inputs)
        makers: list[tuple[Maker, tuple[int, ...]] | None] = [None] * (self.n_results + self.n_inputs)
        """Of each atom with a tangent: what makes it, and the slots of the operands of that."""
        for number in wrt:
            if self.program.in_avals[number].inexact:
                active[-1 - number] = ACTIVE
        first = 0
        key = table_key()
        for operation, inputs in self.program.equations:
            if operation.effectful or operation.axis_names:
                raise NotInPieces
            pattern = self._pattern(operation, inputs, active)
            table = operation.memo.get(key)
            found = table.get(pattern) if table is not None else None
            if type(found) is not Piece:
                found = piece(operation, pattern)
            slots: tuple[int, ...] = inputs  # type: ignore[assignment]
            if len(found.operands) != len(inputs) or NUMBER in pattern:
                slots = tuple([self._operand(inputs[i]) for i in found.operands])
            if found.linear is not None:
                if self.alias or any([makers[slots[i]] is not None for i in found.active]):
                    found, slots = self._made_independent(found, slots, makers)
                for result, nonzero in enumerate(found.nonzeros):
                    if nonzero:
                        active[first + result] = ACTIVE
                        makers[first + result] = (found, result), slots
                for result, i in found.aliases:
                    self.alias[first + result] = self.alias.get(slots[i], slots[i])
            self.pieces.append((found, slots, first))
            first += found.n_outs

    def _pattern(self, operation: Operation, inputs: tuple[Atom, ...], active: list[int]) -> tuple[Any, ...]:
        pattern: list[Any] = []
        for position, atom in enumerate(inputs):
            if isinstance(atom, Literal):
                scalar = not atom.aval.shape and atom.value not in (-1, 0, 1)
                pattern.append(NUMBER if scalar and takes_number(operation, position) else atom)
            elif position and atom in inputs[:position]:
                pattern.append(-1 - inputs.index(atom))
            else:
                pattern.append(active[atom])
        return tuple(pattern)

    def _operand(self, atom: Atom) -> int:
        if type(atom) is int:
            return atom
        self.constants.append((self.n_slots, atom.scalar))  # type: ignore[union-attr]
        self.n_slots += 1
        return self.n_slots - 1

    def _uses(self, atom: int) -> int:
        """How often an atom is read."""
        if self.uses is None:
            self.uses = Counter([x for _, inputs in self.program.equations for x in inputs if type(x) is int])
            self.uses.update(self.program.outs)
        return self.uses[atom]

    def _made_independent(
        self, found: Piece, slots: tuple[int, ...], makers: list[Any]
    ) -> tuple[Piece, tuple[int, ...]]:
        """A piece, together with those before it with which something would be simplified."""
        for _ in range(_FUSED_AT_MOST):
            for i in found.active:
                made = makers[self.alias.get(slots[i], slots[i])]
                relation = APART if made is None else found.relation_to(made[0], i)
                if relation != APART and not (relation == RENAMED and self._uses(slots[i]) == 1):
                    if slots[i] in self.alias:  # its tangent is that result's, its value another
                        raise NotInPieces
                    merged = tuple(dict.fromkeys((*made[1], *[slot for j, slot in enumerate(slots) if j != i])))
                    places = tuple([merged.index(slot) if slot in merged else 0 for slot in (*made[1], *slots)])
                    found, slots = found.fuse(made[0], i, places), merged
                    break
            else:
                return found, slots
        raise NotInPieces

    def _pull_back(self, out: Atom) -> None:
        kinds, alias, needed = self.kinds, self.alias, self.needed
        if type(out) is int:
            kinds[alias.get(out, out)] = Literal(1, self._aval(out).strong)
        for found, slots, first in reversed(self.pieces):
            extra = 0
            if found.linear is not None:
                extra = self._pull_back_piece(found, slots, first)
            wanted = tuple(needed[first : first + found.n_outs])
            if extra or any(wanted):
                outs = [first + i for i, is_wanted in enumerate(wanted) if is_wanted]
                if extra:
                    outs += range(extra, extra + found.extra)
                self.forward.append((found.forward((*wanted, *[bool(extra)] * found.extra)), slots, tuple(outs)))
                for slot in slots:
                    needed[slot] = True
        self.forward.reverse()

    def _pull_back_piece(self, found: Piece, slots: tuple[int, ...], first: int) -> int:
        """Plan the backward part of a piece. Gives the slot of the first of its other residuals, 0 if it has none."""
        kinds, places, alias, needed = self.kinds, self.places, self.alias, self.needed
        results = [first + i for i, nonzero in enumerate(found.nonzeros) if nonzero]
        cts = [ZERO if atom in alias else kinds[atom] for atom in results]
        if not any(cts):
            return 0
        atoms = [alias.get(slots[i], slots[i]) for i in found.active]
        if len(set(atoms)) < len(atoms):
            raise NotInPieces  # two operands are different, and their tangent is the same
        backward = found.backward(tuple(cts), tuple([kinds[atom] for atom in atoms]))
        atoms_of_cts = [*atoms, *results]
        extra = 0
        if backward.function is not None:
            read = []
            for place in [found.residuals[i] for i in backward.residuals]:
                if place >= found.n_outs:
                    if not extra:
                        extra, self.n_slots = self.n_slots, self.n_slots + found.extra
                    read.append(extra + place - found.n_outs)
                else:
                    atom = first + place if place >= 0 else slots[-1 - place]
                    needed[atom] = True
                    read.append(atom)
            read += [places[atoms_of_cts[i]] for i in backward.cotangents]
            n = 1 + max([place for _, place in backward.outs])
            self.backward.append((backward.function, tuple(read), tuple(range(self.n_slots, self.n_slots + n))))
        new = [
            (kind, self.n_slots + place if place >= 0 else places[atoms_of_cts[-1 - place]])
            for kind, place in backward.outs
        ]
        if backward.function is not None:
            self.n_slots += n
        for atom, (kind, place) in zip(atoms, new, strict=True):
            kinds[atom], places[atom] = kind, place
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
        for function, operands, outs, dead in self._steps():
            results = function(list(map(get, operands)))
            if len(outs) == 1:
                slots[outs[0]] = results[0]
            else:
                for slot, result in zip(outs, results, strict=True):
                    slots[slot] = result
            for slot in dead:
                slots[slot] = None
        return self._owned_outputs(slots, values)

    def _steps(self) -> Iterable[tuple[Any, Sequence[int], Sequence[int], Sequence[int]]]:
        """What is to be run, each step with the slots that nothing reads after it; small values are not looked at."""
        steps = self.forward + self.backward
        if not any([found.is_large for found, _, _ in self.pieces]):
            return [(*step, ()) for step in steps]
        read = {atom for atom in self.values_wanted if type(atom) is int}
        read.update([self.places[-1 - number] for number in self.wrt])
        with_ends: list[Any] = []
        for function, operands, outs in reversed(steps):
            dead = [slot for slot in {*operands, *outs} if slot >= 0 and slot not in read]
            read.update(operands)
            with_ends.append((function, operands, outs, dead))
        return reversed(with_ends)

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
