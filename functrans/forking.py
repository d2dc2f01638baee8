"""Locks that are free in a child process: another thread may hold one when this thread forks, and is not there then."""

from __future__ import annotations

import os
import threading
from typing import Any

__all__ = ["fork_safe_lock"]

_locks: list[Any] = []


def fork_safe_lock() -> Any:
    """A lock for as long as the process lives; reentrant, since the garbage collector may run anything anywhere."""
    lock = threading.RLock()
    _locks.append(lock)
    return lock


def _acquire_all() -> None:
    for lock in _locks:
        lock.acquire()


def _release_all() -> None:
    for lock in reversed(_locks):
        lock.release()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(before=_acquire_all, after_in_parent=_release_all, after_in_child=_release_all)
