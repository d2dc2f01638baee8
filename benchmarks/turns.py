"""Contestants take turns in one process and one thread, so that whatever else the machine does disturbs them alike."""

from __future__ import annotations

import gc
import os
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

from .sampling import Sampler

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "JAX_PLATFORMS": "cpu",
    "JAX_ENABLE_X64": "1",
}

LEFT_OUT = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
"""With these NumPy's BLAS would take other kernels than those for the processor, which the peers take."""


def run_in_one_thread() -> None:
    """Keep to one processor, and start again in the environment that libraries read at import."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    wanted = {name: value for name, value in os.environ.items() if name not in LEFT_OUT} | ENVIRONMENT
    if wanted != dict(os.environ):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], wanted)


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    turns: int
    """At most, for each contestant."""
    seconds: float
    """Of one measurement, about."""
    budget: float
    """Seconds after which a workload gets no further turn, once it has had the least number."""
    least: int


FULL = Effort(turns=25, seconds=0.02, budget=5.0, least=3)
QUICK = Effort(turns=7, seconds=0.005, budget=0.8, least=1)


@dataclass(frozen=True)
class Summary:
    """What all turns of a contestant came to, in seconds or bytes."""

    minimum: float
    median: float
    ratio_of_minima: float
    """How many times that of the first contestant."""
    ratio: float
    """The median over the turns of the ratio within a turn, to the first contestant."""


def take_turns(samplers: Mapping[str, Sampler], effort: Effort, patience: int = 1) -> dict[str, Summary]:
    """Measure all samplers; a first turn is not counted. There are `patience` times the least turns at least."""
    gc.collect()
    gc.freeze()  # the collector, where it runs, has the objects of the workload to look at, not those of all libraries
    turns: list[dict[str, float]] = []
    _turn(samplers, effort)
    end = time.perf_counter() + effort.budget
    while len(turns) < patience * effort.least or (len(turns) < effort.turns and time.perf_counter() < end):
        turns.append(_turn(samplers, effort))
    gc.unfreeze()
    minima = {label: min(turn[label] for turn in turns) for label in samplers}
    reference = next(iter(samplers))
    return {
        label: Summary(
            minimum=minima[label],
            median=statistics.median(turn[label] for turn in turns),
            ratio_of_minima=minima[label] / minima[reference],
            ratio=statistics.median(turn[label] / turn[reference] for turn in turns),
        )
        for label in samplers
    }


def _turn(samplers: Mapping[str, Sampler], effort: Effort) -> dict[str, float]:
    return {label: sampler.sample(effort.seconds) for label, sampler in samplers.items()}
