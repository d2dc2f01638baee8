"""Pytrees: round trips of random trees, key paths, registration, and every error message word for word."""

import collections
import copy
import dataclasses
import functools
import gc
import operator
import pickle
import sys
import threading
import weakref
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functrans import tree, tree_util
from functrans.tree import treedef as treedef_module
from functrans.tree.building import generated_builder


class Point(NamedTuple):
    x: object
    y: object


@tree.register_dataclass
@dataclasses.dataclass
class Layer:
    weight: object
    bias: object
    name: object = dataclasses.field(default="", metadata={"static": True})


@tree.register_pytree_node_class
class Unkeyed:
    """A node without keys, whose data is anything."""

    def __init__(self, children, data=None):
        self.children, self.data = tuple(children), data

    def tree_flatten(self):
        return self.children, self.data

    @classmethod
    def tree_unflatten(cls, data, children):
        return cls(children, data)

    def __eq__(self, other):
        return (self.children, self.data) == (other.children, other.data)

    __hash__ = None


@tree.register_pytree_with_keys_class
class Keyed(Unkeyed):
    """A node whose data are the keys."""

    def tree_flatten_with_keys(self):
        keys = [tree.GetAttrKey(name) for name in self.data]
        return list(zip(keys, self.children, strict=True)), self.data


@tree.register_pytree_with_keys_class
class Picky(Keyed):
    """A node that refuses children that are no numbers."""

    def __init__(self, children, data):
        super().__init__(children, data)
        for child in children:
            child + 1


class DictSubclass(dict):
    pass


class ListSubclass(list):
    pass


scalars = st.one_of(st.integers(), st.floats(allow_nan=False), st.text(max_size=3), st.booleans())
names = st.text("abc", max_size=2)
mixed_keys = st.one_of(st.integers(-2, 2), st.booleans(), st.sampled_from([0.0, -0.0, 0.5, 1.0]))


def containers(items):
    return st.one_of(
        st.lists(items, max_size=4),
        st.lists(items, max_size=4).map(tuple),
        st.dictionaries(names, items, max_size=4),
        st.dictionaries(mixed_keys, items, max_size=3),
        st.dictionaries(names, items, max_size=3).map(collections.OrderedDict),
        st.dictionaries(names, items, max_size=3).map(lambda d: collections.defaultdict(list, d)),
        st.builds(collections.deque, st.lists(items, max_size=3), st.sampled_from([None, 3, 5])),
        st.builds(Point, items, items),
        st.builds(Layer, items, items, st.one_of(names, mixed_keys)),
        st.builds(Unkeyed, st.lists(items, max_size=3), st.one_of(names, mixed_keys)),
        st.lists(items, max_size=3).map(lambda c: Keyed(c, tuple("pqr"[: len(c)]))),
    )


trees = st.recursive(st.one_of(scalars, st.none()), containers, max_leaves=12)


def exactly(value):
    """A text that tells 1 from True and 0.0 from -0.0, in keys and data too."""
    if isinstance(value, Unkeyed):
        return f"{type(value).__name__}({[exactly(c) for c in value.children]}, {value.data!r})"
    if isinstance(value, Layer):
        return f"Layer({exactly(value.weight)}, {exactly(value.bias)}, {value.name!r})"
    if isinstance(value, dict):
        pairs = [(key, value[key]) for key in sorted(value)]
        return f"{type(value).__name__}({[(repr(k), exactly(v)) for k, v in pairs]})"
    if isinstance(value, list | tuple | collections.deque):
        return f"{type(value).__name__}({[exactly(v) for v in value]}, {getattr(value, 'maxlen', None)})"
    return repr(value)


# Properties of all trees.


@given(trees)
def test_unflatten_inverts_flatten(value):
    leaves, treedef = tree.flatten(value)
    assert exactly(tree.unflatten(treedef, leaves)) == exactly(value)
    assert exactly(treedef.unflatten(iter(leaves))) == exactly(value)
    assert len(leaves) == treedef.num_leaves


