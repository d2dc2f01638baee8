"""Functions that are recorded again and again: what for, and a warning that says so.

Recording is what `jit` is to avoid. Two mistakes bring it back at each call without a word: an argument that is part
of the program changes all the time, or the jitted function itself is made anew.
"""

from __future__ import annotations

import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import pairwise
from types import CodeType
from typing import Any, NamedTuple
from weakref import WeakSet

from functrans.api.arguments import name_of
from functrans.api.signatures import Change, Signature, changes_between
from functrans.caching import register_table
from functrans.config import config
from functrans.errors import RetraceWarning, is_internal, user_frame
from functrans.forking import fork_safe_lock

__all__ = ["Retraced", "Retraces", "code_of", "watched"]

_SIGNATURES_MAX = 1024
"""How many signatures are kept for a function, as many as it may have programs."""

_ORIGINS_MAX = 1024
"""For how many places in the user's code jitted functions are counted."""

_WRAPPERS_MAX = 32

_lock = fork_safe_lock()


class Retraced(NamedTuple):
    """A jitted function has been recorded."""

    function: Retraces
    signature: Signature
    before: tuple[Signature, ...]
    """The signatures for which it had programs then."""


_watch: ContextVar[list[Retraced] | None] = ContextVar("watch", default=None)


@contextmanager
def watched() -> Iterator[list[Retraced]]:
    """Within it, and in this thread, the jitted functions that are recorded are put into a list."""
    found: list[Retraced] = []
    token = _watch.set(found)
    try:
        yield found
    finally:
        _watch.reset(token)


class _Origin:
    """The jitted functions that were made of one piece of code."""

    __slots__ = ("alive", "count", "reused", "warned")

    def __init__(self) -> None:
        self.count = 0
        self.reused = 0
        """How many of them were called again with a program that they had."""
        self.alive: WeakSet[Retraces] = WeakSet()
        """Those that live, and that nobody has called again yet."""
        self.warned = False

    @property
    def wasted(self) -> int:
        """How many of them were let go without having been called again."""
        return self.count - self.reused - len(self.alive)


_origins: OrderedDict[Any, _Origin] = OrderedDict()
register_table("places where functions are jitted", _origins, _ORIGINS_MAX, _origins.clear)


class Retraces:
    """For what a jitted function has been recorded; warns once when that happens too often.

    Args:
        fun: the function that is jitted.
    """

    def __init__(self, fun: Callable[..., Any]) -> None:
        self.fun = fun
        self.signatures: list[Signature] = []
        """Of the programs that are kept, in the order in which they were recorded."""
        self.count = 0
        """How often it was recorded."""
        self.not_kept = 0
        """How many of these programs were of no use for another call."""
        self.reused = False
        """Whether it was called again with a program that it had."""
        self._origin: _Origin | None = None
        self._counted = self._warned = False

    def add(self, signature: Signature, kept: bool) -> None:
        """The function has been recorded once more."""
        watch = _watch.get()
        if watch is not None:
            watch.append(Retraced(self, signature, tuple(self.signatures)))
        with _lock:
            self.count += 1
            if kept:
                self.signatures.append(signature)
                del self.signatures[:-_SIGNATURES_MAX]
            else:
                self.not_kept += 1
        limit = config.retrace_warning
        if not limit:
            return
        if not self._counted:
            self._counted = True
            _count_origin(self, limit)
        elif self.count > limit and not self._warned:
            self._warned = True
            _warn(f"{name_of(self.fun)} has been recorded {self.count} times by jit: {self.reason()}")

    def reuse(self) -> None:
        """A program that it had was of use for another call."""
        with _lock:
            if not self.reused and self._origin is not None:
                self._origin.reused += 1
                self._origin.alive.discard(self)
            self.reused = True

    def clear(self) -> None:
        """The programs are not kept any longer."""
        with _lock:
            self.signatures.clear()
            self.count = self.not_kept = 0

    def reason(self) -> str:
        """Why it was recorded so often, in a sentence or two."""
        if self.not_kept * 2 > self.count:
            return (
                f"{self.not_kept} programs were of no use for another call, since the function read a value that is "
                "being differentiated or batched outside of it. Pass what it reads as an argument"
            )
        return _reason(self.signatures)


