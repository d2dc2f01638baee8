"""The user's own words for what a program computes: the variable that a result was assigned to, and its line."""

from __future__ import annotations

import ast
import linecache
import os
from types import CodeType

from functrans.caching import kept
from functrans.core.jaxpr import Equation, Source
from functrans.errors import BACKWARD, DERIVATIVE, describe_line

__all__ = ["described_source", "of_derivative", "place_of", "variable_of"]

Position = tuple[int | None, int | None, int | None, int | None]


def of_derivative(eqn: Equation) -> bool:
    """Whether a derivative needs the equation, and the function itself does not."""
    return BACKWARD in eqn.scopes or DERIVATIVE in eqn.scopes


def described_source(source: Source) -> str:
    """`file.py:12 (in loss)`, and the text of the line."""
    if source is None:
        return ""
    code, lasti, _ = source
    text = linecache.getline(code.co_filename, _position(code, lasti)[0] or code.co_firstlineno).strip()
    where = describe_line(*source)
    return f"{where}\n{text}" if text else where


def place_of(eqn: Equation) -> str:
    """`file.py:12` for the line that asked for an equation, without the folder; empty where nobody knows."""
    if eqn.source is None:
        return ""
    code, lasti, _ = eqn.source
    return f"{os.path.basename(code.co_filename)}:{_position(code, lasti)[0] or code.co_firstlineno}"


def variable_of(eqn: Equation) -> str:
    """The variable to which the user has assigned what the expression of an equation gives; empty if to none."""
    if eqn.source is None or of_derivative(eqn):
        return ""
    code, lasti, _ = eqn.source
    return _assigned(code.co_filename).get(_position(code, lasti), "")


@kept("positions in source code", 4096)
def _position(code: CodeType, lasti: int) -> Position:
    for number, position in enumerate(code.co_positions()):
        if 2 * number == lasti:
            return position[0], position[1], position[2], position[3]
    return None, None, None, None


@kept("variables in source code", 64)
def _assigned(filename: str) -> dict[Position, str]:
    """For the place of each expression that a file assigns to one variable, the variable."""
    try:
        tree = ast.parse("".join(linecache.getlines(filename)))
    except (SyntaxError, ValueError):
        return {}
    found: dict[Position, str] = {}
    for node in ast.walk(tree):
        value: ast.stmt | ast.expr
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target, value = node.targets[0], node.value
        elif isinstance(node, ast.AugAssign):
            target, value = node.target, node
        elif isinstance(node, ast.NamedExpr):
            target, value = node.target, node.value
        else:
            continue
        if isinstance(target, ast.Name):
            found[value.lineno, value.end_lineno, value.col_offset, value.end_col_offset] = target.id
    return found
