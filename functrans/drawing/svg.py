"""A layout as an SVG picture."""

from __future__ import annotations

from collections.abc import Iterator

from functrans.drawing.graph import Box, Node
from functrans.drawing.layout import Curve, Layout, Rectangle
from functrans.drawing.style import BOX, EDGE, FONT, LINE_HEIGHT, NODES, PORT_FONT_SIZE, font_size, plain

__all__ = ["svg_text"]


def svg_text(layout: Layout, title: str) -> str:
    """The text of the picture."""
    width, height = f"{layout.width:.0f}", f"{layout.height:.0f}"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        f' font-family="{FONT}, Verdana, sans-serif" text-anchor="middle">',
        f"<title>{_text(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        *[_box(box, place) for box, place in layout.boxes],
        *[line for curve in layout.curves for line in _curve(curve)],
        *[_title(box, place) for box, place in layout.boxes],
        *[_node(node, place) for node, place in layout.nodes],
    ]
    if not layout.nodes:
        lines.append('<text x="60" y="24" font-size="11" fill="#5b6470">empty program</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def _text(text: str) -> str:
    return plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _frame(place: Rectangle, fill: str, stroke: str, radius: float, dashed: bool = False) -> str:
    dash = ' stroke-dasharray="4 3"' if dashed else ""
    return (
        f'<rect x="{place.x:.1f}" y="{place.y:.1f}" width="{place.width:.1f}" height="{place.height:.1f}"'
        f' rx="{radius:.1f}" fill="{fill}" stroke="{stroke}"{dash}/>'
    )


def _box(box: Box, place: Rectangle) -> str:
    return f"<g><title>{_text(box.tooltip or box.title)}</title>{_frame(place, BOX.fill, BOX.stroke, 6)}</g>"


def _title(box: Box, place: Rectangle) -> str:
    halo = f'paint-order="stroke" stroke="{BOX.fill}" stroke-width="4"'  # over the edges that cross it
    return (
        f'<text x="{place.x + 9:.1f}" y="{place.y + 15:.1f}" font-size="{font_size("operation"):g}"'
        f' text-anchor="start" fill="#444b55" {halo}>{_text(box.title)}</text>'
    )


def _node(node: Node, place: Rectangle) -> str:
    look, size = NODES[node.kind], font_size(node.kind)
    frame = _frame(place, look.fill, look.stroke, place.height / 2 if look.rounded else 3, look.dashed)
    step = size * LINE_HEIGHT
    first = place.y + place.height / 2 - step * (len(node.lines) - 1) / 2 + size * 0.36
    lines = [
        f'<text x="{place.center:.1f}" y="{first + i * step:.1f}" font-size="{size:g}"'
        f"{_emphasis(node, i)}>{_text(line)}</text>"
        for i, line in enumerate(node.lines)
    ]
    tooltip = _text(node.tooltip or " ".join(node.lines))
    return f"<g><title>{tooltip}</title>{frame}{''.join(lines)}</g>"


def _emphasis(node: Node, line: int) -> str:
    return "" if line == 0 else ' fill="#59616b"'


def _curve(curve: Curve) -> Iterator[str]:
    (x, y), *rest = curve.points
    path = f"M{x:.1f} {y:.1f}" + "".join(
        [f"{'C' if i % 3 == 0 else ' '}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(rest)]
    )
    dash = ' stroke-dasharray="3 3"' if curve.dashed else ""
    tooltip = f"<title>{_text(curve.edge.tooltip)}</title>" if curve.edge.tooltip else ""
    yield f'<path d="{path}" fill="none" stroke="{EDGE}"{dash}>{tooltip}</path>'
    points = " ".join([f"{x:.1f},{y:.1f}" for x, y in arrow(curve)])
    yield f'<polygon points="{points}" fill="{EDGE}"/>'
    if curve.edge.label:
        x, y = label_place(curve)
        look = f'font-size="{PORT_FONT_SIZE:g}" fill="{EDGE}"'
        yield f'<text x="{x:.1f}" y="{y:.1f}" {look}>{_text(curve.edge.label)}</text>'


def label_place(curve: Curve) -> tuple[float, float]:
    """Where the label of an edge is: beside its beginning."""
    x, y = curve.points[0]
    return x + 9, y + 11


def arrow(curve: Curve) -> tuple[tuple[float, float], ...]:
    """The tip of an edge: it comes from above, or from the right for one that goes round a loop."""
    x, y = curve.points[-1]
    if curve.dashed:
        return (x, y), (x + 6, y - 2.6), (x + 6, y + 2.6)
    return (x, y), (x - 2.6, y - 6), (x + 2.6, y - 6)
