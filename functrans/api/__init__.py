"""The transformations of Python functions: flatten the arguments, record, transform the program, run it."""

from functrans.api.cache_info import cache_info
from functrans.api.callbacks import io_callback, pure_callback
from functrans.api.checkpoint import checkpoint
from functrans.api.closure_convert import closure_convert
from functrans.api.custom_derivatives import custom_gradient, custom_jvp, custom_vjp
from functrans.api.differentiation import grad, value_and_grad
from functrans.api.inspection import ShapeDtypeStruct, concrete, ensure_compile_time_eval, eval_shape, make_jaxpr
from functrans.api.jacobians import hessian, jacfwd, jacrev
from functrans.api.jit import clear_caches, disable_jit, jit
from functrans.api.linear import jvp, linear_transpose, linearize, vjp
from functrans.api.scopes import named_call, named_scope
from functrans.api.vmap import vmap

__all__ = [
    "ShapeDtypeStruct",
    "cache_info",
    "checkpoint",
    "clear_caches",
    "closure_convert",
    "concrete",
    "custom_gradient",
    "custom_jvp",
    "custom_vjp",
    "disable_jit",
    "ensure_compile_time_eval",
    "eval_shape",
    "grad",
    "hessian",
    "io_callback",
    "jacfwd",
    "jacrev",
    "jit",
    "jvp",
    "linear_transpose",
    "linearize",
    "make_jaxpr",
    "named_call",
    "named_scope",
    "pure_callback",
    "value_and_grad",
    "vjp",
    "vmap",
]
