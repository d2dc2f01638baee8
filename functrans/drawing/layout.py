"""Where everything in a drawing is: each box is laid out by itself, and is then a node of the box around it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from functrans.drawing.graph import Box, Edge, Node
from functrans.drawing.ordering import Layers, layered, places
from functrans.drawing.style import LINE_HEIGHT, font_size, text_width

__all__ = ["Curve", "Layout", "Rectangle", "lay_out"]

_GAP = 16.0
_LAYER_GAP = 30.0
_PADDING = 12.0
_TITLE = 20.0
_PORT = 7.0
_LOOP_GAP = 6.0
_EDGE_WIDTH = 4.0

Point = tuple[float, float]


class Rectangle(NamedTuple):
    """Where a node or a box is: its upper left corner and its size."""

    x: float
    y: float
    width: float
    height: float

    def moved(self, dx: float, dy: float) -> Rectangle:
        """The same elsewhere."""
        return self._replace(x=self.x + dx, y=self.y + dy)

    @property
    def center(self) -> float:
        """How far to the right its middle is."""
        return self.x + self.width / 2


class Curve(NamedTuple):
    """The course of an edge."""

    edge: Edge
    points: tuple[Point, ...]
    """The first one, then three more for each cubic Bezier segment."""
    dashed: bool = False

    def moved(self, dx: float, dy: float) -> Curve:
        """The same elsewhere."""
        return self._replace(points=tuple([(x + dx, y + dy) for x, y in self.points]))


@dataclass
class Layout:
    """A drawing with its places."""

    width: float = 0.0
    height: float = 0.0
    nodes: list[tuple[Node, Rectangle]] = field(default_factory=list)
    boxes: list[tuple[Box, Rectangle]] = field(default_factory=list)
    """The outer ones before those in them."""
    curves: list[Curve] = field(default_factory=list)

    def include(self, other: Layout, dx: float, dy: float) -> None:
        """Take in another layout, moved."""
        self.nodes.extend([(node, place.moved(dx, dy)) for node, place in other.nodes])
        self.boxes.extend([(box, place.moved(dx, dy)) for box, place in other.boxes])
        self.curves.extend([curve.moved(dx, dy) for curve in other.curves])


def lay_out(graph: Box) -> Layout:
    """The places of everything in a drawing."""
    inner = _lay_out(graph, _PADDING, 0.0)
    return inner if graph.nodes else Layout(120.0, 40.0)


def _lay_out(box: Box, padding: float, title: float) -> Layout:
    return _Level(box, padding, title).layout


def _node_size(node: Node) -> tuple[float, float]:
    size = font_size(node.kind)
    if node.kind == "port" and not node.lines:
        return _PORT, _PORT
    margin = 8.0 if node.kind == "port" else 18.0
    width = max([text_width(line, size) for line in node.lines], default=0.0) + margin
    return width, len(node.lines) * size * LINE_HEIGHT + margin * 0.5


class _Level:
    """The layout of one box."""

    def __init__(self, box: Box, padding: float, title: float) -> None:
        self.box = box
        self.padding = padding
        self.members: list[Node | Box] = [*box.inputs, *box.nodes, *box.outputs]
        self.inner = {m.key: _lay_out(m, _PADDING, _TITLE) for m in self.members if isinstance(m, Box)}
        self.number: dict[str, int] = {}
        """For the key of each node that an edge of this level may name, the number of the member that it is in."""
        self.port: dict[str, tuple[Rectangle, Rectangle]] = {}
        """For the ports of inner boxes: where they are in their box, and the place of the box itself."""
        self.sizes = [self._size(i, member) for i, member in enumerate(self.members)]
        self.layout = Layout()
        self.top = title + padding
        self._draw()

    def _size(self, i: int, member: Node | Box) -> tuple[float, float]:
        if isinstance(member, Node):
            self.number[member.key] = i
            return _node_size(member)
        inner = self.inner[member.key]
        whole = Rectangle(0.0, 0.0, inner.width, inner.height)
        ports = {port.key for port in (*member.inputs, *member.outputs)}
        for node, place in inner.nodes:
            if node.key in ports:
                self.number[node.key] = i
                self.port[node.key] = place, whole
        return inner.width, inner.height

    def _offset(self, key: str) -> float:
        """How far from the centre of its member a node is."""
        if key not in self.port:
            return 0.0
        place, whole = self.port[key]
        return place.center - whole.width / 2

    def _draw(self) -> None:
        edges = sorted(self.box.edges, key=lambda edge: self.number[edge.source])
        pairs = [(self.number[edge.source], self.number[edge.target]) for edge in edges]
        n, n_in, n_out = len(self.members), len(self.box.inputs), len(self.box.outputs)
        layers = layered(n, pairs, set(range(n_in)), set(range(n - n_out, n)))
        widths = [w for w, _ in self.sizes] + [_EDGE_WIDTH] * (len(layers.rank) - n)
        offsets = [(self._offset(edge.source), self._offset(edge.target)) for edge in edges]
        x = places(layers, widths, _GAP, offsets)
        left = min([x[i] - widths[i] / 2 for i in range(len(x))], default=0.0)
        right = max([x[i] + widths[i] / 2 for i in range(len(x))], default=0.0)
        loops = _LOOP_GAP * len(self.box.loops)
        width = max(right - left + loops + 2 * self.padding, text_width(self.box.title) + 12.0 + self.padding)
        x = [value - left + (width - (right - left + loops)) / 2 for value in x]
        bands = self._bands(layers)
        for i, member in enumerate(self.members):
            self._put(member, x[i], bands[layers.rank[i]], self.sizes[i])
        self._draw_edges(edges, layers, x, bands)
        self.layout.width = width
        self.layout.height = (bands[-1][1] if bands else self.top) + self.padding
        self._draw_loops(max([x[i] + widths[i] / 2 for i in range(len(x))], default=0.0))

    def _bands(self, layers: Layers) -> list[tuple[float, float]]:
        """The top and the bottom of each layer."""
        bands, y = [], self.top
        for row in layers.rows:
            height = max([self.sizes[i][1] for i in row if i < len(self.members)], default=_PORT)
            bands.append((y, y + height))
            y += height + _LAYER_GAP
        return bands

    def _put(self, member: Node | Box, x: float, band: tuple[float, float], size: tuple[float, float]) -> None:
        width, height = size
        place = Rectangle(x - width / 2, (band[0] + band[1] - height) / 2, width, height)
        if isinstance(member, Node):
            self.layout.nodes.append((member, place))
            return
        self.layout.boxes.append((member, place))
        self.layout.include(self.inner[member.key], place.x, place.y)

    def _draw_edges(self, edges: list[Edge], layers: Layers, x: list[float], bands: list[tuple[float, float]]) -> None:
        where = {node.key: place for node, place in self.layout.nodes}
        starts = _spread([(e.source, x[chain[1]]) for e, chain in zip(edges, layers.chains, strict=True)], where)
        ends = _spread([(e.target, x[chain[-2]]) for e, chain in zip(edges, layers.chains, strict=True)], where)
        for edge, chain, start, end in zip(edges, layers.chains, starts, ends, strict=True):
            source, target = where[edge.source], where[edge.target]
            points: list[Point] = [(start, source.y + source.height)]
            _straight(points, bands[layers.rank[chain[0]]][1])
            for i in chain[1:-1]:
                top, bottom = bands[layers.rank[i]]
                _curved(points, x[i], top)
                _straight(points, bottom)
            _curved(points, end, bands[layers.rank[chain[-1]]][0])
            _straight(points, target.y)
            self.layout.curves.append(Curve(edge, tuple(points)))

    def _draw_loops(self, right: float) -> None:
        where = {node.key: place for node, place in self.layout.nodes}
        for i, edge in enumerate(self.box.loops):
            source, target = where[edge.source], where[edge.target]
            low, high = source.y + source.height / 2, target.y + target.height / 2
            x, r = right + _LOOP_GAP * (i + 1), 5.0
            points: list[Point] = [(source.x + source.width, low)]
            for a, b, c in (
                ((x - r, low), (x - r, low), (x - r, low)),
                ((x, low), (x, low), (x, low - r)),
                ((x, high + r), (x, high + r), (x, high + r)),
                ((x, high), (x, high), (x - r, high)),
                ((target.x + target.width, high),) * 3,
            ):
                points.extend([a, b, c])
            self.layout.curves.append(Curve(edge, tuple(points), dashed=True))


def _straight(points: list[Point], y: float) -> None:
    x, before = points[-1]
    if y > before + 0.5:
        points.extend([(x, before), (x, y), (x, y)])


def _curved(points: list[Point], x: float, y: float) -> None:
    x0, y0 = points[-1]
    middle = (y0 + y) / 2
    points.extend([(x0, middle), (x, middle), (x, y)])


def _spread(ends: list[tuple[str, float]], where: dict[str, Rectangle]) -> list[float]:
    """Where along its node each edge begins or ends: side by side, in the order of where they go."""
    order: dict[str, list[int]] = {}
    for i, (key, _) in enumerate(ends):
        order.setdefault(key, []).append(i)
    found = [0.0] * len(ends)
    for key, numbers in order.items():
        place = where[key]
        step = min(12.0, 0.6 * place.width / len(numbers))
        for j, i in enumerate(sorted(numbers, key=lambda i: ends[i][1])):
            found[i] = place.center + (j - (len(numbers) - 1) / 2) * step
    return found
