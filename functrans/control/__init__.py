"""The rules of the primitives that carry a program; they use the transformations."""

from functrans.control import jit, transposed

__all__ = ["jit", "transposed"]
