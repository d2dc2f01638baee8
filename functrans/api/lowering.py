"""Ahead of time: the program of a jitted function for given arguments, what it costs, and a function that runs it.

`jit(f).trace(*args)` records, `.lower()` gives the program, `.compile()` the function, under JAX's names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from functrans.analysis import cost_of, memory_of
from functrans.api.arguments import Arguments, flatten_arguments
from functrans.api.inspection import ShapeDtypeStruct
from functrans.api.signatures import Signature, changes_between
from functrans.core.jaxpr import ClosedJaxpr, Jaxpr
from functrans.core.tracer import Tracer
from functrans.errors import hide_frames
from functrans.passes.pipeline import finalize
from functrans.tree import TreeDef, unflatten

__all__ = ["Compiled", "CompiledMemoryStats", "Lowered", "Traced"]


class CompiledMemoryStats(NamedTuple):
    """What a run of a program needs, in bytes."""

    argument_size_in_bytes: int
    """Of the arguments, and of what the function closes over."""
    output_size_in_bytes: int
    temp_size_in_bytes: int
    """Of what is neither, at the moment when most is allocated."""
    peak_memory_in_bytes: int
    """Of all of it, at that moment."""


class _Stage:
    """A jitted function for given arguments."""

    def __init__(
        self,
        name: str,
        signature: Signature,
        closed: ClosedJaxpr,
        out_tree: TreeDef,
        runner: Callable[[], Callable[..., Sequence[Any]]],
    ) -> None:
        self.fun_name = name
        """The function's name."""
        self.out_tree = out_tree
        """The structure of the results."""
        self._signature = signature
        self._closed = closed
        self._runner = runner

    @property
    def in_tree(self) -> TreeDef:
        """The structure of `(args, kwargs)`, without the static arguments."""
        return self._signature.treedef

    @property
    def in_avals(self) -> tuple[Any, ...]:
        """The avals of the arguments that are arrays or numbers."""
        return self._signature.avals

    @property
    def out_info(self) -> Any:
        """The results, with `ShapeDtypeStruct`s in place of arrays."""
        avals = self._closed.out_avals
        return unflatten(self.out_tree, [ShapeDtypeStruct(aval.shape, aval.dtype) for aval in avals])

    def _next(self, stage: Any) -> Any:
        return stage(self.fun_name, self._signature, self._closed, self.out_tree, self._runner)

    def __repr__(self) -> str:
        avals = ", ".join([str(aval.strong) for aval in self.in_avals])
        return f"<{type(self).__name__} {self.fun_name}({avals})>"


class Traced(_Stage):
    """A jitted function that has been recorded for given arguments: what `jit(f).trace(*args)` returns."""

    @property
    def jaxpr(self) -> ClosedJaxpr:
        """The program, as it was recorded."""
        return self._closed

    def lower(self) -> Lowered:
        """The program."""
        return self._next(Lowered)


class Lowered(_Stage):
    """The program of a jitted function for given arguments: what `jit(f).lower(*args)` returns.

    >>> import numpy as np
    >>> import functrans as ft
    >>> lowered = ft.jit(lambda x, y: x @ y).lower(np.ones((2, 3)), ft.ShapeDtypeStruct((3, 4), float))
    >>> lowered.cost_analysis()
    {'flops': 48.0, 'bytes accessed': 208.0}
    >>> compiled = lowered.compile()
    >>> compiled(np.ones((2, 3)), np.ones((3, 4)))[0]
    array([3., 3., 3., 3.])
    >>> compiled.memory_analysis().output_size_in_bytes
    64
    """

    def as_text(self) -> str:
        """The program as it was recorded, as text."""
        return str(self._closed)

    def cost_analysis(self) -> dict[str, float]:
        """What a run costs: `"flops"` and `"bytes accessed"`. `functrans.explain` says where."""
        return _cost_analysis(self._closed.jaxpr)

    def compile(self) -> Compiled:
        """The function that runs the program."""
        return self._next(Compiled)


class Compiled(_Stage):
    """A function that runs one program: what `jit(f).lower(*args).compile()` returns.

    It is called with the arguments of `f` that are not static, of the shapes, dtypes and structures that it was
    compiled for.

    Raises:
        TypeError: when called, for other arguments, and where it is to be transformed.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._run = self._runner()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            arguments = flatten_arguments(self._signature.fun, args, kwargs)
            self._check(arguments)
            return unflatten(self.out_tree, self._run(*arguments.values, *self._closed.consts))
        except Exception as error:
            raise hide_frames(error)  # noqa: B904  (it is the same error)

    def as_text(self) -> str:
        """The program in the form in which it is run, as text."""
        return str(ClosedJaxpr(finalize(self._closed.jaxpr), self._closed.consts))

    def cost_analysis(self) -> dict[str, float]:
        """What a run costs: `"flops"` and `"bytes accessed"`. `functrans.explain` says where."""
        return _cost_analysis(self._closed.jaxpr)

    def memory_analysis(self) -> CompiledMemoryStats:
        """What a run needs, in bytes."""
        memory = memory_of(self._closed.jaxpr)
        return CompiledMemoryStats(memory.inputs, memory.outputs, memory.temporaries, memory.inputs + memory.peak)

    def _check(self, arguments: Arguments) -> None:
        if any([type(x) is Tracer for x in arguments.values]):
            raise TypeError(
                f"{self.fun_name} was compiled for arrays, and cannot be transformed any more: use the jitted function "
                "under grad, vmap and jit"
            )
        compiled_for = self._signature
        same = arguments.treedef is compiled_for.treedef and arguments.places is None
        if same and tuple(arguments.avals) == compiled_for.avals:
            return
        given = compiled_for._replace(
            treedef=arguments.treedef,
            avals=tuple(arguments.avals),
            places=None if arguments.places is None else tuple(arguments.places),
            static_leaves=tuple(arguments.static_leaves()),
        )
        changes = [change for change in changes_between(compiled_for, given) if change.kind != "weak type"]
        if changes:
            raise TypeError(
                f"{self.fun_name} was compiled for other arguments: {'; '.join(map(str, changes))}. Compile it for "
                "these too, or call the jitted function"
            )


def _cost_analysis(jaxpr: Jaxpr) -> dict[str, float]:
    cost = cost_of(jaxpr)
    return {"flops": float(cost.flops), "bytes accessed": float(cost.bytes)}
