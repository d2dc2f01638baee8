"""How much memory a run of a program needs: which buffers it allocates, and how many bytes of them live at once.

A result lives from its equation to the last use of it or of a view of it. A view needs no memory, and a result that
would share memory with an input or with another result is copied at the end. What an operation needs for itself while
it runs (the copy of a transposed operand, the windows of a convolution) is not counted.
"""

from __future__ import annotations

from typing import NamedTuple

from functrans.core.jaxpr import Atom, Equation, Jaxpr, derived
from functrans.explaining.cost import nbytes
from functrans.passes.pipeline import finalize

__all__ = ["Memory", "last_uses", "memory_of"]


class Memory(NamedTuple):
    """What a run of a program needs, in bytes."""

    inputs: int
    """Of the arguments, and of what the function closes over."""
    outputs: int
    temporaries: int
    """Of what is neither, at the moment when most is allocated."""
    peak: int
    """Of what the run allocates, outputs and temporaries, at the moment when that is most."""
    buffers: int
    """How many arrays are allocated."""
    at: int | None
    """The number of the equation during which the peak is reached; None where that is after the last."""


def memory_of(jaxpr: Jaxpr) -> Memory:
    """What a run of a program needs, in the form in which it is run.

    >>> import numpy as np
    >>> import functrans as ft
    >>> memory_of(ft.make_jaxpr(lambda x: np.sum(np.sin(x) ** 2.5))(np.ones(1000)).jaxpr)
    Memory(inputs=8000, outputs=8, temporaries=16000, peak=16000, buffers=3, at=1)
    """
    return derived(jaxpr, "memory", lambda: _Run(finalize(jaxpr)).memory())


def last_uses(jaxpr: Jaxpr) -> dict[int, list[int]]:
    """For the number of an equation, the results that nobody needs after it."""
    last: dict[int, int] = {}
    for number, eqn in enumerate(jaxpr.eqns):
        last.update(dict.fromkeys(eqn.outs, number))
        last.update({atom: number for atom in eqn.inputs if type(atom) is int and atom >= 0})
    needed = set(jaxpr.outs)
    dead: dict[int, list[int]] = {}
    for atom, number in last.items():
        if atom not in needed:
            dead.setdefault(number, []).append(atom)
    return dead


class _Run:
    """A walk through a program that counts bytes instead of computing."""

    def __init__(self, jaxpr: Jaxpr) -> None:
        self.jaxpr = jaxpr
        self.owner: dict[Atom, Atom] = {}
        """For a view the atom whose memory it has."""
        self.stretched: set[Atom] = set()
        """Views of broadcasts, of which several elements share their memory."""
        self._find_owners()
        self.outputs: set[Atom] = set()
        """The buffers that become outputs."""
        self.copied: list[int] = []
        """The bytes of each output that would share memory with something else, and so is copied."""
        self._find_outputs()
        self.size: dict[Atom, int] = {}
        """The bytes of each buffer that is allocated now."""
        self.live = self.buffers = 0
        self.peak = self.outputs_at_peak = 0
        self.at: int | None = None

    def memory(self) -> Memory:
        """The result of the walk."""
        ends = self._ends()
        for number, eqn in enumerate(self.jaxpr.eqns):
            self._allocate(eqn)
            held = sum([self.size.get(buffer, 0) for buffer in self.outputs])
            self._note(number, self.live + _inner(eqn), held)
            for owner in ends.get(number, ()):
                self.live -= self.size.pop(owner, 0)
        inputs, outputs = sum(map(nbytes, self.jaxpr.in_avals)), sum(map(nbytes, self.jaxpr.out_avals))
        self._note(None, self.live + sum(self.copied), outputs)
        buffers = self.buffers + len(self.copied)
        return Memory(inputs, outputs, self.peak - self.outputs_at_peak, self.peak, buffers, self.at)

    def _find_owners(self) -> None:
        for eqn in self.jaxpr.eqns:
            if eqn.primitive.is_view:
                self.owner.update(dict.fromkeys(eqn.outs, self._owner(eqn.inputs[0])))
                if eqn.primitive.name == "broadcast_in_dim" or eqn.inputs[0] in self.stretched:
                    self.stretched.update(eqn.outs)

    def _find_outputs(self) -> None:
        for atom in self.jaxpr.outs:
            owner = self._owner(atom)
            if type(owner) is not int or owner < 0 or owner in self.outputs or atom in self.stretched:
                self.copied.append(nbytes(self.jaxpr.aval(atom)))
            else:
                self.outputs.add(owner)

    def _owner(self, atom: Atom) -> Atom:
        return self.owner.get(atom, atom) if type(atom) is int else atom

    def _ends(self) -> dict[int, list[Atom]]:
        """For the number of an equation, the buffers that nobody needs after it."""
        last: dict[Atom, int] = {}
        for number, eqn in enumerate(self.jaxpr.eqns):
            last.update({self._owner(atom): number for atom in (*eqn.inputs, *eqn.outs)})
        for atom in self.jaxpr.outs:
            last.pop(self._owner(atom), None)
        ends: dict[int, list[Atom]] = {}
        for owner, number in last.items():
            ends.setdefault(number, []).append(owner)
        return ends

    def _allocate(self, eqn: Equation) -> None:
        if eqn.primitive.is_view:
            return
        for out, aval in zip(eqn.outs, eqn.out_avals, strict=True):
            self.size[out] = nbytes(aval)
            self.live += self.size[out]
            self.buffers += 1

    def _note(self, number: int | None, allocated: int, outputs: int) -> None:
        if allocated > self.peak:
            self.peak, self.at, self.outputs_at_peak = allocated, number, outputs


def _inner(eqn: Equation) -> int:
    """What the programs that an equation carries allocate besides its results."""
    programs = [value for value in eqn.params.values() if type(value) is Jaxpr]
    branches = [x for value in eqn.params.values() if type(value) is tuple for x in value if type(x) is Jaxpr]
    return max([memory_of(program).peak for program in (*programs, *branches)], default=0)
