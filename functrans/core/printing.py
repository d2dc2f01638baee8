"""Programs as text, in the syntax of jaxprs: `{ lambda consts ; inputs. let equations in (outputs,) }`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, product
from string import ascii_lowercase
from typing import Any

import numpy as np

__all__ = ["format_equation", "format_jaxpr"]

_SHORT = {"float": "f", "int": "i", "uint": "u", "complex": "c"}


def format_jaxpr(jaxpr: Any, n_consts: int = 0, indent: str = "") -> str:
    """The text of a program; its last `n_consts` inputs are constants and are printed first."""
    names = _Names(jaxpr, n_consts)
    n_args = len(jaxpr.in_avals) - n_consts
    consts = " ".join([names.typed(-1 - i) for i in range(n_args, len(jaxpr.in_avals))])
    inputs = " ".join([names.typed(-1 - i) for i in range(n_args)])
    outs = ", ".join([names[atom] for atom in jaxpr.outs])
    outs = f"({outs},)" if len(jaxpr.outs) == 1 else f"({outs})"
    head = f"{{ lambda {consts + ' ' if consts else ''}; {inputs}. let"
    if not jaxpr.eqns:
        return f"{head}  in {outs} }}"
    lines = [f"\n{indent}    {format_equation(eqn, names, indent + '    ')}" for eqn in jaxpr.eqns]
    return f"{head}{''.join(lines)}\n{indent}  in {outs} }}"


def format_equation(eqn: Any, names: _Names, indent: str = "") -> str:
    """`c:f64[3] = mul a b` for an equation, with the names that a program gives its atoms."""
    results = "".join([f"{names.typed(out)} " for out in eqn.outs])
    operands = "".join([f" {names[atom]}" for atom in eqn.inputs])
    return f"{results and f'{results}= '}{eqn.primitive.name}{_format_params(eqn.params, indent)}{operands}"


def format_aval(aval: Any) -> str:
    """`f64[3,4]` for an aval, as jaxprs have it."""
    dtype = aval.dtype
    if dtype.names is not None:
        return f"{dtype.names[0]}[{','.join(map(str, aval.shape))}]"
    kind = dtype.name.rstrip("0123456789")
    short = "bool" if kind == "bool" else f"{_SHORT.get(kind, kind)}{dtype.itemsize * 8}"
    return f"{short}[{','.join(map(str, aval.shape))}]"


class _Names:
    """Letters for the atoms of a program: constants first, then arguments, then results."""

    def __init__(self, jaxpr: Any, n_consts: int = 0) -> None:
        self._jaxpr = jaxpr
        letters = _letters()
        n_args = len(jaxpr.in_avals) - n_consts
        order = [*range(n_args, len(jaxpr.in_avals)), *range(n_args)]
        self._names = {-1 - i: next(letters) for i in order}
        self._names.update({i: next(letters) for i in range(len(jaxpr.avals))})

    def __getitem__(self, atom: Any) -> str:
        if type(atom) is int:
            return self._names.get(atom, f"?{atom}")  # an ill-typed program is printed too
        return f"{_format_value(atom.value)}:{format_aval(atom.aval)}"

    def typed(self, atom: int) -> str:
        return f"{self._names[atom]}:{format_aval(self._jaxpr.aval(atom))}"


def _letters() -> Iterator[str]:
    for length in count(1):
        for letters in product(ascii_lowercase, repeat=length):
            yield "".join(letters)


def _format_params(params: Any, indent: str) -> str:
    if not params:
        return ""
    parts = [f"{name}={_format_value(params[name], indent)}" for name in sorted(params)]
    joined = " ".join(parts)
    if "\n" in joined or len(joined) > 120:
        return "[" + "".join([f"\n{indent}  {part}" for part in parts]) + f"\n{indent}]"
    return f"[{joined}]"


def _format_value(value: Any, indent: str = "") -> str:
    if hasattr(value, "eqns") and hasattr(value, "in_avals"):
        return format_jaxpr(value, indent=indent + "  ")
    if isinstance(value, np.dtype):
        return value.name
    if callable(value) and hasattr(value, "__name__"):
        return str(value.__name__)
    return str(value)
