"""The tracer: what a function being recorded computes with, in place of arrays.

A tracer is an atom of a recording with its aval. What NumPy users do with arrays (operators, indexing, methods, plain
`numpy` functions) is installed on the class by `functrans.numpy`; here is what Python itself asks of a value.

A tracer never turns into a plain number in silence. `__array__` always raises; `float`, `int` and `complex` raise on
what carries a derivative. The truth of a tracer, its use as an index and its printed form are taken from its value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from functrans.core.aval import Aval, HasAval
from functrans.errors import (
    ConcretizationTypeError,
    DetachedTracerError,
    TracerArrayConversionError,
    TracerBoolConversionError,
    TracerIntegerConversionError,
    UnexpectedTracerError,
    user_location,
)

__all__ = ["INSTALLED_METHODS", "Tracer", "concrete", "escaped", "new_tracer"]

Unary = Callable[[Any], Any]
Binary = Callable[[Any, Any], Any]


class Tracer(HasAval):
    """An array of a program that is being recorded. Its methods are those of `numpy.ndarray` that do not write."""

    __slots__ = ("__weakref__", "atom", "aval", "recording")
    __hash__ = None  # type: ignore[assignment]  # equality is elementwise

    recording: Any
    atom: Any
    aval: Aval

    # Installed by functrans.numpy.
    __add__: Binary
    __radd__: Binary
    __sub__: Binary
    __rsub__: Binary
    __mul__: Binary
    __rmul__: Binary
    __truediv__: Binary
    __rtruediv__: Binary
    __floordiv__: Binary
    __rfloordiv__: Binary
    __mod__: Binary
    __rmod__: Binary
    __divmod__: Binary
    __rdivmod__: Binary
    __pow__: Binary
    __rpow__: Binary
    __matmul__: Binary
    __rmatmul__: Binary
    __and__: Binary
    __rand__: Binary
    __or__: Binary
    __ror__: Binary
    __xor__: Binary
    __rxor__: Binary
    __lshift__: Binary
    __rlshift__: Binary
    __rshift__: Binary
    __rrshift__: Binary
    __lt__: Binary
    __le__: Binary
    __gt__: Binary
    __ge__: Binary
    __neg__: Unary
    __pos__: Unary
    __abs__: Unary
    __invert__: Unary
    __round__: Callable[..., Any]
    __getitem__: Binary
    __setitem__: Callable[[Any, Any, Any], Any]
    __iter__: Unary
    __contains__: Binary
    __array_ufunc__: Callable[..., Any]
    __array_function__: Callable[..., Any]
    __array_namespace__: Callable[..., Any]

    def __init__(self, recording: Any, atom: Any, aval: Aval) -> None:
        self.recording = recording
        self.atom = atom
        self.aval = aval

    @property
    def itemsize(self) -> int:
        """The bytes of an element."""
        return self.aval.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """The bytes of all elements."""
        return self.aval.nbytes

    def __len__(self) -> int:
        if not self.aval.shape:
            raise TypeError("len() of a 0-d array")
        return self.aval.shape[0]

    def __bool__(self) -> bool:
        return bool(self._value(TracerBoolConversionError, "the truth"))

    def __index__(self) -> int:
        if self.aval.dtype.kind not in "iu" or self.aval.shape:
            raise TypeError(f"only an integer scalar can be used as an index, a size or an axis, not {self._shown}")
        return int(self._value(TracerIntegerConversionError, "the value, as an index or a size,"))

    def __float__(self) -> float:
        return float(self._detached("float"))

    def __int__(self) -> int:
        return int(self._detached("int"))

    def __complex__(self) -> complex:
        return complex(self._detached("complex"))

    def item(self, *index: int) -> Any:
        """The value of an element as a Python scalar, without its derivative."""
        return self._value(ConcretizationTypeError, "the value").item(*index)

    def tolist(self) -> Any:
        """The values as nested lists of Python scalars, without their derivative."""
        return self._value(ConcretizationTypeError, "the value").tolist()

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        raise TracerArrayConversionError(
            f"a plain array was asked of a tracer {self._shown} at {user_location()}: it would lose the derivative. "
            "Stay in the program with functrans.numpy (stack([x, y]) in place of np.array([x, y]), take(a, x) in place "
            "of a[x]), or take the value alone: functrans.concrete(x)."
        )

    def __repr__(self) -> str:
        if self.recording.closed:
            return f"Tracer<{self._shown}, escaped from {self.recording.name}>"
        if self.recording.unknown_input(self.atom) is not None:
            return f"Tracer<{self._shown}>"
        return f"Tracer<{self._shown}>({self.recording.value(self.atom)})"

    def __str__(self) -> str:
        if self.recording.closed or self.recording.unknown_input(self.atom) is not None:
            return repr(self)
        return str(self.recording.value(self.atom))

    def __format__(self, spec: str) -> str:
        if not spec:
            return str(self)
        return format(self._value(ConcretizationTypeError, "the formatted value"), spec)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a tracer {self._shown} cannot be pickled or copied out of the function being recorded; "
            "take its value: functrans.concrete(x)"
        )

    def __copy__(self) -> Tracer:
        return self

    def __deepcopy__(self, memo: Any) -> Tracer:
        return self

    @property
    def _shown(self) -> Aval:
        return self.aval.strong  # weakness is nothing that a user would know

    def _value(self, error: type[ConcretizationTypeError], what: str) -> Any:
        unknown = self.recording.unknown_input(self.atom) if not self.recording.closed else None
        if unknown is not None:
            raise error(
                f"{what} of a tracer {self._shown} was asked at {user_location()}, but it depends on {unknown}, "
                f"which has no value while the program is recorded. {_REMEDY[error]}"
            )
        return self.recording.value_of(self)

    def _detached(self, kind: str) -> Any:
        source = None if self.recording.closed else self.recording.differentiated_input(self.atom)
        if source is not None:
            raise DetachedTracerError(
                f"{kind}() of a tracer {self._shown} at {user_location()} would lose the derivative with respect to "
                f"{source}. (math.sin(x) and b[0] = x call it too: write functrans.numpy.sin(x), "
                "functrans.numpy.at(b)[0].set(x).) If the number alone is wanted, say so: x.item(), "
                "functrans.concrete(x), or functrans.lax.stop_gradient(x) before."
            )
        return self._value(ConcretizationTypeError, f"{kind}()")


new_tracer: Callable[[type[Tracer]], Tracer] = object.__new__
"""Makes a tracer without its slots filled."""

INSTALLED_METHODS = tuple(name for name, kind in Tracer.__annotations__.items() if kind not in ("Any", "Aval"))
"""The methods that `functrans.numpy` installs."""

_JITTED = (
    "Of a jitted function, mark the argument static (static_argnums), or leave jit away: under grad alone the "
    "arguments are known."
)

_REMEDY: dict[type[ConcretizationTypeError], str] = {
    ConcretizationTypeError: (
        f"Return it and look at it after the call, or print it with functrans.debug.print. {_JITTED}"
    ),
    TracerBoolConversionError: (
        "Choose with functrans.numpy.where(condition, x, y) or functrans.lax.cond, repeat with "
        f"functrans.lax.while_loop. {_JITTED}"
    ),
    TracerIntegerConversionError: (
        f"Sizes and axes are part of the program; an element at a traced place is functrans.numpy.take(x, i). {_JITTED}"
    ),
}


def escaped(tracer: Tracer) -> UnexpectedTracerError:
    """The error for a tracer whose recording has ended."""
    recording = tracer.recording
    return UnexpectedTracerError(
        f"a tracer {tracer.aval.strong} was used after {recording.name} had returned. It was made as "
        f"{recording.describe(tracer.atom)}, and something outside of the function kept it. Return it from the "
        f"function instead, or keep its value: functrans.concrete(x)."
    )


def concrete(x: Any) -> Any:
    """The value of a tracer as a plain array, without its derivative; anything else unchanged.

    Raises:
        ConcretizationTypeError: if the value hangs on an unknown input, such as an argument of a jitted function.
        UnexpectedTracerError: if the recording of the tracer has ended.
    """
    if type(x) is not Tracer:
        return x
    return x._value(ConcretizationTypeError, "the value")