@given(trees)
def test_flatten_inverts_unflatten(value):
    treedef = tree.structure(value)
    leaves = [object() for _ in range(treedef.num_leaves)]
    again, same = tree.flatten(treedef.unflatten(leaves))
    assert list(map(id, again)) == list(map(id, leaves))
    assert same == treedef


@given(trees)
def test_map_of_the_identity(value):
    assert exactly(tree.map(lambda x: x, value)) == exactly(value)
    assert exactly(tree.map(lambda x, y: y, value, value)) == exactly(value)


@given(trees)
def test_the_structure_ignores_the_leaves(value):
    treedef = tree.structure(value)
    other = tree.structure(tree.map(lambda x: None.__class__, value))
    assert treedef == other
    assert hash(treedef) == hash(other)


@given(trees, trees)
def test_equality_of_structures_is_that_of_their_parts(one, two):
    a, b = tree.structure(one), tree.structure(two)
    same_root = a.node_data() == b.node_data()
    assert (a == b) == (same_root and a.children() == b.children())
    assert a != b or hash(a) == hash(b)


@given(trees)
def test_structures_are_pickled_and_copied(value):
    treedef = tree.structure(value)
    loaded = pickle.loads(pickle.dumps(treedef))
    assert loaded == treedef
    assert hash(loaded) == hash(treedef)
    leaves = tree.leaves(value)
    assert exactly(loaded.unflatten(leaves)) == exactly(value)
    assert copy.copy(treedef) is treedef
    assert copy.deepcopy(treedef) is treedef


@given(trees)
def test_paths_from_the_tree_and_from_the_structure_agree(value):
    pairs, treedef = tree.flatten_with_path(value)
    assert [id(leaf) for _, leaf in pairs] == [id(leaf) for leaf in tree.leaves(value)]
    assert treedef == tree.structure(value)
    paths = ["x" + tree.keystr(path) for path, _ in pairs]
    assert paths == [tree.leaf_path(treedef, i, "x") for i in range(treedef.num_leaves)]


@given(trees)
def test_numbers_of_nodes_add_up(value):
    treedef = tree.structure(value)
    children = treedef.children()
    assert treedef.num_nodes == 1 + sum(child.num_nodes for child in children)
    if not tree.treedef_is_leaf(treedef):
        assert treedef.num_leaves == sum(child.num_leaves for child in children)


@given(trees)
def test_every_tree_is_a_prefix_of_itself(value):
    assert tree.structure(value).flatten_up_to(value) == tree.leaves(value)
    assert tree.check_prefix(value, value) == tree.leaves(value)
    assert tree.broadcast_prefix(0, value) == [0] * len(tree.leaves(value))


@given(st.dictionaries(names, scalars, min_size=1), st.lists(scalars, min_size=1, max_size=3))
def test_transposing_twice(outer, inner):
    nested = {key: [(key, x) for x in inner] for key in outer}
    inside_out = tree.transpose(tree.structure(outer), None, tree.map(str, nested, is_leaf=is_tuple))
    assert len(inside_out) == len(inner)
    back = tree.transpose(tree.structure(inner), tree.structure(outer), inside_out)
    assert back == tree.map(str, nested, is_leaf=is_tuple)


def is_tuple(x):
    return isinstance(x, tuple)


# What is a node, and in which order are its children.


