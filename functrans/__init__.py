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

from functrans import (
    control,  # noqa: F401  (gives the primitives that carry a program their rules)
    dtypes,
    errors,
    extend,
    lax,
    numpy,
    tree,
    tree_util,
)
from functrans.api import (
    ShapeDtypeStruct,
    concrete,
    eval_shape,
    grad,
    hessian,
    jacfwd,
    jacrev,
    jit,
    jvp,
    linear_transpose,
    linearize,
    make_jaxpr,
    value_and_grad,
    vjp,
    vmap,
)
from functrans.config import config

__version__ = "0.1.0"

__all__ = [
    "ShapeDtypeStruct",
    "concrete",
    "config",
    "dtypes",
    "errors",
    "eval_shape",
    "extend",
    "grad",
    "hessian",
    "jacfwd",
    "jacrev",
    "jit",
    "jvp",
    "lax",
    "linear_transpose",
    "linearize",
    "make_jaxpr",
    "numpy",
    "tree",
    "tree_util",
    "value_and_grad",
    "vjp",
    "vmap",
]
