"""In which layer each node of a graph is, in which order within it, and how far to the right.

The layered method of Sugiyama, Tagawa and Toda (1981, "Methods for visual understanding of hierarchical system
structures"): longest paths give the layers, medians of neighbours the order, and least squares the places.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from itertools import pairwise
from math import inf
from typing import NamedTuple

__all__ = ["Layers", "layered", "places"]

_SWEEPS = 12


class Layers(NamedTuple):
    """The nodes of a graph, layer by layer. An edge over several layers has a node of its own in each between them."""

    rows: list[list[int]]
    """The nodes of each layer, from left to right. Numbers from that of the graph's nodes on are nodes of edges."""
    rank: list[int]
    """The layer of each node."""
    chains: list[list[int]]
    """For each edge the nodes that it passes through, from its source to its target."""
    n_nodes: int


def layered(n_nodes: int, edges: Sequence[tuple[int, int]], first: set[int], last: set[int]) -> Layers:
    """The nodes of an acyclic graph in layers, with few crossings.

    Args:
        n_nodes: how many nodes there are; they are numbered so that every edge goes from a lower to a higher number.
        edges: pairs of source and target.
        first, last: the nodes that must be in the first and in the last layer.
    """
    rank = _ranks(n_nodes, edges, first, last)
    chains: list[list[int]] = []
    for source, target in edges:
        fresh = list(range(len(rank), len(rank) + rank[target] - rank[source] - 1))
        rank.extend(range(rank[source] + 1, rank[target]))
        chains.append([source, *fresh, target])
    rows: list[list[int]] = [[] for _ in range(max(rank, default=-1) + 1)]
    for node, layer in enumerate(rank):
        rows[layer].append(node)
    return Layers(_with_few_crossings(rows, chains, len(rank)), rank, chains, n_nodes)


def _ranks(n_nodes: int, edges: Sequence[tuple[int, int]], first: set[int], last: set[int]) -> list[int]:
    sources, targets = _neighbours(n_nodes, edges)
    rank = [0] * n_nodes
    lowest = 1 if first else 0
    for node in range(n_nodes):
        if node not in first:
            rank[node] = max([rank[source] + 1 for source in sources[node]], default=lowest)
    for node in reversed(range(n_nodes)):  # near to where it is used
        if targets[node] and node not in first and len(sources[node]) < len(targets[node]):
            rank[node] = max(rank[node], min([rank[target] for target in targets[node]]) - 1)
    bottom = max([rank[node] for node in range(n_nodes) if node not in last], default=-1) + 1
    return [bottom if node in last else rank[node] for node in range(n_nodes)]


def _neighbours(n_nodes: int, edges: Sequence[tuple[int, int]]) -> tuple[list[list[int]], list[list[int]]]:
    sources: list[list[int]] = [[] for _ in range(n_nodes)]
    targets: list[list[int]] = [[] for _ in range(n_nodes)]
    for source, target in edges:
        sources[target].append(source)
        targets[source].append(target)
    return sources, targets


def _with_few_crossings(rows: list[list[int]], chains: list[list[int]], total: int) -> list[list[int]]:
    links = [pair for chain in chains for pair in pairwise(chain)]
    sources, targets = _neighbours(total, links)
    best, least = [list(row) for row in rows], _crossings(rows, targets)
    for sweep in range(_SWEEPS):
        if not least:
            break
        down = sweep % 2 == 0
        order = range(1, len(rows)) if down else range(len(rows) - 2, -1, -1)
        for i in order:
            fixed = {node: place for place, node in enumerate(rows[i - 1 if down else i + 1])}
            near = sources if down else targets
            current = {node: place for place, node in enumerate(rows[i])}
            rows[i].sort(key=lambda node: (_mean([fixed[x] for x in near[node]], current[node]), current[node]))
        crossings = _crossings(rows, targets)
        if crossings < least:
            best, least = [list(row) for row in rows], crossings
    return best


def _mean(places: Sequence[int], otherwise: float) -> float:
    return sum(places) / len(places) if places else otherwise