@pytest.mark.parametrize(
    ("value", "leaves", "text"),
    [
        (1.5, [1.5], "*"),
        (None, [], "None"),
        ((), [], "()"),
        ([], [], "[]"),
        ({}, [], "{}"),
        ((1,), [1], "(*,)"),
        ({"b": 1, "a": (2, [3])}, [2, 3, 1], "{'a': (*, [*]), 'b': *}"),
        ({2: "x", 1: "y"}, ["y", "x"], "{1: *, 2: *}"),
        (Point(1, None), [1], "CustomNode(namedtuple[Point], [*, None])"),
        (collections.OrderedDict(b=1, a=2), [1, 2], "CustomNode(OrderedDict[('b', 'a')], [*, *])"),
        (
            collections.defaultdict(int, b=1, a=2),
            [2, 1],
            "CustomNode(defaultdict[(<class 'int'>, ('a', 'b'))], [*, *])",
        ),
        (collections.deque([1, 2], 3), [1, 2], "CustomNode(deque[3], [*, *])"),
        (Layer(1, 2, "out"), [1, 2], "CustomNode(Layer[('out',)], [*, *])"),
        (tree.Partial(len, 1, a=2), [1, 2], "CustomNode(Partial[<built-in function len>], [(*,), {'a': *}])"),
    ],
)
def test_nodes(value, leaves, text):
    found, treedef = tree.flatten(value)
    assert found == leaves
    assert repr(treedef) == str(treedef) == f"PyTreeDef({text})"
    rebuilt = treedef.unflatten(leaves)
    assert type(rebuilt) is type(value)


@pytest.mark.parametrize("value", [DictSubclass(a=1), ListSubclass([1]), {1}, "text", range(3), int])
def test_anything_else_is_a_leaf(value):
    assert tree.leaves([value]) == [value]
    assert tree.treedef_is_leaf(tree.structure(value))
    assert tree.all_leaves([value])


def test_is_leaf_sees_every_subtree_once():
    seen = []
    leaves, treedef = tree.flatten(([1, None], 2), is_leaf=lambda x: seen.append(x) or x is None)
    assert leaves == [1, None, 2]
    assert repr(treedef) == "PyTreeDef(([*, *], *))"
    assert seen == [([1, None], 2), [1, None], 1, None, 2]


def test_is_leaf_everywhere():
    value = {"a": (1, 2), "b": [(3, 4)]}
    assert tree.leaves(value, is_leaf=is_tuple) == [(1, 2), (3, 4)]
    assert repr(tree.structure(value, is_leaf=is_tuple)) == "PyTreeDef({'a': *, 'b': [*]})"
    assert tree.map(sum, value, is_leaf=is_tuple) == {"a": 3, "b": [7]}
    assert tree.map(lambda x, y: (x, y), (1, 2), "ab", is_leaf=is_tuple) == ((1, 2), "ab")
    assert tree.reduce(operator.add, value, (), is_leaf=is_tuple) == (1, 2, 3, 4)
    assert tree.all({"a": (0, 0)}, is_leaf=is_tuple)
    assert tree.all_leaves([(1, 2)], is_leaf=is_tuple)
    assert not tree.all_leaves([(1, 2)])
    assert tree.leaves_with_path(value, is_leaf=is_tuple)[0] == ((tree.DictKey("a"),), (1, 2))
    assert tree.map_with_path(lambda p, x: len(p) + len(x), value, is_leaf=is_tuple) == {"a": 3, "b": [4]}


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ((1, 2), [1, 2]),
        ((), []),
        ((), None),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, collections.OrderedDict(a=1)),
        ((1, 2), Point(1, 2)),
        (collections.deque([1]), collections.deque([1], 1)),
        (Layer(1, 2, "x"), Layer(1, 2, "y")),
        ([1, [2]], [[1], 2]),
        (1, (1,)),
    ],
)
def test_different_structures(one, two):
    assert tree.structure(one) != tree.structure(two)


def test_structures_keep_the_types_of_keys_and_data():
    # 1, True and 1.0 are equal, so that the structures are; each still rebuilds its own.
    for one in (1, True, 1.0):
        for value in ({one: 0}, Layer(0, 0, one), Unkeyed([0], (one, "s"))):
            leaves, treedef = tree.flatten(value)
            assert exactly(treedef.unflatten(leaves)) == exactly(value)
    assert tree.structure({1: 0}) == tree.structure({True: 0})
    zeros = [Unkeyed([], zero) for zero in (0.0, -0.0)]
    assert [str(tree.map(abs, zero).data) for zero in zeros] == ["0.0", "-0.0"]


