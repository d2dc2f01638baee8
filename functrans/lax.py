"""The primitives as functions, under JAX's names."""

from functrans.ops.elementwise import add, cos, div, exp, log, mul, neg, sin, sub, tanh
