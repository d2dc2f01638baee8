"""The operators of tracers, as NumPy defines them for arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from functrans.core.tracer import Tracer
from functrans.numpy.dispatch import record_call
from functrans.numpy.promotion import promote_for
from functrans.ops import elementwise

__all__ = ["install_operators"]

_SCALARS = (bool, int, float, complex, np.ndarray, np.generic, Tracer)


def _binary(ufunc: np.ufunc, primitive_function: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """A composition of primitives with the promotion of a ufunc."""

    def function(x: Any, y: Any) -> Any:
        return primitive_function(*promote_for(ufunc, x, y))

    function.__name__ = ufunc.__name__
    return function


def _operator(function: Callable[..., Any], reflected: bool = False) -> Callable[[Any, Any], Any]:
    def method(x: Any, y: Any) -> Any:
        if not isinstance(y, _SCALARS):
            return NotImplemented
        return record_call(function, (y, x) if reflected else (x, y))

    return method


_add = _binary(np.add, elementwise.add)
_sub = _binary(np.subtract, elementwise.sub)
_mul = _binary(np.multiply, elementwise.mul)
_div = _binary(np.true_divide, elementwise.div)


def install_operators() -> None:
    """Give tracers their operators."""
    for name, function in {"add": _add, "sub": _sub, "mul": _mul, "truediv": _div}.items():
        setattr(Tracer, f"__{name}__", _operator(function))
        setattr(Tracer, f"__r{name}__", _operator(function, reflected=True))
    Tracer.__neg__ = lambda x: record_call(elementwise.neg, (x,))  # type: ignore[method-assign,assignment]
