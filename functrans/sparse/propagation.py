"""The dependence of a linear program's outputs on its tangents, read off its equations.

What is walked is the linear program that linearizing gives: so the rules of custom derivatives, loops and branches
have been applied, and what remains are a few kinds of equations. Those that move elements are run on the numbers of
the elements instead of the elements. Indices count as known if they do not depend on what is differentiated. What has
no rule here depends on all that its operands depend on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from functrans.core.aval import Aval
from functrans.core.evaluation import Environment
from functrans.core.jaxpr import Equation, Jaxpr, derived
from functrans.core.recording import UNKNOWN
from functrans.ops.calls import transposed_p
from functrans.ops.checkpoint import rematerialized_p
from functrans.ops.cond import cond_p
from functrans.ops.conversion import convert_element_type_p
from functrans.ops.convolution import conv_general_dilated_p
from functrans.ops.cumulative import cumsum_p, linear_recurrence_p
from functrans.ops.dynamic_slicing import dynamic_slice_p, dynamic_update_slice_p
from functrans.ops.guarded import guarded_dot_general_p, guarded_linear_recurrence_p
from functrans.ops.indexing import gather, gather_p, scatter_add_p
from functrans.ops.joining import concatenate_p, split_p
from functrans.ops.linear_algebra import dot_general_p
from functrans.ops.scan import scan_p
from functrans.ops.scatter import scatter_p
from functrans.ops.shape import (
    broadcast_in_dim_p,
    expand_dims_p,
    reduce_sum_p,
    reshape_p,
    rev_p,
    squeeze_p,
    transpose_p,
)
from functrans.ops.slicing import pad_p, slice_p
from functrans.ops.windows import gathering, window_sizes
from functrans.passes.inline import inline_all
from functrans.passes.pipeline import tidied
from functrans.sparse.dependence import MOST_ENTRIES, Dependence, everything, identity, nothing, union_of
from functrans.sparse.loading import scipy_sparse

__all__ = ["propagate"]

_UNROLLED = 4096
"""Loops of up to so many equations in all are followed iteration by iteration."""

_KERNEL = 512
"""Convolutions by kernels of up to so many elements are followed exactly."""

Dependences = list[Dependence | None]
Rule = Callable[[Equation, Sequence[Dependence | None], Sequence[Any], int], Sequence[Dependence | None]]
_INTEGER = np.dtype(np.int64)


def propagate(jaxpr: Jaxpr, given: Sequence[Dependence | None], known: Sequence[Any], n: int) -> Dependences:
    """The dependences of the outputs of a program.

    Args:
        jaxpr: a program that is linear in those of its inputs that depend on tangents.
        given: the dependences of the inputs; None for those that depend on none.
        known: the values of the inputs that count as known, else `UNKNOWN`.
        n: the number of tangents.
    """
    jaxpr = derived(jaxpr, "inlined and tidied", lambda: tidied(inline_all(jaxpr)))
    env, values = Environment(given), Environment(known)
    for eqn in jaxpr.eqns:
        operands = [env.read(x) if type(x) is int else None for x in eqn.inputs]
        known_operands = [values.read(x) if type(x) is int else _literal_value(x) for x in eqn.inputs]
        if all([x is None for x in operands]):
            env.write([None] * len(eqn.outs))
            values.write(_computed(eqn, known_operands))
        else:
            env.write(_RULES.get(eqn.primitive, _default)(eqn, operands, known_operands, n))
            values.write([UNKNOWN] * len(eqn.outs))
    return [env.read(x) if type(x) is int else None for x in jaxpr.outs]


def _literal_value(literal: Any) -> Any:
    return literal.array if literal.dtype.kind in "biu" else UNKNOWN


def _computed(eqn: Equation, operands: Sequence[Any]) -> Sequence[Any]:
    """The values of the results, if they are integers or booleans and all operands are known."""
    is_integer = all([aval.dtype.kind in "biu" for aval in eqn.out_avals])
    if eqn.operation.effectful or not is_integer or any([x is UNKNOWN for x in operands]):
        return [UNKNOWN] * len(eqn.outs)
    outs = eqn.primitive.evaluate(eqn.operation, list(operands))
    return outs if eqn.primitive.multiple_results else [outs]


def _present(operands: Sequence[Dependence | None]) -> list[Dependence]:
    return [x for x in operands if x is not None]


def _sizes(eqn: Equation) -> list[int]:
    return [aval.size for aval in eqn.out_avals]


# --------------------------------------------------------------------------------------------------------------------
# What has no structure, and what works element by element


def _dense(eqn: Equation, operands: Sequence[Dependence | None], known: Sequence[Any], n: int) -> list[Dependence]:
    """Every element of the results depends on all that the operands depend on."""
    one = union_of([x.joined() for x in _present(operands)])
    return [one.repeated(size) for size in _sizes(eqn)]


def _default(eqn: Equation, operands: Sequence[Dependence | None], known: Sequence[Any], n: int) -> Any:
    sizes = _sizes(eqn)
    plain = eqn.primitive.is_elementwise or eqn.primitive is convert_element_type_p
    if plain and all([x.size == sizes[0] for x in _present(operands)]):
        return [union_of(_present(operands))] * len(sizes)
    return _dense(eqn, operands, known, n)


# --------------------------------------------------------------------------------------------------------------------
# What moves elements: run on their numbers


def _moved(eqn: Equation, operands: Sequence[Dependence | None], known: Sequence[Any], n: int, n_data: int) -> Any:
    """The results of an equation that puts elements of its first operands somewhere, run on the elements' numbers."""
    if any([x is UNKNOWN for x in known[n_data:]]):
        return _dense(eqn, operands, known, n)
    places = _run_on_numbers(eqn, known[n_data:], n_data)
    return [_picked(place.reshape(-1), eqn.in_avals[:n_data], operands, n) for place in places]