def _crossings(rows: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> int:
    total = 0
    for upper, lower in pairwise(rows):
        place = {node: i for i, node in enumerate(lower)}
        passed: list[int] = []
        for node in upper:
            ends = sorted([place[target] for target in targets[node]])
            total += sum([len(passed) - bisect_right(passed, end) for end in ends])
            for end in ends:
                insort(passed, end)
    return total


def places(layers: Layers, widths: Sequence[float], gap: float, offsets: Sequence[tuple[float, float]]) -> list[float]:
    """How far to the right the centre of each node is.

    Args:
        layers: the graph.
        widths: of all nodes, those of edges too.
        gap: the least distance between two nodes.
        offsets: for each edge, how far from the centres of its source and of its target it begins and ends.
    """
    total = len(layers.rank)
    above: list[list[tuple[int, float, float]]] = [[] for _ in range(total)]
    below: list[list[tuple[int, float, float]]] = [[] for _ in range(total)]
    for chain, (start, end) in zip(layers.chains, offsets, strict=True):
        for upper, lower in pairwise(chain):
            shift = (start if upper == chain[0] else 0.0) - (end if lower == chain[-1] else 0.0)
            # A long edge should be straight: the links inside of it weigh more (Gansner et al. 1993).
            inner = (upper >= layers.n_nodes) + (lower >= layers.n_nodes)
            weight = (1.0, 2.0, 8.0)[inner]
            above[lower].append((upper, shift, weight))
            below[upper].append((lower, -shift, weight))
    x = [0.0] * total
    for row in layers.rows:
        _place_row(row, x, widths, gap, [], [])
    for sweep in range(2 * _SWEEPS):
        down = sweep % 2 == 0
        near = [above, below] if sweep >= 2 * _SWEEPS - 8 else [above] if down else [below]
        for row in layers.rows if down else reversed(layers.rows):
            wanted, weights = [], []
            for node in row:
                links = [link for part in near for link in part[node]]
                weight = sum([w for _, _, w in links])
                wanted.append(sum([(x[other] + shift) * w for other, shift, w in links]) / weight if links else x[node])
                weights.append(weight if links else 0.01)
            _place_row(row, x, widths, gap, wanted, weights)
    _straighten(layers, x, widths, gap)
    return x


def _straighten(layers: Layers, x: list[float], widths: Sequence[float], gap: float) -> None:
    """Put the nodes of a long edge below one another, where those beside them leave the room."""
    place = {node: i for row in layers.rows for i, node in enumerate(row)}

    def room(node: int) -> tuple[float, float]:
        row, i = layers.rows[layers.rank[node]], place[node]
        low = x[row[i - 1]] + (widths[row[i - 1]] + widths[node]) / 2 + gap if i else -inf
        high = x[row[i + 1]] - (widths[row[i + 1]] + widths[node]) / 2 - gap if i + 1 < len(row) else inf
        return low, high

    for chain in layers.chains:
        run: list[int] = []
        low, high = -inf, inf
        for node in [*chain[1:-1], None]:
            least, most = room(node) if node is not None else (inf, -inf)
            if max(low, least) > min(high, most):
                middle = sum([x[other] for other in run]) / max(1, len(run))
                for other in run:
                    x[other] = min(max(middle, low), high)
                run, low, high = [], -inf, inf
            if node is not None:
                run.append(node)
                low, high = max(low, least), min(high, most)


def _place_row(
    row: Sequence[int],
    x: list[float],
    widths: Sequence[float],
    gap: float,
    wanted: Sequence[float],
    weights: Sequence[float],
) -> None:
    """Put the nodes of a layer as near as can be to where they want to be, without overlap.

    Least squares under the constraint of order: the pool-adjacent-violators algorithm, after the widths are taken off.
    """
    taken, edge = [], 0.0
    for node in row:
        taken.append(edge + widths[node] / 2)
        edge += widths[node] + gap
    blocks: list[list[float]] = []  # mean, weight, count
    for i, offset in enumerate(taken):
        blocks.append([wanted[i] - offset, weights[i], 1] if wanted else [0.0, 1.0, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, weight, count = blocks.pop()
            before = blocks[-1]
            before[0] = (before[0] * before[1] + mean * weight) / (before[1] + weight)
            before[1] += weight
            before[2] += count
    i = 0
    for mean, _, count in blocks:
        for _ in range(int(count)):
            x[row[i]] = mean + taken[i]
            i += 1