def test_structures_are_no_other_objects():
    assert tree.structure(1) != "*"
    assert tree.structure((1,)).node_data() == (tuple, None)
    assert tree.structure(1).node_data() is None
    assert tree.structure(Point(1, 2)).node_data() == (Point, Point)


def test_structures_are_immutable():
    treedef = tree.structure([1])
    with pytest.raises(AttributeError) as error:
        treedef.num_leaves = 2
    assert str(error.value) == "a TreeDef is immutable: cannot set 'num_leaves'"
    with pytest.raises(AttributeError) as error:
        del treedef.num_leaves
    assert str(error.value) == "a TreeDef is immutable: cannot delete 'num_leaves'"


def test_structures_of_structures():
    treedefs = [tree.structure(1), tree.structure({"a": 1})]
    both = tree.treedef_tuple(treedefs)
    assert both == tree.structure((1, {"a": 2}))
    assert tree.treedef_children(both) == treedefs
    assert both.unflatten([1, 2]) == (1, {"a": 2})


def test_long_containers():
    value = {"list": list(range(50)), "tuple": tuple(range(50)), "mixed": [*range(5), (1, 2)]}
    assert tree.map(lambda x: x, value) == value


# Data that is compared by identity, or cannot be hashed.


def test_data_need_not_be_hashable():
    one, two, three = [tree.structure(Unkeyed([1], ["list", i])) for i in (0, 0, 1)]
    assert one == two
    assert hash(one) == hash(two)
    assert one != three


def test_equal_data_gives_equal_structures():
    one, two = [tree.structure(tree.Partial(functools.partial(max, 1), 2)) for _ in range(2)]
    assert one != two  # as functools.partial objects are
    assert len({tree.structure(Unkeyed([1], frozenset("ab"))) for _ in range(2)}) == 1


def test_structures_keep_no_data_alive():
    def bound_to_a_large_object():
        pass

    alive = weakref.ref(bound_to_a_large_object)
    treedef = tree.structure(tree.Partial(bound_to_a_large_object, 1))
    assert tree.structure(tree.Partial(bound_to_a_large_object, 2)) is treedef
    bound_to_a_large_object.treedef = treedef  # a cycle, as a function with a cache makes one
    del bound_to_a_large_object, treedef
    gc.collect()
    assert alive() is None


@pytest.fixture
def empty_table(monkeypatch):
    monkeypatch.setattr(treedef_module, "_treedefs", {None: treedef_module.LEAF})
    monkeypatch.setattr(treedef_module, "_room", 50)


def test_equal_structures_are_identical(empty_table):
    value = {"a": [1, None], "b": Layer(1, Point(2, 3), "x")}
    treedef = tree.structure(value)
    assert tree.structure(tree.map(str, value)) is treedef


def test_the_table_is_bounded(monkeypatch, empty_table):
    monkeypatch.setattr(treedef_module, "_MAX_NODES", 50)
    first = tree.structure([0, {}])
    for n in range(100):
        tree.structure([0] * (n % 60))
        assert len(treedef_module._treedefs) < 30
    assert tree.structure([0, {}]) == first


def test_threads_agree(empty_table):
    value = [({"thread": 1, "safe": (2, i)},) for i in range(5)]
    found = []
    threads = [threading.Thread(target=lambda: found.append(tree.structure(value))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({id(treedef) for treedef in found}) == 1


# Key paths.


def test_key_paths():
    value = {"W": [1, 2, Layer(3, Point(4, 5))], "k": Keyed([6], ("w",)), "u": Unkeyed([7])}
    paths = ["params" + tree.keystr(path) for path, _ in tree.leaves_with_path(value)]
    assert paths == [
        "params['W'][0]",
        "params['W'][1]",
        "params['W'][2].weight",
        "params['W'][2].bias.x",
        "params['W'][2].bias.y",
        "params['k'].w",
        "params['u'][<flat index 0>]",
    ]


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (collections.OrderedDict(a=1), "['a']"),
        (collections.defaultdict(list, {3: 1}), "[3]"),
        (collections.deque([1]), "[0]"),
        (tree.Partial(len, 1), ".args[0]"),
        (tree.Partial(len, a=1), ".keywords['a']"),
        (1, ""),
    ],
)
def test_key_path_of_the_only_leaf(value, path):
    assert tree.keystr(tree.leaves_with_path(value)[0][0]) == path
    assert tree.leaf_path(tree.structure(value), 0) == path