def _run_on_numbers(eqn: Equation, rest: Sequence[Any], n_data: int) -> list[Any]:
    avals, numbers, first = [], [], 1
    for aval in eqn.in_avals[:n_data]:
        avals.append(Aval(aval.shape, _INTEGER))
        numbers.append(np.arange(first, first + aval.size).reshape(aval.shape))
        first += aval.size
    params = dict(eqn.params)
    if params.get("fill_value") is not None:
        params["fill_value"] = 0
    primitive = eqn.primitive
    operation = primitive.operation((*avals, *eqn.in_avals[n_data:]), params)
    outs = primitive.evaluate(operation, [*numbers, *rest])
    return [np.asarray(x) for x in (outs if primitive.multiple_results else [outs])]


def _picked(places: Any, avals: Sequence[Aval], operands: Sequence[Dependence | None], n: int) -> Dependence:
    """The elements of these numbers, counted from 1 through all operands; 0 is none."""
    parts, first = [], 1
    for aval, operand in zip(avals, operands, strict=False):
        if operand is not None:
            inside = (places >= first) & (places < first + aval.size)
            parts.append(operand.take(np.where(inside, places - first, -1)))
        first += aval.size
    return union_of(parts) if parts else nothing(len(places), n)


def _mover(n_data: int) -> Rule:
    return lambda eqn, operands, known, n: _moved(eqn, operands, known, n, n_data)


def _concatenate(eqn: Equation, operands: Sequence[Dependence | None], known: Sequence[Any], n: int) -> Any:
    return _moved(eqn, operands, known, n, len(operands))


def _spread(operand: Dependence, shape: Sequence[int], axes: Sequence[int]) -> Dependence:
    """Each element with what all along some axes depend on."""
    kept = [1 if d in axes else m for d, m in enumerate(shape)]
    groups = np.broadcast_to(np.arange(prod(kept)).reshape(kept), shape).reshape(-1)
    return operand.summed(groups, prod(kept)).take(groups)


