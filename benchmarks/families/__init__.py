"""All workloads, a family to a module."""

from ..workload import Workload
from . import (
    convolutional,
    elementwise,
    memory,
    overheads,
    perceptrons,
    programs,
    randomness,
    recurrent,
    solving,
    statistics,
    training,
)

WORKLOADS: tuple[Workload, ...] = (
    *perceptrons.WORKLOADS,
    *training.WORKLOADS,
    *recurrent.WORKLOADS,
    *convolutional.WORKLOADS,
    *statistics.WORKLOADS,
    *elementwise.WORKLOADS,
    *solving.WORKLOADS,
    *overheads.WORKLOADS,
    *programs.WORKLOADS,
    *memory.WORKLOADS,
    *randomness.WORKLOADS,
)
