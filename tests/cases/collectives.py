"""Cases of `functrans.ops.collectives` and `exchanges`: over the axis of a `vmap`, along axis 0."""

from collections.abc import Callable
from typing import Any

import numpy as np

import functrans as ft
from functrans import lax
from functrans.ops import collectives, exchanges
from tests.cases.case import ANY, NUMBERS, Case, Operand

ROWS, SQUARE = (Operand((3, 2)),), (Operand((3, 3, 2)),)


def _mapped(member: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *xs: ft.vmap(member, axis_name="rows", axis_size=3)(*xs)


def _everywhere(reduce: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: np.broadcast_to(reduce(x, axis=0, dtype=x.dtype), x.shape)


def _extreme(reduce: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: np.broadcast_to(reduce(x, axis=0), x.shape)


def _shifted(x: Any) -> Any:
    return np.concatenate([np.zeros_like(x[:1]), x[:-1]])


CASES = [
    Case(collectives.psum_p, _mapped(lambda x: lax.psum(x, "rows")), _everywhere(np.sum), ROWS, NUMBERS, tolerance=4),
    Case(
        collectives.pmax_p,
        _mapped(lambda x: lax.pmax(x, "rows")),
        _extreme(np.max),
        (Operand((3, 2), distinct=True),),
        (*ANY[:-2],),
    ),
    Case(
        collectives.pmin_p,
        _mapped(lambda x: lax.pmin(x, "rows")),
        _extreme(np.min),
        (Operand((3, 2), distinct=True),),
        (*ANY[:-2],),
    ),
    Case(
        collectives.axis_index_p,
        lambda: ft.vmap(lambda: lax.axis_index("rows"), axis_name="rows", axis_size=3)(),
        lambda: np.arange(3),
        (),
        ("float64",),
        differentiable=False,
    ),
    Case(
        collectives.all_gather_p,
        _mapped(lambda x: lax.all_gather(x, "rows")),
        lambda x: np.broadcast_to(x, (3, *x.shape)),
        ROWS,
        ANY,
    ),
    Case(
        collectives.psum_scatter_p,
        _mapped(lambda x: lax.psum_scatter(x, "rows")),
        lambda x: np.sum(x, 0, x.dtype),
        SQUARE,
        NUMBERS,
        tolerance=4,
    ),
    Case(
        exchanges.all_to_all_p,
        _mapped(lambda x: lax.all_to_all(x, "rows", 0, 0)),
        lambda x: np.swapaxes(x, 0, 1),
        SQUARE,
        ANY,
    ),
    Case(exchanges.ppermute_p, _mapped(lambda x: lax.ppermute(x, "rows", [(0, 1), (1, 2)])), _shifted, ROWS, ANY),
    Case(
        exchanges.pbroadcast_p,
        _mapped(lambda x: lax.pbroadcast(x, "rows", 1)),
        lambda x: np.broadcast_to(x[1], x.shape),
        ROWS,
        ANY,
    ),
]
