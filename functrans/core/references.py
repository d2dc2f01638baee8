"""Where an object is found by name: what is pickled by reference needs no more than that."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

from functrans.errors import is_internal

__all__ = ["name_in_module", "object_named", "user_module"]


def user_module() -> str | None:
    """The name of the user's module that is running; None while functrans itself is imported."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and is_internal(frame.f_code.co_filename):
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return None
        frame = frame.f_back
    return None if frame is None else frame.f_globals.get("__name__")


def name_in_module(x: Any, module: str | None, qualname: str | None = None) -> str | None:
    """The name under which a module has the object: the one given if it leads there, else that of a global.

    >>> import functrans.tree
    >>> name_in_module(functrans.tree.flatten, "functrans.tree", "flatten")
    'flatten'
    """
    namespace = sys.modules.get(module or "")
    if namespace is None:
        return None
    if qualname is not None and object_named(module, qualname) is x:
        return qualname
    return next((name for name, value in list(vars(namespace).items()) if value is x), None)


def object_named(module: str | None, qualname: str) -> Any:
    """What stands under a name in a module; None if nothing does."""
    found: Any = sys.modules.get(module or "")
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found
