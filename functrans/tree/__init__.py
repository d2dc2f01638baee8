"""Pytrees: containers in containers, taken apart into a list of leaves and put together again.

    >>> from functrans import tree
    >>> leaves, treedef = tree.flatten({'W': [1.0, 2.0], 'b': 3.0})
    >>> leaves, treedef
    ([1.0, 2.0, 3.0], PyTreeDef({'W': [*, *], 'b': *}))
    >>> treedef.unflatten([-x for x in leaves])
    {'W': [-1.0, -2.0], 'b': -3.0}

Nodes are dicts (in the order of their sorted keys), lists, tuples, namedtuples, `OrderedDict`, `defaultdict`,
`deque`, `None` (a node without children) and instances of registered classes; anything else is a leaf,
instances of unregistered subclasses of `dict` and `list` among them.
"""

from __future__ import annotations

import builtins
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from functrans.tree.registry import (
    DictKey,
    FlattenedIndexKey,
    GetAttrKey,
    KeyPath,
    Partial,
    SequenceKey,
    keystr,
    kind_of,
    register_dataclass,
    register_pytree_node,
    register_pytree_node_class,
    register_pytree_with_keys,
    register_pytree_with_keys_class,
)
from functrans.tree.treedef import (
    LEAF,
    IsLeaf,
    TreeDef,
    flatten,
    leaf_path,
    leaves_with_path_of,
    subtrees_at_leaves,
    unflatten,
)

__all__ = [
    "DictKey",
    "FlattenedIndexKey",
    "GetAttrKey",
    "Partial",
    "SequenceKey",
    "TreeDef",
    "all",
    "all_leaves",
    "broadcast_prefix",
    "check_prefix",
    "flatten",
    "flatten_with_path",
    "keystr",
    "leaf_path",
    "leaves",
    "leaves_with_path",
    "map",
    "map_with_path",
    "reduce",
    "register_dataclass",
    "register_pytree_node",
    "register_pytree_node_class",
    "register_pytree_with_keys",
    "register_pytree_with_keys_class",
    "structure",
    "transpose",
    "treedef_children",
    "treedef_is_leaf",
    "treedef_tuple",
    "unflatten",
]

_MISSING: Any = object()


def leaves(tree: Any, is_leaf: IsLeaf | None = None) -> list[Any]:
    """The leaves of a tree, in order.

    Args:
        tree: any value.
        is_leaf: called on every subtree; where it answers true, the subtree is a leaf.

    Raises:
        TypeError, ValueError: as `flatten`.

    >>> leaves([1, {'b': 2, 'a': 3}, None])
    [1, 3, 2]
    """
    return flatten(tree, is_leaf)[0]


def structure(tree: Any, is_leaf: IsLeaf | None = None) -> TreeDef:
    """The structure of a tree.

    Args:
        tree: any value.
        is_leaf: called on every subtree; where it answers true, the subtree is a leaf.

    Raises:
        TypeError, ValueError: as `flatten`.

    >>> structure([1, {'a': 2.5}])
    PyTreeDef([*, {'a': *}])
    """
    return flatten(tree, is_leaf)[1]


def map(f: Callable[..., Any], tree: Any, *rest: Any, is_leaf: IsLeaf | None = None) -> Any:
    """Apply a function to each leaf of a tree, or to corresponding leaves of several.

    Args:
        f: takes a leaf of `tree` and what stands at its place in each tree of `rest`.
        tree: the tree whose structure the result gets.
        rest: further trees, of which `tree` must be a prefix.
        is_leaf: called on every subtree of `tree`; where it answers true, the subtree is a leaf.

    Raises:
        ValueError: if `tree` is no prefix of another tree, naming the place.
        TypeError, ValueError: as `flatten`.

    >>> map(lambda x, y: x + y, {'a': 1, 'b': [2]}, {'a': 10, 'b': [20]})
    {'a': 11, 'b': [22]}
    >>> map(lambda x, y: x + y, {'a': 1, 'b': [2]}, {'a': 10, 'b': (20,)})
    Traceback (most recent call last):
        ...
    ValueError: tree.map: tree 2 does not match tree 1: at ['b'], tree 1 has a list of length 1, tree 2 has a
    tuple of length 1
    """
    leaves, treedef = flatten(tree, is_leaf)
    if not rest:
        return treedef.unflatten([f(leaf) for leaf in leaves])
    columns = _columns("tree.map", treedef, rest)
    return treedef.unflatten([f(*row) for row in zip(leaves, *columns, strict=True)])


