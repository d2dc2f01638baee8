"""The results of a run, and the file that they are kept in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .libraries import versions
from .machine import machine
from .turns import Summary
from .workload import MEGABYTES, Workload


@dataclass(frozen=True)
class Result:
    """What measuring a workload gave: None for those that are not installed."""

    workload: Workload
    summaries: Mapping[str, Summary | None]

    def as_record(self) -> dict[str, Any]:
        """As JSON has it, in seconds or bytes."""
        targets = []
        for target in self.workload.targets:
            value = target.value(self.summaries)
            met = None if value is None else value <= target.at_most
            targets.append({**asdict(target), "value": value, "met": met})
        return {
            "name": self.workload.name,
            "measured": "bytes" if self.workload.unit is MEGABYTES else "seconds",
            "contestants": {label: s and asdict(s) for label, s in self.summaries.items()},
            "targets": targets,
        }


def save(results: list[Result], path: Path) -> None:
    """Write all results to a JSON file."""
    record = {"machine": machine(), "versions": versions(), "workloads": [result.as_record() for result in results]}
    path.write_text(json.dumps(record, indent=2) + "\n")
