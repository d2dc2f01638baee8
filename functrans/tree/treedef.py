"""The structure of pytrees, and how they are taken apart and put together.

Every call of a transformed function flattens its arguments, so this must be fast. One walk over the tree
collects the leaves and a *shape*: nested tuples of types, keys and data, which are cheap to make and to hash.
A table leads from the shape to the `TreeDef`. Thus equal trees nearly always have the identical `TreeDef`,
and what is derived from a `TreeDef`, its hash and its builder, is derived once.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from functrans.caching import register_table
from functrans.forking import fork_safe_lock
from functrans.tree.building import builder, generated_builder, kind_of_node
from functrans.tree.depth import why_too_deep
from functrans.tree.registry import KeyPath, keystr, kind_of, leaf_types, unsortable

IsLeaf = Callable[[Any], bool]
Shape = tuple[Any, ...] | None


class TreeDef:
    """The structure of a pytree: what is left of it when its leaves are taken away.

    Immutable, hashable, equal to the treedefs of all trees of the same structure, and picklable if the data
    of its nodes are. `flatten` makes treedefs.

    Attributes:
        num_leaves: the number of leaves.
        num_nodes: the number of nodes, leaves included.

    >>> from functrans.tree import structure
    >>> treedef = structure({'a': 0, 'b': (1, None)})
    >>> treedef
    PyTreeDef({'a': *, 'b': (*, None)})
    >>> treedef.num_leaves, treedef.num_nodes
    (2, 5)
    >>> treedef == structure({'b': ('x', None), 'a': 'y'})
    True
    """

    __slots__ = (
        "__weakref__",
        "_build",
        "_children",
        "_closures",
        "_data",
        "_hash",
        "_n_built",
        "_type",
        "num_leaves",
        "num_nodes",
    )

    num_leaves: int
    num_nodes: int
    _type: Any  # the class of the node, or None for a leaf
    _data: Any
    _children: tuple[TreeDef, ...]
    _hash: int | None
    _build: Callable[[Collection[Any]], Any] | None
    _closures: Callable[[Iterator[Any]], Any] | None
    _n_built: int

    def __init__(self, node_type: Any, data: Any, children: Iterable[TreeDef]) -> None:
        put = functools.partial(object.__setattr__, self)
        kids = tuple(children)
        put("_type", node_type)
        put("_data", data)
        put("_children", kids)
        put("num_leaves", sum([child.num_leaves for child in kids]) if node_type is not None else 1)
        put("num_nodes", 1 + sum([child.num_nodes for child in kids]))
        put("_hash", None)
        put("_build", None)
        put("_closures", None)
        put("_n_built", 0)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a TreeDef is immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a TreeDef is immutable: cannot delete {name!r}")

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, TreeDef):
            return NotImplemented
        return (
            self._type is other._type
            and self.num_nodes == other.num_nodes
            and hash(self) == hash(other)
            and _same_data(self._data, other._data)
            and self._children == other._children
        )

    def __hash__(self) -> int:
        if self._hash is None:
            try:
                data_hash = hash(self._data)
            except TypeError:  # data need only be comparable: equality then decides alone
                data_hash = 0
            object.__setattr__(self, "_hash", hash((self._type, data_hash, self._children)))
        return self._hash  # type: ignore[return-value]

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._type, self._data, self._children)

    def __copy__(self) -> TreeDef:
        return self

    def __deepcopy__(self, memo: Any) -> TreeDef:
        return self

    def __repr__(self) -> str:
        return f"PyTreeDef({_text(self)})"

    def unflatten(self, leaves: Iterable[Any]) -> Any:
        """A tree of this structure.

        Args:
            leaves: its leaves, in order, of any types.

        Raises:
            ValueError: if there are too few or too many.

        >>> from functrans.tree import structure
        >>> structure([0, (0, 0)]).unflatten('abc')
        ['a', ('b', 'c')]
        """
        if not isinstance(leaves, (list, tuple)):
            leaves = list(leaves)
        if len(leaves) != self.num_leaves:
            many = "few" if len(leaves) < self.num_leaves else "many"
            raise ValueError(f"too {many} leaves for {self}: expected {self.num_leaves}, got {len(leaves)}")
        build = self._build
        return _first_built(self, leaves) if build is None else build(leaves)

    def flatten_up_to(self, tree: Any) -> list[Any]:
        """The subtrees of a tree that stand where this structure has its leaves.

        Args:
            tree: a tree of which this structure is a prefix.

        Raises:
            ValueError: if it is not, naming the place.

        >>> from functrans.tree import structure
        >>> structure([0, 0]).flatten_up_to([1, {'a': 2}])
        [1, {'a': 2}]
        """
        return subtrees_at_leaves(self, tree, "the tree does not match the treedef", "the treedef", "the tree")

    def children(self) -> list[TreeDef]:
        """The structures of the children of the root.

        >>> from functrans.tree import structure
        >>> structure(([0, 0], 0)).children()
        [PyTreeDef([*, *]), PyTreeDef(*)]
        """
        return list(self._children)

    def node_data(self) -> tuple[type[Any], Any] | None:
        """The type of the root and its data (of a dict, the sorted keys), or None if the root is a leaf.

        >>> from functrans.tree import structure
        >>> structure({'b': 0, 'a': 0}).node_data()
        (<class 'dict'>, ['a', 'b'])
        """
        if self._type is None:
            return None
        return self._type, list(self._data) if self._type is dict else self._data


LEAF = TreeDef(None, None, ())

_GENERATED_AFTER = 32
"""So many trees are built by closures before a function is generated, which costs about that many times more."""


def _first_built(treedef: TreeDef, leaves: Collection[Any]) -> Any:
    """One of the first trees of a structure."""
    n_built = treedef._n_built + 1
    object.__setattr__(treedef, "_n_built", n_built)
    if n_built == _GENERATED_AFTER:
        object.__setattr__(treedef, "_build", generated_builder(treedef))
    if treedef._closures is None:
        object.__setattr__(treedef, "_closures", builder(treedef))
    return treedef._closures(iter(leaves))  # type: ignore[misc]


def _rebuild(node_type: Any, data: Any, children: tuple[TreeDef, ...]) -> TreeDef:
    return LEAF if node_type is None else TreeDef(node_type, data, children)


def _same_data(a: Any, b: Any) -> bool:
    return a is b or bool(a == b)


def _text(node: TreeDef) -> str:
    if node is LEAF:
        return "*"
    if node._type is type(None):
        return "None"
    texts = [_text(child) for child in node._children]
    if node._type is tuple:
        return f"({texts[0]},)" if len(texts) == 1 else f"({', '.join(texts)})"
    if node._type is list:
        return f"[{', '.join(texts)}]"
    if node._type is dict:
        return "{" + ", ".join([f"{key!r}: {text}" for key, text in zip(node._data, texts, strict=True)]) + "}"
    name, data = node._type.__name__, node._data
    head = f"namedtuple[{name}]" if data is node._type else f"{name}[{data}]"
    return f"CustomNode({head}, [{', '.join(texts)}])"


# Flattening: from a tree to its leaves and its shape.


def exact_key(data: Any) -> tuple[Any, ...]:
    """A key equal to those of the same values of the same types: 1 is not True, 0.0 is not -0.0.

    What is no plain value is compared by identity; the treedef in the table keeps it alive.
    """
    kind = type(data)
    if kind is tuple:
        return (tuple, *[exact_key(item) for item in data])
    if kind in (str, int, bool, bytes, type, type(None)):
        return kind, data
    if kind is float:
        return float, data.hex()
    return id, id(data)


def _shape(
    tree: Any, leaves: list[Any], data: list[Any], is_leaf: IsLeaf | None, plain: Collection[type[Any]]
) -> Shape:
    """The shape of a tree: None for a leaf, else a tuple of the node's type, data and children's shapes.

    Appends to `leaves` the leaves, and to `data` what the shape has the `exact_key` of. Types in `plain` are
    leaves without further question, which spares most of the calls.
    """
    if is_leaf is not None and is_leaf(tree):
        leaves.append(tree)
        return None
    node_type = type(tree)
    if node_type is dict:
        return _dict_shape(tree, leaves, data, is_leaf, plain)
    children: Iterable[Any]
    if node_type is tuple or node_type is list:
        shape: list[Any] = [node_type]
        children = tree
    elif (kind := kind_of(node_type)) is None:
        leaves.append(tree)
        return None
    else:
        children, node_data = kind.flatten(tree)
        shape = [node_type, exact_key(node_data)]
        data.append(node_data)
    for child in children:
        if type(child) in plain:
            leaves.append(child)
            shape.append(None)
        else:
            shape.append(_shape(child, leaves, data, is_leaf, plain))
    return tuple(shape)


def _dict_shape(
    tree: dict[Any, Any],
    leaves: list[Any],
    data: list[Any],
    is_leaf: IsLeaf | None,
    plain: Collection[type[Any]],
) -> Shape:
    """The shape of a dict: its type, then by turns a key and a child's shape; a string is its own key."""
    try:
        keys = sorted(tree)
    except TypeError as error:
        raise unsortable(tree) from error
    shape: list[Any] = [dict]
    for key in keys:
        if type(key) is str:
            shape.append(key)
        else:
            shape.append(exact_key(key))
            data.append(key)
        child = tree[key]
        if type(child) in plain:
            leaves.append(child)
            shape.append(None)
        else:
            shape.append(_shape(child, leaves, data, is_leaf, plain))
    return tuple(shape)


