"""Node types of pytrees: how each is taken apart, put together again, and what its children are called.

A `NodeKind` says all that the rest of the library knows of a container type. Those of the standard library
are registered at the end of this file; users add their own with the `register_*` functions.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from functrans.config import config

Class = TypeVar("Class", bound="type[Any]")
KeyPath = tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class DictKey:
    """The key of an entry of a dict.

    Args:
        key: the key, any hashable value.

    >>> str(DictKey('W'))
    "['W']"
    """

    key: Hashable

    def __str__(self) -> str:
        return f"[{self.key!r}]"


@dataclasses.dataclass(frozen=True)
class SequenceKey:
    """The position of an entry of a list, tuple or deque.

    Args:
        idx: the position, counted from 0.

    >>> str(SequenceKey(2))
    '[2]'
    """

    idx: int

    def __str__(self) -> str:
        return f"[{self.idx!r}]"


@dataclasses.dataclass(frozen=True)
class GetAttrKey:
    """The name of a field of a namedtuple, dataclass or other object.

    Args:
        name: the name of the attribute.

    >>> str(GetAttrKey('weight'))
    '.weight'
    """

    name: str

    def __str__(self) -> str:
        return f".{self.name}"


@dataclasses.dataclass(frozen=True)
class FlattenedIndexKey:
    """The position of a child of a node whose type was registered without keys.

    Args:
        key: the position among the children, counted from 0.

    >>> str(FlattenedIndexKey(0))
    '[<flat index 0>]'
    """

    key: int

    def __str__(self) -> str:
        return f"[<flat index {self.key}>]"


def _simple_str(key: Any) -> str:
    match key:
        case DictKey(name) | SequenceKey(name) | GetAttrKey(name) | FlattenedIndexKey(name):
            return str(name)
        case _:
            return str(key)


def keystr(path: Sequence[Any], *, simple: bool = False, separator: str = "") -> str:
    """The text of a key path, such that a variable's name can stand before it.

    Args:
        path: the keys, from the root to the leaf.
        simple: if true, write the bare names and positions only.
        separator: the text between two keys.

    Returns:
        The joined text.

    >>> path = (DictKey('W'), SequenceKey(2), GetAttrKey('scale'))
    >>> 'params' + keystr(path)
    "params['W'][2].scale"
    >>> keystr(path, simple=True, separator='/')
    'W/2/scale'
    """
    return separator.join(map(_simple_str if simple else str, path))


class NodeKind(NamedTuple):
    """How nodes of one type are taken apart and put together.

    Attributes:
        flatten: from a node, its children and its data: what the node holds besides children.
        unflatten: from data and children, the node.
        keys: from data and the number of children, a key for each child.
        flatten_with_keys: from a node, pairs of key and child, and the data; for types whose keys only the
            node itself can tell.
    """

    flatten: Callable[[Any], tuple[Iterable[Any], Any]]
    unflatten: Callable[[Any, Any], Any]
    keys: Callable[[Any, int], Sequence[Any]]
    flatten_with_keys: Callable[[Any], tuple[Iterable[tuple[Any, Any]], Any]] | None = None

    def keyed_children(self, node: Any) -> list[tuple[Any, Any]]:
        """The children of a node, each with its key.

        >>> kind_of(dict).keyed_children({'a': 1})
        [(DictKey(key='a'), 1)]
        """
        if self.flatten_with_keys is not None:
            return [(key, child) for key, child in self.flatten_with_keys(node)[0]]
        children, data = self.flatten(node)
        children = tuple(children)
        return list(zip(self.keys(data, len(children)), children, strict=True))


_kinds: dict[type[Any], NodeKind] = {}

# The types last seen to be leaves: a member needs no other test. It is bounded, lest it keep classes alive.
leaf_types: set[type[Any]] = {bool, int, float, complex, str, bytes}
_MAX_LEAF_TYPES = 256


def kind_of(node_type: type[Any]) -> NodeKind | None:
    """The kind of a node type, or None if its instances are leaves.

    >>> kind_of(float) is None
    True
    """
    kind = _kinds.get(node_type)
    if kind is None and issubclass(node_type, tuple) and hasattr(node_type, "_fields"):
        return _NAMEDTUPLE
    if kind is None and len(leaf_types) < _MAX_LEAF_TYPES:
        leaf_types.add(node_type)
    return kind


def is_namedtuple(node_type: type[Any]) -> bool:
    """Whether instances of a class are taken apart as named tuples are: its fields are the children.

    >>> is_namedtuple(tuple)
    False
    """
    return kind_of(node_type) is _NAMEDTUPLE


def _register(node_type: type[Any], kind: NodeKind) -> None:
    if not isinstance(node_type, type):
        raise TypeError(f"only a class can be registered as a pytree node, not {node_type!r}")
    if node_type in _kinds:
        raise ValueError(f"{node_type.__module__}.{node_type.__qualname__} is already registered as a pytree node")
    _kinds[node_type] = kind
    leaf_types.discard(node_type)
    config.changed()


def _positions(data: Any, arity: int) -> Sequence[Any]:
    return [SequenceKey(i) for i in range(arity)]


def _flat_positions(data: Any, arity: int) -> Sequence[Any]:
    return [FlattenedIndexKey(i) for i in range(arity)]


def _keys_of_dummy(
    flatten_with_keys: Callable[[Any], tuple[Iterable[tuple[Any, Any]], Any]],
    unflatten: Callable[[Any, Any], Any],
) -> Callable[[Any, int], Sequence[Any]]:
    """Keys by asking a node made of placeholders, for where there is data but no node."""

    def keys(data: Any, arity: int) -> Sequence[Any]:
        try:
            dummy = unflatten(data, tuple(object() for _ in range(arity)))
            found = [key for key, _ in flatten_with_keys(dummy)[0]]
        except Exception:  # a class may well refuse placeholders; its keys are wanted for messages only
            return _flat_positions(data, arity)
        return found if len(found) == arity else _flat_positions(data, arity)

    return keys


def register_pytree_node(
    nodetype: type[Any],
    flatten_func: Callable[[Any], tuple[Iterable[Any], Any]],
    unflatten_func: Callable[[Any, Any], Any],
    flatten_with_keys_func: Callable[[Any], tuple[Iterable[tuple[Any, Any]], Any]] | None = None,
) -> None:
    """Make a class a type of pytree node.

    Args:
        nodetype: the class. Subclasses are not meant.
        flatten_func: from an instance, `(children, data)`; data should be hashable and comparable.
        unflatten_func: from data and a tuple of children, an instance. It must accept children of any type.
        flatten_with_keys_func: from an instance, `(pairs of key and child, data)`.

    Raises:
        TypeError: if `nodetype` is not a class.
        ValueError: if it is registered already.

    >>> from functrans import tree
    >>> class Pair:
    ...     def __init__(self, left, right):
    ...         self.left, self.right = left, right
    >>> register_pytree_node(Pair, lambda p: ((p.left, p.right), None), lambda _, children: Pair(*children))
    >>> tree.leaves(Pair(1, [2, 3]))
    [1, 2, 3]
    """
    keys = _keys_of_dummy(flatten_with_keys_func, unflatten_func) if flatten_with_keys_func else _flat_positions
    _register(nodetype, NodeKind(flatten_func, unflatten_func, keys, flatten_with_keys_func))


def register_pytree_with_keys(
    nodetype: type[Any],
    flatten_with_keys: Callable[[Any], tuple[Iterable[tuple[Any, Any]], Any]],
    unflatten_func: Callable[[Any, Any], Any],
    flatten_func: Callable[[Any], tuple[Iterable[Any], Any]] | None = None,
) -> None:
    """Make a class a type of pytree node whose children have keys.

    Args:
        nodetype: the class. Subclasses are not meant.
        flatten_with_keys: from an instance, `(pairs of key and child, data)`.
        unflatten_func: from data and a tuple of children, an instance.
        flatten_func: from an instance, `(children, data)`, where that is faster.

    Raises:
        TypeError: if `nodetype` is not a class.
        ValueError: if it is registered already.

    >>> from functrans import tree
    >>> class Box:
    ...     def __init__(self, item):
    ...         self.item = item
    >>> register_pytree_with_keys(
    ...     Box, lambda b: (((GetAttrKey('item'), b.item),), None), lambda _, children: Box(*children))
    >>> tree.leaves_with_path(Box(1.5))
    [((GetAttrKey(name='item'),), 1.5)]
    """

    def flatten_without_keys(node: Any) -> tuple[Iterable[Any], Any]:
        pairs, data = flatten_with_keys(node)
        return [child for _, child in pairs], data

    register_pytree_node(nodetype, flatten_func or flatten_without_keys, unflatten_func, flatten_with_keys)


def register_pytree_node_class(cls: Class) -> Class:
    """Make a class with methods `tree_flatten` and `tree_unflatten` a type of pytree node.

    Args:
        cls: a class whose `tree_flatten(self)` gives `(children, data)` and whose class method
            `tree_unflatten(data, children)` gives an instance.

    Returns:
        The class, so that this serves as a decorator.

    Raises:
        ValueError: if the class is registered already.

    >>> from functrans import tree
    >>> @register_pytree_node_class
    ... class Scaled:
    ...     def __init__(self, value, unit):
    ...         self.value, self.unit = value, unit
    ...     def tree_flatten(self):
    ...         return (self.value,), self.unit
    ...     @classmethod
    ...     def tree_unflatten(cls, unit, children):
    ...         return cls(*children, unit)
    >>> tree.map(lambda x: 2 * x, Scaled(3.0, 'm')).value
    6.0
    """
    node_class: Any = cls
    register_pytree_node(cls, node_class.tree_flatten, node_class.tree_unflatten)
    return cls


def register_pytree_with_keys_class(cls: Class) -> Class:
    """Make a class with methods `tree_flatten_with_keys` and `tree_unflatten` a type of pytree node.

    Args:
        cls: a class whose `tree_flatten_with_keys(self)` gives `(pairs of key and child, data)` and whose
            class method `tree_unflatten(data, children)` gives an instance. `tree_flatten(self)`, which gives
            `(children, data)`, is used where present.

    Returns:
        The class, so that this serves as a decorator.

    Raises:
        ValueError: if the class is registered already.

    >>> from functrans import tree
    >>> @register_pytree_with_keys_class
    ... class Named:
    ...     def __init__(self, name, value):
    ...         self.name, self.value = name, value
    ...     def tree_flatten_with_keys(self):
    ...         return ((DictKey(self.name), self.value),), self.name
    ...     @classmethod
    ...     def tree_unflatten(cls, name, children):
    ...         return cls(name, *children)
    >>> tree.leaf_path(tree.structure(Named('bias', 0.0)), 0, 'params')
    "params['bias']"
    """
    node_class: Any = cls
    flatten = getattr(node_class, "tree_flatten", None)
    register_pytree_with_keys(cls, node_class.tree_flatten_with_keys, node_class.tree_unflatten, flatten)
    return cls


def register_dataclass(
    nodetype: Class,
    data_fields: Sequence[str] | None = None,
    meta_fields: Sequence[str] | None = None,
    drop_fields: Sequence[str] = (),
) -> Class:
    """Make a dataclass a type of pytree node.

    Args:
        nodetype: a dataclass, or any class whose constructor takes its fields by name.
        data_fields: the fields that are children. If this and `meta_fields` are left out, the fields of the
            dataclass are taken, those marked `dataclasses.field(metadata={'static': True})` as `meta_fields`.
        meta_fields: the fields that belong to the structure; their values should be hashable and comparable.
        drop_fields: the fields that are neither, and which take their defaults when a node is rebuilt.

    Returns:
        The class, so that this serves as a decorator.

    Raises:
        TypeError: if `nodetype` is not a class, or the fields are left out and it is no dataclass.
        ValueError: if it is registered already, only one of `data_fields` and `meta_fields` is given, or
            together they are not the fields of the dataclass that its constructor takes.

    >>> from functrans import tree
    >>> @register_dataclass
    ... @dataclasses.dataclass
    ... class Layer:
    ...     weight: float
    ...     activation: str = dataclasses.field(metadata={'static': True})
    >>> tree.map(lambda x: -x, Layer(0.5, 'relu'))
    Layer(weight=-0.5, activation='relu')
    """
    data_names, meta_names = _dataclass_fields(nodetype, data_fields, meta_fields, drop_fields)

    def flatten(node: Any) -> tuple[Iterable[Any], Any]:
        return [getattr(node, name) for name in data_names], tuple([getattr(node, name) for name in meta_names])

    def unflatten(data: Any, children: Any) -> Any:
        return nodetype(**dict(zip(meta_names, data, strict=True)), **dict(zip(data_names, children, strict=True)))

    def keys(data: Any, arity: int) -> Sequence[Any]:
        return [GetAttrKey(name) for name in data_names]

    _register(nodetype, NodeKind(flatten, unflatten, keys))
    return nodetype


def _dataclass_fields(
    nodetype: type[Any],
    data_fields: Sequence[str] | None,
    meta_fields: Sequence[str] | None,
    drop_fields: Sequence[str],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the fields that are children and of those that are data, checked."""
    is_dataclass = isinstance(nodetype, type) and dataclasses.is_dataclass(nodetype)
    fields = [f for f in dataclasses.fields(nodetype) if f.init] if is_dataclass else []
    if data_fields is None and meta_fields is None:
        if not is_dataclass:
            raise TypeError(f"register_dataclass needs data_fields and meta_fields, as {nodetype!r} is no dataclass")
        fields = [f for f in fields if f.name not in drop_fields]
        static = [f.name for f in fields if f.metadata.get("static", False)]
        return tuple(f.name for f in fields if f.name not in static), tuple(static)
    if data_fields is None or meta_fields is None:
        raise ValueError("register_dataclass needs both data_fields and meta_fields, or neither")
    expected = {f.name for f in fields}.difference(drop_fields)
    given = {*data_fields, *meta_fields}
    if is_dataclass and given != expected:
        raise ValueError(
            f"data_fields and meta_fields must be the fields that {nodetype.__name__} is made from: "
            f"missing {sorted(expected - given)}, unexpected {sorted(given - expected)}"
        )
    return tuple(data_fields), tuple(meta_fields)


