"""What a call runs, whether that was recorded before and why not, and what it costs: `functrans.explain`."""

from functrans.analysis.cost import Cost
from functrans.analysis.liveness import Memory
from functrans.explaining.calls import Recorded
from functrans.explaining.explanation import CostedEquation, CostedLine, Explanation, explain
from functrans.explaining.lines import Line
from functrans.explaining.timing import Times

__all__ = [
    "Cost",
    "CostedEquation",
    "CostedLine",
    "Explanation",
    "Line",
    "Memory",
    "Recorded",
    "Times",
    "explain",
]
