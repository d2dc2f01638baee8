"""From a program to the source of a function, and to the function."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from functrans.backends.clusters import Clustered, clustered
from functrans.backends.interpreter import run_checked
from functrans.backends.memory import end_of_errors
from functrans.backends.numpy_codegen.function import FunctionWriter
from functrans.backends.numpy_codegen.module import Module
from functrans.backends.numpy_codegen.values import Buffer, C, Value
from functrans.config import config
from functrans.core.aval import Aval
from functrans.core.jaxpr import Jaxpr
from functrans.passes.pipeline import finalize

__all__ = ["generated", "input_values", "write_function"]


def generated(jaxpr: Jaxpr, donated: Collection[int] = ()) -> Callable[..., list[Any]]:
    """The function of a program's inputs that gives its outputs, generated and compiled.

    Args:
        jaxpr: the program.
        donated: the numbers of inputs, arrays in C order, whose memory may be written to, and may be that of any
            output. It is written to when no equation is left that can raise an error.
    """
    module = Module()
    name = write_function(module, finalize(jaxpr), donated, checked=partial(run_checked, jaxpr))
    return module.load(name)


def write_function(
    module: Module,
    jaxpr: Jaxpr,
    donated: Collection[int] = (),
    checked: Callable[[Sequence[Any]], list[Any]] | None = None,
) -> str:
    """Write a program as a function of a module.

    Args:
        module: the module.
        jaxpr: the program, in its final form.
        donated: the numbers of inputs whose memory may be written to.
        checked: what runs it while values are checked (`debug_nans`).

    Returns:
        The function's name.
    """
    program = Clustered(jaxpr, {}) if module.is_read else clustered(jaxpr)
    known = frozenset() if module.is_read else frozenset(program.inputs_worth_knowing())
    if known:
        plain = _write(module, Clustered(jaxpr, {}), donated, frozenset(), None)
    return _write(module, program, donated, known, checked, plain if known else "")


def _write(
    module: Module,
    program: Clustered,
    donated: Collection[int],
    known: frozenset[int],
    checked: Callable[[Sequence[Any]], list[Any]] | None,
    otherwise: str = "",
) -> str:
    """Write a function, with two others besides.

    Args:
        module, donated, checked: as of `write_function`.
        program: the program, with what is to run block by block.
        known: the numbers of inputs that must be in C order.
        otherwise: the name of the function for those that are not.
    """
    jaxpr = program.jaxpr
    name, writer = module.name("program"), FunctionWriter(module)
    operands = [x._replace(layout=C) if i in known else x for i, x in enumerate(input_values(jaxpr.in_avals, "x"))]
    writeable_from = end_of_errors(jaxpr) if donated else 0
    for number in donated:
        x = operands[number]
        buffer = Buffer(x.text, x.aval, C, from_equation=writeable_from)
        operands[number] = x._replace(layout=C, buffer=buffer)
    inputs = ", ".join([x.text for x in operands])
    if checked is not None:
        with writer.block(f"if {module.constant(config, 'config')}.checks_values:"):
            writer.line(f"return {module.constant(checked, 'checked')}([{inputs}])")
    if known:
        flags = [f"{operands[i].text}.flags.c_contiguous" for i in sorted(known)]
        with writer.block(f"if not ({' and '.join(flags)}):"):
            writer.line(f"return {otherwise}({inputs})")
    writer.line(f"return [{', '.join(writer.results(program, operands))}]")
    module.add(writer.text(f"def {name}({inputs}):"))
    return name


def input_values(avals: Sequence[Aval], stem: str) -> list[Value]:
    """What inputs are in the source."""
    return [Value(f"{stem}{number}", aval, (stem, number)) for number, aval in enumerate(avals)]
