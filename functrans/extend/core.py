"""Programs, for people who write transformations of their own, under the names that they have in `jax.extend.core`.

>>> import functrans as ft
>>> from functrans.extend.core import jaxpr_as_fun
>>> jaxpr_as_fun(ft.make_jaxpr(lambda x: x * 2)(1.0))(3.0)
[np.float64(6.0)]
"""

from functrans.api.inspection import jaxpr_as_fun
from functrans.core import (
    Atom,
    ClosedJaxpr,
    Equation,
    Jaxpr,
    JaxprEqn,
    Literal,
    Primitive,
    ShapedArray,
    check_jaxpr,
    derived,
    eval_jaxpr,
    jaxprs_in,
    registered_primitives,
)

__all__ = [
    "Atom",
    "ClosedJaxpr",
    "Equation",
    "Jaxpr",
    "JaxprEqn",
    "Literal",
    "Primitive",
    "ShapedArray",
    "check_jaxpr",
    "derived",
    "eval_jaxpr",
    "jaxpr_as_fun",
    "jaxprs_in",
    "registered_primitives",
]