def _gather(eqn: Equation, operands: Sequence[Dependence | None], known: Sequence[Any], n: int) -> Any:
    operand, indices = operands[0], known[1]
    if operand is None:
        return _dense(eqn, operands, known, n)
    if indices is UNKNOWN:  # a window may be anywhere along the axes that are indexed
        axes = eqn.params["dimension_numbers"].start_index_map
        operand = _spread(operand, eqn.in_avals[0].shape, axes)
        indices = np.zeros(eqn.in_avals[1].shape, eqn.in_avals[1].dtype)
    return _moved(eqn, [operand, None], [UNKNOWN, indices], n, 1)


def _scatter(eqn: Equation, operands: Sequence[Dependence | None], known: Sequence[Any], n: int) -> Any:
    """Of `scatter` and `scatter_add`: what is written is added to what was there, which is no less than it is."""
    shape, size = eqn.in_avals[0].shape, eqn.in_avals[0].size
    operand, _, updates = operands
    if updates is None:
        return [operand]
    indices, numbers = known[1], eqn.params["dimension_numbers"]
    found = np.zeros(eqn.in_avals[1].shape, eqn.in_avals[1].dtype) if indices is UNKNOWN else indices
    places = _written(eqn, found).reshape(-1)
    inside = places > 0
    written = updates.take(np.flatnonzero(inside)).summed(places[inside] - 1, size)
    if indices is UNKNOWN:
        written = _spread(written, shape, numbers.scatter_dims_to_operand_dims)
    return [written if operand is None else union_of([operand, written])]


def _written(eqn: Equation, indices: Any) -> Any:
    """The number of the element that each update is written to, counted from 1; 0 for those that are left away."""
    operand, _, updates = eqn.in_avals
    numbers = np.arange(1, operand.size + 1).reshape(operand.shape)
    params = {name: eqn.params[name] for name in ("unique_indices", "indices_are_sorted", "mode")}
    sizes = window_sizes(operand.shape, updates.shape, eqn.params["dimension_numbers"])
    return np.asarray(
        gather(numbers, indices, gathering(eqn.params["dimension_numbers"]), sizes, fill_value=0, **params)
    )


def _dynamic_slice(eqn: Equation, operands: Sequence[Dependence | None], known: Sequence[Any], n: int) -> Any:
    starts = list(known[1:])
    operand, shape, sizes = operands[0], eqn.in_avals[0].shape, eqn.out_avals[0].shape
    if operand is None:
        return _dense(eqn, operands, known, n)
    if any([x is UNKNOWN for x in starts]):
        operand = _spread(operand, shape, [d for d, m in enumerate(shape) if m != sizes[d]])
        starts = [np.zeros(aval.shape, aval.dtype) for aval in eqn.in_avals[1:]]
    return _moved(eqn, [operand], [UNKNOWN, *starts], n, 1)


def _dynamic_update_slice(eqn: Equation, operands: Sequence[Dependence | None], known: Sequence[Any], n: int) -> Any:
    if all([x is not UNKNOWN for x in known[2:]]):
        return _moved(eqn, operands, known, n, 2)
    operand, update = operands[:2]
    if update is None:
        return [operand]
    shape, sizes = eqn.in_avals[0].shape, eqn.in_avals[1].shape
    starts = [np.zeros(aval.shape, aval.dtype) for aval in eqn.in_avals[2:]]
    (written,) = _moved(eqn, [None, update], [UNKNOWN, UNKNOWN, *starts], n, 2)
    written = _spread(written, shape, [d for d, m in enumerate(shape) if m != sizes[d]])
    return [written if operand is None else union_of([operand, written])]


# --------------------------------------------------------------------------------------------------------------------
# Sums


def _reduce_sum(eqn: Equation, operands: Sequence[Dependence | None], known: Sequence[Any], n: int) -> Any:
    shape, axes = eqn.in_avals[0].shape, eqn.params["axes"]
    kept = [1 if d in axes else m for d, m in enumerate(shape)]
    groups = np.broadcast_to(np.arange(prod(kept)).reshape(kept), shape).reshape(-1)
    return [x.summed(groups, prod(kept)) for x in _present(operands)]


