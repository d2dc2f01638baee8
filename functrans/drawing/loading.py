"""matplotlib, which is optional: loaded when a picture is first asked of it."""

from __future__ import annotations

import importlib
from functools import lru_cache
from typing import Any, NamedTuple

__all__ = ["Matplotlib", "matplotlib"]


class Matplotlib(NamedTuple):
    """The modules of matplotlib that a picture needs. pyplot, with its windows and its state, is not among them."""

    figure: Any
    patches: Any
    path: Any


@lru_cache(maxsize=1)
def matplotlib() -> Matplotlib:
    """The modules.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    try:
        return Matplotlib(*[importlib.import_module(f"matplotlib.{name}") for name in Matplotlib._fields])
    except ImportError as error:
        raise ImportError(
            "a drawing as a PNG or PDF needs matplotlib (pip install 'functrans[draw]') or Graphviz's program `dot`, "
            "and neither is installed. SVG and DOT need nothing: save('program.svg')."
        ) from error
