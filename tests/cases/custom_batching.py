"""Cases of `functrans.ops.custom_batching`."""

from typing import Any

import numpy as np

import functrans as ft
from functrans import lax
from functrans.ops.custom_batching import custom_vmap_p
from tests.cases.case import INEXACT, Case, Operand


@ft.custom_batching.custom_vmap
def _product(x: Any, y: Any) -> Any:
    return lax.sin(lax.mul(x, y)), y


@_product.def_vmap
def _product_of_stacks(axis_size: int, in_batched: list[bool], x: Any, y: Any) -> Any:
    return (np.sin(x * y), y), (any(in_batched), in_batched[1])


CASES = [
    Case(
        custom_vmap_p,
        _product,
        lambda x, y: (np.sin(x * y), y),
        (Operand((2, 3)), Operand((2, 3))),
        INEXACT,
        order=3,
    )
]
