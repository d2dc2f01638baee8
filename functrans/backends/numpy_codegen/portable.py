"""A module of source that imports nothing but Python's own library and NumPy."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np

from functrans.backends.numpy_codegen.copying import Copier
from functrans.backends.numpy_codegen.module import Module
from functrans.core.aval import Aval
from functrans.core.jaxpr import Literal, Operation
from functrans.errors import NotPortableError
from functrans.ops.callback import callback_constant_p, pure_callback_p

__all__ = ["PortableModule"]


class PortableModule(Module):
    """A module whose constants are source too."""

    is_read = True

    def __init__(self) -> None:
        super().__init__()
        self.copier = Copier(lambda stem: self.name(stem.strip("_") or "function"))
        self._texts: dict[Hashable, str] = {}

    @property
    def source(self) -> str:
        """Imports, constants, functions."""
        parts = ["\n".join(sorted({"import numpy as np", *self.copier.imports}))]
        for definition in [*self.copier.definitions.values(), *self.functions]:
            is_line = "\n" not in definition
            if is_line and len(parts) > 1 and "\n    " not in parts[-1]:
                parts[-1] += f"\n{definition}"
            else:
                parts.append(definition)
        return "\n\n\n".join(parts) + "\n"

    def constant(self, value: Any, stem: str, key: Hashable = None) -> str:
        """The name, or the expression, of an object."""
        key = (stem, id(value) if key is None else key)
        if key not in self._texts:
            self.constants[f"{stem} {len(self.constants)}"] = value  # which keeps its id its own
            text = self.copier.expression(value)
            self._texts[key] = text if text.isidentifier() else self.copier.define(value, stem)
        return self._texts[key]

    def literal(self, literal: Literal, whole: bool) -> str:
        """The expression of a literal's value, or the name of its array."""
        if not whole or not literal.shape:
            return self.copier.expression(literal.scalar[()])
        return self.constant(literal.array, "c", (literal, whole))

    def number(self, literal: Literal) -> str:
        """A literal among the operands of a ufunc, as a Python number: it takes their dtype, which is its own."""
        return self.copier.expression(literal.scalar.item())

    def dtype(self, dtype: np.dtype[Any]) -> str:
        """The dtype."""
        return f"np.{'bool' if dtype.kind == 'b' else dtype.name}"

    def implementation(self, operation: Operation) -> str:
        """The name of a copy of the function that computes an operation."""
        key = ("implementation", operation)
        if key not in self._texts:
            self._texts[key] = self._copied(operation)
        return self._texts[key]

    def _copied(self, operation: Operation) -> str:
        primitive: Any = operation.primitive
        copier = self.copier
        if operation.effectful or primitive in (pure_callback_p, callback_constant_p):
            raise NotPortableError(
                f"the program calls a Python function of yours ({primitive.name}), of which the source knows nothing: "
                "leave it out, or write it with functions of NumPy"
            )
        try:
            params = [f"{name}={copier.expression(value)}" for name, value in operation.params.items()]
            if primitive.specialize is not None:
                avals = [copier.expression(aval.strong) for aval in operation.in_avals]
                text = f"{copier.expression(primitive.specialize)}({', '.join([*avals, *params])})"
            elif params:
                copier.imports.add("import functools")
                text = f"functools.partial({', '.join([copier.expression(primitive.impl), *params])})"
            else:
                return copier.expression(primitive.impl)
        except NotPortableError as error:
            raise NotPortableError(f"the operation {primitive.name!r} cannot be written as source: {error}") from None
        name = self.name("f")
        copier.definitions[name] = f"{name} = {text}"
        return name

    def comment(self, aval: Aval) -> str:
        """The shape and dtype of an array."""
        return f"  # {aval.strong}"