def test_keys():
    keys = tree.DictKey("a"), tree.SequenceKey(1), tree.GetAttrKey("x"), tree.FlattenedIndexKey(2)
    assert repr(keys) == ("(DictKey(key='a'), SequenceKey(idx=1), GetAttrKey(name='x'), FlattenedIndexKey(key=2))")
    assert tree.keystr(keys) == "['a'][1].x[<flat index 2>]"
    assert tree.keystr((*keys, "own"), simple=True, separator="/") == "a/1/x/2/own"
    assert len({*keys, tree.DictKey("a")}) == 4


def test_keys_of_a_class_that_refuses_placeholders():
    value = Picky([1, 2], ("a", "b"))
    assert tree.keystr(tree.leaves_with_path(value)[1][0]) == ".b"
    assert tree.leaf_path(tree.structure(value), 1) == "[<flat index 1>]"


def test_no_such_leaf():
    for index in (-1, 2):
        with pytest.raises(IndexError) as error:
            tree.leaf_path(tree.structure([1, 2]), index)
        assert str(error.value) == f"PyTreeDef([*, *]) has no leaf {index}"


# Several trees.


def test_map_over_several_trees():
    assert tree.map(lambda *xs: xs, {"a": 1}, {"a": 2}, {"a": [3]}) == {"a": (1, 2, [3])}
    assert tree.map(lambda x, y: y, (1, None), ({1: 2, "unsortable": 3}, None)) == (
        {1: 2, "unsortable": 3},
        None,
    )
    assert tree.map_with_path(lambda p, x, y: (tree.keystr(p), x, y), [1], [2]) == [("[0]", 1, 2)]


@pytest.mark.parametrize(
    ("one", "two", "message"),
    [
        ([1], 2, "at the root, tree 1 has a list of length 1, tree 2 has a leaf of type int"),
        (None, [], "at the root, tree 1 has None, tree 2 has a list of length 0"),
        (
            {"W": (1, 2, [3, 4])},
            {"W": (1, 2, (3, 4))},
            "at ['W'][2], tree 1 has a list of length 2, tree 2 has a tuple of length 2",
        ),
        (
            [{"a": 1, "b": 2}],
            [{"b": 1, "c": 2}],
            "at [0], tree 1 has a dict with keys ['a', 'b'], tree 2 has a dict with keys ['b', 'c']",
        ),
        ({"a": 1}, {}, "at the root, tree 1 has a dict with keys ['a'], tree 2 has an empty dict"),
        (
            {"a": 1},
            {1: 0, "a": 0},
            "at the root, tree 1 has a dict with keys ['a'], tree 2 has a dict with keys ['a', 1]",
        ),
        (
            Point(1, [2]),
            Point(1, None),
            "at .y, tree 1 has a list of length 1, tree 2 has None",
        ),
        (Point(1, 2), (1, 2), "at the root, tree 1 has a Point of length 2, tree 2 has a tuple of length 2"),
        (
            (0, Layer(1, 2, "in")),
            (0, Layer(1, 2, "out")),
            "at [1], tree 1 has a Layer with data ('in',) and 2 children, "
            "tree 2 has a Layer with data ('out',) and 2 children",
        ),
        (
            Unkeyed([1], "u"),
            Unkeyed([1, 2], "u"),
            "at the root, tree 1 has an Unkeyed with data 'u' and 1 child, "
            "tree 2 has an Unkeyed with data 'u' and 2 children",
        ),
        (
            [Unkeyed([1, (2,)])],
            [Unkeyed([1, 2])],
            "at [0][<flat index 1>], tree 1 has a tuple of length 1, tree 2 has a leaf of type int",
        ),
    ],
)
def test_trees_that_differ(one, two, message):
    with pytest.raises(ValueError, match="tree 2") as error:
        tree.map(lambda x, y: x, one, two)
    assert str(error.value) == f"tree.map: tree 2 does not match tree 1: {message}"
    with pytest.raises(ValueError, match="tree 3") as error:
        tree.map_with_path(lambda p, x, y, z: x, one, one, two)
    message = message.replace("tree 2", "tree 3")
    assert str(error.value) == f"tree.map_with_path: tree 3 does not match tree 1: {message}"


