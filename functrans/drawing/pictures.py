"""draw, and the drawing that it returns."""

from __future__ import annotations

import inspect
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from functrans.api.arguments import array_outputs, flatten_arguments, name_of, record
from functrans.core.jaxpr import ClosedJaxpr, Jaxpr
from functrans.drawing.building import build
from functrans.drawing.dot import dot_text
from functrans.drawing.graph import Box, Node
from functrans.drawing.labels import short
from functrans.drawing.layout import Layout, lay_out
from functrans.drawing.raster import matplotlib_picture
from functrans.drawing.svg import svg_text
from functrans.errors import hide_frames
from functrans.passes.inline import inline
from functrans.tree import leaf_path

__all__ = ["Drawing", "draw"]

_ENGINES = (None, "dot", "functrans")
_MAX_NODES = 120


def draw(
    fun: Callable[..., Any] | ClosedJaxpr | Jaxpr,
    *args: Any,
    depth: int = 2,
    max_nodes: int | None = _MAX_NODES,
    **kwargs: Any,
) -> Drawing:
    """A drawing of the program of `fun`, as it is for these arguments.

    Arguments and outputs are round, and are named by their path (`params['W'][2]`); operations have corners, another
    colour where a derivative needs them, and the name of the variable that their result is assigned to. Calls and loops
    (`jit`, `scan`, `cond`, `while_loop`, `checkpoint`, custom rules) are boxes around what is in them. A tooltip shows
    the line that asked for an operation.

    Args:
        fun: a function of arrays, numbers and pytrees, transformed or not; or a program (of `make_jaxpr`).
        args, kwargs: its arguments. Python may branch on their values, and a `ShapeDtypeStruct` may stand for an array
            where it does not. Wrap a `fun` that has parameters named `depth` or `max_nodes`.
        depth: how many levels of boxes are opened; with 0 each call is one operation.
        max_nodes: how many operations of a program have a node of their own. In longer ones those of neighbouring lines
            share a node, and long calls stay closed. None: there is no limit.

    Returns:
        A `Drawing`: `save` writes it to a file, and Jupyter shows it.

    Raises:
        TypeError: if an argument or an output is not an array, a number or a pytree of them.
        ValueError: if `depth` is negative or `max_nodes` is less than one.

    >>> import numpy as np
    >>> import functrans as ft
    >>> picture = ft.draw(lambda w, x: np.sum(np.tanh(w * x)), 0.5, np.ones(3))
    >>> picture
    <drawing of <lambda>: 4 operations, 2 arguments, 1 output>
    >>> picture.dot.splitlines()[0]
    'digraph "<lambda>" {'
    """
    if isinstance(depth, bool) or not isinstance(depth, (int, np.integer)) or depth < 0:
        raise ValueError(f"depth is how many levels of boxes are opened, 0 or more; got {depth!r}")
    if max_nodes is not None and (isinstance(max_nodes, bool) or not isinstance(max_nodes, int) or max_nodes < 1):
        raise ValueError(
            f"max_nodes is how many nodes may be drawn, 1 or more, or None for any number; got {max_nodes!r}"
        )
    if isinstance(fun, (ClosedJaxpr, Jaxpr)):
        return _draw_program(fun, args, kwargs, int(depth), max_nodes)
    if not callable(fun):
        raise TypeError(f"draw needs a function or a program, got {fun!r:.80} of type {type(fun).__name__}")
    try:
        return _draw_function(fun, args, kwargs, int(depth), max_nodes)
    except Exception as error:
        raise hide_frames(error)  # noqa: B904  (it is the same error)


def _draw_program(
    program: ClosedJaxpr | Jaxpr, args: tuple[Any, ...], kwargs: dict[str, Any], depth: int, max_nodes: int | None
) -> Drawing:
    if args or kwargs:
        raise TypeError("a program is drawn as it is: draw(program), without arguments")
    jaxpr = inline(program.jaxpr if isinstance(program, ClosedJaxpr) else program)
    consts = program.consts if isinstance(program, ClosedJaxpr) else ()
    arguments = [f"input {i}" for i in range(len(jaxpr.in_avals) - len(consts))]
    outputs = [f"output {i}" for i in range(len(jaxpr.outs))]
    constants = [_constant_name(x, {}) for x in consts]
    return Drawing(build(jaxpr, arguments, constants, outputs, depth, max_nodes), "program")


def _draw_function(
    fun: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], depth: int, max_nodes: int | None
) -> Drawing:
    arguments = flatten_arguments(fun, args, kwargs, shapes=True)
    recorded = record(arguments, arguments.values, lambda out: array_outputs(fun, out), staging=True, literals=True)
    jaxpr, n_args = inline(recorded.jaxpr), len(arguments.avals)
    names = [str(arguments.path(i)) for i in range(n_args)]
    closed_over = _closed_over(fun)
    constants = [_constant_name(x, closed_over) for x in recorded.values[n_args:]]
    outputs = [f"output{leaf_path(recorded.rest, i)}" for i in range(len(jaxpr.outs))]
    return Drawing(build(jaxpr, names, constants, outputs, depth, max_nodes), name_of(fun))


