"""Colours of columns: those of one colour are computed by one derivative pass, as the sum of their columns.

Columns that share a row get different colours, so that each entry of the sum is one entry of one column (Curtis, Powell
and Reid, On the estimation of sparse Jacobian matrices, 1974). For a symmetric matrix it is enough that one of the two
places of each entry can be read: a star colouring of the graph (Coleman and Moré, Estimation of sparse Hessian
matrices and graph coloring problems, 1984; Gebremedhin, Manne and Pothen, What color is your Jacobian?, 2005). The
fewest colours are hard to find; these are greedy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["color_columns", "color_symmetric"]

_EFFORT = 20_000_000
"""From so many steps on, a star colouring is not tried."""

Colors = np.ndarray[Any, np.dtype[np.int64]]


def color_columns(pattern: Any) -> Colors:
    """A colour for each column of a sparse boolean matrix, such that columns with a row in common differ.

    >>> import numpy as np
    >>> from scipy.sparse import csr_array
    >>> color_columns(csr_array(np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]], bool)))
    array([0, 1, 0, 1])
    """
    most = int(np.diff(pattern.indptr).max(initial=0))
    if most == pattern.shape[1]:
        return np.arange(pattern.shape[1])
    columns = pattern.tocsc()
    natural = _greedy(columns, range(pattern.shape[1]))
    if int(natural.max(initial=0)) + 1 <= max(most, 1):
        return natural  # as few as there can be
    by_degree = np.argsort(-np.diff(columns.indptr), kind="stable")
    largest_first = _greedy(columns, by_degree.tolist())
    return min(natural, largest_first, key=lambda colors: int(colors.max()))


def _greedy(columns: Any, order: Sequence[int]) -> Colors:
    # The colours that the columns of a row have are the bits of an int.
    used = [0] * columns.shape[0]
    indptr, rows = columns.indptr.tolist(), columns.indices.tolist()
    colors = [0] * columns.shape[1]
    for j in order:
        own = rows[indptr[j] : indptr[j + 1]]
        taken = 0
        for i in own:
            taken |= used[i]
        bit = ~taken & (taken + 1)  # the lowest that is not taken
        colors[j] = bit.bit_length() - 1
        for i in own:
            used[i] |= bit
    return np.array(colors, np.int64)


def color_symmetric(pattern: Any) -> Colors:
    """A colour for each column of a symmetric sparse boolean matrix, such that of each entry and its mirror image at
    least one is alone in its row among the columns of its colour.

    >>> import numpy as np
    >>> from scipy.sparse import csr_array
    >>> arrow = np.eye(5, dtype=bool)
    >>> arrow[0], arrow[:, 0] = True, True
    >>> color_symmetric(csr_array(arrow))
    array([0, 1, 1, 1, 1])
    """
    by_columns = color_columns(pattern)
    degrees = np.diff(pattern.indptr)
    full = pattern.nnz == pattern.shape[0] * pattern.shape[1]
    if full or int((degrees.astype(np.int64) ** 2).sum()) > _EFFORT:
        return by_columns
    orders = [list(range(pattern.shape[0])), np.argsort(-degrees, kind="stable").tolist()]
    neighbours = _neighbours(pattern)
    found = [by_columns, *[_star(neighbours, order) for order in orders]]
    return min(found, key=lambda colors: int(colors.max(initial=0)))


def _neighbours(pattern: Any) -> list[list[int]]:
    indptr, indices = pattern.indptr.tolist(), pattern.indices.tolist()
    return [[j for j in indices[indptr[i] : indptr[i + 1]] if j != i] for i in range(pattern.shape[0])]


def _star(neighbours: list[list[int]], order: Sequence[int]) -> Colors:
    """A colouring in which neighbours differ, and no path of four vertices has only two colours."""
    n = len(neighbours)
    colors = [-1] * n
    around: list[dict[int, int]] = [{} for _ in range(n)]  # how many neighbours of each colour a vertex has
    for v in order:
        taken = 0
        for w in neighbours[v]:
            c = colors[w]
            if c < 0:
                continue
            taken |= 1 << c
            ends = around[v][c] > 1  # u - v - w - x, where u and w have one colour: x must not have that of v
            for x in neighbours[w]:
                if x != v and colors[x] >= 0 and (ends or around[x][c] > 1):  # v - w - x - y, w and y of one colour
                    taken |= 1 << colors[x]
        color = (~taken & (taken + 1)).bit_length() - 1
        colors[v] = color
        for w in neighbours[v]:
            around[w][color] = around[w].get(color, 0) + 1
    return np.array(colors, np.int64)
