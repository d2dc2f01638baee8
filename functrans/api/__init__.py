"""The transformations of Python functions: flatten the arguments, record, transform the program, run it."""

from functrans.api.differentiation import grad, value_and_grad
from functrans.api.inspection import ShapeDtypeStruct, concrete, eval_shape, make_jaxpr
from functrans.api.jacobians import hessian, jacfwd, jacrev
from functrans.api.jit import jit
from functrans.api.linear import jvp, linear_transpose, linearize, vjp
from functrans.api.vmap import vmap

__all__ = [
    "ShapeDtypeStruct",
    "concrete",
    "eval_shape",
    "grad",
    "hessian",
    "jacfwd",
    "jacrev",
    "jit",
    "jvp",
    "linear_transpose",
    "linearize",
    "make_jaxpr",
    "value_and_grad",
    "vjp",
    "vmap",
]
