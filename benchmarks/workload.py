"""What a workload is: contestants that must agree, and targets that they should reach."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from .libraries import is_installed
from .sampling import Checked, Sampler
from .turns import Effort, Summary, take_turns


class Unit(NamedTuple):
    """What a measurement is shown in."""

    name: str
    of: Callable[[float], float]


MICROSECONDS = Unit("us", lambda seconds: seconds * 1e6)
MILLISECONDS = Unit("ms", lambda seconds: seconds * 1e3)
PER_SECOND = Unit("per s", lambda seconds: 1 / seconds)
MEGABYTES = Unit("MB", lambda size: size / 1e6)


@dataclass(frozen=True)
class Target:
    """The bound that a contestant's minimum should keep to: times that of another, or by itself."""

    of: str
    at_most: float
    against: str | None = None

    def value(self, summaries: Mapping[str, Summary | None]) -> float | None:
        """What is to be bounded, or None where a contestant is missing."""
        own = summaries[self.of]
        other = summaries[self.against] if self.against else None
        if own is None or (self.against and other is None):
            return None
        return own.minimum / other.minimum if other else own.minimum


@dataclass(frozen=True)
class Workload:
    """Something to measure.

    The contestants are functions that make samplers, by labels that begin with the names of their libraries. The first
    that is installed is the one that the others are compared with.
    """

    name: str
    contestants: Mapping[str, Callable[[], Sampler]]
    targets: tuple[Target, ...] = ()
    unit: Unit = MICROSECONDS
    tolerance: float = 1.0
    """How many times the usual tolerance results may differ by, of numbers that rounding disturbs more than usual."""
    compared: bool = True
    """Whether the contestants compute the same, so that they have to agree."""
    patience: int = 1
    """How many times the usual number of turns are taken at least, where single ones are easily disturbed."""
    in_table: bool = True
    """Whether the table of the README shows it."""
    in_chart: bool = False
    """Whether its chart does."""

    def samplers(self) -> dict[str, Sampler]:
        """Those of the contestants that are installed."""
        return {label: make() for label, make in self.contestants.items() if is_installed(label)}

    def check(self, samplers: Mapping[str, Sampler]) -> None:
        """Fail unless the contestants agree."""
        if self.compared:
            check_agreement(samplers, self.tolerance)

    def measure(self, effort: Effort) -> dict[str, Summary | None]:
        """The results of those installed, which first have to agree; None for the others."""
        samplers = self.samplers()
        self.check(samplers)
        summaries = take_turns(samplers, effort, self.patience)
        return {label: summaries.get(label) for label in self.contestants}


def leaves(value: Any) -> Iterable[np.ndarray]:
    """The arrays in nested dicts, by sorted key, and in sequences."""
    if isinstance(value, dict):
        for key in sorted(value):
            yield from leaves(value[key])
    elif isinstance(value, tuple | list):
        for item in value:
            yield from leaves(item)
    else:
        yield np.asarray(value)


def check_agreement(samplers: Mapping[str, Sampler], tolerance: float = 1.0) -> None:
    """Fail unless all those that compute something compute the same."""
    results = [(label, list(leaves(s.result()))) for label, s in samplers.items() if isinstance(s, Checked)]
    for (first, expected), (second, actual) in pairwise(results):
        for a, b in zip(expected, actual, strict=True):
            close = tolerance * (1e-4 if np.float32 in (a.dtype, b.dtype) else 1e-10)
            greatest = float(np.max(np.abs(a), initial=0))
            message = f"{first} and {second} disagree"
            np.testing.assert_allclose(b, a, rtol=close, atol=close * greatest, err_msg=message)