def _reason(signatures: Sequence[Signature]) -> str:
    steps = [changes_between(old, new) for old, new in pairwise(signatures)]
    counts = Counter([subject for changes in steps for subject in {_subject(change) for change in changes}])
    if not counts:
        return "the programs of an equal call were gone each time"
    (path, kind), count = counts.most_common(1)[0]
    last = next(c for changes in reversed(steps) for c in changes if _subject(c) == (path, kind))
    others = len(counts) - 1
    more = f", and {others} more change{'s' if others > 1 else ''}" if others else ""
    what = _WHAT_CHANGED[kind].format(path=path, often="once" if count == 1 else f"{count} times")
    where = f"{last.path}: " if last.path != path else ""
    return f"{what} (last {where}{last.before} -> {last.after}){more}. {_REMEDIES[kind]}"


def _subject(change: Change) -> tuple[str, str]:
    """What changed, and its kind: of entries that come and go, the argument that they are in."""
    if change.kind != "structure":
        return change.path, change.kind
    ends = [i for i in (change.path.find("["), change.path.find(".")) if i > 0]
    return change.path[: min(ends)] if ends else change.path, change.kind


_WHAT_CHANGED = {
    "shape": "argument {path} changed its shape {often}",
    "dtype": "argument {path} changed its dtype {often}",
    "weak type": "argument {path} was a Python number and an array in turn, {often}",
    "static value": "argument {path} changed its value {often}, and it is static",
    "static object": "argument {path} was another object {often}, and it is static",
    "structure": "{path} changed its structure {often}",
    "setting": "{path} changed {often}",
    "axis names": "{path} changed {often}",
}

_REMEDIES = {
    "shape": "Pad it to few different sizes, or leave jit away: grad alone runs at any shape",
    "dtype": "Convert it to one dtype before the call",
    "weak type": "Pass either a Python number or an array",
    "static value": "Pass it as an array, not as a static argument",
    "static object": (
        "There is a program for each object that is not equal to one before: make it once, outside of the loop, and "
        "pass what changes as an array"
    ),
    "structure": "Pass as many arguments, and containers with the same entries, at each call",
    "setting": "Set it once",
    "axis names": "Call the function within the same vmap each time",
}


def _count_origin(retraces: Retraces, limit: int) -> None:
    """Warn if one piece of code is jitted anew again and again, for functions that are called once and let go."""
    key = _origin_of(retraces.fun)
    if key is None:
        return
    with _lock:
        origin = _origins.setdefault(key, _Origin())
        _origins.move_to_end(key)
        if len(_origins) > _ORIGINS_MAX:
            _origins.popitem(last=False)
        origin.count += 1
        origin.alive.add(retraces)
        retraces._origin = origin
        if origin.wasted < limit or origin.warned:
            return
        origin.warned = True
    code: CodeType = key[-1]
    _warn(
        f"{name_of(retraces.fun)} ({code.co_filename}:{code.co_firstlineno}) has been jitted {origin.count} times, "
        "each time anew, for one call: what jit has recorded is kept with the function that it returns. "
        "Call jit once, outside of the loop or of the function that is called often, and pass what changes as an "
        "argument"
    )


def code_of(fun: Any) -> CodeType | None:
    """The code of a function behind what wraps it (transformations, `partial`, methods); None if it has none."""
    code = getattr(_unwrapped(fun)[-1], "__code__", None)
    return code if isinstance(code, CodeType) else None


def _unwrapped(fun: Any) -> list[Any]:
    """A function, what it wraps, what that wraps, ..."""
    chain = [fun]
    while len(chain) < _WRAPPERS_MAX:
        fun = getattr(fun, "__wrapped__", None) or getattr(fun, "func", None) or getattr(fun, "__func__", None)
        if fun is None:
            break
        chain.append(fun)
    return chain


def _origin_of(fun: Any) -> Any:
    """The kinds of the transformations of a function, and its code; None where there is none, or none of the user's."""
    code = code_of(fun)
    if code is None or is_internal(code.co_filename):
        return None
    return (*[type(wrapper) for wrapper in _unwrapped(fun)], code.co_filename, code)


def _warn(message: str) -> None:
    """Warn at the user's line."""
    full = f"{message}. (functrans.config.retrace_warning = None turns this off.)"
    frame = user_frame()
    if frame is None:
        warnings.warn(full, RetraceWarning, stacklevel=2)
    else:
        where = frame.f_code.co_filename, frame.f_lineno
        warnings.warn_explicit(full, RetraceWarning, *where, module=frame.f_globals.get("__name__"))
