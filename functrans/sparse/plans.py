"""How a sparse matrix of derivatives is computed: which passes, and where in their results each entry is."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from functrans.sparse.coloring import color_columns, color_symmetric
from functrans.sparse.loading import scipy_sparse

__all__ = ["Coloring", "Plan", "boolean_matrix", "n_colors", "plan_of", "symmetric_plan"]

_FEW_PASSES = 8
"""So many are not worth looking for a better way."""


def boolean_matrix(pattern: Any) -> Any:
    """A sparse or dense array as a canonical boolean `csr_array`."""
    pattern = scipy_sparse().csr_array(pattern)
    if pattern.ndim != 2:
        raise ValueError(f"sparsity must be a matrix, got an array of {pattern.ndim} axes")
    pattern = scipy_sparse().csr_array(
        (np.ones(pattern.nnz, bool), pattern.indices.copy(), pattern.indptr.copy()), pattern.shape
    )
    pattern.sum_duplicates()
    pattern.sort_indices()
    return pattern


class Coloring(NamedTuple):
    """How the entries of a sparse Jacobian are computed."""

    columns: np.ndarray[Any, np.dtype[np.int64]]
    """The colour of each column: one forward pass for each colour. -1: of no entry that is computed so."""
    rows: np.ndarray[Any, np.dtype[np.int64]]
    """The colour of each row: one reverse pass for each colour. -1: of no entry that is computed so."""

    @property
    def n_passes(self) -> int:
        """The number of derivative passes."""
        return n_colors(self.columns) + n_colors(self.rows)


def n_colors(colors: Any) -> int:
    """How many colours there are."""
    return int(colors.max(initial=-1)) + 1


class Plan(NamedTuple):
    """What there is to know of a sparse Jacobian before its values."""

    pattern: Any
    coloring: Coloring
    places: Any
    """For each entry its place in the flat results of the forward passes, then of the reverse passes."""


class _Candidate(NamedTuple):
    """Colours, and whether the entries of coloured rows come from reverse passes; else those of coloured columns come
    from forward passes. The rest comes from the others.
    """

    coloring: Coloring
    rows_first: bool

    @property
    def n_passes(self) -> int:
        """The number of derivative passes."""
        return self.coloring.n_passes


def _coordinates(pattern: Any) -> tuple[Any, Any]:
    rows = np.repeat(np.arange(pattern.shape[0]), np.diff(pattern.indptr))
    return rows, pattern.indices.astype(np.int64)


def plan_of(pattern: Any, mode: str) -> Plan:
    """The plan of the fewest passes that a mode allows."""
    by_row = boolean_matrix(pattern.T)
    candidates = []
    if mode in ("fwd", "auto"):
        candidates.append(_by_columns(pattern))
    if mode in ("rev", "auto") and not (candidates and _is_best(candidates[0], by_row)):
        candidates.append(_by_rows(pattern, by_row))
    if mode == "both" or (mode == "auto" and min([c.n_passes for c in candidates]) > _FEW_PASSES):
        candidates += [_split_rows(pattern), _turned(_split_rows(by_row))]
    return _located(pattern, min(candidates, key=lambda c: c.n_passes))


def _is_best(candidate: _Candidate, transposed: Any) -> bool:
    """Whether no colouring of the rows can be with fewer colours."""
    return candidate.n_passes <= int(np.diff(transposed.indptr).max(initial=0))


def _by_columns(pattern: Any) -> _Candidate:
    columns = _used(color_columns(pattern), pattern.indices)
    return _Candidate(Coloring(columns, np.full(pattern.shape[0], -1)), False)


def _by_rows(pattern: Any, transposed: Any) -> _Candidate:
    rows = _used(color_columns(transposed), transposed.indices)
    return _Candidate(Coloring(np.full(pattern.shape[1], -1), rows), True)


def _turned(candidate: _Candidate) -> _Candidate:
    """What it is for the transposed matrix."""
    columns, rows = candidate.coloring
    return _Candidate(Coloring(rows, columns), not candidate.rows_first)


def _used(colors: Any, indices: Any) -> Any:
    """The colours, with -1 for what has no entries."""
    used = np.zeros(len(colors), bool)
    used[indices] = True
    return np.where(used, colors, -1)


def _split_rows(pattern: Any) -> _Candidate:
    """The rows with the most entries by reverse mode, the others by forward mode, where that is fewest (Coleman and
    Verma, The efficient computation of sparse Jacobian matrices using automatic differentiation, 1998).
    """
    lengths = np.diff(pattern.indptr)
    candidates = []
    for limit in np.unique([0, *np.unique(lengths)[-12:]]):
        short, long = _masked(pattern, lengths <= limit), _masked(pattern, lengths > limit).T
        long = boolean_matrix(long)
        columns, rows = _used(color_columns(short), short.indices), _used(color_columns(long), long.indices)
        candidates.append(_Candidate(Coloring(columns, rows), True))
    return min(candidates, key=lambda c: c.n_passes)


def _masked(pattern: Any, rows: Any) -> Any:
    """The matrix with only some of its rows."""
    kept = np.repeat(rows, np.diff(pattern.indptr))
    indptr = np.concatenate([[0], np.cumsum(np.where(rows, np.diff(pattern.indptr), 0))])
    indices = pattern.indices[kept]
    return scipy_sparse().csr_array((np.ones(len(indices), bool), indices, indptr), pattern.shape)


def _located(pattern: Any, candidate: _Candidate) -> Plan:
    columns_of, rows_of = candidate.coloring
    rows, columns = _coordinates(pattern)
    by_rows = rows_of[rows] >= 0 if candidate.rows_first else columns_of[columns] < 0
    n_rows, n_columns = pattern.shape
    first = n_colors(columns_of) * n_rows
    places = np.where(by_rows, first + rows_of[rows] * n_columns + columns, columns_of[columns] * n_rows + rows)
    return Plan(pattern, candidate.coloring, places)


def symmetric_plan(pattern: Any) -> Plan:
    """The plan for a symmetric matrix, of which each entry may be read in the place of its mirror image."""
    pattern = boolean_matrix(pattern + pattern.T)
    colors = _used(color_symmetric(pattern), pattern.indices)
    rows, columns = _coordinates(pattern)
    direct = _alone(rows, colors[columns], pattern.shape)
    n = pattern.shape[0]
    places = np.where(direct, colors[columns] * n + rows, colors[rows] * n + columns)
    return Plan(pattern, Coloring(colors, np.full(n, -1)), places)


def _alone(rows: Any, colors: Any, shape: tuple[int, int]) -> Any:
    """Which entries are the only ones of their column's colour in their row."""
    keys = rows * (int(colors.max(initial=0)) + 1) + colors
    _, place, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return counts[place] == 1
