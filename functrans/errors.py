"""Exceptions whose docstring is the manual page, and the way back to the user's own line of code.

Every error that functrans raises on purpose is one of Python's own (`TypeError`, `ValueError`, `IndexError`) or one of
the classes below. A message says what was wrong, where in the user's code, which argument, its shape and dtype, and
what to write instead.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from types import CodeType, FrameType, TracebackType
from typing import TypeVar

import numpy as np

__all__ = [
    "CapturedArrayMutatedError",
    "ConcretizationTypeError",
    "DetachedTracerError",
    "JaxprTypeError",
    "KeyReuseError",
    "MissingRuleError",
    "NonConcreteBooleanIndexError",
    "NonFiniteError",
    "NotPortableError",
    "RetraceWarning",
    "TracerArrayConversionError",
    "TracerBoolConversionError",
    "TracerIntegerConversionError",
    "UnexpectedTracerError",
]

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_NUMPY = os.path.dirname(os.path.abspath(np.__file__)) + os.sep

DERIVATIVE = "jvp()"
"""The scope of what the derivative of an equation needs besides it."""

BACKWARD = "transpose()"
"""The scope of what transposing a program has made of an equation, the backward pass of reverse mode."""

E = TypeVar("E", bound=BaseException)


class ConcretizationTypeError(TypeError):
    """A value was asked of a tracer that has none yet.

    Under `jit`, `eval_shape` and `make_jaxpr` the arguments are unknown while the function is recorded; under `vmap`
    the mapped ones are. A program made for all values cannot depend on one of them:

    >>> import functrans as ft
    >>> ft.jit(lambda x: x if x > 0 else -x)(1.0)
    Traceback (most recent call last):
      ...
    functrans.errors.TracerBoolConversionError: ...

    Select with `functrans.numpy.where` instead, mark the argument static (`jit(f, static_argnums=0)`), or leave
    the `jit` away: `grad` alone knows its arguments, and Python's control flow works under it.

    >>> ft.jit(lambda x: ft.numpy.where(x > 0, x, -x))(-1.0)
    array(1.)
    """


class TracerBoolConversionError(ConcretizationTypeError):
    """The truth of an unknown tracer was asked (`if x > 0`, `while`, `assert`). See `ConcretizationTypeError`."""


class TracerIntegerConversionError(ConcretizationTypeError):
    """An unknown tracer was used as an index, a size or an axis. See `ConcretizationTypeError`.

    Sizes and axes belong to the program: make them static arguments. For an element at a traced place write `x[i]` on
    a tracer or `functrans.numpy.take(x, i)`; Python's own lists cannot be indexed so.
    """


class NonConcreteBooleanIndexError(ConcretizationTypeError):
    """A boolean mask of unknown values was used as an index: the shape of the result would depend on them.

    Write `functrans.numpy.where(mask, x, 0)` instead of `x[mask]`.
    """


class TracerArrayConversionError(TypeError):
    """Something asked a tracer for a plain array: `np.array([x, x])`, `np.asarray(x)`, `list_of_tracers` in a ufunc.

    The array would hold no derivative, so functrans never makes it. `functrans.numpy.stack([x, x])` and
    `functrans.numpy.asarray(x)` stay inside the program; `functrans.concrete(x)` takes the value and says so.
    """


class DetachedTracerError(TypeError):
    """`float(x)`, `int(x)`, `math.sin(x)` or `b[0] = x`, where `x` depends on a differentiated input.

    Each would go on with a plain number and lose the derivative without a word. Write `functrans.numpy.sin(x)`,
    `functrans.numpy.at(b)[0].set(x)`; or, where the number itself is wanted, `x.item()`, `functrans.concrete(x)` or
    `float(functrans.lax.stop_gradient(x))`.
    """


class UnexpectedTracerError(Exception):
    """A tracer was used after the function that it belongs to had returned.

    Something kept it: an attribute, a global, a list outside of the function. Return it instead.

    >>> import functrans as ft
    >>> kept = []
    >>> _ = ft.grad(lambda x: kept.append(x) or x * x)(2.0)
    >>> kept[0] + 1
    Traceback (most recent call last):
      ...
    functrans.errors.UnexpectedTracerError: ...
    """


class MissingRuleError(TypeError):
    """A primitive, or a NumPy function, has no rule for what was asked of it. The message names both and the remedy."""


class NotPortableError(TypeError):
    """What a function does cannot be written as source that needs nothing but NumPy.

    Callbacks run a Python function of yours, and ufuncs of other libraries need those.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.emit_source(lambda x: ft.pure_callback(lambda x: x, x, x), np.ones(3))
    Traceback (most recent call last):
      ...
    functrans.errors.NotPortableError: ...

    Leave that part out, or write it with functions of NumPy:

    >>> source = ft.emit_source(lambda x: x + 1.0, np.ones(3))
    """


class JaxprTypeError(TypeError):
    """A program is not well typed: a bug of a transformation or of a rule. The message shows the equation."""


class NonFiniteError(FloatingPointError):
    """A program made a NaN, or an infinity, of operands without one, while `debug_nans` or `debug_infs` was on.

    >>> import numpy as np
    >>> import functrans as ft
    >>> with ft.debug_nans(True):
    ...     ft.jit(lambda x: np.log(x) * 2.0)(-1.0)
    Traceback (most recent call last):
      ...
    functrans.errors.NonFiniteError: ...

    The message names the operation that made the first one, its operands with an element for which it happened, and the
    line that asked for the operation. "derivative" there means that it was not the operation at that line itself, but
    its derivative: `0.5 / sqrt(x)` for `np.sqrt(x)`, say; "backward pass", that it was what reverse mode made of that.

    Keep the operands in the domain (`np.log(np.maximum(x, 1e-12))`). What `np.where` does not select is computed too,
    and stops here; its gradient is harmless (`config.nan_safe_gradients`), so where that is meant, turn the check off:
    `with functrans.debug_nans(False)`.
    """

    has_line = False
    """Whether the message names a line already."""


class CapturedArrayMutatedError(ValueError):
    """An array that a function being recorded has read was written to before the recording had ended.

    The program runs after the function has returned, so it would read the new contents. Arrays over 64 kB are
    therefore read-only as long as the recording is open (smaller ones are copied when they are read). Write to a copy,
    or build the array functionally: `functrans.numpy.at(buf)[i].set(v)`.
    """


class KeyReuseError(RuntimeError):
    """A random key was used twice, while `debug_key_reuse` was on. The message names both lines.

    A key is a value: it gives the same numbers each time. Numbers drawn from one key in two places are the same, or
    depend on each other, and nothing would say so:

    >>> import functrans as ft
    >>> key = ft.random.key(0)
    >>> with ft.debug_key_reuse(True):
    ...     noise, weights = ft.random.normal(key, (3,)), ft.random.normal(key, (3,))
    Traceback (most recent call last):
      ...
    functrans.errors.KeyReuseError: ...

    Make a key for each use, and do not use one again that was split:

    >>> with ft.debug_key_reuse(True):
    ...     for_noise, for_weights = ft.random.split(ft.random.key(0))
    ...     noise, weights = ft.random.normal(for_noise, (3,)), ft.random.normal(for_weights, (3,))

    Where the same numbers are wanted, `functrans.random.clone(key)` says so.
    """


class RetraceWarning(UserWarning):
    """A jitted function is recorded again and again, so that `jit` costs more than it saves.

    A function is recorded once for each combination of shapes, dtypes, structures and static values:

    >>> import warnings
    >>> import functrans as ft
    >>> power = ft.jit(lambda x, n: x**n, static_argnums=1)
    >>> ft.config.retrace_warning = 3
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     values = [power(2.0, n) for n in range(6)]
    >>> ft.config.retrace_warning = 32
    >>> print(caught[0].message)
    <lambda> has been recorded 4 times by jit: argument n changed its value 3 times, and it is static (last 2 -> 3).
    Pass it as an array, not as a static argument. (functrans.config.retrace_warning = None turns this off.)

    The message says which argument changed how. Pass an array in the place of a static value, pad to few shapes, or
    call `jit` once and not in a loop. `functrans.config.retrace_warning` is how often is too often (32), None turns
    the warning off. It is given once for a function.
    """


def is_internal(filename: str) -> bool:
    """Whether a source file belongs to functrans or NumPy, so that its frames are not the user's."""
    return filename.startswith((_PACKAGE, _NUMPY, "<frozen", "<__array_function__"))


