"""Reductions of what was stretched: a maximum of equal numbers is one of them.

A sum of n equal numbers is n times one of them for integers, which wrap around alike; for floats each partial sum is
rounded, so it stays (a literal all of whose partial sums are exact is summed in `literals.py`).
"""

from __future__ import annotations

from math import prod

from functrans.core.jaxpr import Atom, Literal, Operation
from functrans.ops.elementwise import mul_p
from functrans.ops.reductions import reduce_and_p, reduce_max_p, reduce_min_p, reduce_or_p
from functrans.ops.shape import broadcast_in_dim_p, reduce_sum_p, reshape_p, without
from functrans.passes.literals import exact_multiple
from functrans.passes.rewriting import Rules, Walk

__all__ = ["REDUCTIONS"]

Inputs = tuple[Atom, ...]


def _of_equal(walk: Walk, operation: Operation, inputs: Inputs) -> Atom | None:
    """Where nothing is reduced but axes along which an array was stretched: the array before."""
    (x,), axes = inputs, operation.params["axes"]
    shape = walk.aval(x).shape
    if not axes:
        return x
    if all([shape[d] == 1 for d in axes]):
        return walk.emit(reshape_p, inputs, new_sizes=without(shape, axes))
    found = walk.definition(x, broadcast_in_dim_p)
    if found is None or any([not shape[d] for d in axes]):
        return None
    source, dims = found[1][0], found[0].params["broadcast_dimensions"]
    lengths = dict(zip(dims, walk.aval(source).shape, strict=True))
    if any([lengths.get(d, 1) != 1 for d in axes]):
        return None
    left = [d for d in dims if d not in axes]
    smaller = walk.emit(reshape_p, (source,), new_sizes=tuple([lengths[d] for d in left]))
    places = tuple([d - sum([a < d for a in axes]) for d in left])
    return walk.emit(broadcast_in_dim_p, (smaller,), shape=without(shape, axes), broadcast_dimensions=places)


def _sum(walk: Walk, operation: Operation, inputs: Inputs) -> Atom | None:
    if not operation.params["axes"]:
        return inputs[0]
    aval = operation.in_avals[0]
    if aval.dtype.kind not in "iu":
        return None
    one = _of_equal(walk, operation, inputs)
    if one is None:
        return None
    count = prod([aval.shape[d] for d in operation.params["axes"]])
    out = walk.aval(one)
    factor = exact_multiple(Literal(1, out.strong), count)
    return walk.emit(mul_p, (one, Literal(factor, out.strong)))


REDUCTIONS: Rules = {
    reduce_sum_p: _sum,
    reduce_max_p: _of_equal,
    reduce_min_p: _of_equal,
    reduce_and_p: _of_equal,
    reduce_or_p: _of_equal,
}