def _cumulative(eqn: Equation, operands: Sequence[Dependence | None], known: Sequence[Any], n: int) -> Any:
    """Each element depends on all up to it, along an axis: joined in log2 steps with what is before."""
    axis, reverse = eqn.params["axis"], eqn.params["reverse"]
    shape = eqn.out_avals[0].shape
    total = union_of(_present(operands))
    if total.entries() * shape[axis] > 4 * MOST_ENTRIES:
        return [_spread(total, shape, [axis])]
    numbers = np.arange(total.size).reshape(shape)
    step = 1
    while step < shape[axis]:
        before = np.full(shape, -1)
        ahead, behind = [slice(None)] * len(shape), [slice(None)] * len(shape)
        ahead[axis], behind[axis] = slice(step, None), slice(None, -step)
        target, source = (behind, ahead) if reverse else (ahead, behind)
        before[tuple(target)] = numbers[tuple(source)]
        total = union_of([total, total.take(before.reshape(-1))])
        step *= 2
    return [total]


def _dot_general(eqn: Equation, operands: Sequence[Dependence | None], known: Sequence[Any], n: int) -> Any:
    contract, batch = eqn.params["dimension_numbers"]
    out_shape, n_batch, parts = eqn.out_avals[0].shape, len(batch[0]), []
    for side, operand in enumerate(operands):
        if operand is None:
            continue
        shape = eqn.in_avals[side].shape
        kept = [d for d in range(len(shape)) if d not in contract[side] and d not in batch[side]]
        lengths = [shape[d] for d in (*batch[side], *kept)]
        order = np.empty(len(shape), int)
        order[[*batch[side], *kept, *contract[side]]] = np.arange(len(shape))
        groups = np.arange(prod(lengths)).reshape(*lengths, *[1] * len(contract[side])).transpose(order)
        summed = operand.summed(np.broadcast_to(groups, shape).reshape(-1), prod(lengths))
        n_before = 0 if side == 0 else len(out_shape) - n_batch - len(kept)
        aligned = [1] * len(out_shape)
        for d, length in enumerate(lengths):
            aligned[d if d < n_batch else d + n_before] = length
        places = np.broadcast_to(np.arange(prod(lengths)).reshape(aligned), out_shape).reshape(-1)
        parts.append(summed.take(places))
    return [union_of(parts)]


def _convolution(eqn: Equation, operands: Sequence[Dependence | None], known: Sequence[Any], n: int) -> Any:
    """Of the convolution with a kernel that depends on nothing: element by element of the kernel, run on numbers."""
    image, kernel = eqn.in_avals[:2]
    numbers = eqn.params["dimension_numbers"]
    per_output = kernel.size // max(kernel.shape[numbers.rhs_spec[0]], 1)
    if operands[1] is not None or operands[0] is None or not 0 < per_output <= _KERNEL:
        return _dense(eqn, operands, known, n)
    float64 = np.dtype(np.float64)
    params = dict(eqn.params)
    if "preferred_element_type" in params:
        params["preferred_element_type"] = None
    operation = eqn.primitive.operation((Aval(image.shape, float64), Aval(kernel.shape, float64)), params)
    source = np.arange(1.0, image.size + 1).reshape(image.shape)
    order = (numbers.rhs_spec[0], *[d for d in range(kernel.ndim) if d != numbers.rhs_spec[0]])
    parts = []
    for element in range(per_output):
        one = np.zeros([kernel.shape[d] for d in order])
        one.reshape(kernel.shape[numbers.rhs_spec[0]], per_output)[:, element] = 1.0
        places = np.asarray(eqn.primitive.evaluate(operation, [source, one.transpose(np.argsort(order)).copy()]))
        parts.append(operands[0].take(np.rint(places).astype(np.int64).reshape(-1) - 1))
    return [union_of(parts)]


