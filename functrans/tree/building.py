"""Putting trees together: for each treedef a function from its leaves to the tree.

It is made of closures at first. A treedef that is used often gets a function of its own, generated for it:

    def build(leaves):
        a0, a1, a2, = leaves
        return ({C0: a0, C1: a1, }, a2, )

Keys, types and data are constants (`C0`) in its globals, so nothing in the source comes from the user.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from functrans.errors import internal_filename
from functrans.tree.registry import NodeKind, is_namedtuple, kind_of

__all__ = ["builder", "generated_builder", "kind_of_node"]

TreeDef = Any
_Builder = Callable[[Iterator[Any]], Any]

_MOST_NODES = 2_000
"""How many nodes a function is generated for: to compile its source takes about 10 us for each."""
_MOST_DEPTH = 30
"""How deeply they may be nested: Python's parser has a limit."""
_FILE = internal_filename("<build>")
"""The name of the code, by which tracebacks know that it is not the user's."""


def kind_of_node(node: TreeDef) -> NodeKind:
    """How nodes of the type of a treedef's root are taken apart and put together."""
    kind = kind_of(node._type)
    if kind is None:
        raise ValueError(f"{node._type.__name__} is not registered as a pytree node")
    return kind


# --------------------------------------------------------------------------------------------------------------------
# Closures, each of which takes what it needs from an iterator of leaves. That of a leaf is `next` itself.


def builder(node: TreeDef) -> _Builder:
    """The function of an iterator of leaves that gives the tree."""
    if node._type is None:
        return next
    parts = [builder(child) for child in node._children]
    if node._type is tuple:
        return _tuple_builder(parts)
    if parts.count(next) == len(parts):
        if node._type is list:
            return _list_of_leaves_builder(len(parts))
        if node._type is dict:
            return _dict_of_leaves_builder(node._data)
    if node._type is list:
        return lambda it: [part(it) for part in parts]
    if node._type is dict:
        items = list(zip(node._data, parts, strict=True))
        return lambda it: {key: part(it) for key, part in items}
    unflatten, data, build = kind_of_node(node).unflatten, node._data, _tuple_builder(parts)
    return lambda it: unflatten(data, build(it))


def _list_of_leaves_builder(length: int) -> _Builder:
    return lambda it: list(islice(it, length))


def _dict_of_leaves_builder(keys: tuple[Any, ...]) -> _Builder:
    return lambda it: {key: next(it) for key in keys}


def _tuple_builder(parts: list[_Builder]) -> _Builder:
    """Builds a tuple; without a loop where it is short, as tuples of arguments and results are."""
    match parts:
        case []:
            return lambda it: ()
        case [a]:
            return lambda it: (a(it),)
        case [a, b]:
            return lambda it: (a(it), b(it))
        case [a, b, c]:
            return lambda it: (a(it), b(it), c(it))
        case _:
            return lambda it: tuple([part(it) for part in parts])


# --------------------------------------------------------------------------------------------------------------------
# Generated functions


def generated_builder(node: TreeDef) -> Callable[[Sequence[Any]], Any]:
    """The function of a sequence of as many leaves as there are that gives the tree."""
    constants: list[Any] = []
    names = [f"a{i}" for i in range(node.num_leaves)]
    text = None if node.num_nodes > _MOST_NODES else _expression(node, names[::-1], constants, 0)
    if text is None:
        build = builder(node)
        return lambda leaves: build(iter(leaves))
    targets = f"{''.join([f'{name}, ' for name in names])}= leaves\n    " if names else ""
    namespace = {f"C{i}": constant for i, constant in enumerate(constants)}
    exec(compile(f"def build(leaves):\n    {targets}return {text}", _FILE, "exec"), namespace)
    build_all: Callable[[Sequence[Any]], Any] = namespace["build"]
    return build_all


def _expression(node: TreeDef, names: list[str], constants: list[Any], depth: int) -> str | None:
    """The expression of a tree of which the leaves have these names, the first one last; None if it is too deep."""
    if node._type is None:
        return names.pop()
    if depth > _MOST_DEPTH:
        return None
    parts = []
    for child in node._children:
        part = _expression(child, names, constants, depth + 1)
        if part is None:
            return None
        parts.append(part)

    def constant(value: Any) -> str:
        constants.append(value)
        return f"C{len(constants) - 1}"

    if node._type is type(None):
        return "None"
    if node._type is list:
        return f"[{', '.join(parts)}]"
    if node._type is dict:
        items = [f"{constant(key)}: {part}" for key, part in zip(node._data, parts, strict=True)]
        return f"{{{', '.join(items)}}}"
    members = "".join([f"{part}, " for part in parts])
    if node._type is tuple:
        return f"({members})"
    if is_namedtuple(node._type):
        return f"{constant(node._type)}({members})"
    return f"{constant(kind_of_node(node).unflatten)}({constant(node._data)}, ({members}))"
