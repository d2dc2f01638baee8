"""A walk that rewrites a program by local rules, for passes that look at one equation and at what its operands are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from functrans.core.aval import Aval
from functrans.core.builder import new_program
from functrans.core.jaxpr import Atom, Jaxpr, Literal, Operation, RawEquation, Source
from functrans.passes.literals import folded

__all__ = ["Rule", "Rules", "Walk", "rewrite"]


class Walk:
    """A program in the making, to which rules add equations."""

    __slots__ = ("avals", "equations", "in_avals", "made_by", "rules", "source", "sources")

    def __init__(self, in_avals: tuple[Aval, ...], rules: Rules) -> None:
        self.in_avals = in_avals
        self.equations: list[RawEquation] = []
        self.sources: list[Source] = []
        self.avals: list[Aval] = []
        self.made_by: list[RawEquation] = []
        """For each result so far the equation that it comes from."""
        self.rules = rules
        self.source: Source = None
        """The line of the equations that are added."""

    def definition(self, atom: Atom, primitive: Any) -> RawEquation | None:
        """The operation and the operands that an atom comes from, if that is an operation of the primitive."""
        if type(atom) is not int or atom < 0:
            return None
        found = self.made_by[atom]
        return found if found[0].primitive is primitive else None

    def operands(self, atom: Atom, primitive: Any) -> tuple[Atom, ...] | None:
        """The operands that an atom comes from, if that is by an operation of the primitive."""
        found = self.definition(atom, primitive)
        return None if found is None else found[1]

    def concerns(self, inputs: tuple[Atom, ...], primitive: Any) -> bool:
        """Whether one of the operands is a literal, or comes from an operation of the primitive."""
        for x in inputs:  # noqa: SIM110  (a generator takes twice as long, and this is asked of each equation)
            if type(x) is not int or (x >= 0 and self.made_by[x][0].primitive is primitive):
                return True
        return False

    def aval(self, atom: Atom) -> Aval:
        """The aval of an atom."""
        if type(atom) is not int:
            return atom.aval  # type: ignore[union-attr]
        return self.avals[atom] if atom >= 0 else self.in_avals[-1 - atom]

    def emit(self, primitive: Any, inputs: tuple[Atom, ...], **params: Any) -> Atom:
        """The result of a primitive with one result on these operands: of a new equation, unless rules know better."""
        return self.apply(primitive.operation(tuple([self.aval(x).strong for x in inputs]), params), inputs)

    def apply(self, operation: Operation, inputs: tuple[Atom, ...]) -> Atom:
        """The result of an operation with one result."""
        found = self.known(operation, inputs)
        return self.add((operation, inputs)) if found is None else found

    def known(self, operation: Operation, inputs: tuple[Atom, ...]) -> Atom | None:
        """What literals or rules make of an operation with one result; None if it stays as it is."""
        if inputs and type(inputs[0]) is Literal:
            literal = folded(operation, inputs)
            if literal is not None:
                return literal
        rule = self.rules.get(operation.primitive)
        return None if rule is None else rule(self, operation, inputs)

    def add(self, equation: RawEquation) -> int:
        """Append an equation as it is; the first atom of its results."""
        first = len(self.avals)
        self.equations.append(equation)
        self.sources.append(self.source)
        outs = equation[0].out_avals
        self.avals += outs
        if len(outs) == 1:
            self.made_by.append(equation)
        else:
            self.made_by.extend([equation] * len(outs))
        return first


Rule = Callable[[Walk, Operation, tuple[Atom, ...]], Atom | None]
"""What to replace the result of an operation by, perhaps after adding equations; None: by nothing."""
Rules = Mapping[Any, Rule]


def rewrite(jaxpr: Jaxpr, rules: Rules) -> Jaxpr:
    """The program with the rules of its primitives applied, each equation once, in their order."""
    walk = Walk(jaxpr.in_avals, rules)
    atoms: list[Atom] = []
    changed = False
    for (operation, inputs), source in zip(jaxpr.equations, jaxpr.sources, strict=True):
        if changed:
            inputs = tuple([atoms[x] if type(x) is int and x >= 0 else x for x in inputs])
        walk.source = source
        if not operation.single:
            first = walk.add((operation, inputs))
            atoms.extend(range(first, first + len(operation.out_avals)))
        elif (found := walk.known(operation, inputs)) is None:
            atoms.append(walk.add((operation, inputs)))
        else:
            atoms.append(found)
            changed = True
    if not changed:
        return jaxpr
    outs = [atoms[x] if type(x) is int and x >= 0 else x for x in jaxpr.outs]
    return new_program(jaxpr.in_avals, walk.equations, walk.sources, outs)
