"""What a program was recorded for, and in what another call differs from that, in the user's words."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from functrans.api.arguments import Arguments, argument_path, name_of, parameter_name
from functrans.config import config
from functrans.core.aval import Aval
from functrans.core.axis_names import bound_axes
from functrans.core.params import fingerprint
from functrans.tree import TreeDef

__all__ = ["Change", "Signature", "changes_between", "nearest", "signature_of"]

_SHOWN = 60
"""How much of a value is shown."""

_SEARCHED = 64
"""In how many of the latest signatures the nearest is looked for."""


class Signature(NamedTuple):
    """All that decides which program a call of a jitted function runs."""

    fun: Callable[..., Any]
    """The function, with its static arguments bound; names the others."""
    treedef: TreeDef
    avals: tuple[Aval, ...]
    places: tuple[int, ...] | None
    """The number of the leaf of each aval; None if all leaves have one."""
    static_leaves: tuple[Any, ...]
    """The leaves that are neither arrays nor numbers."""
    static: tuple[tuple[str, Any], ...]
    """The static arguments by their names."""
    nan_safe_gradients: bool
    axes: tuple[tuple[Hashable, int], ...]
    """The axes that had a name."""

    @property
    def key(self) -> Hashable:
        """Equal for two calls just if they run one program."""
        return (
            *(self.treedef, self.avals, self.places, fingerprint(self.static_leaves), fingerprint(self.static)),
            *(self.nan_safe_gradients, self.axes),
        )


class Change(NamedTuple):
    """In what a call differs from another."""

    path: str
    """What changed, as a user names it: `params['W'][2]`."""
    kind: str
    """`"shape"`, `"dtype"`, `"weak type"`, `"static value"` (a number), `"static object"`, `"structure"`, `"setting"`
    or `"axis names"`."""
    before: str
    after: str

    def __str__(self) -> str:
        note = _NOTES.get(self.kind, "")
        return f"{self.path}: {self.before} -> {self.after}{f' ({note})' if note else ''}"


_NOTES = {
    "static value": "static",
    "static object": "static",
    "weak type": "a Python number and an array are promoted differently",
}


def signature_of(fun: Callable[..., Any], arguments: Arguments, static: Sequence[tuple[int | str, Any]]) -> Signature:
    """The signature of a call.

    Args:
        fun: the function.
        arguments: its arguments that are not static.
        static: its static arguments, each with its position or its name.
    """
    return Signature(
        arguments.fun,
        arguments.treedef,
        tuple(arguments.avals),
        None if arguments.places is None else tuple(arguments.places),
        tuple(arguments.static_leaves()),
        tuple([(parameter_name(fun, which) if isinstance(which, int) else which, value) for which, value in static]),
        config.nan_safe_gradients,
        bound_axes(),
    )


def nearest(signature: Signature, others: Sequence[Signature]) -> tuple[Signature, list[Change]] | None:
    """The one of the others that differs least, the latest of several, and in what; None if there are no others."""
    found: tuple[Signature, list[Change]] | None = None
    for other in reversed(others[-_SEARCHED:]):
        changes = changes_between(other, signature)
        if found is None or len(changes) < len(found[1]):
            found = other, changes
    return found


def changes_between(before: Signature, after: Signature) -> list[Change]:
    """In what a call differs from an earlier one."""
    changes = [*_changes_of_leaves(before, after), *_changes_of_values("", before.static, after.static)]
    if before.nan_safe_gradients != after.nan_safe_gradients:
        values = str(before.nan_safe_gradients), str(after.nan_safe_gradients)
        changes.append(Change("config.nan_safe_gradients", "setting", *values))
    if before.axes != after.axes:
        changes.append(Change("the named axes around the call", "axis names", _axes(before), _axes(after)))
    return changes


def _changes_of_leaves(before: Signature, after: Signature) -> list[Change]:
    if before.treedef is after.treedef and before.places == after.places:
        pairs = zip(before.avals, after.avals, strict=True)
        changed = [(i, old, new) for i, (old, new) in enumerate(pairs) if old is not new]
        found = [_change_of_aval(_path(after, i), old, new) for i, old, new in changed]
        static = [tuple(zip(_static_paths(s), s.static_leaves, strict=True)) for s in (before, after)]
        return found + _changes_of_values("", *static)
    old_leaves, new_leaves = _leaves(before), _leaves(after)
    changes = []
    for path in dict.fromkeys([*old_leaves, *new_leaves]):
        old, new = old_leaves.get(path), new_leaves.get(path)
        if old is None or new is None:
            changes.append(Change(path, "structure", _shown_leaf(old), _shown_leaf(new)))
        elif isinstance(old, Aval) and isinstance(new, Aval):
            if old is not new:
                changes.append(_change_of_aval(path, old, new))
        elif isinstance(old, Aval) or isinstance(new, Aval):
            changes.append(Change(path, "structure", _shown_leaf(old), _shown_leaf(new)))
        else:
            changes.extend(_changes_of_values("", ((path, old[0]),), ((path, new[0]),)))
    if not any([change.kind == "structure" for change in changes]):
        changes.extend(_changes_of_containers(before, after))
    return changes


def _changes_of_containers(before: Signature, after: Signature) -> list[Change]:
    """Of arguments with the same leaves at the same paths: a list in the place of a tuple, None or empty containers."""
    changes = []
    (old_args, old_kwargs), (new_args, new_kwargs) = before.treedef.children(), after.treedef.children()
    for number, (old, new) in enumerate(zip(old_args.children(), new_args.children(), strict=False)):
        if old != new:
            changes.append(Change(parameter_name(after.fun, number), "structure", _short(old), _short(new)))
    if not changes and old_args.node_data() and len(old_args.children()) != len(new_args.children()):
        counts = f"{len(old_args.children())} arguments", f"{len(new_args.children())} arguments"
        changes.append(Change(f"the call of {name_of(after.fun)}", "structure", *counts))
    if old_kwargs != new_kwargs:
        changes.append(Change("the keyword arguments", "structure", _short(old_kwargs), _short(new_kwargs)))
    return changes


def _changes_of_values(
    prefix: str, before: Sequence[tuple[str, Any]], after: Sequence[tuple[str, Any]]
) -> list[Change]:
    old_values, new_values = dict(before), dict(after)
    changes = []
    for path in dict.fromkeys([*old_values, *new_values]):
        if path not in old_values or path not in new_values:
            values = [_short(values[path]) if path in values else "not given" for values in (old_values, new_values)]
            changes.append(Change(prefix + path, "structure", *values))
        elif fingerprint(old_values[path]) != fingerprint(new_values[path]):
            old, new = _short(old_values[path]), _short(new_values[path])
            if old == new:
                new = f"another {new}"
            is_number = isinstance(new_values[path], (int, float, complex, np.generic))
            changes.append(Change(prefix + path, "static value" if is_number else "static object", old, new))
    return changes


def _change_of_aval(path: str, before: Aval, after: Aval) -> Change:
    kind = "shape" if before.shape != after.shape else "dtype" if before.dtype != after.dtype else "weak type"
    return Change(path, kind, _shown_aval(before), _shown_aval(after))


def _shown_aval(aval: Aval) -> str:
    return f"a Python {_PYTHON[aval.dtype.kind]}" if aval.weak and not aval.shape else str(aval.strong)


_PYTHON = {"b": "bool", "i": "int", "u": "int", "f": "float", "c": "complex"}


def _shown_leaf(leaf: Any) -> str:
    if leaf is None:
        return "nothing"
    return _shown_aval(leaf) if isinstance(leaf, Aval) else _short(leaf[0])


def _short(value: Any) -> str:
    if callable(value) and hasattr(value, "__qualname__"):
        return f"function {value.__qualname__}"
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _axes(signature: Signature) -> str:
    return ", ".join([f"{name}: {size}" for name, size in signature.axes]) or "none"


def _path(signature: Signature, number: int) -> str:
    place = number if signature.places is None else signature.places[number]
    return argument_path(signature.fun, signature.treedef, place)


def _static_paths(signature: Signature) -> list[str]:
    if signature.places is None:
        return []
    dynamic = set(signature.places)
    places = [i for i in range(signature.treedef.num_leaves) if i not in dynamic]
    return [argument_path(signature.fun, signature.treedef, place) for place in places]


def _leaves(signature: Signature) -> dict[str, Any]:
    """The leaves by their paths: the avals of those that have one, the others in a tuple."""
    leaves: dict[str, Any] = {_path(signature, i): aval for i, aval in enumerate(signature.avals)}
    leaves.update({path: (x,) for path, x in zip(_static_paths(signature), signature.static_leaves, strict=True)})
    return leaves