class _Sealed:
    """A callable around a `functools.partial`, which `Partial` would take apart otherwise."""

    __slots__ = ("func",)

    def __init__(self, func: Callable[..., Any]) -> None:
        self.func = func

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.func(*args, **kwargs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Sealed) and bool(self.func == other.func)

    def __hash__(self) -> int:
        return hash(self.func)

    def __repr__(self) -> str:
        return repr(self.func)


class Partial(functools.partial[Any]):
    """A `functools.partial` that is a pytree: its arguments are children, its function is data.

    So a function can be passed, with the arrays that it needs, where only pytrees can.

    Args:
        func: the function; if it is a `functools.partial` itself, the arguments bound by that stay inside it.
        *args: the first positional arguments.
        **keywords: keyword arguments.

    >>> from functrans import tree
    >>> double = Partial(lambda x, y: x * y, 2.0)
    >>> double(3.0)
    6.0
    >>> tree.map(lambda x: x + 1, double)(3.0)
    9.0
    """

    def __new__(cls, func: Callable[..., Any], /, *args: Any, **keywords: Any) -> Partial:
        sealed = _Sealed(func) if isinstance(func, functools.partial) else func
        return super().__new__(cls, sealed, *args, **keywords)


def unsortable(node: dict[Any, Any]) -> TypeError:
    """The error to raise for a dict whose keys cannot be compared.

    >>> raise unsortable({'b': 1, 0: 2})
    Traceback (most recent call last):
        ...
    TypeError: the keys of a dict must be sortable to be flattened, but these are not: ['b', 0]; an
    OrderedDict keeps its order
    """
    return TypeError(
        "the keys of a dict must be sortable to be flattened, but these are not: "
        f"{[*node]}; an OrderedDict keeps its order"
    )


