"""What is written on the nodes of equations, and on the boxes of those that are opened."""

from __future__ import annotations

from typing import Any

from functrans.core.jaxpr import Equation, Literal, jaxprs_in
from functrans.core.printing import format_aval
from functrans.drawing.graph import TIMES
from functrans.drawing.naming import described_source

__all__ = ["label_of", "short", "title_of", "tooltip_of"]

_PARAMS_MAX = 28
"""Parameters of more characters than that are in the tooltip only."""

_SEEN_OTHERWISE = frozenset(["dtype", "new_dtype", "shape", "sizes", "weak"])
"""Parameters that the type of the result shows."""


def _name(eqn: Equation) -> str:
    params, name = eqn.params, eqn.primitive.name
    if name == "scan":
        return f"scan {TIMES}{params['length']}{' reversed' if params['reverse'] else ''}"
    given = params.get("name")
    called = given if isinstance(given, str) else ""
    if name == "custom_call":
        return f"custom rule {called}".strip()
    return f"{name} {called}".strip()


def title_of(eqn: Equation, variable: str) -> str:
    """The name of an operation, and the variable that its result is assigned to, if it is to one."""
    return f"{variable} = {_name(eqn)}" if variable else _name(eqn)


def label_of(eqn: Equation, variable: str) -> list[str]:
    """The lines on a node: name and literal operands, parameters, results."""
    title = title_of(eqn, variable)
    if any([type(x) is not int for x in eqn.inputs]):
        title += f"({', '.join([short(x.value) if isinstance(x, Literal) else '·' for x in eqn.inputs])})"
    inside = sum([len(jaxpr) for value in eqn.params.values() for jaxpr in jaxprs_in(value)])
    lines = [title]
    if any([True for value in eqn.params.values() for _ in jaxprs_in(value)]):
        lines.append(f"{inside} operation{'s' * (inside != 1)} inside")
    elif params := _params(eqn):
        lines.append(params)
    if eqn.out_avals:
        lines.append(_results(eqn))
    return lines


def _results(eqn: Equation) -> str:
    shown = [format_aval(aval) for aval in eqn.out_avals[:3]]
    more = f", +{len(eqn.out_avals) - 3}" if len(eqn.out_avals) > 3 else ""
    return f"{', '.join(shown)}{more}"


def short(value: Any) -> str:
    """A number in few characters."""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 24 else f"{text[:23]}…"


def _params(eqn: Equation) -> str:
    shown = [(name, value) for name, value in sorted(eqn.params.items()) if name not in _SEEN_OTHERWISE]
    text = " ".join([f"{name}={_value(value)}" for name, value in shown if value not in (None, False, ())])
    return text if len(text) <= _PARAMS_MAX else ""


def _value(value: Any) -> str:
    name = getattr(value, "name", None) or getattr(value, "__name__", None)
    return name if isinstance(name, str) else str(value).replace(" ", "")


def tooltip_of(eqn: Equation) -> str:
    """The operation in full, and the line that asked for it."""
    params = [f"{k}={_value(v)}" for k, v in sorted(eqn.params.items()) if not any(True for _ in jaxprs_in(v))]
    given = f"[{' '.join(params)}]" if params else ""
    operands = ", ".join([format_aval(aval) for aval in eqn.in_avals])
    head = f"{eqn.primitive.name}{given}: ({operands}) -> ({', '.join(map(format_aval, eqn.out_avals))})"
    return f"{head[:400]}\n{described_source(eqn.source)}".strip()
