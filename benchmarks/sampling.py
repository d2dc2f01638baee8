"""What can be measured of a contestant.

A *sampler* takes one measurement at a time: seconds, or bytes. One that has a `result` must agree with the others.

Seconds are those of the processor, in all threads, so that what other programs do meanwhile is not counted.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import timeit
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

Arguments = tuple[Any, ...]

clock = time.process_time

WARM_UP_CALLS = 50
WARM_UP_SECONDS = 0.3


class Sampler(Protocol):
    def sample(self, seconds: float) -> float:
        """One measurement, which may take about `seconds`."""


@runtime_checkable
class Checked(Protocol):
    def result(self) -> Any:
        """What the contestant computes: a tree of arrays."""


def warm_up(function: Callable[[], Any]) -> None:
    """Make the calls that may compile, three at least."""
    end = clock() + WARM_UP_SECONDS
    for made in range(WARM_UP_CALLS):
        if made >= 3 and clock() > end:
            break
        function()


def calls_in(seconds: float, measure: Callable[[int], float]) -> int:
    """How many calls fill the time, found by doubling; `measure` times a number of calls."""
    number = 1
    while (taken := measure(number)) < seconds / 2:
        number *= 2
    return max(1, round(number * seconds / taken))


@dataclass
class Call:
    """The time of one call of a function, the garbage collector resting, as in `timeit`."""

    function: Callable[..., Any]
    args: Arguments = ()
    number: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        names = {f"x{i}": arg for i, arg in enumerate(self.args)}
        self.timer = timeit.Timer(f"f({', '.join(names)})", timer=clock, globals={"f": self.function, **names})

    def result(self) -> Any:
        return self.function(*self.args)

    def sample(self, seconds: float) -> float:
        if not self.number:
            warm_up(lambda: self.function(*self.args))
            self.number = calls_in(seconds, self.timer.timeit)
        return self.timer.timeit(self.number) / self.number


@dataclass
class Steps:
    """The time of one of a row of steps, each of which takes the state that the one before it returned.

    Each measurement begins at the first state. The result is the state after three steps of `checked`, which is the
    step itself where it draws no random numbers.
    """

    step: Callable[..., Any]
    start: Callable[[], Any]
    args: Arguments
    checked: Callable[..., Any] | None = None
    read: Callable[[Any], Any] = lambda state: state
    """What of the last state is the result."""
    wait: Callable[[Any], Any] = lambda state: None
    """Waits until a state is there."""
    number: int = field(default=0, init=False)

    def _take(self, number: int, step: Callable[..., Any]) -> Any:
        state = self.start()
        for _ in range(number):
            state = step(state, *self.args)
        return state

    def _time(self, number: int) -> float:
        state, args, step = self.start(), self.args, self.step
        begin = clock()
        for _ in range(number):
            state = step(state, *args)
        self.wait(state)
        return clock() - begin

    def result(self) -> Any:
        return self.read(self._take(3, self.checked or self.step))

    def sample(self, seconds: float) -> float:
        if not self.number:
            self._take(5, self.step)
            self.number = max(5, calls_in(seconds, self._time))
        return self._time(self.number) / self.number


@dataclass
class PerOperation:
    """The time of one of the `count` operations by which a call is longer than another."""

    call: Call
    empty: Call
    count: int

    def sample(self, seconds: float) -> float:
        with_operations, without = (min(c.sample(seconds / 6) for _ in range(3)) for c in (self.call, self.empty))
        return (with_operations - without) / self.count


@dataclass
class FirstCalls:
    """The time of calls of functions that are all new, the garbage collector at work.

    `make(n)` gives the function of the nth call, which is divided into `operations(n)`.
    """

    make: Callable[[int], Callable[[], Any]]
    operations: Callable[[int], int] = lambda n: 1
    calls: int = 1
    made: int = field(default=0, init=False)

    def sample(self, seconds: float) -> float:
        taken, operations = 0.0, 0
        for _ in range(self.calls):
            function = self.make(self.made)
            begin = clock()
            function()
            taken += clock() - begin
            operations += self.operations(self.made)
            self.made += 1
        return taken / operations

    def result(self) -> Any:
        return self.make(0)()


@dataclass
class FreshProcess:
    """The time that a statement takes in a fresh interpreter, after another."""

    statement: str
    after: str

    def sample(self, seconds: float) -> float:
        script = (
            f"import time\n{self.after}\nbegin = time.process_time()\n"
            f"{self.statement}\nprint(time.process_time() - begin)"
        )
        # Compiled modules are kept, as they are for a user; the first, uncounted turn compiles them.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment
        )
        return float(done.stdout)


@dataclass
class PeakBytes:
    """The most memory, in bytes, that a call holds beyond what was held before, its result included.

    It is what Python's `tracemalloc` sees: arrays of NumPy are, other libraries' memory is not.
    """

    function: Callable[..., Any]
    args: Arguments
    called: bool = field(default=False, init=False)

    def result(self) -> Any:
        return self.function(*self.args)

    def sample(self, seconds: float) -> float:
        if not self.called:
            warm_up(self.result)
            self.called = True
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            self.result()
            return float(tracemalloc.get_traced_memory()[1] - before)
        finally:
            tracemalloc.stop()
