"""Writing a program equation by equation, for passes that rewrite one program into another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from functrans.config import config
from functrans.core.aval import Aval
from functrans.core.check import check_jaxpr
from functrans.core.jaxpr import Atom, Equation, Jaxpr, Operation, RawEquation, Source

__all__ = ["Builder", "new_program", "with_outs"]


class Builder:
    """A program in the making, with the given inputs."""

    __slots__ = ("avals", "equations", "in_avals", "sources")

    def __init__(self, in_avals: tuple[Aval, ...]) -> None:
        self.in_avals = in_avals
        self.equations: list[RawEquation] = []
        self.sources: list[Source] = []
        self.avals: list[Aval] = []
        """Those of the results so far."""

    def add(self, operation: Operation, inputs: tuple[Atom, ...], source: Source) -> range:
        """Append an equation; the atoms of its results."""
        first = len(self.avals)
        self.equations.append((operation, inputs))
        self.sources.append(source)
        self.avals += operation.out_avals
        return range(first, len(self.avals))

    def copy(self, eqns: Iterable[Equation], have: dict[Atom, Atom]) -> None:
        """Append equations of another program. `have` says what its atoms are here, those of its results afterwards."""
        for eqn in eqns:
            outs = self.add(eqn.operation, tuple([have.get(x, x) for x in eqn.inputs]), eqn.source)
            have.update(zip(eqn.outs, outs, strict=True))

    def aval(self, atom: Atom) -> Aval:
        """The aval of an input, a result or a literal."""
        if type(atom) is not int:
            return atom.aval  # type: ignore[union-attr]
        return self.avals[atom] if atom >= 0 else self.in_avals[-1 - atom]

    def build(self, outs: Sequence[Atom]) -> Jaxpr:
        """The program with these outputs. It is not interned: a pass is rarely the last."""
        return new_program(self.in_avals, self.equations, self.sources, outs)


def new_program(
    in_avals: tuple[Aval, ...], equations: Sequence[RawEquation], sources: list[Source], outs: Sequence[Atom]
) -> Jaxpr:
    """The program of these inputs, equations with their lines, and outputs, not interned."""
    jaxpr = Jaxpr((in_avals, tuple(equations), tuple(outs)), sources)
    if config.check_programs:
        check_jaxpr(jaxpr)
    return jaxpr


def with_outs(jaxpr: Jaxpr, outs: Sequence[Atom]) -> Jaxpr:
    """The program with other outputs, not interned."""
    return new_program(jaxpr.in_avals, jaxpr.equations, list(jaxpr.sources), outs)
