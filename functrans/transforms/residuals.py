"""The fewest residuals: what linearizing keeps from the primal part of a program for the linear one.

An input of the program, or an output, need not be kept apart. What cheap operations give from them, or from another
residual, is computed again in the linear program: of `tanh(x @ w)` the output is kept, not `1 - tanh(x @ w) ** 2`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from functrans.core.builder import Builder, with_outs
from functrans.core.evaluation import Environment
from functrans.core.jaxpr import Equation, Jaxpr
from functrans.ops import bitwise, comparison, conversion, elementwise, magnitude, power, selection, shape, slicing
from functrans.ops import complex as complex_ops

__all__ = ["SparedResiduals", "spare_residuals"]

_CHEAP = frozenset({
    elementwise.add_p, elementwise.sub_p, elementwise.mul_p, elementwise.div_p, elementwise.neg_p, power.square_p,
    comparison.eq_p, comparison.ne_p, comparison.lt_p, comparison.le_p, comparison.gt_p, comparison.ge_p,
    comparison.select_n_p, bitwise.and_p, bitwise.or_p, bitwise.not_p,
    magnitude.sign_p, magnitude.abs_p, selection.max_p, selection.min_p,
    complex_ops.real_p, complex_ops.imag_p, complex_ops.conj_p, conversion.convert_element_type_p,
    shape.broadcast_in_dim_p, shape.reshape_p, shape.transpose_p, shape.squeeze_p, shape.expand_dims_p,
    slicing.slice_p,
})  # fmt: skip
_RECOMPUTED_AT_MOST = 8
"""Equations that a residual may cost to be computed again."""


class SparedResiduals(NamedTuple):
    """A linearized program with fewer residuals."""

    primal: Jaxpr
    linear: Jaxpr
    places: tuple[int, ...]
    """Where each residual is: `-1 - i` for input i of the primal program, else its number among the outputs."""


def spare_residuals(primal: Jaxpr, n_outs: int, linear: Jaxpr, n_tangents: int) -> SparedResiduals:
    """Keep fewer residuals.

    Args:
        primal: from the inputs to `n_outs` outputs, then the residuals.
        linear: from `n_tangents` tangents, then the residuals, to the tangents of the outputs.
    """
    outs, residuals = primal.outs[:n_outs], primal.outs[n_outs:]
    free = {-1 - i for i in range(len(primal.in_avals))} | {atom for atom in outs if type(atom) is int}
    sources = {out: eqn for eqn in primal.eqns for out in eqn.outs}
    kept = _necessary([atom for atom in residuals if type(atom) is int and atom not in free], free, sources)
    kept = _with_common_origins(kept, free, sources, primal)
    read = sorted(_read_by(residuals, free | kept, sources))
    rewritten = _rewrite_linear(linear, n_tangents, residuals, read, primal, sources)
    smaller, places = _close(primal, outs, read)
    return SparedResiduals(smaller, rewritten, places)


def _necessary(residuals: list[Any], free: set[int], sources: dict[int, Equation]) -> set[int]:
    """The residuals that cannot be had cheaply from the free atoms and from each other."""
    kept = set(residuals)
    given = free | kept
    for atom in sorted(kept, reverse=True):
        given.remove(atom)
        if _is_cheap(atom, given, sources):
            kept.remove(atom)
        else:
            given.add(atom)
    return kept


def _with_common_origins(kept: set[int], free: set[int], sources: dict[int, Equation], primal: Jaxpr) -> set[int]:
    """The residuals where those that are cheap to have from one other value are replaced by it, if it is smaller."""
    groups: dict[int, list[int]] = {}
    for atom in kept:
        origins = _origins(atom, free, sources)
        if len(origins) == 1:
            groups.setdefault(min(origins), []).append(atom)
    left = set(kept)
    for origin, members in groups.items():
        if origin in left or _bytes(primal, [origin]) < _bytes(primal, members):
            left.difference_update(members)
            left.add(origin)
    return left


def _bytes(primal: Jaxpr, atoms: list[int]) -> int:
    return sum([primal.aval(atom).nbytes for atom in atoms])


def _is_cheap(atom: int, given: set[int], sources: dict[int, Equation]) -> bool:
    return not _origins(atom, given, sources)


def _origins(atom: int, given: set[int], sources: dict[int, Equation]) -> set[int]:
    """The values from which, besides those given, cheap operations make an atom; itself if it takes too many."""
    pending, computed, origins = [atom], set[Equation](), set[int]()
    while pending:
        reached = pending.pop()
        eqn = sources.get(reached)
        if eqn is None or eqn.primitive not in _CHEAP:
            origins.add(reached)
        elif len(computed) == _RECOMPUTED_AT_MOST:
            return {atom}
        else:
            computed.add(eqn)
            pending.extend([x for x in eqn.inputs if type(x) is int and x not in given])
    return origins


def _read_by(residuals: Any, given: set[int], sources: dict[int, Equation]) -> set[int]:
    """Which of the given atoms the residuals are, or are computed from."""
    read: set[int] = set()
    seen: set[int] = set()
    pending = [atom for atom in residuals if type(atom) is int]
    while pending:
        atom = pending.pop()
        if atom in given:
            read.add(atom)
        elif atom not in seen:
            seen.add(atom)
            pending.extend([x for x in sources[atom].inputs if type(x) is int])
    return read


def _rewrite_linear(
    linear: Jaxpr, n_tangents: int, residuals: Any, read: list[int], primal: Jaxpr, sources: dict[int, Equation]
) -> Jaxpr:
    """The linear program on the residuals that are read, with the others computed first."""
    avals = linear.in_avals[:n_tangents] + tuple([primal.aval(atom) for atom in read])
    builder = Builder(avals)
    have: dict[Any, Any] = {atom: -1 - n_tangents - i for i, atom in enumerate(read)}

    def computed(atom: Any) -> Any:
        if type(atom) is not int:
            return atom
        if atom not in have:
            eqn = sources[atom]
            (have[atom],) = builder.add(eqn.operation, tuple([computed(x) for x in eqn.inputs]), eqn.source)
        return have[atom]

    env = Environment([-1 - i for i in range(n_tangents)] + [computed(atom) for atom in residuals])
    for (operation, inputs), source in zip(linear.equations, linear.sources, strict=True):
        env.write(builder.add(operation, tuple(env.read_all(inputs)), source))
    return builder.build(env.read_all(linear.outs))


def _close(primal: Jaxpr, outs: tuple[Any, ...], read: list[int]) -> tuple[Jaxpr, tuple[int, ...]]:
    """The primal program with the residuals that are read after its outputs, but for inputs and outputs themselves."""
    results = list(outs)
    numbers: dict[Any, int] = {}
    for number, atom in enumerate(outs):
        numbers.setdefault(atom, number)
    places = []
    for atom in read:
        if atom >= 0 and atom not in numbers:
            numbers[atom] = len(results)
            results.append(atom)
        places.append(atom if atom < 0 else numbers[atom])
    return with_outs(primal, results), tuple(places)
