"""A module of generated source: constants, then functions. Its names are ours alone: nothing in it comes from a user's
string.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from functrans.core.aval import Aval
from functrans.core.jaxpr import Literal, Operation
from functrans.errors import internal_filename

__all__ = ["Module"]

_NUMBERS = itertools.count()
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Module:
    """Source in the making, with the objects that it refers to by name."""

    is_read = False
    """Whether people will read it."""

    def __init__(self) -> None:
        self.constants: dict[str, Any] = {"np": np}
        """What the functions find under the names that they use."""
        self.functions: list[str] = []
        """The source of each function, those that are called before those that call them."""
        self._names: dict[Hashable, str] = {}
        self.taken = {"np"}
        """The names that something has."""
        self._numbers: dict[str, int] = {}

    def name(self, stem: str) -> str:
        """A name that nothing in the module has yet."""
        if not _IDENTIFIER.fullmatch(stem):
            raise ValueError(f"{stem!r} is no name for generated source")
        number = self._numbers.get(stem, 0)
        while f"{stem}{number}" in self.taken:
            number += 1
        self._numbers[stem] = number + 1
        self.taken.add(f"{stem}{number}")
        return f"{stem}{number}"

    def constant(self, value: Any, stem: str, key: Hashable = None) -> str:
        """The name under which the module's functions find an object: the same for the same key, or object."""
        key = (stem, id(value) if key is None else key)
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = self.name(stem)
            self.constants[name] = value
        return name

    def literal(self, literal: Literal, whole: bool) -> str:
        """The name of a literal's value: of its shape, or without axes where NumPy does the stretching."""
        if not literal.shape:  # scalars of NumPy's are fastest among each other, arrays without axes among arrays
            return self.constant(literal.scalar[()] if whole else literal.scalar, "c", (literal, whole))
        array = literal.array if whole else literal.scalar
        array.flags.writeable = False
        return self.constant(array, "c", (literal, whole))

    def number(self, literal: Literal) -> str:
        """A literal among the operands of a ufunc: its name, or itself."""
        return self.literal(literal, whole=not literal.shape)

    def fresh(self, literal: Literal) -> str:
        """A new array of a literal's value, or a scalar."""
        if not literal.shape or literal.dtype.kind == "V":
            return self.literal(literal, whole=True)
        if literal.scalar.tobytes() != np.zeros((), literal.dtype).tobytes():
            return f"{self.literal(literal, whole=True)}.copy()"
        return f"np.zeros({literal.shape}{'' if literal.dtype == np.float64 else f', {self.dtype(literal.dtype)}'})"

    def dtype(self, dtype: np.dtype[Any]) -> str:
        """The name of a dtype."""
        return self.constant(dtype, "dtype", dtype)

    def implementation(self, operation: Operation) -> str:
        """The name of a function of arrays that computes an operation."""
        return self.constant(operation.primitive.bound(operation), "f", operation)

    def comment(self, aval: Aval) -> str:
        """What the line that makes an array says of it."""
        return ""

    def add(self, source: str) -> None:
        """Append a function."""
        self.functions.append(source)

    @property
    def source(self) -> str:
        """All functions."""
        return "\n\n".join(self.functions) + "\n"

    def load(self, name: str) -> Callable[..., Any]:
        """Compile the module; the function of that name."""
        filename, source = internal_filename(f"<program {next(_NUMBERS)}>"), self.source
        namespace = dict(self.constants)
        exec(compile(source, filename, "exec"), namespace)
        function: Callable[..., Any] = namespace[name]
        return function
