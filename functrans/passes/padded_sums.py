"""Sums of padded arrays become one equation: the cotangents of slices of one array, added up.

A loop over `x[i]` reads n slices, and its derivative pads each cotangent to the whole array and adds it to the others:
n pads and n adds of the whole. `sum_padded` adds each slice to where it belongs. The bits stay: elements are added in
the same order, and a zero that a padded array adds to a -0.0 is added there too.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from functrans.core.builder import new_program
from functrans.core.jaxpr import Atom, Equation, Jaxpr, Literal, RawEquation, Source
from functrans.ops.elementwise import add_p
from functrans.ops.padded_sums import sum_padded_p
from functrans.ops.slicing import PaddingConfig, pad_p

__all__ = ["sum_padded_arrays"]


class _Sum(NamedTuple):
    """Terms that are added up from the first to the last, some of them padded: None is an array as it is."""

    atoms: list[Atom]
    configs: list[PaddingConfig | None]


def sum_padded_arrays(jaxpr: Jaxpr) -> Jaxpr:
    """The program in which sums with at least two padded terms are one equation each."""
    if sum([operation.primitive is pad_p for operation, _ in jaxpr.equations]) < 2:
        return jaxpr
    sums = _sums(jaxpr)
    if not sums:
        return jaxpr
    equations: list[RawEquation] = []
    sources: list[Source] = []
    atoms: list[Atom] = []
    n_results = 0
    for eqn in jaxpr.eqns:
        found = sums.get(eqn.outs.start) if eqn.primitive is add_p else None
        equation = (eqn.operation, eqn.inputs) if found is None else _equation(jaxpr, eqn, found)
        operation, inputs = equation
        equations.append((operation, tuple([atoms[x] if type(x) is int and x >= 0 else x for x in inputs])))
        sources.append(eqn.source)
        atoms.extend(range(n_results, n_results + len(eqn.outs)))
        n_results += len(eqn.outs)
    return new_program(
        jaxpr.in_avals, equations, sources, [atoms[x] if type(x) is int and x >= 0 else x for x in jaxpr.outs]
    )


def _equation(jaxpr: Jaxpr, eqn: Equation, terms: _Sum) -> RawEquation:
    whole = ((0, 0, 0),) * eqn.out_avals[0].ndim
    configs = tuple([whole if config is None else config for config in terms.configs])
    avals = tuple([jaxpr.aval(x).strong for x in terms.atoms])
    return sum_padded_p.operation(avals, {"padding_configs": configs}), tuple(terms.atoms)


def _sums(jaxpr: Jaxpr) -> dict[int, _Sum]:
    """By the number of the last addition, the sums that are worth it."""
    uses = Counter([x for eqn in jaxpr.eqns for x in eqn.inputs if type(x) is int])
    uses.update([x for x in jaxpr.outs if type(x) is int])
    pads: dict[Atom, tuple[Atom, PaddingConfig]] = {}
    sums: dict[Any, _Sum] = {}
    for eqn in jaxpr.eqns:
        if eqn.primitive is pad_p:
            config = eqn.params["padding_config"]
            if _is_zero(eqn.inputs[1]) and all([low >= 0 and high >= 0 for low, high, _ in config]):
                pads[eqn.outs.start] = eqn.inputs[0], config
        elif eqn.primitive is add_p:
            _extend(sums, pads, uses, eqn)
    return {out: terms for out, terms in sums.items() if _is_worth_it(terms)}


def _extend(sums: dict[Any, _Sum], pads: dict[Atom, Any], uses: Counter[Any], eqn: Equation) -> None:
    """Begin a sum, or add a term to one of which nothing else is made (a + b and b + a have the same bits)."""
    before, term = eqn.inputs
    if before not in sums or uses[before] > 1:
        before, term = term, before
    if before in sums and uses[before] == 1:
        terms = sums.pop(before)
    else:
        terms = _Sum([], [])
        before, term = eqn.inputs
        if before not in pads and term not in pads:
            return
        _append(terms, pads, before)
    _append(terms, pads, term)
    sums[eqn.outs.start] = terms


def _append(terms: _Sum, pads: dict[Atom, Any], atom: Atom) -> None:
    source, config = pads.get(atom, (atom, None))
    terms.atoms.append(source)
    terms.configs.append(config)


def _is_zero(atom: Atom) -> bool:
    """Whether it is a zero, and none of its parts -0.0."""
    return type(atom) is Literal and not any(atom.scalar.tobytes())


def _is_worth_it(terms: _Sum) -> bool:
    n_padded = sum([config is not None for config in terms.configs])
    return n_padded >= 2 and 2 * n_padded >= len(terms.configs)