# From shapes to treedefs. Plain treedefs stay in the table until it holds too many nodes. One whose data is
# compared by identity could keep anything alive, such as arrays in a closure: it stays while others use it.

_treedefs: dict[Shape, TreeDef] = {None: LEAF}
_held_elsewhere: weakref.WeakValueDictionary[Shape, TreeDef] = weakref.WeakValueDictionary()
_lock = fork_safe_lock()  # reentrant: garbage collection may run code that flattens
_room = _MAX_NODES = 200_000


def _forget_treedefs() -> None:
    global _room
    with _lock:
        _treedefs.clear()
        _treedefs[None], _room = LEAF, _MAX_NODES


register_table("structures (limit in nodes)", _treedefs, _MAX_NODES, _forget_treedefs)


def _intern(shape: Shape, data: list[Any]) -> TreeDef:
    """The treedef of a shape that `_treedefs` lacks."""
    global _room
    found = _held_elsewhere.get(shape)
    if found is not None:
        return found
    treedef = _from_shape(shape, iter(data))
    with _lock:
        if _has_identity(shape):
            return _held_elsewhere.setdefault(shape, treedef)
        _room -= treedef.num_nodes
        if _room < 0:
            _forget_treedefs()
            _room -= treedef.num_nodes
        return _treedefs.setdefault(shape, treedef)


