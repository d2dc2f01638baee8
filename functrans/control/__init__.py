"""The rules of the primitives that carry a program; they use the transformations."""

from functrans.control import (
    checkpoint,
    cond,
    custom_batching,
    custom_rules,
    jit,
    linear_solve,
    replay,
    scan,
    scan_linearize,
    scan_transpose,
    transposed,
    while_loop,
)

__all__ = [
    "checkpoint",
    "cond",
    "custom_batching",
    "custom_rules",
    "jit",
    "linear_solve",
    "replay",
    "scan",
    "scan_linearize",
    "scan_transpose",
    "transposed",
    "while_loop",
]
