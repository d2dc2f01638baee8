"""A log that programs write to: what happened, in which order, with which values."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import functrans as ft

SCALAR = ft.ShapeDtypeStruct((), float)


class Log(list[Any]):
    """Entries `(tag, values...)`; a single value is a float, an array a list."""

    def note(self, tag: str, *values: Any) -> None:
        """An effect without a result."""
        ft.debug.callback(self._writer(tag), *values)

    def ask(self, tag: str, *values: Any, answer: float = 1.0) -> Any:
        """An effect with a result."""
        write = self._writer(tag)
        return ft.io_callback(lambda *given: (write(*given), answer)[1], SCALAR, *values)

    def during(
        self, function: Callable[..., Any], *args: Any, raises: type[Exception] | None = None, match: str | None = None
    ) -> list[Any]:
        """The entries that a call makes, which may have to raise an error."""
        self.clear()
        if raises is None:
            function(*args)
        else:
            with pytest.raises(raises, match=match):
                function(*args)
        entries = list(self)
        self.clear()
        return entries

    def _writer(self, tag: str) -> Callable[..., None]:
        return lambda *values: self.append((tag, *[np.asarray(x).tolist() for x in values]) if values else tag)
