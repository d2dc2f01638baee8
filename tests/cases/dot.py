"""Cases of `functrans.ops.linear_algebra`."""

from collections.abc import Callable
from typing import Any

import numpy as np

from functrans.ops import linear_algebra as ops
from tests.cases.case import ANY, Case, Operand

Shape = tuple[int, ...]


def row(name: str, lhs: Shape, rhs: Shape, dims: Any, reference: Callable[..., Any], **how: Any) -> Case:
    return Case(
        ops.dot_general_p,
        lambda x, y: ops.dot_general(x, y, dims),
        reference,
        (Operand(lhs), Operand(rhs)),
        ANY,
        name=name,
        tolerance=4.0,
        **how,
    )


def contraction(*axes: Any) -> Any:
    return axes, ((), ())


def matched_vectors(x: Any, y: Any) -> Any:
    return np.matmul(x[:, None, :], y[:, :, None])[:, 0, 0]


CASES = [
    row("", (3, 4), (4, 2), contraction((1,), (0,)), np.matmul),
    row("both transposed", (4, 3), (2, 4), contraction((0,), (1,)), lambda x, y: np.matmul(x.T, y.T)),
    row("matrix and vector", (3, 4), (4,), contraction((1,), (0,)), np.matmul),
    row("transposed matrix and vector", (4, 3), (4,), contraction((0,), (0,)), lambda x, y: np.matmul(x.T, y)),
    row("vector and matrix", (4,), (4, 2), contraction((0,), (0,)), np.matmul),
    row("vector and transposed matrix", (4,), (2, 4), contraction((0,), (1,)), lambda x, y: np.matmul(x, y.T)),
    row("vectors", (4,), (4,), contraction((0,), (0,)), np.matmul),
    row("length 1", (1, 1), (1, 1), contraction((1,), (0,)), np.matmul),
    row("0-d", (), (), contraction((), ()), np.multiply),
    row("scalar and matrix", (), (2, 3), contraction((), ()), np.multiply),
    row("outer", (3,), (2, 2), contraction((), ()), lambda x, y: x[:, None, None] * y),
    row("empty sum", (3, 0), (0, 2), contraction((1,), (0,)), np.matmul),
    row("empty result", (0, 3), (3, 2), contraction((1,), (0,)), np.matmul),
    row("three axes", (2, 3, 4), (4, 5), contraction((2,), (0,)), lambda x, y: np.tensordot(x, y, 1)),
    row(
        "two sums", (3, 2, 4), (4, 5, 3), contraction((0, 2), (2, 0)), lambda x, y: np.tensordot(x, y, ((0, 2), (2, 0)))
    ),
    row("whole arrays", (2, 3), (3, 2), contraction((0, 1), (1, 0)), lambda x, y: np.dot(x.ravel(), y.T.ravel())),
    row("batched", (2, 3, 4), (2, 4, 5), (((2,), (1,)), ((0,), (0,))), np.matmul),
    row(
        "batched, axes mixed",
        (3, 2, 4),
        (4, 5, 2),
        (((2,), (0,)), ((1,), (2,))),
        lambda x, y: np.matmul(x.transpose(1, 0, 2), y.transpose(2, 0, 1)),
    ),
    row(
        "batched, two sums",
        (2, 3, 4, 5),
        (2, 3, 4),
        (((2, 1), (2, 1)), ((0,), (0,))),
        lambda x, y: np.matmul(x.reshape(2, 12, 5).transpose(0, 2, 1), y.reshape(2, 12, 1))[..., 0],
    ),
    row("batched vectors", (3, 4), (3, 4), (((1,), (1,)), ((0,), (0,))), matched_vectors),
    row("batched, no sum", (3, 2), (3, 4), (((), ()), ((0,), (0,))), lambda x, y: x[:, :, None] * y[:, None, :]),
    row("matched only", (2, 3), (3, 2), (((), ()), ((0, 1), (1, 0))), lambda x, y: x * y.T),
    row("batched, empty sum", (2, 3, 0), (2, 0, 5), (((2,), (1,)), ((0,), (0,))), np.matmul),
    Case(
        ops.dot_general_p,
        lambda x, y: ops.dot_general(x, y, contraction((1,), (0,)), None, np.int64),
        lambda x, y: np.matmul(x.astype(np.int64), y.astype(np.int64)),
        (Operand((3, 40), -100, 100), Operand((40, 2), -100, 100)),
        ("int8", "int32"),
        name="wider result",
    ),
    Case(
        ops.dot_general_p,
        lambda x, y: ops.dot_general(x, y, contraction((1,), (0,))),
        np.matmul,
        (Operand((3, 40), -100, 100), Operand((40, 30), -100, 100)),
        ("int8", "int64", "uint8"),
        name="large integers",
    ),
    Case(ops.dot_general_p, ops.dot, np.dot, (Operand((3, 4)), Operand((4,))), ANY, name="dot", tolerance=4.0),
    Case(
        ops.dot_general_p,
        ops.batch_matmul,
        np.matmul,
        (Operand((2, 2, 3, 4)), Operand((2, 2, 4, 1))),
        ANY,
        name="batch_matmul",
        tolerance=4.0,
    ),
]
