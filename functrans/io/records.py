"""Trees as records in JSON and lists of arrays, and back."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any

import numpy as np

from functrans.core.tracer import Tracer
from functrans.io.archives import KINDS, FileFormatError
from functrans.tree.registry import DictKey, kind_of

__all__ = ["TreeReader", "TreeWriter"]

_MAX_DEPTH = 200


class TreeWriter:
    """Describes a tree in JSON, and gathers its arrays."""

    def __init__(self) -> None:
        self.leaves: list[np.ndarray] = []

    def node(self, tree: Any, path: str, depth: int) -> Any:
        """The record of a tree."""
        if depth > _MAX_DEPTH:
            raise ValueError(
                f"save: a tree that contains itself, or is nested more than {_MAX_DEPTH} deep: {path[:80]}..."
            )
        if type(tree) is dict or type(tree) is OrderedDict:
            keys = [_key_record(key, path) for key in tree]
            children = [self.node(x, f"{path}[{key!r}]", depth + 1) for key, x in tree.items()]
            return {"t": type(tree).__name__, "k": keys, "c": children}
        if type(tree) in (list, tuple, deque):
            children = [self.node(x, f"{path}[{i}]", depth + 1) for i, x in enumerate(tree)]
            record = {"t": type(tree).__name__, "c": children}
            return {**record, "maxlen": tree.maxlen} if type(tree) is deque else record
        if tree is None:
            return {"t": "None"}
        kind = kind_of(type(tree))
        if kind is None:
            return self.leaf(tree, path)
        pairs = kind.keyed_children(tree)
        children = [self.node(x, path + str(key), depth + 1) for key, x in pairs]
        return {
            "t": "node",
            "m": type(tree).__module__,
            "n": type(tree).__qualname__,
            "k": [str(key) for key, _ in pairs],
            "c": children,
        }

    def leaf(self, x: Any, path: str) -> Any:
        """The record of a leaf."""
        scalar = _scalar_record(x)
        if scalar is not None:
            return {"t": "scalar", "v": scalar}
        if isinstance(x, Tracer):
            raise TypeError(
                f"save: {path} is a tracer, {x.aval.strong}; save what the transformed function returns instead"
            )
        if not isinstance(x, (np.ndarray, np.generic)):
            raise TypeError(
                f"save: {path} is {x!r:.60} of type {type(x).__name__}, which is no array, number or string. Leave it "
                "out, or register its class as a pytree node."
            )
        if isinstance(x, np.ma.MaskedArray):
            raise TypeError(f"save: {path} is a masked array; save its data and its mask")
        array = np.asarray(x)
        if array.dtype.kind not in KINDS:
            raise TypeError(
                f"save: {path} is an array of dtype {array.dtype}, and only numbers, strings and dates are saved"
            )
        array = np.require(array, requirements="C")
        self.leaves.append(array)
        return {"t": "generic" if isinstance(x, np.generic) else "array", "i": len(self.leaves) - 1}


def _scalar_record(x: Any) -> list[Any] | None:
    """A Python scalar in JSON, exactly; None for anything else."""
    match x:
        case bool():
            return ["bool", x]
        case np.generic():
            return None
        case int() if type(x) is int:
            return ["int", hex(x)]
        case float() if type(x) is float:
            return ["float", x.hex()]
        case complex() if type(x) is complex:
            return ["complex", x.real.hex(), x.imag.hex()]
        case str() if type(x) is str:
            return ["str", x]
        case bytes() if type(x) is bytes:
            return ["bytes", x.hex()]
    return None


def _key_record(key: Any, path: str) -> list[Any]:
    if key is None:
        return ["None"]
    if type(key) is tuple:
        return ["tuple", *[_key_record(part, path) for part in key]]
    record = _scalar_record(key)
    if record is None:
        raise TypeError(f"save: {path} has the key {key!r:.60} of type {type(key).__name__}, which cannot be saved")
    return record


# --------------------------------------------------------------------------------------------------------------------
# From records to trees


def _scalar(record: Any) -> Any:
    """The Python scalar, key or tuple of keys of a record."""
    match record:
        case ["None"]:
            return None
        case ["bool", bool(x)]:
            return x
        case ["int", str(x)]:
            return int(x, 16)
        case ["float", str(x)]:
            return float.fromhex(x)
        case ["complex", str(x), str(y)]:
            return complex(float.fromhex(x), float.fromhex(y))
        case ["str", str(x)]:
            return x
        case ["bytes", str(x)]:
            return bytes.fromhex(x)
        case ["tuple", *parts]:
            return tuple([_scalar(part) for part in parts])
    raise ValueError(f"no scalar: {record!r:.60}")


class TreeReader:
    """Makes trees from records and arrays."""

    def __init__(self, file: str, leaves: list[np.ndarray]) -> None:
        self.file = file
        self.leaves = leaves
        self.unused = set(range(len(leaves)))

    def damaged(self, what: str) -> FileFormatError:
        """The error for a record that makes no sense."""
        return FileFormatError(f"{self.file}: damaged: {what}")

    def node(self, record: Any, path: str, depth: int) -> Any:
        """The tree of a record."""
        if depth > _MAX_DEPTH:
            raise self.damaged("the tree is nested too deeply")
        match record:
            case {"t": "None"}:
                return None
            case {"t": "scalar" | "array" | "generic"}:
                return self.leaf(record, path)
            case {"t": "dict" | "OrderedDict" as kind, "k": list(keys), "c": list(children)} if len(keys) == len(
                children
            ):
                names = [self.scalar(key) for key in keys]
                values = [self.node(x, f"{path}[{key!r}]", depth + 1) for key, x in zip(names, children, strict=True)]
                return (dict if kind == "dict" else OrderedDict)(zip(names, values, strict=True))
            case {"t": "list" | "tuple" | "deque" as kind, "c": list(children)}:
                items = [self.node(x, f"{path}[{i}]", depth + 1) for i, x in enumerate(children)]
                if kind == "deque":
                    maxlen = record.get("maxlen")
                    return deque(items, maxlen if isinstance(maxlen, int) and maxlen >= len(items) else None)
                return items if kind == "list" else tuple(items)
            case {"t": "node", "n": str(name)}:
                raise ValueError(
                    f"{self.file}: {path} is a {name}, and a file cannot bring its class along: "
                    "load(path, like=tree) takes the nodes from a tree of the same structure"
                )
        raise self.damaged(f"{path} is recorded as {record!r:.60}")

    def node_like(self, record: Any, like: Any, path: str) -> Any:
        """The tree of a record, with the nodes of another."""
        kind = kind_of(type(like))
        expected = _type_text(like)
        match record:
            case {"t": "scalar" | "array" | "generic"}:
                found = self.leaf(record, path)
                if kind is not None:
                    raise self.differs(path, _leaf_text(found), expected)
                self.check_leaf(found, like, path)
                return found
            case {"t": str(tag)}:
                name, children = record.get("n", tag), record.get("c", [])
        if kind is None or expected != name:
            raise self.differs(path, f"a {name}", expected if kind is None else f"a {expected}")
        pairs = kind.keyed_children(like)
        by_key = self.children(record, children, path)
        wanted = [_key_of(key) for key, _ in pairs]
        if set(by_key) != set(wanted) or len(wanted) != len(by_key):
            raise self.differs(path, f"a {name} with {_keys_text(by_key)}", f"one with {_keys_text(wanted)}")
        new = [self.node_like(by_key[_key_of(key)], child, path + str(key)) for key, child in pairs]
        return kind.unflatten(kind.flatten(like)[1], tuple(new))

    def children(self, record: Any, children: Any, path: str) -> dict[Any, Any]:
        """The records of the children of a node, by what their keys are called."""
        match record:
            case {"t": "dict" | "OrderedDict", "k": list(keys)}:
                names = [str(DictKey(self.scalar(key))) for key in keys]
            case {"t": "node", "k": list(keys)}:
                names = [str(key) for key in keys]
            case _:
                names = [f"[{i}]" for i in range(len(children))]
        if not isinstance(children, list) or len(names) != len(children) or len(set(names)) != len(names):
            raise self.damaged(f"{path} is recorded as {record!r:.60}")
        return dict(zip(names, children, strict=True))

    def scalar(self, record: Any) -> Any:
        """A scalar or key."""
        try:
            return _scalar(record)
        except ValueError as error:
            raise self.damaged(str(error)) from None

    def leaf(self, record: Any, path: str) -> Any:
        """A leaf."""
        match record:
            case {"t": "scalar", "v": value}:
                return self.scalar(value)
            case {"t": "array" | "generic" as kind, "i": int(i)} if i in self.unused:
                self.unused.discard(i)
                array = self.leaves[i]
                return array[()] if kind == "generic" and not array.ndim else array
        raise self.damaged(f"{path} is recorded as {record!r:.60}")

    def check_leaf(self, found: Any, like: Any, path: str) -> None:
        """Check that a leaf has the shape and dtype of that of `like`, where both have."""
        if not all([hasattr(x, "dtype") and hasattr(x, "shape") for x in (found, like)]):
            return
        if found.shape != tuple(like.shape) or found.dtype != like.dtype:
            raise self.differs(path, _leaf_text(found), _leaf_text(like))

    def differs(self, path: str, found: str, expected: str) -> ValueError:
        """The error for a file that does not agree with `like`."""
        return ValueError(f"{self.file}: {path} is {found} in the file, and {expected} in `like`")


def _key_of(key: Any) -> str:
    return str(key)


def _keys_text(keys: Any) -> str:
    return f"{len(keys)} children: {', '.join(sorted(keys))[:200]}" if keys else "no children"


def _type_text(tree: Any) -> str:
    if type(tree) in (dict, OrderedDict, list, tuple, deque):
        return type(tree).__name__
    if tree is None:
        return "None"
    return type(tree).__qualname__ if kind_of(type(tree)) is not None else _leaf_text(tree)


def _leaf_text(x: Any) -> str:
    if hasattr(x, "dtype") and hasattr(x, "shape"):
        return f"{x.dtype}[{','.join([str(n) for n in x.shape])}]"
    return f"{x!r:.60}"
