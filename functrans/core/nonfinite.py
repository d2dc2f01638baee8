"""Looking for the first NaN or infinity that a program makes: `debug_nans` and `debug_infs`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.config import config
from functrans.core.jaxpr import Operation, Source
from functrans.errors import NonFiniteError, describe_line

__all__ = ["check_results", "located", "unwarned"]

_ELEMENTS_SHOWN = 4


def unwarned() -> np.errstate:
    """Within it NumPy does not warn of what is going to be an error anyway."""
    nans: Any = "ignore" if config.debug_nans else None
    infs: Any = "ignore" if config.debug_infs else None
    return np.errstate(invalid=nans, divide=infs, over=infs)


def check_results(operation: Operation, operands: Sequence[Any], results: Sequence[Any], source: Source) -> None:
    """Check what an equation has given on arrays.

    Raises:
        NonFiniteError: if a result has a NaN and no operand has one, or an infinity; whichever is looked for.
    """
    if config.debug_nans:
        _check("NaN", np.isnan, operation, operands, results, source)
    if config.debug_infs:
        _check("an infinity", np.isinf, operation, operands, results, source)


def located(error: NonFiniteError, source: Source) -> NonFiniteError:
    """The error with the line of the equation, if it has none yet."""
    if source is None or error.has_line:
        return error
    found = NonFiniteError(f"at {describe_line(*source)}: {error}")
    found.has_line = True
    return found


def _check(
    what: str,
    test: Callable[[Any], Any],
    operation: Operation,
    operands: Sequence[Any],
    results: Sequence[Any],
    source: Source,
) -> None:
    for result, aval in zip(results, operation.out_avals, strict=True):
        if aval.inexact and test(result).any() and not _has(test, operation, operands):
            name, avals = operation.primitive.name, ", ".join(map(str, operation.in_avals))
            places = _described_places(operation, operands, np.asarray(test(result)))
            error = NonFiniteError(f"{name}({avals}) made {what} of operands without one{places}")
            raise located(error, source)


def _has(test: Callable[[Any], Any], operation: Operation, operands: Sequence[Any]) -> bool:
    return any([aval.inexact and test(x).any() for x, aval in zip(operands, operation.in_avals, strict=True)])


def _described_places(operation: Operation, operands: Sequence[Any], found: Any) -> str:
    index = tuple([int(i[0]) for i in np.nonzero(found)]) if found.ndim else ()
    text = ""
    if found.ndim:
        place = ", ".join(map(str, index))
        text = f", in {int(np.count_nonzero(found))} of {found.size} elements; the first is [{place}]"
    if operation.primitive.is_elementwise and operands:
        values = [str(np.broadcast_to(x, found.shape)[index]) for x in operands[:_ELEMENTS_SHOWN]]
        text += f", of {' and '.join(values)}"
    return text
