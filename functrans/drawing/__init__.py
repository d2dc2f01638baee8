"""Programs as pictures. `functrans.draw` is the one function; see `docs/drawing.md`.

To read: `graph.py` (what is drawn), `building.py` (from a program), then `layout.py` and one of the formats.
"""

from functrans.drawing.pictures import Drawing, draw

__all__ = ["Drawing", "draw"]