def _closed_over(fun: Callable[..., Any]) -> dict[str, Any]:
    """The arrays that a function reads from outside, by name."""
    plain = inspect.unwrap(fun)
    if not inspect.isfunction(plain):
        return {}
    found = inspect.getclosurevars(plain)
    return {name: x for name, x in {**found.globals, **found.nonlocals}.items() if isinstance(x, np.ndarray)}


def _constant_name(value: Any, closed_over: dict[str, Any]) -> str:
    if not isinstance(value, (np.ndarray, np.generic)):
        return "captured"
    for name, array in closed_over.items():  # it was copied when it was captured
        if array.shape == value.shape and array.dtype == value.dtype and array.tobytes() == value.tobytes():
            return name
    return short(value.item()) if value.ndim == 0 else "captured"


class Drawing:
    """A program as a picture: what `draw` returns. Jupyter shows it."""

    def __init__(self, graph: Box, title: str) -> None:
        self._graph = graph
        self.title = title

    @cached_property
    def dot(self) -> str:
        """The drawing in Graphviz's DOT language."""
        return dot_text(self._graph, self.title)

    @cached_property
    def _layout(self) -> Layout:
        return lay_out(self._graph)

    def svg(self, engine: str | None = None) -> str:
        """The drawing as SVG, in which tooltips work.

        Args:
            engine: "dot" for Graphviz's program, "functrans" for a layout of our own; if not given, the first that
                is installed.

        Raises:
            RuntimeError: if `dot` is asked for, and is not installed or fails.
        """
        if self._by_dot(engine):
            return _run_dot(self.dot, "svg").decode()
        return svg_text(self._layout, self.title)

    def png(self, engine: str | None = None, dpi: float = 144.0) -> bytes:
        """The drawing as a PNG file, by Graphviz or matplotlib.

        Args:
            engine: see `svg`.
            dpi: pixels an inch.

        Raises:
            ImportError: if neither is installed.
        """
        return self._picture("png", engine, dpi)

    def save(self, path: str | os.PathLike[str], engine: str | None = None, dpi: float = 144.0) -> Path:
        """Write the drawing to a file.

        Args:
            path: where to; the format is that of its suffix: .svg, .png, .pdf, .dot or .gv.
            engine, dpi: see `svg` and `png`.

        Returns:
            The path.

        Raises:
            ValueError: for another suffix.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix in (".dot", ".gv"):
            path.write_text(self.dot, encoding="utf-8")
        elif suffix == ".svg":
            path.write_text(self.svg(engine), encoding="utf-8")
        elif suffix in (".png", ".pdf"):
            path.write_bytes(self._picture(suffix[1:], engine, dpi))
        else:
            raise ValueError(f"a drawing is saved as .svg, .png, .pdf, .dot or .gv, but the path is {str(path)!r}")
        return path

    def _picture(self, suffix: str, engine: str | None, dpi: float) -> bytes:
        if not dpi > 0:
            raise ValueError(f"dpi must be positive, got {dpi!r}")
        if self._by_dot(engine):
            return _run_dot(self.dot, suffix, f"-Gdpi={dpi:g}")
        return matplotlib_picture(self._layout, suffix, dpi)

    def _by_dot(self, engine: str | None) -> bool:
        if engine not in _ENGINES:
            raise ValueError(f'engine must be "dot", "functrans" or None, got {engine!r}')
        return engine == "dot" or (engine is None and shutil.which("dot") is not None)

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, Any]:
        """What Jupyter shows: SVG; PNG, which takes longer, where it is asked for alone."""
        made: dict[str, Callable[[], Any]] = {
            "image/svg+xml": self.svg,
            "image/png": self.png,
            "text/plain": self.__repr__,
        }
        wanted = (set(include) if include else {"image/svg+xml", "text/plain"}) - set(exclude or ())
        return {kind: make() for kind, make in made.items() if kind in wanted}

    def __repr__(self) -> str:
        kinds = Counter([node.kind for node in self._graph.walk() if isinstance(node, Node)])
        counts = {
            "operation": kinds["operation"] + kinds["derivative"] + kinds["group"],
            "argument": kinds["argument"] + kinds["unused"],
            "output": kinds["output"],
        }
        return f"<drawing of {self.title}: {', '.join([_counted(n, what) for what, n in counts.items()])}>"


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def _run_dot(text: str, suffix: str, *options: str) -> bytes:
    program = shutil.which("dot")
    if program is None:
        raise RuntimeError('Graphviz\'s program `dot` is not installed (apt install graphviz); leave engine="dot" away')
    command: Sequence[str] = (program, f"-T{suffix}", *options)
    done = subprocess.run(command, input=text.encode(), capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"dot failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
