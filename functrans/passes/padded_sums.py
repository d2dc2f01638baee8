"""Sums of padded arrays become one equation: the cotangents of slices of one array, added up.

A loop over `x[i]` reads n slices, and its derivative pads each cotangent to the whole array and adds it to the others:
n pads and n adds of the whole. `sum_padded` adds each slice to where it belongs. The bits stay: elements are added in
the same order, and a zero that a padded array adds to a -0.0 is added there too.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from functrans.core.builder import new_program
from functrans.core.jaxpr import Atom, Jaxpr, Literal, Operation, RawEquation
from functrans.ops.elementwise import add_p
from functrans.ops.padded_sums import sum_padded_p
from functrans.ops.slicing import PaddingConfig, pad_p

__all__ = ["sum_padded_arrays"]


class _Sum(NamedTuple):
    """Terms that are added up from the first to the last."""

    atoms: list[Atom]
    configs: list[PaddingConfig | None]
    """How each is padded; None where it is an array as it is."""


def sum_padded_arrays(jaxpr: Jaxpr) -> Jaxpr:
    """The program in which sums with at least two padded terms are one equation each."""
    if sum([operation.primitive is pad_p for operation, _ in jaxpr.equations]) < 2:
        return jaxpr
    sums = _sums(jaxpr)
    if not sums:
        return jaxpr
    equations = list(jaxpr.equations)
    for number, terms in sums.items():
        equations[number] = _equation(jaxpr, equations[number][0], terms)
    return new_program(jaxpr.in_avals, equations, jaxpr.sources, jaxpr.outs)


def _equation(jaxpr: Jaxpr, adding: Operation, terms: _Sum) -> RawEquation:
    whole = ((0, 0, 0),) * adding.out_avals[0].ndim
    configs = tuple([whole if config is None else config for config in terms.configs])
    avals = tuple([jaxpr.aval(x).strong for x in terms.atoms])
    return sum_padded_p.operation(avals, {"padding_configs": configs}), tuple(terms.atoms)


def _sums(jaxpr: Jaxpr) -> dict[int, _Sum]:
    """The sums that are worth it, by the number of the equation that adds the last term."""
    uses = Counter([x for _, inputs in jaxpr.equations for x in inputs if type(x) is int])
    uses.update([x for x in jaxpr.outs if type(x) is int])
    pads: dict[Atom, tuple[Atom, PaddingConfig]] = {}
    sums: dict[Atom, tuple[int, _Sum]] = {}
    out = 0
    for number, (operation, inputs) in enumerate(jaxpr.equations):
        if operation.primitive is pad_p:
            config = operation.params["padding_config"]
            if _is_zero(inputs[1]) and all([low >= 0 and high >= 0 for low, high, _ in config]):
                pads[out] = inputs[0], config
        elif operation.primitive is add_p:
            terms = _extended(sums, pads, uses, *inputs)
            if terms is not None:
                sums[out] = number, terms
        out += len(operation.out_avals)
    return {number: terms for number, terms in sums.values() if _is_worth_it(terms)}


def _extended(sums: dict[Atom, Any], pads: dict[Atom, Any], uses: Counter[Any], x: Atom, y: Atom) -> _Sum | None:
    """A sum that begins, or one of which nothing else is made with a term more (x + y and y + x have the same bits)."""
    for before, term in ((x, y), (y, x)):
        if before in sums and uses[before] == 1:
            terms: _Sum = sums.pop(before)[1]
            _append(terms, pads, term)
            return terms
    if x not in pads and y not in pads:
        return None
    terms = _Sum([], [])
    _append(terms, pads, x)
    _append(terms, pads, y)
    return terms


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
