"""Settings of the library. All are plain attributes of `config`, read when they are needed."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Config", "config"]


@dataclass
class Config:
    """What can be set.

    >>> from functrans.config import config
    >>> config.program_cache_equations
    200000
    """

    program_cache_equations: int = 200_000
    """How many equations the programs kept for reuse may have together; the least recently used go first."""

    copy_captured_bytes: int = 65_536
    """Arrays up to this size are copied when a recording reads them from outside; larger ones are made read-only."""

    check_programs: bool = False
    """Type-check every program that a recording, a transformation or a pass makes (the tests turn it on)."""


config = Config()
