"""scatter, scatter_mul, scatter_min, scatter_max: combining windows of an array with updates at given places.

They are `scatter_add` of `indexing.py` with another combination; its docstring says what the arguments are.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from functrans.core.aval import Aval
from functrans.core.jaxpr import Literal
from functrans.core.primitive import Primitive
from functrans.core.rules import (
    UndefinedPrimal,
    among_zeros,
    declare_absent,
    def_general_jvp,
    def_jvp,
    def_transpose,
    is_masked,
    zeros_like,
)
from functrans.errors import MissingRuleError
from functrans.ops.comparison import eq, select
from functrans.ops.conversion import convert_element_type
from functrans.ops.elementwise import div, mul
from functrans.ops.families import ANY, NUMBER, REAL, matched
from functrans.ops.indexing import bind_scatter, inverse_gather, scatter_add_p, scatter_primitive
from functrans.ops.iota import iota
from functrans.ops.shape import broadcast_in_dim, reshape
from functrans.ops.windows import GatherScatterMode, ScatterDimensionNumbers

__all__ = [
    "scatter",
    "scatter_max",
    "scatter_max_p",
    "scatter_min",
    "scatter_min_p",
    "scatter_mul",
    "scatter_mul_p",
    "scatter_p",
]

# ------------------------------------------------------------------------------------------------------------
# scatter


def scatter(
    operand: Any,
    scatter_indices: Any,
    updates: Any,
    dimension_numbers: ScatterDimensionNumbers,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: str | GatherScatterMode | None = None,
) -> Any:
    """The array with windows of it replaced by updates. Where windows overlap, the last one stays.

    Arguments and errors are those of `scatter_add`.

    >>> import numpy as np
    >>> elements = ScatterDimensionNumbers((), inserted_window_dims=(0,), scatter_dims_to_operand_dims=(0,))
    >>> scatter(np.zeros(3), np.array([[2], [0], [2]]), np.array([1.0, 2.0, 3.0]), elements)
    array([2., 0., 3.])
    """
    return bind_scatter(
        scatter_p,
        operand,
        scatter_indices,
        updates,
        dimension_numbers,
        indices_are_sorted,
        unique_indices,
        mode,
    )


def _scatter_jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
    operand, indices, updates = primals
    t_operand, t_updates = [
        zeros_like(x) if t is None else t for x, t in ((operand, tangents[0]), (updates, tangents[2]))
    ]
    # Which update stays depends on the indices alone, so it is the same one's tangent.
    return scatter_p.bind(*primals, **params), scatter_p.bind(t_operand, indices, t_updates, **params)


def _scatter_transpose(ct: Any, operand: Any, indices: Any, updates: Any, **params: Any) -> tuple[Any, None, Any]:
    ct_operand = ct_updates = None
    if type(operand) is UndefinedPrimal:
        ct_operand = scatter_p.bind(ct, indices, zeros_like(updates), **params)
    if type(updates) is UndefinedPrimal:
        ct_updates = inverse_gather(ct, indices, updates, params)
        if not params["unique_indices"]:
            stayed = _stayed(operand.shape, indices, updates, params)
            ct_updates = select(stayed, ct_updates, zeros_like(updates))
    return ct_operand, None, ct_updates


def _stayed(shape: tuple[int, ...], indices: Any, updates: Any, params: dict[str, Any]) -> Any:
    """Which elements of the updates are in the result: number the windows, scatter the numbers, and look."""
    window_dims = params["dimension_numbers"].update_window_dims
    batch_dims = [d for d in range(updates.ndim) if d not in window_dims]
    batch = [updates.shape[d] for d in batch_dims]
    integer = np.dtype(np.int64)
    numbers = broadcast_in_dim(reshape(iota(integer, prod(batch)), batch), updates.shape, batch_dims)
    nobody = Literal(-1, Aval(shape, integer))
    scattered = scatter_p.bind(nobody, indices, numbers, **params)
    return eq(inverse_gather(scattered, indices, updates, params), numbers)


scatter_p = scatter_primitive("scatter", None, ANY)
scatter_p.places_zeros = among_zeros
def_general_jvp(scatter_p, _scatter_jvp)
def_transpose(scatter_p, _scatter_transpose)

# ------------------------------------------------------------------------------------------------------------
# scatter_mul


def scatter_mul(
    operand: Any,
    scatter_indices: Any,
    updates: Any,
    dimension_numbers: ScatterDimensionNumbers,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: str | GatherScatterMode | None = None,
) -> Any:
    """The array with windows of it multiplied by updates. Where windows overlap, by all of them.

    Arguments and errors are those of `scatter_add`. The derivative by the updates needs `unique_indices`.

    >>> import numpy as np
    >>> elements = ScatterDimensionNumbers((), inserted_window_dims=(0,), scatter_dims_to_operand_dims=(0,))
    >>> scatter_mul(np.ones(3), np.array([[2], [0], [2]]), np.array([4.0, 2.0, 3.0]), elements)
    array([ 2.,  1., 12.])
    """
    return bind_scatter(
        scatter_mul_p,
        operand,
        scatter_indices,
        updates,
        dimension_numbers,
        indices_are_sorted,
        unique_indices,
        mode,
    )


def _scatter_mul_jvp_operand(t: Any, out: Any, operand: Any, indices: Any, updates: Any, **params: Any) -> Any:
    return scatter_mul_p.bind(t, indices, updates, **params)


def _scatter_mul_jvp_updates(t: Any, out: Any, operand: Any, indices: Any, updates: Any, **params: Any) -> Any:
    if not params["unique_indices"]:
        raise MissingRuleError(
            "scatter_mul has no derivative by its updates unless unique_indices=True: where windows overlap "
            "it is a product of all the other updates. If they do not overlap, promise it; if they do, "
            "compute the product of the updates for each place and multiply the array by it."
        )
    return mul(operand, scatter_add_p.bind(zeros_like(operand), indices, t, **params))


def _scatter_mul_transpose(ct: Any, operand: Any, indices: Any, updates: Any, **params: Any) -> tuple[Any, None, None]:
    if is_masked(ct):  # multiplied once, so that its zeros can be guarded
        ones = Literal(1, Aval(operand.shape, operand.dtype))
        return mul(ct, scatter_mul_p.bind(ones, indices, updates, **params)), None, None
    return scatter_mul_p.bind(ct, indices, updates, **params), None, None


scatter_mul_p = scatter_primitive("scatter_mul", np.multiply, NUMBER)
def_jvp(scatter_mul_p, _scatter_mul_jvp_operand, None, _scatter_mul_jvp_updates)
def_transpose(scatter_mul_p, _scatter_mul_transpose)

# ------------------------------------------------------------------------------------------------------------
# scatter_min and scatter_max


def scatter_min(
    operand: Any,
    scatter_indices: Any,
    updates: Any,
    dimension_numbers: ScatterDimensionNumbers,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: str | GatherScatterMode | None = None,
) -> Any:
    """The array with the lesser of element and update in windows of it; NaN if one of them is NaN.

    Arguments and errors are those of `scatter_add`. Where several are least, they share the
    derivative equally.

    >>> import numpy as np
    >>> elements = ScatterDimensionNumbers((), inserted_window_dims=(0,), scatter_dims_to_operand_dims=(0,))
    >>> scatter_min(np.zeros(3), np.array([[2], [0], [2]]), np.array([4.0, 2.0, -3.0]), elements)
    array([ 0.,  0., -3.])
    """
    return bind_scatter(
        scatter_min_p,
        operand,
        scatter_indices,
        updates,
        dimension_numbers,
        indices_are_sorted,
        unique_indices,
        mode,
    )


def scatter_max(
    operand: Any,
    scatter_indices: Any,
    updates: Any,
    dimension_numbers: ScatterDimensionNumbers,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: str | GatherScatterMode | None = None,
) -> Any:
    """The array with the greater of element and update in windows of it; NaN if one of them is NaN.

    Arguments and errors are those of `scatter_add`. Where several are greatest, they share the
    derivative equally.

    >>> import numpy as np
    >>> elements = ScatterDimensionNumbers((), inserted_window_dims=(0,), scatter_dims_to_operand_dims=(0,))
    >>> scatter_max(np.zeros(3), np.array([[2], [0], [2]]), np.array([4.0, 2.0, -3.0]), elements)
    array([2., 0., 4.])
    """
    return bind_scatter(
        scatter_max_p,
        operand,
        scatter_indices,
        updates,
        dimension_numbers,
        indices_are_sorted,
        unique_indices,
        mode,
    )


def _winners(out: Any, operand: Any, indices: Any, updates: Any, params: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Which elements of the operand and of the updates are in the result; how many share each place of it."""
    operand_won = eq(operand, out)
    updates_won = eq(updates, inverse_gather(out, indices, updates, params))
    ones = convert_element_type(operand_won, out.dtype)
    count = scatter_add_p.bind(ones, indices, convert_element_type(updates_won, out.dtype), **params)
    return operand_won, updates_won, count


def _extremum_jvp_operand(t: Any, out: Any, operand: Any, indices: Any, updates: Any, **params: Any) -> Any:
    won, _, count = _winners(out, operand, indices, updates, params)
    return div(select(won, *matched(t, 0)), count)


def _extremum_jvp_updates(t: Any, out: Any, operand: Any, indices: Any, updates: Any, **params: Any) -> Any:
    _, won, count = _winners(out, operand, indices, updates, params)
    winning = select(won, *matched(t, 0))
    return div(scatter_add_p.bind(zeros_like(operand), indices, winning, **params), count)


def _extremum(name: str, ufunc: np.ufunc) -> Primitive:
    primitive = scatter_primitive(name, ufunc, "b" + REAL)
    def_jvp(primitive, _extremum_jvp_operand, None, _extremum_jvp_updates)
    declare_absent(primitive, "transpose", "not linear")
    return primitive


scatter_min_p = _extremum("scatter_min", np.minimum)
scatter_max_p = _extremum("scatter_max", np.maximum)
