"""functrans gives NumPy what JAX gives XLA: transformations of pure functions of plain arrays.

>>> import numpy as np
>>> import functrans as ft
>>> ft.grad(lambda w, x: np.sum(np.tanh(x @ w) ** 2))(np.ones(3), np.eye(3))
array([0.63970001, 0.63970001, 0.63970001])

To read how it works, in this order: `core/jaxpr.py` (a program is a value), `core/primitive.py` and `core/rules.py`
(what a primitive is), `core/tracer.py`, `core/recording.py` (how a Python function becomes a program) and
`core/evaluation.py` (how one program is walked to make another), one block of `ops/elementwise.py`, then
`transforms/tangents.py`, `jvp.py`, `linearize.py`, `transpose.py` and `batch.py`. `docs/core.md` says what to look for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from functrans import (
    ad_checkpoint,
    checkpoint_policies,
    control,  # noqa: F401  (gives the primitives that carry a program their rules)
    core,
    custom_batching,
    custom_derivatives,
    debug,
    dtypes,
    errors,
    experimental,
    extend,
    lax,
    numpy,
    tree,
    tree_util,
)
from functrans.api import (
    ShapeDtypeStruct,
    cache_info,
    checkpoint,
    clear_caches,
    closure_convert,
    concrete,
    custom_gradient,
    custom_jvp,
    custom_vjp,
    disable_jit,
    ensure_compile_time_eval,
    eval_shape,
    grad,
    hessian,
    io_callback,
    jacfwd,
    jacrev,
    jit,
    jvp,
    linear_transpose,
    linearize,
    make_jaxpr,
    named_call,
    named_scope,
    pure_callback,
    value_and_grad,
    vjp,
    vmap,
)
from functrans.config import config, debug_infs, debug_key_reuse, debug_nans

if TYPE_CHECKING:
    from functrans import data, drawing, io, nn, optim, random, sparse
    from functrans.drawing import draw
    from functrans.emitting import emit_source
    from functrans.explaining import explain

__version__ = "0.1.0"

remat = checkpoint

_ON_DEMAND = {"data", "drawing", "io", "nn", "optim", "random", "sparse"}
"""Modules that are imported when they are first asked for, since not every program needs them."""

_FUNCTIONS_ON_DEMAND = {
    "draw": "functrans.drawing",
    "emit_source": "functrans.emitting",
    "explain": "functrans.explaining",
}
"""Functions, with the modules that they come from."""


def __getattr__(name: str) -> Any:
    if name in _ON_DEMAND:
        return import_module(f"functrans.{name}")
    if name in _FUNCTIONS_ON_DEMAND:
        return getattr(import_module(_FUNCTIONS_ON_DEMAND[name]), name)
    raise AttributeError(f"module 'functrans' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_DEMAND, *_FUNCTIONS_ON_DEMAND})


__all__ = [
    "ShapeDtypeStruct",
    "ad_checkpoint",
    "cache_info",
    "checkpoint",
    "checkpoint_policies",
    "clear_caches",
    "closure_convert",
    "concrete",
    "config",
    "core",
    "custom_derivatives",
    "custom_gradient",
    "custom_jvp",
    "custom_vjp",
    "custom_batching",
    "data",
    "debug",
    "debug_infs",
    "debug_key_reuse",
    "debug_nans",
    "disable_jit",
    "draw",
    "emit_source",
    "drawing",
    "dtypes",
    "ensure_compile_time_eval",
    "errors",
    "eval_shape",
    "experimental",
    "explain",
    "extend",
    "grad",
    "hessian",
    "io",
    "io_callback",
    "jacfwd",
    "jacrev",
    "jit",
    "jvp",
    "lax",
    "linear_transpose",
    "linearize",
    "make_jaxpr",
    "named_call",
    "named_scope",
    "nn",
    "numpy",
    "optim",
    "pure_callback",
    "random",
    "sparse",
    "remat",
    "tree",
    "tree_util",
    "value_and_grad",
    "vjp",
    "vmap",
]
