"""Cases of `functrans.ops.shape`."""

import numpy as np

from functrans.ops import iota
from functrans.ops import shape as ops
from tests.cases.case import ANY, NUMBERS, Case, Operand

CASES = [
    Case(
        ops.broadcast_in_dim_p,
        lambda x: ops.broadcast_in_dim(x, (2, 3, 4), (0, 2)),
        lambda x: np.broadcast_to(x[:, None, :], (2, 3, 4)),
        (Operand((2, 4)),),
        ANY,
    ),
    Case(
        ops.broadcast_in_dim_p,
        lambda x: ops.broadcast_in_dim(x, (3, 2), (0, 1)),
        lambda x: np.broadcast_to(x, (3, 2)),
        (Operand((1, 2)),),
        ANY,
        name="stretched",
    ),
    Case(
        ops.reduce_sum_p,
        lambda x: ops.reduce_sum(x, (0, 2)),
        lambda x: np.sum(x, (0, 2), x.dtype),
        (Operand((2, 3, 4)),),
        NUMBERS,
    ),
    Case(
        ops.reduce_sum_p,
        lambda x: ops.reduce_sum(x, (0,)),
        lambda x: np.sum(x, 0, x.dtype),
        (Operand((0, 3)),),
        NUMBERS,
        name="empty",
    ),
    Case(ops.reshape_p, lambda x: ops.reshape(x, (3, 4)), lambda x: x.reshape(3, 4), (Operand((2, 6)),), ANY),
    Case(
        ops.transpose_p,
        lambda x: ops.transpose(x, (2, 0, 1)),
        lambda x: x.transpose(2, 0, 1),
        (Operand((2, 3, 4)),),
        ANY,
    ),
    Case(ops.squeeze_p, lambda x: ops.squeeze(x, (0, 2)), lambda x: np.squeeze(x, (0, 2)), (Operand((1, 3, 1)),), ANY),
    Case(
        ops.squeeze_p, lambda x: ops.squeeze(x, (1,)), lambda x: np.squeeze(x, 1), (Operand((0, 1)),), ANY, name="empty"
    ),
    Case(
        ops.expand_dims_p,
        lambda x: ops.expand_dims(x, (0, 2)),
        lambda x: np.expand_dims(x, (0, 2)),
        (Operand((2, 3)),),
        ANY,
    ),
    Case(
        ops.expand_dims_p,
        lambda x: ops.expand_dims(x, (0,)),
        lambda x: np.expand_dims(x, 0),
        (Operand(()),),
        ANY,
        name="0-d",
    ),
    Case(ops.rev_p, lambda x: ops.rev(x, (0, 2)), lambda x: x[::-1, :, ::-1], (Operand((2, 3, 4)),), ANY),
    Case(ops.rev_p, lambda x: ops.rev(x, (0,)), lambda x: x[::-1], (Operand((0, 2)),), ANY, name="empty"),
    *[
        Case(
            iota.iota_p,
            lambda d=d: iota.broadcasted_iota(d, (2, 3, 2), 1),
            lambda d=d: np.broadcast_to(np.arange(3, dtype=d)[:, None], (2, 3, 2)),
            (),
            ("float64",),
            differentiable=False,
            name=d,
        )
        for d in ("int32", "uint8", "float32", "complex128")
    ],
]
