"""Which recordings are open in this thread: the only state of recording that is not explicit."""

from __future__ import annotations

import threading
from typing import Any

__all__ = ["no_staging", "opened", "scope", "staging_open", "staging_suspended"]

Recording = Any


class _Here:
    """The open recordings of a thread, and the names of its open scopes."""

    __slots__ = ("direct", "innermost", "scopes", "stack", "suspended")

    def __init__(self) -> None:
        self.stack: list[Recording] = []
        """The open staging recordings, outermost first."""
        self.innermost: Recording | None = None
        """The innermost open recording that takes effects, staging or not."""
        self.suspended: list[Recording] = []
        """Recordings that are open, and do not take operations now because the user asked so."""
        self.direct: list[Recording] = []
        """The innermost staging recording, and those opened since: see `Recording.direct`."""
        self.scopes: tuple[str, ...] = ()
        """The names of the open scopes, outermost first; messages show them."""


class _Opened(threading.local):
    def __init__(self) -> None:
        self.here = _Here()
        """Those of this thread."""


opened = _Opened()


class no_staging:  # noqa: N801  (a context manager, used like a function)
    """Within it, no staging recording is open: transformations of programs run so, and so do computations."""

    __slots__ = ("_stack",)

    def __enter__(self) -> None:
        self._stack = opened.here.stack
        opened.here.stack = []

    def __exit__(self, *_: object) -> None:
        opened.here.stack = self._stack


class staging_suspended:  # noqa: N801  (as above)
    """Within it, staging recordings take no operations, though they are open: what a user computes at once."""

    __slots__ = ("_before",)

    def __enter__(self) -> None:
        self._before = opened.here.stack, opened.here.suspended
        opened.here.stack, opened.here.suspended = [], [*opened.here.suspended, *opened.here.stack]

    def __exit__(self, *_: object) -> None:
        opened.here.stack, opened.here.suspended = self._before


class scope:  # noqa: N801  (as above)
    """Within it, equations of this thread's recordings are in a scope of a name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        _change_scopes((*opened.here.scopes, self.name))

    def __exit__(self, *_: object) -> None:
        _change_scopes(opened.here.scopes[:-1])


def _change_scopes(scopes: tuple[str, ...]) -> None:
    opened.here.scopes = scopes
    for recording in opened.here.direct:
        recording.expect_scopes(scopes)


def staging_open() -> bool:
    """Whether a staging recording is open, which takes operations on plain arrays too."""
    return bool(opened.here.stack)