def _columns(caller: str, treedef: TreeDef, rest: Sequence[Any]) -> list[list[Any]]:
    return [
        subtrees_at_leaves(treedef, tree, f"{caller}: tree {i} does not match tree 1", "tree 1", f"tree {i}")
        for i, tree in enumerate(rest, 2)
    ]


def reduce(
    function: Callable[[Any, Any], Any],
    tree: Any,
    initializer: Any = _MISSING,
    is_leaf: IsLeaf | None = None,
) -> Any:
    """Combine the leaves of a tree, from the first to the last.

    Args:
        function: takes the result so far and a leaf.
        tree: any value.
        initializer: the first result; without it, the first leaf is.
        is_leaf: called on every subtree; where it answers true, the subtree is a leaf.

    Raises:
        TypeError: if there is no leaf and no initializer.
        TypeError, ValueError: as `flatten`.

    >>> reduce(lambda total, x: total + x, {'a': 1, 'b': (2, 3)})
    6
    """
    first = () if initializer is _MISSING else (initializer,)
    return functools.reduce(function, leaves(tree, is_leaf), *first)


def all(tree: Any, *, is_leaf: IsLeaf | None = None) -> bool:
    """Whether every leaf of a tree is true.

    Args:
        tree: any value.
        is_leaf: called on every subtree; where it answers true, the subtree is a leaf.

    Raises:
        TypeError, ValueError: as `flatten`.

    >>> all({'a': True, 'b': [True, False]})
    False
    """
    return builtins.all(leaves(tree, is_leaf))


def transpose(outer_treedef: TreeDef, inner_treedef: TreeDef | None, pytree_to_transpose: Any) -> Any:
    """Turn a tree of trees inside out.

    Args:
        outer_treedef: the structure of the outer tree.
        inner_treedef: the structure of each tree at its leaves; if None, that of the first.
        pytree_to_transpose: an outer tree of inner trees.

    Returns:
        An inner tree of outer trees.

    Raises:
        ValueError: if the tree is not of these structures, naming the place.

    >>> transpose(structure({'a': 0, 'b': 0}), structure([0, 0]), {'a': [1, 2], 'b': [3, 4]})
    [{'a': 1, 'b': 3}, {'a': 2, 'b': 4}]
    """
    names = "the treedef", "the tree"
    problem = "tree.transpose: the tree does not match outer_treedef"
    subtrees = subtrees_at_leaves(outer_treedef, pytree_to_transpose, problem, *names)
    if inner_treedef is None:
        if not subtrees:
            raise ValueError("tree.transpose: an outer_treedef without leaves needs an inner_treedef")
        inner_treedef = structure(subtrees[0])
    problem = "tree.transpose: the tree does not match inner_treedef"
    rows = [
        subtrees_at_leaves(inner_treedef, subtree, problem, *names, root=leaf_path(outer_treedef, i))
        for i, subtree in enumerate(subtrees)
    ]
    columns = [[row[j] for row in rows] for j in range(inner_treedef.num_leaves)]
    return inner_treedef.unflatten([outer_treedef.unflatten(column) for column in columns])


def check_prefix(
    prefix_tree: Any,
    full_tree: Any,
    prefix_name: str = "prefix",
    full_name: str = "tree",
    is_leaf: IsLeaf | None = None,
) -> list[Any]:
    """Check that a tree is a prefix of another: the same, but for subtrees where the prefix has leaves.

    Args:
        prefix_tree: the prefix.
        full_tree: the other tree.
        prefix_name: what messages call the prefix, such as `in_axes`.
        full_name: what messages call the other tree, such as `params`.
        is_leaf: called on every subtree of the prefix; where it answers true, the subtree is a leaf.

    Returns:
        The subtrees of the other tree at the leaves of the prefix.

    Raises:
        ValueError: if it is no prefix, naming the place and what is found there on each side.

    >>> check_prefix((0, None), ({'W': 1, 'b': 2}, None))
    [{'W': 1, 'b': 2}]
    >>> check_prefix({'W': [0, 1]}, {'W': 1.5}, 'in_axes', 'params')
    Traceback (most recent call last):
        ...
    ValueError: in_axes is not a prefix of params: at params['W'], in_axes has a list of length 2, params has
    a leaf of type float
    """
    problem = f"{prefix_name} is not a prefix of {full_name}"
    treedef = structure(prefix_tree, is_leaf)
    return subtrees_at_leaves(treedef, full_tree, problem, prefix_name, full_name, root=full_name)