def test_flatten_up_to():
    treedef = tree.structure({"a": 1, "b": (2, 3)})
    assert treedef.flatten_up_to({"a": [1], "b": (2, {"c": 3})}) == [[1], 2, {"c": 3}]
    with pytest.raises(ValueError, match="treedef") as error:
        treedef.flatten_up_to({"a": [1], "b": 2})
    assert str(error.value) == (
        "the tree does not match the treedef: at ['b'], the treedef has a tuple of length 2, "
        "the tree has a leaf of type int"
    )


@pytest.mark.parametrize(("count", "many"), [(1, "few"), (3, "many")])
def test_wrong_number_of_leaves(count, many):
    with pytest.raises(ValueError, match="leaves") as error:
        tree.unflatten(tree.structure([1, 2]), range(count))
    assert str(error.value) == f"too {many} leaves for PyTreeDef([*, *]): expected 2, got {count}"


def test_broadcast_prefix():
    params = {"W": [1, 2], "b": 3}
    assert tree.broadcast_prefix({"W": "w", "b": "b"}, params) == ["w", "w", "b"]
    assert tree.broadcast_prefix((None, 0), (params, 4), is_leaf=lambda x: x is None) == [None] * 3 + [0]
    with pytest.raises(ValueError, match="prefix") as error:
        tree.broadcast_prefix({"W": (0, 0), "b": 0}, params)
    assert str(error.value) == (
        "prefix is not a prefix of tree: at tree['W'], prefix has a tuple of length 2, tree has a list of length 2"
    )


def test_check_prefix():
    assert tree.check_prefix([0, 1], [(2, 3), 4]) == [(2, 3), 4]
    with pytest.raises(ValueError, match="in_axes") as error:
        tree.check_prefix((0, None), (1, {"W": 2}), "in_axes", "args")
    assert str(error.value) == (
        "in_axes is not a prefix of args: at args[1], in_axes has None, args has a dict with keys ['W']"
    )


def test_transpose():
    outer, inner = tree.structure(Point(0, 0)), tree.structure({"a": 0, "b": 0})
    value = Point({"a": 1, "b": 2}, {"a": 3, "b": 4})
    assert tree.transpose(outer, inner, value) == {"a": Point(1, 3), "b": Point(2, 4)}
    assert tree.transpose(tree.structure([]), inner, []) == {"a": [], "b": []}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            (1, 2),
            "outer_treedef: at the root, the treedef has a list of length 2, the tree has a tuple of length 2",
        ),
        (
            [(1,), 2],
            "inner_treedef: at [1], the treedef has a tuple of length 1, the tree has a leaf of type int",
        ),
    ],
)
def test_transpose_of_another_structure(value, message):
    with pytest.raises(ValueError, match="transpose") as error:
        tree.transpose(tree.structure([0, 0]), None, value)
    assert str(error.value) == f"tree.transpose: the tree does not match {message}"


def test_transpose_of_nothing():
    with pytest.raises(ValueError, match="transpose") as error:
        tree.transpose(tree.structure([]), None, [])
    assert str(error.value) == "tree.transpose: an outer_treedef without leaves needs an inner_treedef"


