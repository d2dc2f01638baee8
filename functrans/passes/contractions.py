"""Transposes before products: `dot_general` reads the array as it was, its axes named otherwise.

Only where NumPy is then handed the same views, so that BLAS is called as before: matrices, and stacks of them that are
summed over one axis.
"""

from __future__ import annotations

from typing import Any

from functrans.core.jaxpr import Atom, Operation
from functrans.ops.guarded import guarded_dot_general_p
from functrans.ops.linear_algebra import dot_general_p
from functrans.ops.shape import transpose_p
from functrans.passes.rewriting import Rules, Walk

__all__ = ["CONTRACTIONS"]

Axes = tuple[int, ...]


def _dot_general(walk: Walk, operation: Operation, inputs: tuple[Atom, ...]) -> Atom | None:
    contract, batch = operation.params["dimension_numbers"]
    operands, summed, matched = list(inputs), list(contract), list(batch)
    for side, x in enumerate(inputs):
        found = walk.definition(x, transpose_p)
        if found is None:
            continue
        permutation = found[0].params["permutation"]
        if _reads_alike(permutation, contract[side], batch[side]):
            operands[side] = found[1][0]
            summed[side] = tuple([permutation[d] for d in contract[side]])
            matched[side] = tuple([permutation[d] for d in batch[side]])
    if operands == list(inputs):
        return None
    params: dict[str, Any] = {**operation.params, "dimension_numbers": (tuple(summed), tuple(matched))}
    return walk.emit(operation.primitive, tuple(operands), **params)


def _reads_alike(permutation: Axes, contract: Axes, batch: Axes) -> bool:
    if len(contract) != 1 or not (batch or len(permutation) == 2):
        return False
    kept = [permutation[d] for d in range(len(permutation)) if d not in contract and d not in batch]
    return kept == sorted(kept)


CONTRACTIONS: Rules = {dot_general_p: _dot_general, guarded_dot_general_p: _dot_general}
