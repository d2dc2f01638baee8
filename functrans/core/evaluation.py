"""Walking through a program: what its atoms stand for, and how a transformation records a new one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from functrans.core.aval import Aval
from functrans.core.jaxpr import Atom, Equation, Jaxpr, Source
from functrans.core.primitive import apply_operation
from functrans.core.recording import UNKNOWN, Recording, no_staging

__all__ = ["Environment", "apply_equation", "eval_jaxpr", "in_scope", "stage"]


class Environment:
    """What the inputs and the results of a program stand for."""

    __slots__ = ("inputs", "results")

    def __init__(self, inputs: Sequence[Any]) -> None:
        self.inputs = inputs
        self.results: list[Any] = []

    def read(self, atom: Atom) -> Any:
        """What an atom stands for; a literal for itself."""
        if type(atom) is not int:
            return atom
        return self.results[atom] if atom >= 0 else self.inputs[-1 - atom]

    def read_all(self, atoms: Sequence[Atom]) -> list[Any]:
        """What several atoms stand for."""
        return [self.read(atom) for atom in atoms]

    def write(self, outs: Sequence[Any]) -> None:
        """Say what the results of the next equation stand for."""
        self.results.extend(outs)


def apply_equation(eqn: Equation, operands: Sequence[Any]) -> Sequence[Any]:
    """The results of an equation's operation on other operands of the same avals, always as a sequence."""
    outs = apply_operation(eqn.operation, operands)
    return outs if eqn.primitive.multiple_results else (outs,)


def in_scope(source: Source, scope: str) -> Source:
    """The line of an equation with one scope more, if it is not in that."""
    if source is None or scope in source[2]:
        return source
    code, lasti, scopes = source
    return code, lasti, (*scopes, scope)


def eval_jaxpr(jaxpr: Jaxpr, operands: Sequence[Any], recording: Recording | None = None) -> list[Any]:
    """Run a program equation by equation, on tracers or on arrays: each is recorded where a recording takes it.

    The equations of the recording given keep the lines of those of the program.
    """
    env = Environment(operands)
    for eqn in jaxpr.eqns:
        if recording is not None:
            recording.source = eqn.source
        env.write(apply_equation(eqn, env.read_all(eqn.inputs)))
    return env.read_all(jaxpr.outs)


@contextmanager
def stage(name: str, avals: Sequence[Aval]) -> Iterator[Recording]:
    """A recording for a new program on unknown inputs, which takes every operation that no deeper one takes."""
    recording = Recording(name, avals, [UNKNOWN] * len(avals), staging=True, literals=True, opaque_constants=True)
    with no_staging(), recording:
        yield recording
