"""Writing a program equation by equation, for passes that rewrite one program into another."""

from __future__ import annotations

from collections.abc import Sequence

from functrans.config import config
from functrans.core.aval import Aval
from functrans.core.check import check_jaxpr
from functrans.core.jaxpr import Atom, Jaxpr, Operation, RawEquation, Source

__all__ = ["Builder", "new_program"]


class Builder:
    """A program in the making, with the given inputs."""

    __slots__ = ("equations", "in_avals", "n_results", "sources")

    def __init__(self, in_avals: tuple[Aval, ...]) -> None:
        self.in_avals = in_avals
        self.equations: list[RawEquation] = []
        self.sources: list[Source] = []
        self.n_results = 0

    def add(self, operation: Operation, inputs: tuple[Atom, ...], source: Source) -> range:
        """Append an equation; the atoms of its results."""
        first = self.n_results
        self.equations.append((operation, inputs))
        self.sources.append(source)
        self.n_results = first + len(operation.out_avals)
        return range(first, self.n_results)

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