def _has_identity(shape: Any) -> bool:
    return shape is id or (type(shape) is tuple and any([_has_identity(item) for item in shape]))


def _from_shape(shape: Shape, data: Iterator[Any]) -> TreeDef:
    if shape is None:
        return LEAF
    node_type, *rest = shape
    if node_type is tuple or node_type is list:
        return TreeDef(node_type, None, [_from_shape(child, data) for child in rest])
    if node_type is not dict:
        node_data = next(data)
        return TreeDef(node_type, node_data, [_from_shape(child, data) for child in rest[1:]])
    keys, children = [], []
    for key, child in zip(rest[::2], rest[1::2], strict=True):
        keys.append(key if type(key) is str else next(data))
        children.append(_from_shape(child, data))
    return TreeDef(dict, tuple(keys), children)


def flatten(tree: Any, is_leaf: IsLeaf | None = None) -> tuple[list[Any], TreeDef]:
    """Take a tree apart.

    Args:
        tree: any value.
        is_leaf: called on every subtree; where it answers true, the subtree is a leaf.

    Returns:
        The list of leaves and the structure.

    Raises:
        TypeError: if the keys of a dict cannot be sorted.
        ValueError: if the tree contains itself or is nested too deeply.

    >>> flatten({'b': 1, 'a': (2, None)})
    ([2, 1], PyTreeDef({'a': (*, None), 'b': *}))
    >>> flatten([(1, 2), (3, 4)], is_leaf=lambda x: isinstance(x, tuple))
    ([(1, 2), (3, 4)], PyTreeDef([*, *]))
    """
    leaves: list[Any] = []
    data: list[Any] = []
    try:
        shape = _shape(tree, leaves, data, is_leaf, leaf_types if is_leaf is None else ())
        return leaves, _treedefs.get(shape) or _intern(shape, data)
    except RecursionError:
        raise ValueError(why_too_deep(tree)) from None


def unflatten(treedef: TreeDef, leaves: Iterable[Any]) -> Any:
    """Put a tree together.

    Args:
        treedef: the structure.
        leaves: the leaves, in the order in which `flatten` gives them.

    Raises:
        ValueError: if there are too few or too many leaves.

    >>> leaves, treedef = flatten({'a': (1, 2), 'b': None})
    >>> unflatten(treedef, [x * 10 for x in leaves])
    {'a': (10, 20), 'b': None}
    """
    return treedef.unflatten(leaves)


# Several trees: where they differ, the message says so.


def _matching_children(node: TreeDef, tree: Any) -> Collection[Any] | None:
    """The children of a tree, or None if its root is not of the type, data and arity of `node`."""
    if type(tree) is not node._type:
        return None
    arity = len(node._children)
    if node._type is tuple or node._type is list:
        return tree if len(tree) == arity else None
    if node._type is dict:
        try:
            return [tree[key] for key in node._data] if len(tree) == arity else None
        except KeyError:
            return None
    children, data = kind_of_node(node).flatten(tree)
    children = tuple(children)
    return children if len(children) == arity and _same_data(node._data, data) else None