# --------------------------------------------------------------------------------------------------------------------
# Equations that carry a program


def _inner(eqn: Equation, operands: Sequence[Dependence | None], known: Sequence[Any], n: int) -> Any:
    return propagate(eqn.params["jaxpr"], operands, known, n)


def _transposed(eqn: Equation, operands: Sequence[Dependence | None], known: Sequence[Any], n: int) -> Any:
    """The transpose of the pattern of the program in its cotangents."""
    jaxpr, n_cts = eqn.params["jaxpr"], eqn.params["n_cts"]
    n_fixed = len(jaxpr.in_avals) - n_cts
    avals = jaxpr.in_avals[n_fixed:]
    total, first, given = sum([aval.size for aval in avals]), 0, []
    for aval in avals:
        given.append(identity(total, first, aval.size))
        first += aval.size
    backward = propagate(jaxpr, [*[None] * n_fixed, *given], [*known[:n_fixed], *[UNKNOWN] * n_cts], total)
    tangents = [
        nothing(aval.size, n) if x is None else x for x, aval in zip(operands[n_fixed:], jaxpr.out_avals, strict=True)
    ]
    pattern = [
        (nothing(aval.size, total) if x is None else x) for x, aval in zip(backward, jaxpr.out_avals, strict=True)
    ]
    return _through_transpose(pattern, tangents, [aval.size for aval in avals], n)


def _through_transpose(
    pattern: Sequence[Dependence], tangents: Sequence[Dependence], sizes: Sequence[int], n: int
) -> list[Dependence]:
    total = sum(sizes)
    parts = []
    for rows, tangent in zip(pattern, tangents, strict=True):
        entries = rows.matrix().tocoo()
        parts.append(tangent.take(entries.row.astype(np.int64)).summed(entries.col.astype(np.int64), total))
    whole = union_of(parts) if parts else nothing(total, n)
    starts = np.cumsum([0, *sizes])
    return [whole.take(np.arange(start, start + size)) for start, size in zip(starts, sizes, strict=False)]


def _cond(eqn: Equation, operands: Sequence[Dependence | None], known: Sequence[Any], n: int) -> Any:
    branches = eqn.params["branches"]
    if known[0] is not UNKNOWN:
        branches = [branches[min(max(int(known[0]), 0), len(branches) - 1)]]
    by_branch = [propagate(branch, operands[1:], known[1:], n) for branch in branches]
    return [_either(outs) for outs in zip(*by_branch, strict=True)]


def _either(given: Sequence[Dependence | None]) -> Dependence | None:
    present = _present(given)
    return union_of(present) if present else None


def _scan(eqn: Equation, operands: Sequence[Dependence | None], known: Sequence[Any], n: int) -> Any:
    length = eqn.params["length"]
    if length == 0:
        first = eqn.params["n_consts"]
        carry = list(operands[first : first + eqn.params["n_carry"]])
        return carry + [None] * (len(eqn.outs) - len(carry))
    if length * max(len(eqn.params["jaxpr"].eqns), 1) <= _UNROLLED:
        return _scan_unrolled(eqn, operands, known, n)
    return _scan_to_fixed_point(eqn, operands, known, n)


def _row(operand: Dependence | None, aval: Aval, number: int) -> Dependence | None:
    size = prod(aval.shape[1:])
    return None if operand is None else operand.take(np.arange(number * size, (number + 1) * size))


