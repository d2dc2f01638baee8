"""Python functions called while a program runs: pure_callback, io_callback, debug_callback."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.api.arguments import argument_path, name_of, value_of_leaf
from functrans.core.aval import Aval
from functrans.core.recording import UNKNOWN
from functrans.core.tracer import Tracer
from functrans.errors import UnexpectedTracerError, describe_line, hide_frames, user_frame
from functrans.ops.callback import (
    VMAP_METHODS,
    Callback,
    debug_callback_p,
    io_callback_p,
    pure_callback_p,
)
from functrans.tree import TreeDef, flatten, leaf_path, unflatten

__all__ = ["debug_callback", "io_callback", "pure_callback"]


def pure_callback(
    callback: Callable[..., Any],
    result_shape_dtypes: Any,
    *args: Any,
    vmap_method: str | None = None,
    **kwargs: Any,
) -> Any:
    """The result of a Python function of arrays that functrans cannot look into: SciPy, C, another library.

    The function must be pure. It may be called more than once for one call in the program, or not at all if nothing
    uses the result. It has no derivative: `custom_jvp` or `custom_vjp` around it give one.

    Args:
        callback: the function. It gets arrays of its own, which it may keep and change.
        result_shape_dtypes: what it returns: a pytree of `ShapeDtypeStruct`s, or arrays whose shape and dtype count.
        args, kwargs: its arguments: pytrees of arrays and numbers; other leaves are handed on as they are.
        vmap_method: what `vmap` does. None, "sequential" and "sequential_unrolled" call the function once for each
            member. The others call it once: "expand_dims" with the mapped arguments stacked along axis 0 and the others
            with a new axis 0 of length 1, "broadcast_all" with all of them stacked, "legacy_vectorized" with the
            others as they are; the results are to be stacked along axis 0.

    Returns:
        What the function returns, as arrays.

    Raises:
        TypeError: if an argument or a result cannot be an array; at run time, if what the function returns is not of
            the structure, the shapes and the dtypes declared.
        MissingRuleError: if it is differentiated.

    >>> import math
    >>> import numpy as np
    >>> import functrans as ft
    >>> def gamma(x):
    ...     return np.vectorize(math.gamma)(x)
    >>> @ft.jit
    ... def f(x):
    ...     return 2 * ft.pure_callback(gamma, x, x)
    >>> f(np.array([3.0, 4.0]))
    array([ 4., 12.])
    """
    if vmap_method not in VMAP_METHODS:
        raise ValueError(f"vmap_method must be one of {VMAP_METHODS}, got {vmap_method!r}")
    call = functools.partial(pure_callback_p.bind, vmap_method=vmap_method)
    return _with_results("pure_callback", call, callback, result_shape_dtypes, args, kwargs)


def io_callback(
    callback: Callable[..., Any], result_shape_dtypes: Any, *args: Any, ordered: bool = False, **kwargs: Any
) -> Any:
    """The result of a Python function that does something besides: reads a file, counts, asks the user.

    It is called once for each time that the program gets there, in the order of the program, also if nothing uses the
    result. `vmap` calls it once for each member, in their order (once, if no argument is mapped).

    Args:
        callback: the function. It gets arrays of its own, which it may keep and change.
        result_shape_dtypes: what it returns: a pytree of `ShapeDtypeStruct`s or arrays; None for nothing.
        args, kwargs: its arguments: pytrees of arrays and numbers; other leaves are handed on as they are.
        ordered: for JAX's signature; callbacks are always called in order.

    Returns:
        What the function returns, as arrays.

    Raises:
        TypeError: as `pure_callback`.
        MissingRuleError: if an argument has a tangent and a result could have one.

    >>> import itertools
    >>> import numpy as np
    >>> import functrans as ft
    >>> numbers = itertools.count()
    >>> def f(x):
    ...     return x + ft.io_callback(lambda: next(numbers), ft.ShapeDtypeStruct((), int))
    >>> ft.jit(f)(10), ft.vmap(f)(np.array([10, 20]))
    (np.int64(10), array([11, 21]))
    """
    call = functools.partial(io_callback_p.bind, ordered=bool(ordered))
    return _with_results("io_callback", call, callback, result_shape_dtypes, args, kwargs)


def debug_callback(callback: Callable[..., Any], *args: Any, ordered: bool = False, **kwargs: Any) -> None:
    """Call a Python function for what it does; see `functrans.debug.callback`."""
    try:
        call = _Call("debug.callback", callback, args, kwargs, _is_array)
        function = Callback(call.name, lambda arrays, _: (call.run(arrays), ())[1])
        debug_callback_p.bind(function, *call.operands, ordered=bool(ordered))
    except Exception as error:
        raise hide_frames(error)  # noqa: B904  (it is the same error)


def _is_array(leaf: Any) -> bool:
    """Whether a leaf is an operand of a callback for debugging: what cannot change goes to the function as it is."""
    return type(leaf) is Tracer or (isinstance(leaf, np.ndarray) and leaf.dtype.kind in "biufc")


def _is_numeric(leaf: Any) -> bool:
    aval, value = value_of_leaf(leaf)
    return aval is not None and value is not UNKNOWN


class _Call:
    """A call `callback(*args, **kwargs)` that is to be made when the program runs.

    Args:
        kind: the function of functrans that is to make it.
        callback, args, kwargs: the call.
        is_operand: tells the leaves that are operands of the equation; the others are handed on as they are.

    Raises:
        TypeError: naming what cannot be called, or the argument that cannot be an array.
        UnexpectedTracerError: if the function closes over a tracer.
    """

    def __init__(
        self,
        kind: str,
        callback: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        is_operand: Callable[[Any], bool],
    ) -> None:
        if not callable(callback):
            raise TypeError(f"{kind} needs a function, got {callback!r:.80} of type {type(callback).__name__}")
        self.kind = kind
        self.name = name_of(callback)
        self.callback = callback
        self.leaves, self.treedef = flatten((args, kwargs))
        self.places = []
        for place, leaf in enumerate(self.leaves):
            try:
                if is_operand(leaf):
                    self.places.append(place)
            except TypeError as error:
                path = argument_path(callback, self.treedef, place)
                raise TypeError(f"{kind}: argument {path} of {self.name}: {error}") from None
        self.operands = [_operand(self.leaves[place]) for place in self.places]
        for place in self.places:
            self.leaves[place] = None
        frame = user_frame()
        self._line = None if frame is None else (frame.f_code, frame.f_lasti)
        self._check_closure()

    @property
    def where(self) -> str:
        """The line of the user that asked for the call."""
        return f" at {describe_line(*self._line)}" if self._line else ""

    def run(self, arrays: Sequence[Any]) -> Any:
        """Make the call, with arrays that are the function's own."""
        leaves = list(self.leaves)
        for place, x in zip(self.places, arrays, strict=True):
            leaves[place] = np.array(x)
        args, kwargs = unflatten(self.treedef, leaves)
        return self.callback(*args, **kwargs)

    def _check_closure(self) -> None:
        # It would find the tracer when its recording has ended, far from the line that is wrong.
        cells = getattr(self.callback, "__closure__", None) or ()
        names = self.callback.__code__.co_freevars if cells else ()
        for name, cell in zip(names, cells, strict=True):
            try:
                value = cell.cell_contents
            except ValueError:  # not bound yet
                continue
            if type(value) is Tracer:
                raise UnexpectedTracerError(
                    f"{self.kind}{self.where}: the function {self.name} closes over {name}, a tracer "
                    f"{value.aval.strong}, and is called when the program runs, where {name} has its value only as an "
                    f"argument: {self.kind}({self.name}, ..., {name})"
                )


