"""Cases of `functrans.ops.sorting`."""

from typing import Any

import numpy as np

from functrans.ops import sorting as ops
from tests.cases.case import ANY, REALS, Case, Operand

REAL_OR_BOOL = ("bool", *REALS)


def reference_sort(x: Any, y: Any) -> tuple[Any, Any]:
    """The first operand sorted along the first axis, the second brought into its order."""
    order = np.argsort(x, 0, kind="stable")
    return np.take_along_axis(x, order, 0), np.take_along_axis(y, order, 0)


def reference_two_keys(x: Any, y: Any) -> tuple[Any, Any]:
    order = np.lexsort((y, x))
    return x[order], y[order]


def reference_top_k(x: Any, k: int) -> tuple[Any, Any]:
    """The k largest of each row, in Python."""
    rows = x.reshape(-1, x.shape[-1])
    indices = [sorted(range(len(row)), key=lambda i, row=row: (-float(row[i]), i))[:k] for row in rows]
    at = np.array(indices, np.intp).reshape(*x.shape[:-1], k)
    return np.take_along_axis(x, at, -1), at


def reference_top_k_first_axis(x: Any, k: int) -> tuple[Any, Any]:
    values, indices = reference_top_k(x.T, k)
    return values.T, indices.T


CASES = [
    Case(
        ops.sort_p, lambda x: ops.sort(x), lambda x: np.sort(x, kind="stable"), (Operand((3, 5), distinct=True),), ANY
    ),
    Case(
        ops.sort_p,
        lambda x: ops.sort(x, 0, is_stable=False),
        lambda x: np.sort(x, 0),
        (Operand((4, 2, 2), distinct=True),),
        ANY,
        name="first axis",
    ),
    Case(ops.sort_p, lambda x: ops.sort(x), np.sort, (Operand((6,), distinct=True),), ANY, name="vector"),
    Case(ops.sort_p, lambda x: ops.sort(x), np.sort, (Operand((2, 1)),), ANY, name="length 1"),
    Case(ops.sort_p, lambda x: ops.sort(x), np.sort, (Operand((2, 0)),), ANY, name="empty"),
    Case(
        ops.sort_p,
        lambda x, y: ops.sort((x, y), 0),
        reference_sort,
        (Operand((5, 2), distinct=True), Operand((5, 2))),
        ANY,
        name="with values",
    ),
    Case(
        ops.sort_p,
        lambda x, y: ops.sort_key_val(x, y, 0),
        reference_sort,
        (Operand((6,), -1, 1, dtype="int32"), Operand((6,))),
        ANY,
        name="equal keys",
    ),
    Case(
        ops.sort_p,
        lambda x, y: ops.sort((x, y), num_keys=2),
        reference_two_keys,
        (Operand((8,), -1, 1, dtype="int32"), Operand((8,), distinct=True)),
        ANY,
        name="two keys",
    ),
    Case(
        ops.argsort_p, lambda x: ops.argsort(x), lambda x: np.argsort(x, kind="stable"), (Operand((3, 5), -1, 1),), ANY
    ),
    Case(
        ops.argsort_p,
        lambda x: ops.argsort(x, 0, is_stable=False),
        lambda x: np.argsort(x, 0),
        (Operand((5, 2)),),
        ANY,
        name="first axis",
    ),
    Case(
        ops.argsort_p,
        lambda x, y: ops.argsort((x, y)),
        lambda x, y: np.lexsort((y, x)),
        (Operand((6,), -1, 1, dtype="int32"), Operand((6,))),
        ANY,
        name="two keys",
    ),
    Case(ops.argsort_p, lambda x: ops.argsort(x), np.argsort, (Operand((2, 0)),), ANY, name="empty"),
    Case(
        ops.top_k_p,
        lambda x: ops.top_k(x, 3),
        lambda x: reference_top_k(x, 3),
        (Operand((2, 3, 5), distinct=True),),
        REAL_OR_BOOL,
    ),
    Case(
        ops.top_k_p,
        lambda x: ops.top_k(x, 2, axis=0),
        lambda x: reference_top_k_first_axis(x, 2),
        (Operand((4, 2), distinct=True),),
        REAL_OR_BOOL,
        name="first axis",
    ),
    Case(
        ops.top_k_p,
        lambda x: ops.top_k(x, 4),
        lambda x: reference_top_k(x, 4),
        (Operand((4,), distinct=True),),
        REAL_OR_BOOL,
        name="all",
    ),
    Case(
        ops.top_k_p,
        lambda x: ops.top_k(x, 0),
        lambda x: reference_top_k(x, 0),
        (Operand((2, 3)),),
        REAL_OR_BOOL,
        name="none",
    ),
]
