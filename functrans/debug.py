"""Looking into a program while it runs: print, callback, breakpoint.

They are effects: they happen when the program runs, in the order of the program and once in a run, whether or not
anything depends on them, under every transformation. Under `grad` alone Python's own `print` works too, since tracers
have their values there; under `jit` and `vmap` it prints a tracer, once.
"""

from __future__ import annotations

import re
import string
import sys
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any

from functrans.api.callbacks import debug_callback
from functrans.core.tracer import Tracer
from functrans.errors import hide_frames, is_internal
from functrans.tree import flatten

__all__ = ["breakpoint", "callback", "print"]


def callback(callback: Callable[..., Any], *args: Any, ordered: bool = False, **kwargs: Any) -> None:
    """Call a Python function for what it does, when the program gets there.

    Tangents and cotangents are ignored; under `vmap` it is called once for each member, in their order, or once if no
    argument is mapped.

    Args:
        callback: the function. It gets arrays of its own, which it may keep and change.
        args, kwargs: its arguments: pytrees of arrays; other leaves are handed on as they are.
        ordered: for JAX's signature; callbacks are always called in order.

    >>> import numpy as np
    >>> import functrans as ft
    >>> seen = []
    >>> @ft.jit
    ... def f(x):
    ...     ft.debug.callback(seen.append, x)
    ...     return x * 2
    >>> f(3.0), f(4.0), seen
    (np.float64(6.0), np.float64(8.0), [array(3.), array(4.)])
    """
    debug_callback(callback, *args, ordered=ordered, **kwargs)


def print(fmt: str, *args: Any, ordered: bool = False, **kwargs: Any) -> None:
    """Print values when the program gets there, to `sys.stdout` as it is then.

    Args:
        fmt: a format in the syntax of `str.format`; not an f-string, which Python would fill in while the program is
            recorded.
        args, kwargs: the values: pytrees of arrays, and anything else.
        ordered: for JAX's signature; lines are always printed in order.

    Raises:
        ValueError: if an argument is not used, or `fmt` is an f-string with a tracer.
        IndexError, KeyError: if the format names an argument that is not given.

    >>> import numpy as np
    >>> import functrans as ft
    >>> @ft.jit
    ... def f(x):
    ...     y = np.sin(x)
    ...     ft.debug.print("x = {x}, sin(x) = {:.3f}", y, x=x)
    ...     return y
    >>> _ = f(1.0)
    x = 1.0, sin(x) = 0.841
    """
    try:
        _check_format(fmt, args, kwargs)
    except Exception as error:
        raise hide_frames(error)  # noqa: B904  (it is the same error)

    def write(*values: Any, **named: Any) -> None:
        text = fmt.format(*values, **named)
        sys.stdout.write(f"{text}\n")  # at once, so that lines of several threads do not mix

    debug_callback(write, *args, ordered=ordered, **kwargs)


class _Fields(string.Formatter):
    """Walks through the fields of a format, and formats nothing."""

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        name = re.match(r"[^.\[]*", field_name).group()  # type: ignore[union-attr]
        key: Any = int(name) if name.isdigit() else name
        return self.get_value(key, args, kwargs), key

    def get_value(self, key: int | str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if isinstance(key, int) and key >= len(args):
            raise IndexError(f"debug.print: the format asks for argument {key}, and {len(args)} were given")
        if isinstance(key, str) and key not in kwargs:
            given = ", ".join(kwargs) or "none"
            raise KeyError(f"debug.print: the format asks for {key!r}, and the keyword arguments are: {given}")
        return None

    def convert_field(self, value: Any, conversion: Any) -> Any:
        return value

    def format_field(self, value: Any, format_spec: str) -> str:
        return ""

    def check_unused_args(self, used_args: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        unused = [f"argument {i}" for i in range(len(args)) if i not in used_args]
        unused += [name for name in kwargs if name not in used_args]
        if unused:
            raise ValueError(f"debug.print: the format does not use {', '.join(unused)}")


def _check_format(fmt: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    if not isinstance(fmt, str):
        raise TypeError(
            f"debug.print needs a format first, such as '{{}}', got {fmt!r:.60} of type {type(fmt).__name__}"
        )
    if "Tracer<" in fmt:
        raise ValueError(
            f"debug.print got the text of a tracer, {fmt!r:.80}: an f-string is filled in while the program is "
            "recorded, when there are no values. Leave the f away and pass the values: debug.print('x = {x}', x=x)."
        )
    _Fields().vformat(fmt, args, kwargs)


def breakpoint(*, ordered: bool = False) -> None:
    """Stop in Python's debugger when the program gets there, with the local variables as they are then.

    The lines and the variables are those of the function that calls it; tracers have become arrays. `c` goes on.
    Assignments change nothing in the program.

    Args:
        ordered: for JAX's signature; effects are always in order.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_back is not None and is_internal(frame.f_code.co_filename):
        frame = frame.f_back
    assert frame is not None
    filename, line = frame.f_code.co_filename, frame.f_lineno
    hidden = frame.f_globals

    def stop(variables: dict[str, Any], others: _Static) -> None:
        # A line of the user's file, so that the debugger shows what is around it.
        code = compile("\n" * (line - 1) + "__import__('pdb').Pdb().set_trace()", filename, "exec")
        exec(code, {**hidden, **others.values, **variables})

    variables, others = _split_variables(frame.f_locals)
    debug_callback(stop, variables, others, ordered=ordered)


class _Static:
    """Variables without tracers, as one leaf."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values


def _split_variables(variables: Mapping[str, Any]) -> tuple[dict[str, Any], _Static]:
    """The variables with tracers that are being recorded, and the others."""
    traced: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, value in variables.items():
        try:
            leaves = flatten(value)[0]
        except (TypeError, ValueError):  # a dict that cannot be sorted
            leaves = []
        open_tracers = [not leaf.recording.closed for leaf in leaves if type(leaf) is Tracer]
        (traced if open_tracers and all(open_tracers) else others)[name] = value
    return traced, _Static(others)
