"""The axes that have a name while a function is recorded, and how long they are.

`vmap(f, axis_name="batch")` gives a name to the axis over which it maps, for as long as it records `f`. A collective
(`psum` over "batch") looks its axis up here; the equation that it records carries the name and the length, so that
programs mean the same wherever they are transformed. What collectives name, and nothing else, comes from this table.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from functrans.errors import user_location

__all__ = ["BoundAxis", "axes_are_bound", "bind_axes", "bound_axes", "lookup_axis", "recording_within"]


class BoundAxis(NamedTuple):
    """An axis with a name."""

    name: Hashable
    size: int
    recording: Any
    """That of the function which is mapped over the axis."""


class _Bound(threading.local):
    def __init__(self) -> None:
        self.axes: tuple[BoundAxis, ...] = ()
        """Those of this thread, outermost first."""


_bound = _Bound()


@contextmanager
def bind_axes(axes: Sequence[tuple[Hashable, int]], recording: Any) -> Iterator[None]:
    """Give names to axes, each a pair of name and length, while a function is recorded."""
    before = _bound.axes
    _bound.axes = (*before, *[BoundAxis(name, size, recording) for name, size in axes])
    try:
        yield
    finally:
        _bound.axes = before


def axes_are_bound() -> bool:
    """Whether any axis has a name now."""
    return bool(_bound.axes)


def bound_axes() -> tuple[tuple[Hashable, int], ...]:
    """The names and lengths of the axes, outermost first: what a recording made now may depend on."""
    return tuple([(axis.name, axis.size) for axis in _bound.axes])


def lookup_axis(name: Hashable) -> BoundAxis:
    """The innermost axis of a name.

    Raises:
        NameError: if no axis has it.
    """
    for axis in reversed(_bound.axes):
        if axis.name == name:
            return axis
    known = ", ".join(dict.fromkeys([f"{axis.name!r} (length {axis.size})" for axis in reversed(_bound.axes)]))
    raise NameError(
        f"unbound axis name {name!r} at {user_location()}: "
        + (f"the axes that have a name here are {known}" if known else "no axis has a name here")
        + f". A name is given by vmap, for the time that it runs the function: vmap(f, axis_name={name!r})."
    )


def recording_within(names: Collection[Hashable], recording: Any) -> Any:
    """The recording that takes an operation over named axes: the deeper of the one given and those of the axes.

    Raises:
        NameError: if it would have to be computed, and no axis has the name.
    """
    deepest = recording
    for name in names:
        if deepest is None or any([axis.name == name for axis in _bound.axes]):
            binder = lookup_axis(name).recording
            if deepest is None or binder.serial > deepest.serial:
                deepest = binder
    return deepest
