"""How the parts of a drawing look, in all formats alike."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["BOX", "EDGE", "FONT", "LINE_HEIGHT", "NODES", "PORT_FONT_SIZE", "Look", "font_size", "plain", "text_width"]


class Look(NamedTuple):
    """The look of a kind of node."""

    fill: str
    stroke: str
    rounded: bool
    """Whether its ends are round: a variable and not an operation."""
    dashed: bool = False


NODES = {
    "argument": Look("#d3e5f8", "#3a6ea5", True),
    "unused": Look("#f4f6f8", "#9aa7b4", True, True),
    "constant": Look("#e6e6ea", "#7c7c88", True),
    "output": Look("#d3efd5", "#3c8546", True),
    "operation": Look("#fdeecb", "#b9892a", False),
    "derivative": Look("#f9dbd3", "#b35c44", False),
    "group": Look("#f1e3f7", "#86619b", False, True),
    "port": Look("#ffffff", "#8a8f98", True),
}
BOX = Look("#f3f5f8", "#a9b1bd", False)
EDGE = "#5b6470"

FONT = "DejaVu Sans"
FONT_SIZE = 11.0
PORT_FONT_SIZE = 8.5
LINE_HEIGHT = 1.32
"""In units of the size of the font."""

_WIDE, _NARROW = frozenset("mwMWQ@%…"), frozenset("ijlItfr.,:;'|!()[]{} ")


def font_size(kind: str) -> float:
    """The size of what is written on a node of a kind."""
    return PORT_FONT_SIZE if kind == "port" else FONT_SIZE


def text_width(text: str, size: float = FONT_SIZE) -> float:
    """About how wide a text is, a little more rather than less."""
    widths = [0.95 if c in _WIDE else 0.4 if c in _NARROW else 1.05 if ord(c) > 0x2E7F else 0.635 for c in text]
    return size * sum(widths)


def plain(text: str) -> str:
    """The text without what XML cannot hold: control characters and lone surrogates."""
    return "".join([c if c == "\n" or (c.isprintable() or c == " ") else "\N{REPLACEMENT CHARACTER}" for c in text])