def broadcast_prefix(prefix_tree: Any, full_tree: Any, is_leaf: IsLeaf | None = None) -> list[Any]:
    """The leaves of a prefix of a tree, each as often as the tree has leaves at its place.

    Args:
        prefix_tree: the prefix.
        full_tree: the other tree.
        is_leaf: called on every subtree of the prefix; where it answers true, the subtree is a leaf.

    Returns:
        A list as long as that of the leaves of `full_tree`.

    Raises:
        ValueError: if `prefix_tree` is no prefix of `full_tree`, naming the place.

    >>> broadcast_prefix((0, 1), ({'W': 2, 'b': 3}, 4))
    [0, 0, 1]
    """
    subtrees = check_prefix(prefix_tree, full_tree, is_leaf=is_leaf)
    pairs = zip(leaves(prefix_tree, is_leaf), subtrees, strict=True)
    return [leaf for leaf, subtree in pairs for _ in range(structure(subtree).num_leaves)]


def all_leaves(iterable: Iterable[Any], is_leaf: IsLeaf | None = None) -> bool:
    """Whether every item is a leaf.

    Args:
        iterable: the items.
        is_leaf: called on every item; where it answers true, the item is a leaf.

    >>> all_leaves([1, 'a']), all_leaves([1, [2]])
    (True, False)
    """
    return builtins.all([(is_leaf and is_leaf(item)) or kind_of(type(item)) is None for item in iterable])


# Key paths.


def flatten_with_path(tree: Any, is_leaf: IsLeaf | None = None) -> tuple[list[tuple[KeyPath, Any]], TreeDef]:
    """Take a tree apart, with the path to each leaf.

    Args:
        tree: any value.
        is_leaf: called on every subtree; where it answers true, the subtree is a leaf.

    Returns:
        The list of pairs of key path and leaf, and the structure.

    Raises:
        TypeError, ValueError: as `flatten`.

    >>> pairs, treedef = flatten_with_path({'W': [1.5, 2.5]})
    >>> pairs[1]
    ((DictKey(key='W'), SequenceKey(idx=1)), 2.5)
    """
    treedef = structure(tree, is_leaf)
    return list(leaves_with_path_of(treedef, tree)), treedef


def leaves_with_path(tree: Any, is_leaf: IsLeaf | None = None) -> list[tuple[KeyPath, Any]]:
    """The leaves of a tree, in order, each with the path to it.

    Args:
        tree: any value.
        is_leaf: called on every subtree; where it answers true, the subtree is a leaf.

    Raises:
        TypeError, ValueError: as `flatten`.

    >>> [(keystr(path), leaf) for path, leaf in leaves_with_path({'W': [1.5, 2.5]})]
    [("['W'][0]", 1.5), ("['W'][1]", 2.5)]
    """
    return flatten_with_path(tree, is_leaf)[0]


def map_with_path(f: Callable[..., Any], tree: Any, *rest: Any, is_leaf: IsLeaf | None = None) -> Any:
    """Apply a function to each leaf and its path.

    Args:
        f: takes a key path, a leaf of `tree`, and what stands at its place in each tree of `rest`.
        tree: the tree whose structure the result gets.
        rest: further trees, of which `tree` must be a prefix.
        is_leaf: called on every subtree of `tree`; where it answers true, the subtree is a leaf.

    Raises:
        ValueError: if `tree` is no prefix of another tree, naming the place.
        TypeError, ValueError: as `flatten`.

    >>> map_with_path(lambda path, x: f'{keystr(path)} is {x}', {'a': 1, 'b': [2]})
    {'a': "['a'] is 1", 'b': ["['b'][0] is 2"]}
    """
    pairs, treedef = flatten_with_path(tree, is_leaf)
    columns = _columns("tree.map_with_path", treedef, rest)
    return treedef.unflatten([f(*pair, *row) for pair, *row in zip(pairs, *columns, strict=True)])


# Treedefs of treedefs.


def treedef_is_leaf(treedef: TreeDef) -> bool:
    """Whether a structure is that of a leaf.

    Args:
        treedef: the structure.

    >>> treedef_is_leaf(structure(1.5)), treedef_is_leaf(structure(()))
    (True, False)
    """
    return treedef is LEAF


def treedef_children(treedef: TreeDef) -> list[TreeDef]:
    """The structures of the children of the root.

    Args:
        treedef: the structure.

    >>> treedef_children(structure((1, [2, 3])))
    [PyTreeDef(*), PyTreeDef([*, *])]
    """
    return treedef.children()


def treedef_tuple(treedefs: Iterable[TreeDef]) -> TreeDef:
    """The structure of a tuple of trees.

    Args:
        treedefs: the structures of the trees.

    >>> treedef_tuple([structure(1), structure([2])])
    PyTreeDef((*, [*]))
    """
    return TreeDef(tuple, None, treedefs)
