"""How much memory a run of a program needs: which buffers it allocates, and how many bytes of them live at once.

A result lives from its equation to the last use of it or of a view of it. A view needs no memory, and a result that
would share memory with an input or with another result is copied at the end. As in the function that is generated of a
program, the result of an elementwise operation takes the memory of an operand that nobody needs any longer, or that of
an array which has died before. What an operation needs for itself while it runs (the copy of a transposed operand, the
windows of a convolution) is not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from functrans.analysis.cost import nbytes
from functrans.backends.clusters import ufunc_of
from functrans.backends.memory import memory_owners, shared_outputs
from functrans.core.aval import Aval
from functrans.core.jaxpr import Atom, Equation, Jaxpr, derived
from functrans.passes.pipeline import finalize

__all__ = ["Memory", "memory_of"]


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
    >>> memory_of(ft.make_jaxpr(lambda x: np.sum(np.sin(x) * np.cos(x) * 2))(np.ones(1000)).jaxpr)
    Memory(inputs=8000, outputs=8, temporaries=16000, peak=16000, buffers=3, at=1)
    """
    return derived(jaxpr, "memory", lambda: _Run(finalize(jaxpr)).memory())


class _Buffer:
    """The memory of an array that a run allocates."""

    def __init__(self, aval: Aval, start: int, end: int) -> None:
        self.aval = aval
        self.start = start
        """The equation that makes it."""
        self.end = end
        """The equation after which it is let go."""


class _Run:
    """A walk through a program that allocates buffers instead of computing."""

    def __init__(self, jaxpr: Jaxpr) -> None:
        self.jaxpr = jaxpr
        self.owner = memory_owners(jaxpr)
        self.shared = shared_outputs(jaxpr)
        self.ends = self._ends()
        """For an atom whose memory it is, the last equation that needs it; one past the last for outputs."""
        self.buffers: list[_Buffer] = []
        self.of: dict[Atom, _Buffer] = {}
        self.free: dict[Aval, list[_Buffer]] = {}
        """Those that are no longer needed, and have not been taken for another result."""

    def memory(self) -> Memory:
        """The result of the walk."""
        for number, eqn in enumerate(self.jaxpr.eqns):
            if not eqn.primitive.is_view:
                for out, aval in zip(eqn.outs, eqn.out_avals, strict=True):
                    self.of[out] = self._place(number, eqn, out, aval)
            self._let_go(number, eqn)
        return self._measured()

    def _ends(self) -> dict[Atom, int]:
        ends: dict[Atom, int] = {}
        for number, eqn in enumerate(self.jaxpr.eqns):
            ends.update({self.owner(atom): number for atom in (*eqn.inputs, *eqn.outs)})
        ends.update({self.owner(atom): len(self.jaxpr.eqns) for atom in self.jaxpr.outs})
        return ends

    def _place(self, number: int, eqn: Equation, out: int, aval: Aval) -> _Buffer:
        """The memory of a result: that of an operand or a dead array where NumPy can write into it, else new."""
        strong = aval.strong
        if aval.ndim and type(ufunc_of(eqn)) is np.ufunc:
            operands = [atom for atom in eqn.inputs if type(atom) is int and atom in self.of]
            for atom in operands:
                buffer = self.of[atom]
                if self.ends[atom] == number and buffer.aval is strong and self._reads_alone(atom, eqn.inputs):
                    buffer.end = self.ends[out]
                    self.ends[atom] = -1
                    return buffer
            if self.free.get(strong):
                buffer = self.free[strong].pop()
                buffer.end = self.ends[out]
                return buffer
        self.buffers.append(_Buffer(strong, number, self.ends[out]))
        return self.buffers[-1]

    def _reads_alone(self, atom: Atom, operands: Sequence[Atom]) -> bool:
        """Whether no other operand is a view of the same memory."""
        return {x for x in operands if self.owner(x) == atom} == {atom}

    def _let_go(self, number: int, eqn: Equation) -> None:
        for atom in dict.fromkeys([self.owner(x) for x in (*eqn.inputs, *eqn.outs)]):
            if atom in self.of and self.ends[atom] == number:
                buffer = self.of[atom]
                if buffer.aval.ndim:
                    self.free.setdefault(buffer.aval, []).append(buffer)

    def _measured(self) -> Memory:
        n = len(self.jaxpr.eqns)
        copies = [nbytes(aval) for aval, shared in zip(self.jaxpr.out_avals, self.shared, strict=True) if shared]
        alive = self._profile(self.buffers)
        for number, eqn in enumerate(self.jaxpr.eqns):
            alive[number] += _inner(eqn)
        alive[n] += sum(copies)
        outs = zip(self.jaxpr.outs, self.shared, strict=True)
        returned = self._profile([self.of[self.owner(atom)] for atom, shared in outs if not shared])
        returned[n] += sum(copies)
        at = max(range(n + 1), key=alive.__getitem__)
        inputs, outputs = sum(map(nbytes, self.jaxpr.in_avals)), sum(map(nbytes, self.jaxpr.out_avals))
        n_buffers = len(self.buffers) + len(copies)
        where = None if at == n else at
        return Memory(inputs, outputs, alive[at] - returned[at], alive[at], n_buffers, where)

    def _profile(self, buffers: Sequence[_Buffer]) -> list[int]:
        """The bytes of buffers that are alive during each equation, and after the last."""
        changes = [0] * (len(self.jaxpr.eqns) + 2)
        for buffer in buffers:
            changes[buffer.start] += nbytes(buffer.aval)
            changes[buffer.end + 1] -= nbytes(buffer.aval)
        return list(accumulate(changes))[:-1]


def _inner(eqn: Equation) -> int:
    """What the programs that an equation carries allocate besides its results."""
    programs = [value for value in eqn.params.values() if type(value) is Jaxpr]
    branches = [x for value in eqn.params.values() if type(value) is tuple for x in value if type(x) is Jaxpr]
    return max([memory_of(program).peak for program in (*programs, *branches)], default=0)