def _match(node: TreeDef, tree: Any, subtrees: list[Any]) -> bool:
    """Append the subtrees of `tree` at the leaves of `node`; false if `node` is no prefix of it."""
    if node is LEAF:
        subtrees.append(tree)
        return True
    children = _matching_children(node, tree)
    if children is None:
        return False
    for sub, child in zip(node._children, children, strict=True):
        if sub is LEAF:
            subtrees.append(child)
        elif not _match(sub, child, subtrees):
            return False
    return True


def subtrees_at_leaves(
    node: TreeDef, tree: Any, problem: str, node_name: str, tree_name: str, root: str = ""
) -> list[Any]:
    """`flatten_up_to`, with an error message of the caller's.

    Args:
        node: the structure.
        tree: a tree of which it should be a prefix.
        problem: how the message begins.
        node_name: what it calls the structure.
        tree_name: what it calls the tree.
        root: what the paths in it begin with.

    Raises:
        ValueError: if the structure is no prefix of the tree, naming the place.

    >>> subtrees_at_leaves(LEAF, [1, 2], 'no prefix', 'the treedef', 'the tree')
    [[1, 2]]
    """
    subtrees: list[Any] = []
    if _match(node, tree, subtrees):
        return subtrees
    path, sub, subtree = _first_mismatch(node, tree, ())
    place = root + keystr(path) or "the root"
    expected, found = _describe(sub._type, sub._data, len(sub._children)), _describe_tree(subtree)
    raise ValueError(f"{problem}: at {place}, {node_name} has {expected}, {tree_name} has {found}")


def _first_mismatch(node: TreeDef, tree: Any, path: KeyPath) -> tuple[KeyPath, TreeDef, Any]:
    """The first place where `node`, which is no prefix of `tree`, differs from it."""
    if _matching_children(node, tree) is not None:
        for sub, (key, child) in zip(node._children, kind_of_node(node).keyed_children(tree), strict=True):
            if not _match(sub, child, []):
                return _first_mismatch(sub, child, (*path, key))
    return path, node, tree


def _describe_tree(tree: Any) -> str:
    kind = kind_of(type(tree))
    if kind is None:
        return f"a leaf of type {type(tree).__name__}"
    if type(tree) is dict:  # its keys need not be sortable if no node was expected here
        return _describe(dict, tuple(tree), len(tree))
    children, data = kind.flatten(tree)
    return _describe(type(tree), data, len(tuple(children)))


def _describe(node_type: type[Any], data: Any, arity: int) -> str:
    if node_type is type(None):
        return "None"
    name = node_type.__name__
    noun = f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"
    if node_type is dict:
        return f"a dict with keys {sorted(data, key=repr)}" if data else "an empty dict"
    if data is None or data == () or data is node_type:
        return f"{noun} of length {arity}"
    return f"{noun} with data {data!r} and {arity} {'child' if arity == 1 else 'children'}"


# Key paths.


def leaves_with_path_of(node: TreeDef, tree: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """The leaves of a tree of a known structure, each with its path.

    Args:
        node: the structure.
        tree: a tree of this structure.
        path: what the paths begin with.

    >>> leaves, treedef = flatten({'W': [1.5]})
    >>> list(leaves_with_path_of(treedef, {'W': [1.5]}))
    [((DictKey(key='W'), SequenceKey(idx=0)), 1.5)]
    """
    if node is LEAF:
        yield path, tree
        return
    for sub, (key, child) in zip(node._children, kind_of_node(node).keyed_children(tree), strict=True):
        yield from leaves_with_path_of(sub, child, (*path, key))


def leaf_path(treedef: TreeDef, index: int, root: str = "") -> str:
    """The path to a leaf, as text, from the structure alone.

    Args:
        treedef: the structure.
        index: the position of the leaf.
        root: what the text begins with, such as the name of an argument.

    Raises:
        IndexError: if there is no such leaf.

    >>> from functrans.tree import structure
    >>> leaf_path(structure({'W': [1, 2, 3], 'b': 4}), 2, 'params')
    "params['W'][2]"
    """
    if not 0 <= index < treedef.num_leaves:
        raise IndexError(f"{treedef} has no leaf {index}")
    node, path = treedef, root
    while node is not LEAF:
        keys = kind_of_node(node).keys(node._data, len(node._children))
        for key, child in zip(keys, node._children, strict=True):
            if index < child.num_leaves:
                node, path = child, path + str(key)
                break
            index -= child.num_leaves
    return path