def test_reduce_and_all():
    assert tree.reduce(operator.sub, [10, (1, 2)]) == 7
    assert tree.reduce(operator.add, [], None) is None
    assert tree.all([])
    with pytest.raises(TypeError, match="empty"):
        tree.reduce(operator.add, [])


# Trees that cannot be flattened.


def test_keys_that_cannot_be_sorted():
    message = (
        "the keys of a dict must be sortable to be flattened, but these are not: ['b', 0]; "
        "an OrderedDict keeps its order"
    )
    for value in ({"b": 1, 0: 2}, collections.defaultdict(int, {"b": 1, 0: 2})):
        with pytest.raises(TypeError) as error:
            tree.flatten([value])
        assert str(error.value) == message
    assert tree.leaves(collections.OrderedDict([("b", 1), (0, 2)])) == [1, 2]


def test_a_tree_that_contains_itself():
    value = {"a": [1, {}]}
    value["a"][1]["b"] = value["a"]
    with pytest.raises(ValueError, match="itself") as error:
        tree.flatten(value)
    assert str(error.value) == (
        "cannot flatten a tree that contains itself: the subtree at ['a'][1]['b'] is the one at ['a']"
    )
    items = []
    items.append(items)
    with pytest.raises(ValueError, match="itself") as error:
        tree.structure(items)
    assert str(error.value) == ("cannot flatten a tree that contains itself: the subtree at [0] is the one at the root")


