"""Measuring contestants side by side.

A *sampler* returns one measurement, in seconds. All samplers of a workload take turns, so that whatever else
the machine does disturbs them alike, and a ratio is the median over turns of the ratio within a turn.
"""

import os
import statistics
import subprocess
import sys
import timeit
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "JAX_PLATFORMS": "cpu",
    "JAX_ENABLE_X64": "1",
}

WARM_UP = 50  # calls


def run_in_one_thread() -> None:
    """Keep to one processor, and start again in the environment that libraries read at import."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if not ONE_THREAD.items() <= os.environ.items():
        command = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, command, os.environ | ONE_THREAD)


class Sampler(Protocol):
    def sample(self, seconds: float) -> float:
        """One measurement, which may take about `seconds`."""


@dataclass
class Call:
    """The time of one call of a function, the garbage collector resting, as in `timeit`."""

    function: Callable[..., object]
    args: tuple[object, ...] = ()
    number: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        names = {f"x{i}": arg for i, arg in enumerate(self.args)}
        self.timer = timeit.Timer(f"f({', '.join(names)})", globals={"f": self.function, **names})

    def result(self) -> object:
        return self.function(*self.args)

    def sample(self, seconds: float) -> float:
        self.number = self.number or self._calls_in(seconds)
        return self.timer.timeit(self.number) / self.number

    def _calls_in(self, seconds: float) -> int:
        """How many calls fill the time, found by doubling, once the calls that may compile are over."""
        self.timer.timeit(WARM_UP)
        number = 1
        while (taken := self.timer.timeit(number)) < seconds / 2:
            number *= 2
        return max(1, round(number * seconds / taken))


@dataclass
class PerOperation:
    """The time of one of the `count` operations by which a call is longer than another."""

    call: Call
    empty: Call
    count: int

    def sample(self, seconds: float) -> float:
        return (self.call.sample(seconds) - self.empty.sample(seconds)) / self.count


@dataclass
class Import:
    """The time that a fresh interpreter takes to import a module, once others are imported."""

    module: str
    after: tuple[str, ...] = ()

    def sample(self, seconds: float) -> float:
        first = f"import {', '.join(('time', *self.after))}"
        script = f"{first}\nstart = time.perf_counter()\nimport {self.module}\nprint(time.perf_counter() - start)"
        # Compiled modules are kept, as they are for a user; the first, uncounted turn compiles them.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment
        )
        return float(done.stdout)


@dataclass(frozen=True)
class Timing:
    """Seconds, and how many times those of the reference."""

    minimum: float
    median: float
    ratio: float


def interleave(samplers: Mapping[str, Sampler], repeats: int, seconds: float) -> dict[str, Timing]:
    """The timings of all samplers, the first being the reference; a first turn is not counted."""
    turns = [{label: s.sample(seconds) for label, s in samplers.items()} for _ in range(repeats + 1)][1:]
    reference = next(iter(samplers))
    return {
        label: Timing(
            minimum=min(turn[label] for turn in turns),
            median=statistics.median(turn[label] for turn in turns),
            ratio=statistics.median(turn[label] / turn[reference] for turn in turns),
        )
        for label in samplers
    }
