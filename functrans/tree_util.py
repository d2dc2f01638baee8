"""Pytrees under the names that they have in `jax.tree_util`; `functrans.tree` describes them.

>>> from functrans import tree_util
>>> tree_util.tree_map(lambda x: x + 1, {'a': 1, 'b': (2, 3)})
{'a': 2, 'b': (3, 4)}
"""

from functrans.tree import (
    DictKey,
    FlattenedIndexKey,
    GetAttrKey,
    Partial,
    SequenceKey,
    all_leaves,
    keystr,
    register_dataclass,
    register_pytree_node,
    register_pytree_node_class,
    register_pytree_with_keys,
    register_pytree_with_keys_class,
    treedef_children,
    treedef_is_leaf,
    treedef_tuple,
)
from functrans.tree import TreeDef as PyTreeDef
from functrans.tree import all as tree_all
from functrans.tree import flatten as tree_flatten
from functrans.tree import flatten_with_path as tree_flatten_with_path
from functrans.tree import leaves as tree_leaves
from functrans.tree import leaves_with_path as tree_leaves_with_path
from functrans.tree import map as tree_map
from functrans.tree import map_with_path as tree_map_with_path
from functrans.tree import reduce as tree_reduce
from functrans.tree import structure as tree_structure
from functrans.tree import transpose as tree_transpose
from functrans.tree import unflatten as tree_unflatten

__all__ = [
    "DictKey",
    "FlattenedIndexKey",
    "GetAttrKey",
    "Partial",
    "PyTreeDef",
    "SequenceKey",
    "all_leaves",
    "keystr",
    "register_dataclass",
    "register_pytree_node",
    "register_pytree_node_class",
    "register_pytree_with_keys",
    "register_pytree_with_keys_class",
    "tree_all",
    "tree_flatten",
    "tree_flatten_with_path",
    "tree_leaves",
    "tree_leaves_with_path",
    "tree_map",
    "tree_map_with_path",
    "tree_reduce",
    "tree_structure",
    "tree_transpose",
    "tree_unflatten",
    "treedef_children",
    "treedef_is_leaf",
    "treedef_tuple",
]
