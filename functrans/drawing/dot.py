"""A drawing as text in Graphviz's DOT language."""

from __future__ import annotations

from collections.abc import Iterator

from functrans.drawing.graph import Box, Edge, Node
from functrans.drawing.style import BOX, EDGE, FONT, NODES, font_size, plain

__all__ = ["dot_text"]


def dot_text(graph: Box, title: str) -> str:
    """The text for the program `dot`."""
    lines = [
        f"digraph {_quoted(title)} {{",
        '  graph [rankdir=TB nodesep=0.25 ranksep=0.4 bgcolor="white"]',
        f'  node [fontname={_quoted(FONT)} fontsize={font_size("operation"):g} margin="0.12,0.05" height=0.3]',
        f'  edge [fontname={_quoted(FONT)} fontsize={font_size("port"):g} color="{EDGE}" arrowsize=0.6]',
        *_contents(graph, "  "),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _contents(box: Box, indent: str) -> Iterator[str]:
    for node in (*box.inputs, *box.nodes, *box.outputs):
        if isinstance(node, Box):
            yield f"{indent}subgraph cluster_{node.key} {{"
            yield f"{indent}  graph [{_attributes(_box_attributes(node))}]"
            yield from _contents(node, indent + "  ")
            yield f"{indent}}}"
        else:
            yield f"{indent}{node.key} [{_attributes(_node_attributes(node))}]"
    for edge in box.edges:
        yield f"{indent}{edge.source} -> {edge.target}{_edge_attributes(edge)}"
    for edge in box.loops:  # drawn upwards, and the other way round for the ranks
        yield f"{indent}{edge.target} -> {edge.source} [dir=back style=dashed tooltip={_quoted(edge.tooltip)}]"


def _box_attributes(box: Box) -> dict[str, str]:
    return {
        "label": box.title,
        "tooltip": box.tooltip or box.title,
        "style": "rounded,filled",
        "fillcolor": BOX.fill,
        "color": BOX.stroke,
        "fontname": FONT,
        "fontsize": f"{font_size('operation'):g}",
        "labeljust": "l",
    }


def _node_attributes(node: Node) -> dict[str, str]:
    look = NODES[node.kind]
    style = ["filled", *(["rounded"] if look.rounded else []), *(["dashed"] if look.dashed else [])]
    small = {"fontsize": f"{font_size('port'):g}", "height": "0.12", "width": "0.12", "margin": "0.04,0.02"}
    return {
        "label": "\n".join(node.lines),
        "tooltip": node.tooltip or " ".join(node.lines),
        "shape": "circle" if node.kind == "port" and not node.lines else "box",
        "style": ",".join(style),
        "fillcolor": look.fill,
        "color": look.stroke,
        **(small if node.kind == "port" else {}),
    }


def _edge_attributes(edge: Edge) -> str:
    given = {name: text for name, text in (("tooltip", edge.tooltip), ("label", edge.label)) if text}
    return f" [{_attributes(given)}]" if given else ""


def _attributes(attributes: dict[str, str]) -> str:
    return " ".join([f"{name}={_quoted(text)}" for name, text in attributes.items()])


def _quoted(text: str) -> str:
    """A string of DOT: `&` begins an entity there, and a backslash an escape."""
    text = plain(text).replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')
    return '"' + text.replace("\n", "\\n") + '"'
