"""The tables in which something is kept for reuse: each says here that it exists, so that all can be seen and cleared.

`functrans.cache_info()` shows them, `functrans.clear_caches()` empties them.
"""

from __future__ import annotations

from collections.abc import Callable, Sized
from functools import _lru_cache_wrapper, lru_cache
from typing import Any, NamedTuple, TypeVar

from functrans.forking import fork_safe_lock

__all__ = ["Kept", "clear_kept", "kept", "kept_tables", "register_table"]

T = TypeVar("T")

_lock = fork_safe_lock()


class Kept(NamedTuple):
    """A table in which something is kept."""

    name: str
    """What is in it."""
    size: int
    """How many entries it has."""
    limit: int | None
    """How many it may have; None where an entry goes with the last that uses it."""
    hits: int | None
    """How often something was found in it; None where nobody counts."""
    misses: int | None
    """How often something had to be made."""


class _Table(NamedTuple):
    name: str
    look: Callable[[], Kept]
    clear: Callable[[], None] | None


_tables: list[_Table] = []


def kept(name: str, limit: int, typed: bool = False) -> Callable[[Callable[..., T]], _lru_cache_wrapper[T]]:
    """A decorator: what the function has returned is kept for its latest `limit` calls, in a table of that name.

    >>> @kept("squares", 100)
    ... def square(x):
    ...     return x * x
    >>> square(3), square(3), [table for table in kept_tables() if table.name == "squares"]
    (9, 9, [Kept(name='squares', size=1, limit=100, hits=1, misses=1)])
    """

    def decorate(function: Callable[..., T]) -> _lru_cache_wrapper[T]:
        cached = lru_cache(maxsize=limit, typed=typed)(function)

        def look() -> Kept:
            info = cached.cache_info()
            return Kept(name, info.currsize, limit, info.hits, info.misses)

        with _lock:
            _tables.append(_Table(name, look, cached.cache_clear))
        return cached

    return decorate


def register_table(name: str, table: Sized, limit: int | None = None, clear: Callable[[], Any] | None = None) -> None:
    """Say that a table exists.

    Args:
        name: what is in it.
        table: the table.
        limit: how many entries it may have; None where an entry goes with the last that uses it.
        clear: empties it; None where that is not for `clear_caches` to do.
    """
    with _lock:
        _tables.append(_Table(name, lambda: Kept(name, len(table), limit, None, None), clear))


def kept_tables() -> list[Kept]:
    """What the tables hold, those of one name added up, by name."""
    with _lock:
        looks = [table.look for table in _tables]
    found: dict[str, Kept] = {}
    for table in sorted([look() for look in looks]):
        before = found.get(table.name)
        found[table.name] = table if before is None else _added(before, table)
    return list(found.values())


def clear_kept() -> None:
    """Empty all tables."""
    with _lock:
        clears = [table.clear for table in _tables if table.clear is not None]
    for clear in clears:
        clear()


def _added(a: Kept, b: Kept) -> Kept:
    sums = [None if x is None or y is None else x + y for x, y in zip(a[2:], b[2:], strict=True)]
    return Kept(a.name, a.size + b.size, *sums)
