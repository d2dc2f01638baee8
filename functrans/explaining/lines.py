"""The user's lines that equations come from."""

from __future__ import annotations

import linecache
import os
from typing import NamedTuple

from functrans.core.jaxpr import Source
from functrans.errors import BACKWARD, DERIVATIVE, line_number

__all__ = ["Line", "line_of"]


class Line(NamedTuple):
    """A line of the user's code."""

    filename: str
    number: int
    function: str
    text: str
    """What stands there; empty where the source is not to be had."""

    @property
    def place(self) -> str:
        """`file.py:12`, without the folder."""
        return f"{os.path.basename(self.filename)}:{self.number}"


def line_of(source: Source) -> tuple[Line | None, str]:
    """The line that asked for an equation, and the part of the derivative that it belongs to.

    The part is `"backward pass"`, `"derivative"` (what the derivative needs besides the function), or empty.
    """
    if source is None:
        return None, ""
    code, lasti, scopes = source
    number = line_number(code, lasti)
    text = linecache.getline(code.co_filename, number).strip()
    part = "backward pass" if BACKWARD in scopes else "derivative" if DERIVATIVE in scopes else ""
    return Line(code.co_filename, number, code.co_name, text), part