def test_a_very_deep_tree():
    value = 0
    for _ in range(10_000):
        value = [value]
    with pytest.raises(ValueError, match="nested") as error:
        tree.flatten(value)
    assert str(error.value) == (
        "cannot flatten a tree: Python's recursion limit is reached. The tree is nested too deeply, or a function "
        "calls itself without end (both branches of a cond are recorded, whatever its predicate)"
    )
    value = 1
    for _ in range(sys.getrecursionlimit() // 4):
        value = (value, {"a": 2})
    assert tree.map(lambda x: x, value) == value


# Registration.


def test_register_twice():
    with pytest.raises(ValueError, match="registered") as error:
        tree.register_pytree_node(Layer, lambda x: ((), None), lambda data, children: None)
    assert str(error.value) == f"{__name__}.Layer is already registered as a pytree node"
    with pytest.raises(TypeError) as error:
        tree.register_pytree_node("Layer", lambda x: ((), None), lambda data, children: None)
    assert str(error.value) == "only a class can be registered as a pytree node, not 'Layer'"


def test_register_a_class_that_was_a_leaf():
    class Late:
        pass

    late = Late()
    assert tree.leaves([late]) == [late]
    tree.register_pytree_node(Late, lambda x: ((1, 2), None), lambda data, children: Late())
    assert tree.leaves([late]) == [1, 2]


def test_register_a_namedtuple():
    class Range(NamedTuple):
        start: int
        stop: int

    tree.register_pytree_node(Range, lambda r: ((r.start,), r.stop), lambda stop, c: Range(*c, stop))
    assert tree.leaves(Range(1, 2)) == [1]
    assert tree.map(lambda x: x + 1, Range(1, 5)) == Range(2, 5)


def test_children_may_come_from_a_generator():
    class Lazy:
        def __init__(self, items):
            self.items = items

    tree.register_pytree_node(Lazy, lambda z: ((x for x in z.items), None), lambda _, c: Lazy(list(c)))
    assert tree.map(operator.add, Lazy([1, 2]), Lazy([3, 4])).items == [4, 6]
    assert len(tree.leaves_with_path(Lazy([1, 2]))) == 2


def test_register_with_keys_and_a_fast_flatten():
    class Fast:
        def __init__(self, a):
            self.a = a

    tree.register_pytree_with_keys(
        Fast, lambda f: ([(tree.GetAttrKey("a"), f.a)], None), lambda _, c: Fast(*c), lambda f: ([f.a], None)
    )
    assert tree.leaves_with_path(Fast(1)) == [((tree.GetAttrKey("a"),), 1)]
    assert tree.leaf_path(tree.structure(Fast(1)), 0, "f") == "f.a"


def test_a_structure_of_a_class_unknown_here():
    class Unknown:
        pass

    treedef = treedef_module.TreeDef(Unknown, None, ())
    with pytest.raises(ValueError, match="Unknown") as error:
        treedef.unflatten([])
    assert str(error.value) == "Unknown is not registered as a pytree node"


def test_dataclass_fields():
    @functools.partial(tree.register_dataclass, data_fields=["b", "a"], meta_fields=["m"], drop_fields=["d"])
    @dataclasses.dataclass
    class Given:
        a: object
        b: object
        m: object
        d: object = "dropped"
        no_init: object = dataclasses.field(default=0, init=False)

    value = Given(1, 2, "m", "other")
    assert tree.leaves(value) == [2, 1]
    assert tree.map(lambda x: -x, value) == Given(-1, -2, "m", "dropped")
    assert tree.keystr(tree.leaves_with_path(value)[0][0]) == ".b"

    class Plain:
        def __init__(self, a):
            self.a = a

    assert tree.register_dataclass(Plain, ["a"], []) is Plain
    assert tree.leaves(Plain(3)) == [3]


@pytest.mark.parametrize(
    ("error_type", "fields", "message"),
    [
        (ValueError, (["a"],), "register_dataclass needs both data_fields and meta_fields, or neither"),
        (
            ValueError,
            (["a", "z"], []),
            "data_fields and meta_fields must be the fields that New is made from: missing ['b'], unexpected ['z']",
        ),
    ],
)
def test_wrong_dataclass_fields(error_type, fields, message):
    @dataclasses.dataclass
    class New:
        a: object
        b: object

    with pytest.raises(error_type) as error:
        tree.register_dataclass(New, *fields)
    assert str(error.value) == message


def test_no_dataclass():
    with pytest.raises(TypeError) as error:
        tree.register_dataclass(DictSubclass)
    assert str(error.value) == (
        f"register_dataclass needs data_fields and meta_fields, as {DictSubclass!r} is no dataclass"
    )


# Partial.


def test_partial():
    f = tree.Partial(operator.sub, 10)
    assert f(3) == 7
    assert isinstance(f, functools.partial)
    doubled = tree.map(lambda x: 2 * x, f)
    assert type(doubled) is tree.Partial
    assert doubled(3) == 17
    loaded = pickle.loads(pickle.dumps(f))
    assert loaded(3) == 7
    assert tree.structure(loaded) == tree.structure(f)


def test_partial_of_a_partial_hides_its_arguments():
    inner = functools.partial(operator.sub, 10)
    f = tree.Partial(inner, 3)
    assert f() == 7
    assert tree.leaves(f) == [3]
    assert tree.structure(f) == tree.structure(tree.Partial(inner, 4))
    assert repr(tree.structure(f)).startswith("PyTreeDef(CustomNode(Partial[functools.partial(")


# The names of jax.tree_util.


def test_tree_util():
    assert tree_util.PyTreeDef is tree.TreeDef
    for name in tree_util.__all__:
        short = name.removeprefix("tree_")
        if name != "PyTreeDef":
            assert getattr(tree_util, name) is getattr(tree, short if short in tree.__all__ else name)


@given(trees)
def test_generated_functions_build_the_same(value):
    leaves, treedef = tree.flatten(value)
    assert exactly(generated_builder(treedef)(leaves)) == exactly(value)
    for _ in range(40):  # it takes the place of the closures
        built = treedef.unflatten(leaves)
    assert exactly(built) == exactly(value)
    with pytest.raises(ValueError, match="too many leaves"):
        treedef.unflatten([*leaves, 1.0])


def test_trees_that_no_function_is_generated_for():
    deep = 1.0
    for _ in range(60):
        deep = [deep, None]
    wide = list(range(3000))
    for value in (deep, wide):
        leaves, treedef = tree.flatten(value)
        assert generated_builder(treedef)(leaves) == value
