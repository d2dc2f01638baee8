"""The methods and attributes of `numpy.ndarray` on tracers, all those that do not write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

from functrans.core.tracer import Tracer
from functrans.errors import ConcretizationTypeError, user_location
from functrans.numpy import creation, shapes
from functrans.numpy.at import at
from functrans.numpy.dispatch import record_unary
from functrans.numpy.indexing import getitem
from functrans.numpy.registry import PLANNED, call_function, call_planned
from functrans.numpy.ufuncs import UFUNCS
from functrans.ops.conversion import convert_element_type

__all__ = ["install_methods"]


def _function(function: Callable[..., Any]) -> Callable[..., Any]:
    """A method that calls the function of NumPy with the array as its first argument."""

    def planned(self: Tracer, *args: Any, **kwargs: Any) -> Any:
        return call_planned(function, self, args, kwargs)

    def method(self: Tracer, *args: Any, **kwargs: Any) -> Any:
        return call_function(function, (self, *args), kwargs)

    if function in PLANNED:
        method = planned
    method.__name__ = function.__name__
    method.__doc__ = f"`numpy.ndarray.{function.__name__}`."
    return method


def _astype(
    self: Tracer, dtype: Any, order: str = "K", casting: str = "unsafe", subok: bool = True, copy: bool = True
) -> Any:
    """`numpy.ndarray.astype`: the same elements in another dtype. From complex to real, the imaginary part is lost."""
    wanted = np.dtype(dtype)
    if not np.can_cast(self.aval.dtype, wanted, casting):  # type: ignore[arg-type]
        raise TypeError(f"cannot cast {self.aval} to {wanted.name} with casting={casting!r}")
    return record_unary(_converted, self, (wanted,))


def _converted(x: Any, dtype: np.dtype[Any]) -> Any:
    return convert_element_type(x, dtype)


def _reshape(self: Tracer, *shape: Any, order: str = "C", copy: Any = None) -> Any:
    """`numpy.ndarray.reshape`: the same elements in another shape, given as one argument or several."""
    new = shape[0] if len(shape) == 1 else shape
    if type(new) is tuple and order == "C" and _INT.issuperset(map(type, new)):
        return record_unary(shapes.reshape_to, self, (new,))
    return call_planned(np.reshape, self, (new,) if order == "C" else (new, order), {})


_INT = frozenset({int})


def _transpose(self: Tracer, *axes: Any) -> Any:
    """`numpy.ndarray.transpose`: the axes in another order, given as one argument or several; by default reversed."""
    if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list))):
        return shapes.transpose(self, axes[0])
    return shapes.transpose(self, axes or None)


def _copy(self: Tracer, order: str = "C") -> Any:
    """`numpy.ndarray.copy`: a tracer cannot change, so it is its own copy."""
    return self


def _conj(self: Tracer) -> Any:
    """`numpy.ndarray.conj`: the complex conjugate."""
    return record_unary(UFUNCS[np.conjugate], self) if self.aval.dtype.kind == "c" else self


def _refused(rewrite: str) -> Callable[..., NoReturn]:
    def method(self: Tracer, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(
            f"at {user_location()}: a tracer cannot be written to, since the program keeps its value. Write {rewrite}."
        )

    return method


def _flat(self: Tracer) -> Iterator[Any]:
    """An iterator over all elements."""
    return iter(shapes.ravel(self))


def _nonzero(self: Tracer) -> Any:
    """`numpy.ndarray.nonzero`: the indices of the elements that are not zero, whose values must be known."""
    return self._value(ConcretizationTypeError, "which elements are not zero,").nonzero()


_METHODS: dict[str, Callable[..., Any]] = {
    "astype": _astype, "reshape": _reshape, "transpose": _transpose, "copy": _copy, "conj": _conj,
    "conjugate": _conj, "nonzero": _nonzero,
}  # fmt: skip
_FUNCTIONS = (
    np.all, np.any, np.argmax, np.argmin, np.argsort, np.clip, np.cumprod, np.cumsum, np.diagonal, np.dot, np.max,
    np.mean, np.min, np.prod, np.ptp, np.ravel, np.repeat, np.round, np.searchsorted, np.squeeze, np.std, np.sum,
    np.swapaxes, np.take, np.trace, np.var,
)  # fmt: skip
_REFUSED = {
    "fill": "x = functrans.numpy.full_like(x, v)",
    "itemset": "x = x.at[i].set(v)",
    "partition": "x = functrans.numpy.partition(x, k)",
    "put": "x = x.at[i].set(v)",
    "resize": "x = functrans.numpy.resize(x, shape)",
    "setfield": "x = x.at[i].set(v)",
    "sort": "x = functrans.numpy.sort(x)",
}
_PROPERTIES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "T": (lambda self: call_planned(np.transpose, self, (), {}), "The array with its axes reversed."),
    "mT": (shapes.matrix_transpose, "The array with its last two axes exchanged."),
    "real": (creation.real, "The real part."),
    "imag": (creation.imag, "The imaginary part."),
    "at": (at, "Parts of the array, to be updated: `x.at[i].set(v)` is the array with x[i] = v."),
    "flat": (_flat, "An iterator over all elements."),
}


def install_methods() -> None:
    """Give tracers the methods and attributes of arrays."""
    for name, method in _METHODS.items():
        setattr(Tracer, name, method)
    for function in _FUNCTIONS:
        setattr(Tracer, function.__name__, _function(function))
    Tracer.flatten = _function(np.ravel)  # type: ignore[attr-defined]
    for name, rewrite in _REFUSED.items():
        setattr(Tracer, name, _refused(rewrite))
    Tracer.__getitem__ = getitem
    for name, (getter, doc) in _PROPERTIES.items():
        setattr(Tracer, name, property(getter, doc=doc))
