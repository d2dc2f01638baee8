"""What the equations of a program cost: operations on numbers, and bytes read and written, by their avals alone.

An addition, a multiplication or a comparison of two numbers counts one; what a processor does in several steps counts
more (`_WEIGHTS`), and an operation on complex numbers as those on their parts. A view costs nothing. A loop costs its
body for each iteration; where nobody knows how many there will be, the cost is that of one and `per_iteration` says
so. A branch costs as much as the dearest. Of an operation without a rule only the bytes are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import log2, prod
from typing import NamedTuple

from functrans.core.aval import Aval
from functrans.core.jaxpr import Atom, Equation, Jaxpr, derived
from functrans.passes.pipeline import finalize

__all__ = ["Cost", "cost_of", "costs_of_equations", "nbytes", "total_of"]


class Cost(NamedTuple):
    """What an equation or a program costs."""

    flops: float
    """Operations on numbers."""
    bytes: int
    """Bytes read and written."""
    per_iteration: bool = False
    """Whether a loop of unknown length is in it, of which one iteration is counted."""
    unknown: tuple[str, ...] = ()
    """The primitives in it of which only the bytes are counted."""

    def times(self, n: int) -> Cost:
        """That of so many times the same."""
        return self._replace(flops=self.flops * n, bytes=self.bytes * n)


NOTHING = Cost(0, 0)

Rule = Callable[[Equation, int], Cost]
"""From an equation, and the bytes that it reads and writes at least, to its cost."""


def cost_of(jaxpr: Jaxpr) -> Cost:
    """What a program costs, in the form in which it is run.

    >>> import numpy as np
    >>> import functrans as ft
    >>> cost_of(ft.make_jaxpr(lambda x, y: x @ y + 1.0)(np.ones((2, 3)), np.ones((3, 4))).jaxpr)
    Cost(flops=56, bytes=336, per_iteration=False, unknown=())
    """
    return derived(jaxpr, "cost", lambda: total_of(costs_of_equations(finalize(jaxpr))))


def costs_of_equations(jaxpr: Jaxpr) -> list[Cost]:
    """What each equation of a program costs."""
    held: dict[Atom, int] = {}
    """The bytes of the results that are smaller in memory than their avals: broadcast ones."""
    costs = []
    for eqn in jaxpr.eqns:
        costs.append(_cost(eqn, held))
        if eqn.primitive.name == "broadcast_in_dim" or (eqn.primitive.is_view and eqn.inputs[0] in held):
            held.update(dict.fromkeys(eqn.outs, _read(jaxpr, eqn.inputs[0], held)))
    return costs


def nbytes(aval: Aval) -> int:
    """The size of an array in memory; 0 for what is no array."""
    return 0 if aval.dtype.kind == "V" else aval.nbytes


def total_of(costs: Iterable[Cost]) -> Cost:
    """What several equations or programs cost together."""
    costs = list(costs)
    unknown = dict.fromkeys([name for cost in costs for name in cost.unknown])
    any_open = any([cost.per_iteration for cost in costs])
    return Cost(sum([c.flops for c in costs]), sum([c.bytes for c in costs]), any_open, tuple(unknown))


def _read(jaxpr: Jaxpr, atom: Atom, held: dict[Atom, int]) -> int:
    return 0 if type(atom) is not int else held.get(atom, nbytes(jaxpr.aval(atom)))


def _cost(eqn: Equation, held: dict[Atom, int]) -> Cost:
    if eqn.primitive.is_view:
        return NOTHING
    pairs = zip(eqn.inputs, eqn.in_avals, strict=True)
    reading = sum([held.get(atom, nbytes(aval)) for atom, aval in pairs if type(atom) is int])
    moved = reading + sum(map(nbytes, eqn.out_avals))
    name = eqn.primitive.name
    if name in _RULES:
        return _RULES[name](eqn, moved)
    if name in _WEIGHTS:
        return Cost(_WEIGHTS[name] * _factor(eqn) * max([aval.size for aval in eqn.out_avals]), moved)
    return Cost(0, moved, unknown=(name,))


def _factor(eqn: Equation) -> int:
    """How many operations on real numbers one on complex numbers takes."""
    if all([aval.dtype.kind != "c" for aval in (*eqn.in_avals, *eqn.out_avals)]):
        return 1
    return 2 if eqn.primitive.name in ("add", "sub", "neg", "conj", "eq", "ne", "reduce_sum", "cumsum") else 6


# --------------------------------------------------------------------------------------------------------------------
# Operations element by element

_BY_WEIGHT = {
    0: "name copy stop_gradient",
    1: (
        "add sub mul neg max min clamp abs sign copysign conj real imag complex select_n floor ceil trunc round square "
        "eq ne lt le gt ge is_finite is_nan is_inf not and or xor shift_left shift_right_arithmetic "
        "shift_right_logical population_count nextafter guarded_mul"
    ),
    4: "div floor_divide rem mod sqrt rsqrt guarded_div integer_pow",
    10: "exp exp2 expm1 log log2 log10 log1p sin cos tan tanh logistic cbrt hypot",
    20: ("asin acos atan atan2 sinh cosh asinh acosh atanh logaddexp logaddexp2 pow erf erfc erf_inv"),
    100: "threefry2x32",
}
_WEIGHTS = {name: weight for weight, names in _BY_WEIGHT.items() for name in names.split()}
"""What an operation on one element counts, by the time that it takes in comparison with an addition."""


# --------------------------------------------------------------------------------------------------------------------
# Everything else


def _moves(eqn: Equation, moved: int) -> Cost:
    """It copies, and does not compute."""
    return Cost(0, moved)


def _reduction(eqn: Equation, moved: int) -> Cost:
    return Cost(eqn.in_avals[0].size * _factor(eqn), moved)


def _sum_padded(eqn: Equation, moved: int) -> Cost:
    """Each array is added where it is put."""
    return Cost(sum([aval.size for aval in eqn.in_avals]) * _factor(eqn), moved)


def _cumulative(weight: int) -> Rule:
    return lambda eqn, moved: Cost(weight * eqn.out_avals[0].size * _factor(eqn), moved)


def _dot_general(eqn: Equation, moved: int) -> Cost:
    """A multiplication and an addition for each pair of elements that meet."""
    (contracted, _), _ = eqn.params["dimension_numbers"]
    depth = prod([eqn.in_avals[0].shape[axis] for axis in contracted])
    factor = 4 if eqn.out_avals[0].dtype.kind == "c" else 1
    return Cost(2 * factor * eqn.out_avals[0].size * depth, moved)


def _convolution(eqn: Equation, moved: int) -> Cost:
    """A multiplication and an addition for each element of the kernel that reaches an element of the result."""
    kernel = eqn.in_avals[1]
    outputs = kernel.shape[eqn.params["dimension_numbers"].rhs_spec[0]]
    depth = kernel.size // outputs if outputs else 0
    factor = 4 if eqn.out_avals[0].dtype.kind == "c" else 1
    return Cost(2 * factor * eqn.out_avals[0].size * depth, moved)


def _window(eqn: Equation, moved: int) -> Cost:
    return Cost(eqn.out_avals[0].size * prod(eqn.params["window_dimensions"]) * _factor(eqn), moved)


def _sort(axis_name: str) -> Rule:
    """n log2 n comparisons for each row of n."""

    def rule(eqn: Equation, moved: int) -> Cost:
        operand = eqn.in_avals[0]
        n = operand.shape[eqn.params.get(axis_name, -1)] if operand.ndim else 1
        return Cost(operand.size * max(1.0, log2(n)) if n else 0, moved)

    return rule


def _gather(eqn: Equation, moved: int) -> Cost:
    """What is not selected is not read."""
    return Cost(0, nbytes(eqn.in_avals[1]) + 2 * nbytes(eqn.out_avals[0]))


def _scatter(weight: int) -> Rule:
    return lambda eqn, moved: Cost(weight * eqn.in_avals[2].size, moved)


def _random(weight: int) -> Rule:
    return lambda eqn, moved: Cost(weight * eqn.out_avals[0].size, moved)


def _program(eqn: Equation, moved: int) -> Cost:
    """A call of the program that the equation carries."""
    return cost_of(eqn.params["jaxpr"])


def _scan(eqn: Equation, moved: int) -> Cost:
    return cost_of(eqn.params["jaxpr"]).times(eqn.params["length"])


def _open_loop(*programs: str) -> Rule:
    """One iteration of a loop that runs these programs again and again."""
    return lambda eqn, moved: total_of([cost_of(eqn.params[name]) for name in programs])._replace(per_iteration=True)


def _cond(eqn: Equation, moved: int) -> Cost:
    costs = [cost_of(branch) for branch in eqn.params["branches"]]
    whole = total_of(costs)
    dearest = max(costs, key=lambda cost: (cost.flops, cost.bytes))
    return whole._replace(flops=dearest.flops, bytes=dearest.bytes)


_THREEFRY = _WEIGHTS["threefry2x32"] // 2
_RULES: dict[str, Rule] = {
    **dict.fromkeys(["convert_element_type", "pad", "concatenate", "iota", "constant", "dynamic_update_slice"], _moves),
    **dict.fromkeys(["random_split", "random_fold_in", "random_clone", "scatter"], _moves),
    **dict.fromkeys(
        ["reduce_sum", "reduce_prod", "reduce_max", "reduce_min", "reduce_and", "reduce_or", "reduce_xor"], _reduction
    ),
    **dict.fromkeys(["argmax", "argmin"], _reduction),
    **dict.fromkeys(["cumsum", "cumprod", "cummax", "cummin"], _cumulative(1)),
    **dict.fromkeys(["linear_recurrence", "guarded_linear_recurrence"], _cumulative(2)),
    "cumlogsumexp": _cumulative(22),
    **dict.fromkeys(["dot_general", "guarded_dot_general"], _dot_general),
    "conv_general_dilated": _convolution,
    "sum_padded": _sum_padded,
    **dict.fromkeys(["reduce_window_sum", "reduce_window_max", "reduce_window_min"], _window),
    "sort": _sort("dimension"),
    "argsort": _sort("dimension"),
    "top_k": _sort("axis"),
    "gather": _gather,
    **dict.fromkeys(["scatter_add", "scatter_mul", "scatter_min", "scatter_max"], _scatter(1)),
    "random_bits": _random(_THREEFRY),
    "random_uniform": _random(_THREEFRY + 4),
    "random_normal": _random(_THREEFRY + 24),
    **dict.fromkeys(["call", "jit", "checkpoint", "rematerialized", "transposed", "undifferentiated"], _program),
    **dict.fromkeys(["custom_call", "custom_vmap", "custom_root", "linear_solve"], _program),
    "scan": _scan,
    "while": _open_loop("cond", "body"),
    "snapshots": _open_loop("cond", "body"),
    "replay": _open_loop("body"),
    "retrace": _open_loop("step", "linear"),
    "cond": _cond,
}
