"""Who asked for an operation: the user's line."""

from __future__ import annotations

import sys
from typing import Any

from functrans.caching import register_table
from functrans.core.jaxpr import Source
from functrans.core.opened import opened
from functrans.errors import is_internal

__all__ = ["caller"]

_internal_files: dict[str, bool] = {}
register_table("source files", _internal_files, clear=_internal_files.clear)


def caller(depth: int) -> Source:
    """The code and the instruction of the user that asked for the operation being recorded.

    Args:
        depth: how many of the innermost frames are ours for sure.
    """
    frame: Any = sys._getframe(depth)
    while frame is not None:
        code = frame.f_code
        filename = code.co_filename
        internal = _internal_files.get(filename)
        if internal is None:
            internal = _internal_files[filename] = is_internal(filename)
        if not internal:
            return code, frame.f_lasti, opened.here.scopes
        frame = frame.f_back
    return None
