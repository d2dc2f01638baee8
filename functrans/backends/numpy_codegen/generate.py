"""From a program to the source of a function, and to the function."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from functrans.backends.interpreter import run_checked
from functrans.backends.memory import end_of_errors, shared_outputs
from functrans.backends.numpy_codegen.function import FunctionWriter
from functrans.backends.numpy_codegen.module import Module
from functrans.backends.numpy_codegen.values import Buffer, C, Value
from functrans.config import config
from functrans.core.aval import Aval
from functrans.core.jaxpr import Jaxpr
from functrans.passes.pipeline import finalize

__all__ = ["generated", "input_values", "write_function", "write_results"]


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
    name, writer = module.name("program"), FunctionWriter(module)
    operands = input_values(jaxpr.in_avals, "x")
    for number in donated:
        x = operands[number]
        buffer = Buffer(x.text, x.aval, C, from_equation=end_of_errors(jaxpr))
        operands[number] = x._replace(layout=C, buffer=buffer)
    if checked is not None:
        with writer.block(f"if {module.constant(config, 'config')}.checks_values:"):
            inputs = ", ".join([x.text for x in operands])
            writer.line(f"return {module.constant(checked, 'checked')}([{inputs}])")
    writer.line(f"return [{', '.join(write_results(writer, jaxpr, operands))}]")
    module.add(writer.text(f"def {name}({', '.join([x.text for x in operands])}):"))
    return name


def write_results(writer: FunctionWriter, jaxpr: Jaxpr, operands: Sequence[Value]) -> list[str]:
    """Write the equations of a program in its final form; its outputs, each an array of its own."""
    outs = writer.program(jaxpr, operands)
    return [_own(x) if shared else x.text for x, shared in zip(outs, shared_outputs(jaxpr), strict=True)]


def input_values(avals: Sequence[Aval], stem: str) -> list[Value]:
    """What inputs are in the source."""
    return [Value(f"{stem}{number}", aval, (stem, number)) for number, aval in enumerate(avals)]


def _own(x: Value) -> str:
    """An array of its own; a scalar of NumPy's where it has no axes, which cannot be written to."""
    if x.aval.dtype.kind == "V":
        return x.text  # a tape, which nobody writes to
    return f"{x.text}.copy()" if x.aval.ndim else f"{x.text}[()]"
