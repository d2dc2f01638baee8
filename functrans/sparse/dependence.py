"""On which of n tangents each element of an array depends.

Elements that depend on the same tangents share a row: `index` says which row of the sparse boolean matrix `rows` each
element has. Two rows are never stored, that of what depends on nothing and that of what depends on everything, so a
mean, subtracted from each of a million elements, costs one number for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans.sparse.loading import scipy_sparse

__all__ = ["MOST_ENTRIES", "Dependence", "everything", "identity", "nothing", "union_of"]

NOTHING, EVERYTHING = -1, -2

MOST_ENTRIES = 1 << 26
"""How many entries rows may have together. What would have more is said to depend on everything, which is true of no
less than it depends on."""

Indices = np.ndarray[Any, np.dtype[np.int64]]


class Dependence:
    """The dependence of `len(index)` elements on `rows.shape[1]` tangents."""

    __slots__ = ("index", "rows")

    def __init__(self, index: Indices, rows: Any) -> None:
        self.index = index
        self.rows = rows

    @property
    def n(self) -> int:
        """The number of tangents."""
        return int(self.rows.shape[1])

    @property
    def size(self) -> int:
        """The number of elements."""
        return len(self.index)

    def take(self, places: Indices) -> Dependence:
        """The elements at some places; where -1 is given, one that depends on nothing."""
        kept = self.index[np.maximum(places, 0)] if self.size else NOTHING
        index = np.where(places < 0, NOTHING, kept)
        return Dependence(index, self.rows)

    def repeated(self, size: int) -> Dependence:
        """The only element, so many times."""
        return Dependence(np.repeat(self.index, size), self.rows)

    def summed(self, groups: Indices, n_groups: int) -> Dependence:
        """For each group of elements an element that depends on what any of them depends on."""
        full = np.zeros(n_groups, bool)
        full[groups[self.index == EVERYTHING]] = True
        stored = (self.index >= 0) & ~full[groups]
        member = _matrix(groups[stored], self.index[stored], (n_groups, self.rows.shape[0]))
        bounds = member.astype(np.int64) @ np.diff(self.rows.indptr)
        return _of_product(member, self.rows, full, bounds)

    def joined(self) -> Dependence:
        """One element that depends on what any of them depends on."""
        return self.summed(np.zeros(self.size, np.int64), 1)

    def matrix(self) -> Any:
        """The whole as a sparse boolean matrix, a row for each element."""
        if not (self.index == EVERYTHING).any():
            place = np.where(self.index < 0, self.rows.shape[0], self.index)
            return _with_last_rows(self.rows, full=False)[place]
        place = np.where(self.index == NOTHING, self.rows.shape[0], self.index)
        place = np.where(place == EVERYTHING, self.rows.shape[0] + 1, place)
        return _with_last_rows(self.rows, full=True)[place]

    def entries(self) -> int:
        """How many entries the matrix has."""
        lengths = np.diff(self.rows.indptr)
        stored = self.index[self.index >= 0]
        return int(lengths[stored].sum()) + int((self.index == EVERYTHING).sum()) * self.n


def _matrix(rows: Indices, columns: Indices, shape: tuple[int, int]) -> Any:
    return scipy_sparse().csr_array((np.ones(len(rows), bool), (rows, columns)), shape=shape)


def _with_last_rows(rows: Any, full: bool) -> Any:
    sparse = scipy_sparse()
    n = rows.shape[1]
    last = [sparse.csr_array((1, n), dtype=bool)]
    if full:
        last.append(sparse.csr_array(np.ones((1, n), bool)))
    return sparse.vstack([rows, *last], format="csr")


def _of_product(member: Any, rows: Any, full: Any, bounds: Any) -> Dependence:
    """`member @ rows`; those in `full`, and those that would have too many entries, depend on everything."""
    if bounds.sum() > MOST_ENTRIES:
        full = full | (bounds > max(MOST_ENTRIES // max(len(bounds), 1), 1))
    index = np.arange(len(full), dtype=np.int64)
    index[bounds == 0] = NOTHING
    index[full] = EVERYTHING
    kept = index >= 0
    index[kept] = np.arange(kept.sum())
    product = member[kept] @ rows if not kept.all() else member @ rows
    return _shortened(index, product)


def _shortened(index: Indices, rows: Any) -> Dependence:
    """A dependence without the rows that are full."""
    n = rows.shape[1]
    is_full = np.diff(rows.indptr) == n
    if n and is_full.any():
        place = np.cumsum(~is_full) - 1
        place[is_full] = EVERYTHING
        index = np.where(index >= 0, place[np.maximum(index, 0)], index)
        rows = rows[~is_full]
    return Dependence(index, rows)


def identity(n: int, first: int, size: int) -> Dependence:
    """Elements of which each depends on one of n tangents, the first of them on that of number `first`."""
    columns = np.arange(first, first + size)
    rows = _matrix(np.arange(size), columns, (size, n))
    return _shortened(np.arange(size, dtype=np.int64), rows)


def everything(size: int, n: int) -> Dependence:
    """Elements that depend on all tangents."""
    return Dependence(np.full(size, EVERYTHING, np.int64), scipy_sparse().csr_array((0, n), dtype=bool))


def nothing(size: int, n: int) -> Dependence:
    """Elements that depend on none."""
    return Dependence(np.full(size, NOTHING, np.int64), scipy_sparse().csr_array((0, n), dtype=bool))


def union_of(given: Sequence[Dependence]) -> Dependence:
    """Elements of which each depends on what any of those at its place depends on."""
    total = given[0]
    for other in given[1:]:
        total = _union(total, other)
    return total


def _union(a: Dependence, b: Dependence) -> Dependence:
    if a.rows is b.rows and (a.index is b.index or np.array_equal(a.index, b.index)):
        return a
    ia, ib = a.index, b.index
    if ia.min(initial=0) == ia.max(initial=0) == EVERYTHING or (ib == NOTHING).all():
        return a
    if (ia == NOTHING).all():
        return b
    full = (ia == EVERYTHING) | (ib == EVERYTHING)
    ka, kb = a.rows.shape[0], b.rows.shape[0]
    pairs = np.where(full, -1, (np.where(ia < 0, ka, ia)) * (kb + 1) + np.where(ib < 0, kb, ib))
    if 2 * (ka + kb) < len(pairs):  # many elements share their rows: each pair of rows is joined once
        distinct, place = np.unique(pairs, return_inverse=True)
    else:
        distinct, place = pairs, None
    joined = _join(a.rows, b.rows, distinct)
    return joined if place is None else joined.take(place)


def _join(a: Any, b: Any, pairs: Indices) -> Dependence:
    """The union of rows of a and b, for each pair of their numbers."""
    ka, kb = a.shape[0], b.shape[0]
    full = pairs < 0
    ia, ib = np.divmod(np.where(full, ka * (kb + 1) + kb, pairs), kb + 1)
    from_a, from_b = np.flatnonzero(ia < ka), np.flatnonzero(ib < kb)
    shared = a is b
    columns = np.concatenate([ia[from_a], ib[from_b] + (0 if shared else ka)])
    rows = a if shared else scipy_sparse().vstack([a, b], format="csr")
    member = _matrix(np.concatenate([from_a, from_b]), columns, (len(pairs), rows.shape[0]))
    return _of_product(member, rows, full, member.astype(np.int64) @ np.diff(rows.indptr))