def _operand(leaf: Any) -> Any:
    """An argument as an operand. A number is an array: in the program it may not stand, since it may change."""
    return leaf if type(leaf) is Tracer or type(leaf) is np.ndarray else np.asarray(value_of_leaf(leaf)[1])


# --------------------------------------------------------------------------------------------------------------------
# Results


def _with_results(
    kind: str,
    bind: Callable[..., Sequence[Any]],
    callback: Callable[..., Any],
    declared: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """What a callback returns, as results of an equation."""
    try:
        call = _Call(kind, callback, args, kwargs, _is_numeric)
        avals, treedef = _declared_results(call, declared)
        function = Callback(call.name, lambda arrays, avals: _checked(call, call.run(arrays), treedef, avals))
        return unflatten(treedef, list(bind(function, *call.operands, results=avals)))
    except Exception as error:
        raise hide_frames(error)  # noqa: B904  (it is the same error)


def _declared_results(call: _Call, declared: Any) -> tuple[tuple[Aval, ...], TreeDef]:
    leaves, treedef = flatten(declared)
    avals = []
    for place, leaf in enumerate(leaves):
        shape, dtype = getattr(leaf, "shape", None), getattr(leaf, "dtype", None)
        if shape is None or dtype is None:
            raise TypeError(
                f"{call.kind} of {call.name}: result_shape_dtypes{leaf_path(treedef, place)} must have a shape and a "
                f"dtype, such as functrans.ShapeDtypeStruct((3,), float), got {leaf!r:.80} of type "
                f"{type(leaf).__name__}"
            )
        avals.append(Aval(tuple(shape), np.dtype(dtype)))
    return tuple(avals), treedef


def _checked(call: _Call, out: Any, expected: TreeDef, avals: Sequence[Aval]) -> list[Any]:
    """The leaves of what a callback returned, each an array of the aval declared that nobody else has."""
    leaves, treedef = flatten(out)
    if treedef != expected:
        raise TypeError(
            f"{call.kind}{call.where}: {call.name} was declared to return {expected}, and returned {treedef}"
        )
    return [
        _checked_leaf(call, leaf, leaf_path(treedef, place), aval)
        for place, (leaf, aval) in enumerate(zip(leaves, avals, strict=True))
    ]


def _checked_leaf(call: _Call, leaf: Any, path: str, aval: Aval) -> Any:
    result = f"{call.kind}{call.where}: output{path} of {call.name} was declared {aval}"
    try:
        given, value = value_of_leaf(leaf)
    except TypeError as error:
        raise TypeError(f"{result}: {error}") from None
    if given is None or value is UNKNOWN or type(value) is Tracer:
        raise TypeError(f"{result}, and is {leaf!r:.60} of type {type(leaf).__name__}")
    is_number = type(leaf) in (bool, int, float, complex)
    fits_weakly = is_number and _KIND_ORDER[given.dtype.kind] <= _KIND_ORDER[aval.dtype.kind]
    if given.shape != aval.shape or not (given.dtype == aval.dtype or fits_weakly):
        cast = f": convert it, np.asarray(out, {aval.dtype.name!r})" if given.shape == aval.shape else ""
        raise TypeError(f"{result}, and is {given.strong}{cast}")
    try:
        array = np.array(leaf if is_number else value, aval.dtype)
    except OverflowError as error:
        raise TypeError(f"{result}: {error}") from None
    return array if array.shape else array[()]


_KIND_ORDER = {"b": 0, "i": 1, "u": 1, "f": 2, "c": 3}