def _scan_unrolled(eqn: Equation, operands: Sequence[Dependence | None], known: Sequence[Any], n: int) -> Any:
    jaxpr, length, n_consts, n_carry = [eqn.params[key] for key in ("jaxpr", "length", "n_consts", "n_carry")]
    first = n_consts + n_carry
    carry, known_carry = list(operands[n_consts:first]), list(known[n_consts:first])
    stacks: list[list[Dependence | None]] = [[None] * length for _ in jaxpr.outs[n_carry:]]
    for i in range(length)[:: -1 if eqn.params["reverse"] else 1]:
        rows = [_row(x, aval, i) for x, aval in zip(operands[first:], eqn.in_avals[first:], strict=True)]
        known_rows = [x if x is UNKNOWN else x[i] for x in known[first:]]
        given = [*operands[:n_consts], *carry, *rows]
        outs = propagate(jaxpr, given, [*known[:n_consts], *known_carry, *known_rows], n)
        known_carry = [UNKNOWN] * n_carry
        carry = outs[:n_carry]
        for stack, row in zip(stacks, outs[n_carry:], strict=True):
            stack[i] = row
    sizes = [aval.size for aval in jaxpr.out_avals[n_carry:]]
    return carry + [_stacked(stack, size, n) for stack, size in zip(stacks, sizes, strict=True)]


def _stacked(rows: Sequence[Dependence | None], size: int, n: int) -> Dependence | None:
    if all([row is None for row in rows]):
        return None
    total, parts = len(rows) * size, []
    for i, row in enumerate(rows):
        if row is not None:
            parts.append((i, row))
    index, matrices, first = np.full(total, -1, np.int64), [], 0
    for i, row in parts:
        shifted = np.where(row.index >= 0, row.index + first, row.index)
        index[i * size : (i + 1) * size] = shifted
        matrices.append(row.rows)
        first += row.rows.shape[0]
    return Dependence(index, scipy_sparse().vstack(matrices, format="csr"))


def _scan_to_fixed_point(eqn: Equation, operands: Sequence[Dependence | None], known: Sequence[Any], n: int) -> Any:
    """What holds for every iteration: rows depend on what any row depends on, the carry on what it ever may."""
    jaxpr, length, n_consts, n_carry = [eqn.params[key] for key in ("jaxpr", "length", "n_consts", "n_carry")]
    first = n_consts + n_carry
    rows = [
        None if x is None else x.summed(np.tile(np.arange(prod(a.shape[1:])), length), prod(a.shape[1:]))
        for x, a in zip(operands[first:], eqn.in_avals[first:], strict=True)
    ]
    carry = list(operands[n_consts:first])
    fixed_values = [*known[:n_consts], *[UNKNOWN] * (n_carry + len(rows))]
    for step in range(_UNROLLED):
        outs = propagate(jaxpr, [*operands[:n_consts], *carry, *rows], fixed_values, n)
        grown = [_either(pair) for pair in zip(carry, outs[:n_carry], strict=True)]
        if [_count(x) for x in grown] == [_count(x) for x in carry] or step == length:
            break
        carry = grown if step < 64 else [None if x is None else everything(x.size, n) for x in grown]
    stacks = [None if x is None else x.take(np.tile(np.arange(x.size), length)) for x in outs[n_carry:]]
    return [*grown, *stacks]


def _count(x: Dependence | None) -> int:
    return -1 if x is None else x.entries()


_RULES: dict[Any, Rule] = {
    **dict.fromkeys((broadcast_in_dim_p, reshape_p, squeeze_p, expand_dims_p, transpose_p, rev_p), _mover(1)),
    **dict.fromkeys((slice_p, split_p), _mover(1)),
    **dict.fromkeys((cumsum_p, linear_recurrence_p, guarded_linear_recurrence_p), _cumulative),
    **dict.fromkeys((dot_general_p, guarded_dot_general_p), _dot_general),
    **dict.fromkeys((scatter_p, scatter_add_p), _scatter),
    pad_p: _mover(2),
    concatenate_p: _concatenate,
    gather_p: _gather,
    dynamic_slice_p: _dynamic_slice,
    dynamic_update_slice_p: _dynamic_update_slice,
    reduce_sum_p: _reduce_sum,
    conv_general_dilated_p: _convolution,
    rematerialized_p: _inner,
    transposed_p: _transposed,
    cond_p: _cond,
    scan_p: _scan,
}
