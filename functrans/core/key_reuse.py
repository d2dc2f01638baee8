"""Which keys have been used: what `config.debug_key_reuse` looks at.

A key is told by what it is, not by its words: two keys made from one seed are two keys. An array is told by its memory;
the argument of a function being recorded by what it was called with; a result of a program by the operation and what
that was applied to, so that `keys[0]` is one key, however often it is written.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from functrans.config import config
from functrans.core.jaxpr import Jaxpr, Source, derived, jaxprs_in
from functrans.core.tracer import Tracer
from functrans.errors import KeyReuseError, describe_line, user_location

__all__ = ["Alternatives", "forget_keys", "use_key", "use_keys_of"]

_MOST = 200_000
"""So many keys are remembered; then all are forgotten."""


class _Use(NamedTuple):
    name: str
    place: str


class _Known(threading.local):
    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self.uses: dict[Hashable, _Use] = {}
        self.numbers: dict[Hashable, int] = {}
        """A number for each way to get at a key."""
        self.owners: dict[int, Any] = {}


_known = _Known()


def forget_keys() -> None:
    """Take all keys for new."""
    _known.forget()


def use_key(words: Any, name: str) -> None:
    """Note that the words of a key, or of an array of keys, are used by a function.

    Raises:
        KeyReuseError: if they have been before.
    """
    _use(_identity(words), _Use(name, user_location()))


def _use(key: int, use: _Use) -> None:
    before = _known.uses.get(key)
    if before is None:
        if len(_known.uses) >= _MOST:
            forget_keys()
        _known.uses[key] = use
        return
    raise KeyReuseError(
        f"a key is used by {use.name} at {use.place}, and was used by {before.name} at {before.place}: what is "
        "drawn now depends on what was drawn then. Make a key for each use: "
        "key, subkey = functrans.random.split(key). Where the same numbers are wanted: functrans.random.clone(key)."
    )


class Alternatives:
    """Functions being recorded of which one will run: branches of a conditional, attempts at the body of a loop.

    None of them sees the keys that the others use; what comes after them sees all.
    """

    def __init__(self) -> None:
        self.before = dict(_known.uses) if config.debug_key_reuse else {}
        self.found: dict[Hashable, _Use] = {}

    def begin(self) -> None:
        """Another one begins."""
        if config.debug_key_reuse:
            self.found.update(_known.uses)
            _known.uses = dict(self.before)

    def end(self) -> None:
        """There is no other."""
        if config.debug_key_reuse:
            self.found.update(_known.uses)
            _known.uses = self.found


# --------------------------------------------------------------------------------------------------------------------
# What a key is


def _number(description: Hashable) -> int:
    return _known.numbers.setdefault(description, len(_known.numbers))


def _identity(words: Any) -> int:
    if type(words) is Tracer:
        return _identity_in(words.recording, words.atom)
    return _number(_memory(words))


def _memory(words: Any) -> Hashable:
    if not isinstance(words, np.ndarray):
        return "object", id(words)
    owner: Any = words
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    number = id(owner)
    if number not in _known.owners or _known.owners[number]() is not owner:
        known = _known
        known.owners[number] = weakref.ref(owner)
        serial = known.numbers[("serial", number)] = len(known.numbers)  # a number that no array had before
    else:
        serial = _known.numbers[("serial", number)]
    return "memory", serial, words.__array_interface__["data"][0], words.shape


def _identity_in(recording: Any, atom: Any) -> int:
    if type(atom) is not int:
        return _number(("literal", atom))
    place = ("atom", recording.serial, atom)
    found = _known.numbers.get(place)
    if found is None:
        found = _input(recording, atom, place) if atom < 0 else _number(_result(recording, atom) or place)
        _known.numbers[place] = found
    return found


def _input(recording: Any, atom: int, place: Hashable) -> int:
    """What an input of a recording was called with; itself, where that has no place either."""
    number = -1 - atom
    outer: Any = None
    if number < recording.n_inputs:
        outer = recording.reads[number] if number < len(recording.reads) else None
    else:
        outer = next((original for original, found in recording._captured.values() if found == atom), None)
    if not isinstance(outer, (np.ndarray, Tracer)) or outer.dtype != np.uint32:
        return _number(place)
    identity = _identity(outer)
    return identity if outer.shape == recording.avals[number].shape else _number(("member", identity))


def _result(recording: Any, atom: int) -> Hashable | None:
    operation, inputs = recording.defining(atom)
    if operation.primitive.name == "random_clone":
        return None
    first = recording.results_of(recording.index_of(atom)).start
    return "result", operation, tuple([_identity_in(recording, x) for x in inputs]), atom - first


# --------------------------------------------------------------------------------------------------------------------
# Programs that are run again


def use_keys_of(jaxpr: Jaxpr, values: Sequence[Any], name: str) -> None:
    """Note that a program is run on values, which uses the keys among them that it draws from.

    Raises:
        KeyReuseError: if one of them has been used before.
    """
    for number, function, source in _used_inputs(jaxpr):
        inside = f" at {describe_line(*source)}" if source is not None else ""
        _use(_identity(values[number]), _Use(f"random.{function}{inside}, in {name} called", user_location()))


def _used_inputs(jaxpr: Jaxpr) -> tuple[tuple[int, str, Source], ...]:
    return derived(jaxpr, "used keys", lambda: tuple(_find_used(jaxpr)))


def _find_used(jaxpr: Jaxpr) -> list[tuple[int, str, Source]]:
    found: dict[int, tuple[int, str, Source]] = {}
    for eqn in jaxpr.eqns:
        if eqn.primitive.uses_key:
            used = [(0, eqn.primitive.name.removeprefix("random_"), eqn.source)]
        else:
            used = []
            for _, param in eqn.params.items():
                for inner in jaxprs_in(param):
                    offset = len(eqn.inputs) - len(inner.in_avals)
                    used += [(offset + n, function, source) for n, function, source in _used_inputs(inner)]
        for place, function, source in used:
            atom = eqn.inputs[place] if place >= 0 else None
            if type(atom) is int and atom < 0:
                found.setdefault(-1 - atom, (-1 - atom, function, source or eqn.source))
    return list(found.values())
