"""What is known of a program without running it: its cost, its memory, and what its outputs depend on."""

from functrans.analysis.cost import Cost, cost_of, costs_of_equations, nbytes, total_of
from functrans.analysis.dependence import inputs_of_outputs
from functrans.analysis.liveness import Memory, memory_of

__all__ = ["Cost", "Memory", "cost_of", "costs_of_equations", "inputs_of_outputs", "memory_of", "nbytes", "total_of"]
