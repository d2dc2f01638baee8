"""What is kept for reuse, as a value that prints as a table."""

from __future__ import annotations

from typing import Any, NamedTuple

from functrans.api.arguments import name_of
from functrans.api.jit import PROGRAMS_MAX, jitted_functions
from functrans.api.retracing import code_of
from functrans.caching import Kept, kept_tables
from functrans.config import config
from functrans.core.jaxpr import program_counts

__all__ = ["CacheInfo", "FunctionInfo", "ProgramInfo", "cache_info"]

_FUNCTIONS_SHOWN = 20


class ProgramInfo(NamedTuple):
    """The programs that are kept, of all functions, and what was derived from them."""

    programs: int
    """How many there are."""
    equations: int
    """How many equations they have together, and one more for each program: what the limit bounds."""
    limit: int
    """`functrans.config.program_cache_equations`; the programs that were not used for longest go first."""
    hits: int
    """How often a program that was recorded or derived was there already."""
    misses: int
    """How often it was new."""
    evictions: int
    """How many programs went for the limit."""
    derived: dict[str, int]
    """How many things of each kind are kept with the programs: executables, gradients, final forms."""


class FunctionInfo(NamedTuple):
    """A jitted function that is alive."""

    name: str
    where: str
    """`file.py:12`, where it was defined; empty where nobody knows."""
    programs: int
    """For how many combinations of shapes, dtypes, structures and static values a program is kept."""
    limit: int
    recorded: int
    """How often it was recorded since its programs were cleared."""


class CacheInfo(NamedTuple):
    """What `cache_info` returns; it prints as a table."""

    programs: ProgramInfo
    functions: tuple[FunctionInfo, ...]
    """The jitted functions, those with most programs first."""
    tables: dict[str, Kept]
    """The tables besides, by name, each with `size`, `limit`, `hits` and `misses`."""

    def __repr__(self) -> str:
        rows: list[tuple[str, ...]] = [("", "kept", "limit", "hits", "misses")]
        counts = self.programs
        rows.append(("equations of programs", *map(_shown, (counts.equations, counts.limit))))
        rows.append(("  programs", *map(_shown, (counts.programs, None, counts.hits, counts.misses))))
        rows.extend([(f"  {kind}", _shown(n)) for kind, n in sorted(counts.derived.items())])
        rows.extend([(t.name, *map(_shown, (t.size, t.limit, t.hits, t.misses))) for t in self.tables.values()])
        rows.append(("jitted functions", _shown(len(self.functions))))
        for function in self.functions[:_FUNCTIONS_SHOWN]:
            where = f" ({function.where})" if function.where else ""
            numbers = function.programs, function.limit, None, function.recorded
            rows.append((f"  {function.name}{where}", *map(_shown, numbers)))
        if len(self.functions) > _FUNCTIONS_SHOWN:
            rows.append((f"  and {len(self.functions) - _FUNCTIONS_SHOWN} more",))
        return _table(rows)


def cache_info() -> CacheInfo:
    """What is kept for reuse: programs, what was derived from them, jitted functions, and smaller tables.

    `functrans.clear_caches()` forgets it all.

    Returns:
        A value with the attributes `programs`, `functions` and `tables`, which prints as a table. Hits and misses are
        there where counting costs nothing. Of a jitted function the misses are how often it was recorded.

    >>> import functrans as ft
    >>> ft.clear_caches()
    >>> f = ft.jit(lambda x: x * 2 + 1)
    >>> f(1.0), f(2.0), f(1)
    (np.float64(3.0), np.float64(5.0), np.int64(3))
    >>> info = ft.cache_info()
    >>> [(g.name, g.programs, g.recorded) for g in info.functions if g.programs]
    [('<lambda>', 2, 2)]
    >>> info.programs.limit, info.tables["plans of NumPy operations"].limit
    (200000, 16384)
    """
    functions = [
        FunctionInfo(name_of(f), _where(f.fun), f.n_programs, PROGRAMS_MAX, f.retraces.count)
        for f in jitted_functions()
    ]
    functions.sort(key=lambda info: (-info.programs, info.name, info.where))
    counts = program_counts()
    programs = ProgramInfo(limit=config.program_cache_equations, **counts._asdict())
    return CacheInfo(programs, tuple(functions), {table.name: table for table in kept_tables()})


def _where(fun: Any) -> str:
    code = code_of(fun)
    return "" if code is None else f"{code.co_filename}:{code.co_firstlineno}"


def _shown(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _table(rows: list[tuple[str, ...]]) -> str:
    """Rows of texts as lines: the first column aligned to the left, the others to the right."""
    full = [(*row, *[""] * (len(rows[0]) - len(row))) for row in rows]
    widths = [max([len(row[i]) for row in full]) for i in range(len(rows[0]))]
    lines = []
    for row in full:
        cells = [row[0].ljust(widths[0]), *[cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
