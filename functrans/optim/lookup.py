"""Values in states, found and changed by the name of their field."""

from __future__ import annotations

from typing import Any

from functrans.tree.registry import DictKey, GetAttrKey, keystr, kind_of

__all__ = ["tree_get", "tree_get_all_with_path", "tree_set"]


def tree_get_all_with_path(tree: Any, key: str) -> list[tuple[Any, Any]]:
    """The values of all fields and dict entries of a name, each with its key path.

    Args:
        tree: a pytree, such as a state.
        key: the name.

    >>> import functrans as ft
    >>> from functrans import optim
    >>> [(ft.tree.keystr(path), x) for path, x in optim.tree_get_all_with_path(({'a': 1.0}, {'a': 2.0}), 'a')]
    [("[0]['a']", 1.0), ("[1]['a']", 2.0)]
    """
    found: list[tuple[Any, Any]] = []
    _collect(tree, key, (), found)
    return found


def _collect(tree: Any, key: str, path: tuple[Any, ...], found: list[tuple[Any, Any]]) -> None:
    kind = kind_of(type(tree))
    if kind is None:
        return
    for entry, child in kind.keyed_children(tree):
        below = (*path, entry)
        if _is_named(entry, key):
            found.append((below, child))
        _collect(child, key, below, found)


def _is_named(entry: Any, key: str) -> bool:
    match entry:
        case GetAttrKey(name) | DictKey(name):
            return bool(name == key)
    return False


def tree_get(tree: Any, key: str, default: Any = None) -> Any:
    """The value of the field or dict entry of a name, wherever it is.

    Args:
        tree: a pytree, such as the state of an optimiser.
        key: the name.
        default: what to return if there is none.

    Raises:
        KeyError: if there are several, with their paths.

    >>> from functrans import optim
    >>> optim.tree_get(optim.adam(0.1).init([0.0]), 'count')
    array(0, dtype=int32)
    """
    found = tree_get_all_with_path(tree, key)
    if len(found) > 1:
        paths = ", ".join([keystr(path) for path, _ in found])
        raise KeyError(f"tree_get: {key!r} is there several times: {paths}; tree_get_all_with_path gives all")
    return found[0][1] if found else default


def tree_set(tree: Any, **kwargs: Any) -> Any:
    """The tree with other values for all fields and dict entries of some names.

    Args:
        tree: a pytree, such as the state of an optimiser.
        **kwargs: values by name.

    Raises:
        KeyError: if there is no field of a name.

    >>> from functrans import optim
    >>> state = optim.inject_hyperparams(optim.sgd)(learning_rate=0.1).init([0.0])
    >>> optim.tree_set(state, learning_rate=0.01).hyperparams
    {'learning_rate': 0.01}
    """
    for key in kwargs:
        if not tree_get_all_with_path(tree, key):
            raise KeyError(f"tree_set: there is no {key!r} in the tree")
    return _replaced(tree, kwargs)


def _replaced(tree: Any, new: dict[str, Any]) -> Any:
    kind = kind_of(type(tree))
    if kind is None:
        return tree
    children = []
    for entry, child in kind.keyed_children(tree):
        names = [key for key in new if _is_named(entry, key)]
        children.append(new[names[0]] if names else _replaced(child, new))
    return kind.unflatten(kind.flatten(tree)[1], tuple(children))