def _flatten_dict(node: Any) -> tuple[Iterable[Any], Any]:
    try:
        keys = tuple(sorted(node))
    except TypeError as error:
        raise unsortable(node) from error
    return [node[key] for key in keys], keys


def _flatten_defaultdict(node: Any) -> tuple[Iterable[Any], Any]:
    children, keys = _flatten_dict(node)
    return children, (node.default_factory, keys)


def _dict_keys(data: Any, arity: int) -> Sequence[Any]:
    return [DictKey(key) for key in data]


_NAMEDTUPLE = NodeKind(
    lambda node: (node, type(node)),
    lambda data, children: data(*children),
    lambda data, arity: [GetAttrKey(name) for name in data._fields],
)
_register(tuple, NodeKind(lambda node: (node, None), lambda _, children: tuple(children), _positions))
_register(list, NodeKind(lambda node: (node, None), lambda _, children: list(children), _positions))
_register(type(None), NodeKind(lambda node: ((), None), lambda _, children: None, _positions))
_register(dict, NodeKind(_flatten_dict, lambda keys, children: dict(zip(keys, children, strict=True)), _dict_keys))
_register(
    collections.OrderedDict,
    NodeKind(
        lambda node: (node.values(), tuple(node)),
        lambda keys, children: collections.OrderedDict(zip(keys, children, strict=True)),
        _dict_keys,
    ),
)
_register(
    collections.defaultdict,
    NodeKind(
        _flatten_defaultdict,
        lambda data, children: collections.defaultdict(data[0], zip(data[1], children, strict=True)),
        lambda data, arity: _dict_keys(data[1], arity),
    ),
)
_register(
    collections.deque,
    NodeKind(
        lambda node: (node, node.maxlen),
        lambda maxlen, children: collections.deque(children, maxlen),
        _positions,
    ),
)
_register(
    Partial,
    NodeKind(
        lambda node: ((node.args, node.keywords), node.func),
        lambda func, children: Partial(func, *children[0], **children[1]),
        lambda data, arity: (GetAttrKey("args"), GetAttrKey("keywords")),
    ),
)
