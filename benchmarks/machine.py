"""What was measured on, in words."""

from __future__ import annotations

import platform
import re
from pathlib import Path

from .libraries import versions

_CPU_INFO = Path("/proc/cpuinfo")


def processor() -> str:
    """The name of the processor, as far as the system tells it."""
    if _CPU_INFO.exists() and (found := re.search(r"^model name\s*:\s*(.+)$", _CPU_INFO.read_text(), re.MULTILINE)):
        return found[1].strip()
    return platform.processor() or platform.machine()


def machine() -> str:
    """The processor and the system."""
    return f"{processor()} ({platform.machine()}), {platform.system()}"


def software() -> str:
    """The versions of all that was measured."""
    return ", ".join(f"{name} {number}" for name, number in versions().items())
