"""Arrays made read-only while a recording reads them, so that a program cannot see them change before it runs."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans.forking import fork_safe_lock

__all__ = ["lock", "unlock"]

Array = np.ndarray[Any, Any]

_open: dict[int, list[Array]] = {}
"""What each open recording has locked, by the id of its list."""
_mutex = fork_safe_lock()
_waiting: list[weakref.ref[Array]] = []
"""Views that are to be writeable again, but whose owner another recording still has locked."""


def lock(arrays: Sequence[Any], locked: list[Array]) -> list[int]:
    """Make arrays read-only, and append those that were not so before to the list.

    Returns:
        The numbers of those that are still writeable, since NumPy would not let them be so again: views of memory that
        is not an array's, or of an array that its user has made read-only. Whoever reads them must copy.
    """
    views = False
    for array in arrays:
        if type(array) is np.ndarray:
            if array.base is not None:
                views = True
            elif array.flags.writeable:
                array.setflags(False)  # type: ignore[call-arg]  # by position it takes half the time
                locked.append(array)
    if locked:
        _open[id(locked)] = locked
    return _lock_views(arrays, locked) if views else []


def _lock_views(arrays: Sequence[Any], locked: list[Array]) -> list[int]:
    writeable = []
    for number, array in enumerate(arrays):
        if type(array) is np.ndarray and array.base is not None:
            if _is_plain_view(array):
                if array.flags.writeable:
                    array.setflags(False)  # type: ignore[call-arg]
                    locked.append(array)
            # What np.broadcast_arrays gives, with strides of zero, warns when its flags are read.
            elif 0 in array.strides or array.flags.writeable:
                writeable.append(number)
    if locked:
        _open[id(locked)] = locked
    return writeable


def unlock(locked: list[Array]) -> None:
    """Make arrays writeable again that `lock` had made read-only."""
    views = []
    _open.pop(id(locked), None)
    for array in locked:
        if array.base is None:
            array.setflags(True)  # type: ignore[call-arg]
        else:
            views.append(array)
    locked.clear()
    if views or _waiting:
        _unlock_views(views)


def _unlock_views(views: list[Array]) -> None:
    # A view can be writeable again only after its owner, which a recording around this one, or another thread's, may
    # still hold: then it waits for the next array to be unlocked.
    with _mutex:
        _waiting.extend([weakref.ref(array) for array in views])
        for _ in range(2):  # once more, since the owner may have been unlocked just before a view began to wait
            pending = [array for array in [ref() for ref in _waiting] if array is not None]
            _waiting[:] = [weakref.ref(array) for array in pending if not _made_writeable(array)]


def _made_writeable(view: Array) -> bool:
    try:
        view.setflags(True)  # type: ignore[call-arg]
    except ValueError:
        return False
    return True


def _is_plain_view(array: Array) -> bool:
    owner: Any = array.base
    if type(owner) is not np.ndarray or owner.base is not None or 0 in array.strides:
        return False
    return owner.flags.writeable or any([owner is x for locked in list(_open.values()) for x in locked])
