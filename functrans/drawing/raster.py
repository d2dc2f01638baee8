"""A layout as a picture that matplotlib draws."""

from __future__ import annotations

import io
import warnings
from typing import Any

from functrans.drawing.graph import Box, Node
from functrans.drawing.layout import Curve, Layout, Rectangle
from functrans.drawing.loading import Matplotlib, matplotlib
from functrans.drawing.style import BOX, EDGE, FONT, LINE_HEIGHT, NODES, PORT_FONT_SIZE, font_size, plain
from functrans.drawing.svg import arrow, label_place

__all__ = ["matplotlib_picture"]

_PIXELS_MAX = 16_000
"""Along one side."""


def matplotlib_picture(layout: Layout, suffix: str, dpi: float) -> bytes:
    """The file of a picture.

    Args:
        layout: what to draw.
        suffix: "png", "pdf", or another format that matplotlib writes.
        dpi: pixels an inch, of which 72 are a unit of the layout; less if the picture would have too many.
    """
    modules = matplotlib()
    size = max(layout.width, layout.height) / 72
    figure = modules.figure.Figure(figsize=(layout.width / 72, layout.height / 72))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(0, layout.width), ylim=(layout.height, 0))
    axes.axis("off")
    for box, place in layout.boxes:
        _box(modules, axes, box, place)
    for curve in layout.curves:
        _curve(modules, axes, curve)
    for box, place in layout.boxes:
        _text(axes, place.x + 9, place.y + 11, box.title, font_size("operation"), "#444b55", "left", BOX.fill)
    for node, place in layout.nodes:
        _node(modules, axes, node, place)
    if not layout.nodes:
        _text(axes, layout.width / 2, layout.height / 2, "empty program", 11.0, EDGE)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # a name in a script that the font has not
        figure.savefig(file, format=suffix, dpi=min(dpi, _PIXELS_MAX / size), facecolor="white")
    return file.getvalue()


def _text(
    axes: Any, x: float, y: float, text: str, size: float, color: str, align: str = "center", behind: str = "none"
) -> None:
    ground = {"facecolor": behind, "edgecolor": "none", "pad": 1.0}
    axes.text(
        x,
        y,
        plain(text),
        fontsize=size,
        color=color,
        ha=align,
        va="center",
        family=[FONT],
        parse_math=False,
        bbox=ground,
    )


def _frame(modules: Matplotlib, axes: Any, place: Rectangle, fill: str, stroke: str, radius: float, dash: str) -> None:
    style = modules.patches.BoxStyle("round", pad=0, rounding_size=min(radius, place.width / 2, place.height / 2))
    patch = modules.patches.FancyBboxPatch(
        (place.x, place.y), place.width, place.height, style, facecolor=fill, edgecolor=stroke, linestyle=dash, lw=1
    )
    axes.add_patch(patch)


def _box(modules: Matplotlib, axes: Any, box: Box, place: Rectangle) -> None:
    _frame(modules, axes, place, BOX.fill, BOX.stroke, 6, "-")


def _node(modules: Matplotlib, axes: Any, node: Node, place: Rectangle) -> None:
    look, size = NODES[node.kind], font_size(node.kind)
    _frame(
        modules, axes, place, look.fill, look.stroke, place.height if look.rounded else 3, "--" if look.dashed else "-"
    )
    step = size * LINE_HEIGHT
    first = place.y + place.height / 2 - step * (len(node.lines) - 1) / 2
    for i, line in enumerate(node.lines):
        _text(axes, place.center, first + i * step, line, size, "#59616b" if i else "black")


def _curve(modules: Matplotlib, axes: Any, curve: Curve) -> None:
    path = modules.path.Path
    course = path(curve.points, [path.MOVETO, *[path.CURVE4] * (len(curve.points) - 1)])
    dash = "--" if curve.dashed else "-"
    axes.add_patch(modules.patches.PathPatch(course, facecolor="none", edgecolor=EDGE, linestyle=dash, lw=1))
    axes.add_patch(modules.patches.Polygon(arrow(curve), facecolor=EDGE, lw=0))
    if curve.edge.label:
        x, y = label_place(curve)
        _text(axes, x, y - 3, curve.edge.label, PORT_FONT_SIZE, EDGE)
