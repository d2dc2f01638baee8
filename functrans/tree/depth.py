"""Trees that cannot be flattened: nested too deeply, or inside of themselves."""

from __future__ import annotations

from typing import Any

from functrans.tree.registry import KeyPath, keystr, kind_of

__all__ = ["why_too_deep"]


def why_too_deep(tree: Any) -> str:
    """The message for a tree whose flattening has reached Python's recursion limit."""
    try:
        places = _find_cycle(tree, (), {})
    except RecursionError:
        places = None
    if places is None:
        return (
            "cannot flatten a tree: Python's recursion limit is reached. The tree is nested too deeply, or a function "
            "calls itself without end (both branches of a cond are recorded, whatever its predicate)"
        )
    outer, inner = [keystr(path) or "the root" for path in places]
    return f"cannot flatten a tree that contains itself: the subtree at {inner} is the one at {outer}"


def _find_cycle(tree: Any, path: KeyPath, above: dict[int, KeyPath]) -> tuple[KeyPath, KeyPath] | None:
    """The paths at which a container and, inside it, itself are found; `above` has the ancestors' paths."""
    kind = kind_of(type(tree))
    if kind is None:
        return None
    if id(tree) in above:
        return above[id(tree)], path
    above = {**above, id(tree): path}
    for key, child in kind.keyed_children(tree):
        if found := _find_cycle(child, (*path, key), above):
            return found
    return None
