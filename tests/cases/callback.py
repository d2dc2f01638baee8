"""Cases of `functrans.ops.callback`: Python functions that a program calls."""

from typing import Any

import numpy as np

import functrans as ft
from functrans.core.aval import aval_of
from functrans.ops.callback import (
    Callback,
    callback_constant_p,
    debug_callback_p,
    io_callback_p,
    pure_callback_p,
)
from tests.cases.case import ANY, FLOATS, Case, Operand

X = (Operand((2, 3)), Operand((2, 3)))


def _debugged(x: Any, y: Any) -> Any:
    debug_callback_p.bind(Callback("nothing", lambda arrays, avals: ()), x, y, ordered=False)
    return x, y


def _io(x: Any, y: Any) -> Any:
    return ft.io_callback(lambda x, y: (x, x == y), (x, ft.ShapeDtypeStruct(x.shape, bool)), x, y)


def _pure(method: str | None) -> Any:
    return lambda x, y: ft.pure_callback(np.minimum, x, x, y, vmap_method=method)


def _constant(x: Any) -> Any:
    (callback,) = callback_constant_p.bind(value=Callback("copy", lambda arrays, avals: [np.array(arrays[0])]))
    return pure_callback_p.bind(callback, x, results=(aval_of(x).strong,), vmap_method=None)[0]


CASES = [
    Case(debug_callback_p, _debugged, lambda x, y: (x, y), X, FLOATS, differentiable=False),
    Case(io_callback_p, _io, lambda x, y: (x, x == y), X, ANY, differentiable=False),
    Case(pure_callback_p, _pure(None), np.minimum, X, FLOATS, differentiable=False),
    Case(pure_callback_p, _pure("broadcast_all"), np.minimum, X, FLOATS, differentiable=False, name="broadcast_all"),
    Case(pure_callback_p, _pure("expand_dims"), np.minimum, X, FLOATS, differentiable=False, name="expand_dims"),
    Case(callback_constant_p, _constant, lambda x: x, X[:1], FLOATS, differentiable=False),
]