def internal_filename(name: str) -> str:
    """The file name of generated source, whose frames are not the user's."""
    return _PACKAGE + name


def user_frame() -> FrameType | None:
    """The innermost frame of the stack that runs the user's code."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and is_internal(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


def user_location() -> str:
    """`file.py:12 (in loss)` for the line of the user's code that is running now."""
    frame = user_frame()
    return "an unknown line" if frame is None else describe_line(frame.f_code, frame.f_lasti)


def line_number(code: CodeType, lasti: int) -> int:
    """The line of an instruction of a code object."""
    for start, end, number in code.co_lines():
        if start <= lasti < end and number is not None:
            return number
    return code.co_firstlineno


def describe_line(code: CodeType, lasti: int, scopes: Sequence[str] = ()) -> str:
    """`file.py:12 (in loss)` for an instruction of a code object, with the scopes that it is in."""
    line = line_number(code, lasti)
    named = [scope for scope in scopes if scope not in (BACKWARD, DERIVATIVE)]
    within = f", scope {'/'.join(named)}" if named else ""
    part = ", backward pass" if BACKWARD in scopes else ", derivative" if DERIVATIVE in scopes else ""
    return f"{code.co_filename}:{line} (in {code.co_name}{within}{part})"


def hide_frames(error: E) -> E:
    """The same error, with the frames of functrans taken out of its traceback."""
    kept = []
    traceback = error.__traceback__
    while traceback is not None:
        if not traceback.tb_frame.f_code.co_filename.startswith(_PACKAGE):
            kept.append(traceback)
        traceback = traceback.tb_next
    chain: TracebackType | None = None
    for entry in reversed(kept):
        chain = TracebackType(chain, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    error.__traceback__ = chain
    return error
