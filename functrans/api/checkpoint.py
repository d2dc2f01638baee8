"""checkpoint: functions that reverse mode computes twice, so as not to keep what they compute in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from types import FunctionType
from typing import Any

from functrans.api.arguments import Arguments, array_outputs, flatten_arguments, record
from functrans.api.execution import strengthened
from functrans.api.function_structure import structure_of
from functrans.api.static_arguments import declared_parameters, flatten_dynamic
from functrans.api.transformed import Transformed
from functrans.core.aval import Aval, aval_of
from functrans.core.functions import FunctionParameter
from functrans.core.jaxpr import Jaxpr, derived
from functrans.core.primitive import apply_operation
from functrans.core.printing import format_aval
from functrans.errors import describe_line, hide_frames
from functrans.ops.checkpoint import checkpoint_p, name_p
from functrans.ops.checkpoint import name as name_value
from functrans.passes.inline import inline
from functrans.transforms.linearize import linearize
from functrans.tree import map as tree_map
from functrans.tree import unflatten

__all__ = ["checkpoint", "checkpoint_name", "print_saved_residuals", "saved_residuals"]


def checkpoint(
    fun: Callable[..., Any] | None = None,
    *,
    prevent_cse: bool = True,
    policy: Callable[..., Any] | None = None,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Iterable[str] = (),
) -> Callable[..., Any]:
    """A function that computes the same as `fun`, of which reverse mode keeps only the arguments.

    What its derivative reads besides is computed again, when the backward pass comes to it. A chain of n steps that
    is cut into segments of about sqrt(n), each a checkpoint, keeps about sqrt(n) values at a time instead of n
    (Griewank and Walther, Evaluating Derivatives, chapter 12); a checkpoint may contain others. The effects of `fun`
    happen once, and their results are kept. `fun` may branch on its arguments wherever they have values around it.

    Args:
        fun: a function of arrays, numbers and pytrees. Without it a decorator is returned.
        prevent_cse: whether what is computed again must not be merged with what was computed before, which would keep
            it after all. False is for where the two cannot meet, as in the body of a loop.
        policy: which values are kept all the same, one of `functrans.checkpoint_policies` or a function
            `policy(primitive, *avals, **params) -> bool`, asked about each equation.
        static_argnums, static_argnames: arguments that the function is to get as they are.

    Returns:
        A function with the arguments of `fun`.

    Raises:
        TypeError: if `fun` or `policy` is no function; when called, if an output is no array or number.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.grad(ft.checkpoint(lambda x: np.sin(np.sin(x))))(1.0)
    np.float64(0.360...)
    """
    if policy is not None and not callable(policy):
        raise TypeError(
            f"checkpoint needs a policy(primitive, *avals, **params) -> bool, got {policy!r:.60} of type "
            f"{type(policy).__name__}: take one from functrans.checkpoint_policies"
        )
    options: dict[str, Any] = {
        "prevent_cse": bool(prevent_cse),
        "policy": policy,
        "static_argnums": (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums),
        "static_argnames": (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames),
    }
    if fun is None:
        return lambda f: Checkpointed(f, **options)
    return Checkpointed(fun, **options)


class Checkpointed(Transformed):
    """The function that `checkpoint` returns."""

    transformation = "checkpoint"

    def __init__(self, fun: Callable[..., Any], **options: Any) -> None:
        super().__init__(fun, **options)
        self._static = declared_parameters(fun, options["static_argnums"], options["static_argnames"])

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Transform and run."""
        arguments, _ = flatten_dynamic(self.fun, args, kwargs, self._static)
        recorded = record(arguments, arguments.values, lambda out: array_outputs(self.fun, out), staging=True)
        jaxpr, values = inline(recorded.jaxpr), recorded.values
        params = {"policy": _parameter(self.options["policy"]), "prevent_cse": self.options["prevent_cse"]}
        if params["policy"] is not None:
            outs = checkpoint_p.bind(*values, jaxpr=jaxpr, **params)
        else:  # the usual case, in which the operation is kept with the program
            avals = tuple([aval_of(x) for x in values])
            key = "checkpoint", avals, params["prevent_cse"]
            operation = derived(jaxpr, key, lambda: checkpoint_p.operation(avals, {"jaxpr": jaxpr, **params}))
            outs = apply_operation(operation, values)
        return unflatten(recorded.rest, strengthened(outs))


def _parameter(policy: Callable[..., Any] | None) -> Any:
    """A policy as a parameter; one that is made inside a function may be made anew at each call."""
    if isinstance(policy, partial) or (type(policy) is FunctionType and "<locals>" in policy.__qualname__):
        return FunctionParameter(policy, structure_of(policy).key)
    return policy


def checkpoint_name(x: Any, name: str) -> Any:
    """x itself, under a name by which the policies of `checkpoint` know it, and which printed programs show.

    Args:
        x: an array, a number or a pytree.
        name: any string.

    Raises:
        TypeError: if the name is no string.

    >>> import numpy as np
    >>> import functrans as ft
    >>> from functrans.ad_checkpoint import checkpoint_name
    >>> ft.make_jaxpr(lambda x: checkpoint_name(np.sin(x), "wave"))(1.0)
    { lambda ; a:f64[]. let
        b:f64[] = sin a
        c:f64[] = name[name=wave] b
      in (c,) }
    """
    if not isinstance(name, str):
        raise TypeError(f"checkpoint_name needs a string as the name, got {name!r:.60} of type {type(name).__name__}")
    return tree_map(lambda leaf: name_value(leaf, name), x)


def print_saved_residuals(f: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Print what reverse mode keeps of a function: a line for each value, with where it comes from.

    Args:
        f: a function of arrays, numbers and pytrees.
        args, kwargs: its arguments.

    >>> import functrans as ft
    >>> from functrans.ad_checkpoint import print_saved_residuals
    >>> print_saved_residuals(lambda x, y: x * y, 2.0, 3.0)
    f64[] from the argument x
    f64[] from the argument y
    """
    for aval, source in saved_residuals(f, *args, **kwargs):
        print(f"{format_aval(aval)} {source}")


def saved_residuals(f: Callable[..., Any], *args: Any, **kwargs: Any) -> list[tuple[Aval, str]]:
    """What `print_saved_residuals` prints: the aval of each value that reverse mode keeps, and where it comes from."""
    try:
        arguments = flatten_arguments(f, args, kwargs)
        n_arguments = len(arguments.avals)
        inexact = frozenset([i for i, aval in enumerate(arguments.avals) if aval.inexact])
        outputs = partial(array_outputs, f)
        jaxpr, _, _, _ = record(arguments, arguments.values, outputs, differentiated=inexact)
        nonzeros = [i < n_arguments and aval.inexact for i, aval in enumerate(jaxpr.in_avals)]
        lin = linearize(jaxpr, tuple(nonzeros))
    except Exception as error:
        raise hide_frames(error)  # noqa: B904  (it is the same error)
    atoms = [lin.primal.outs[place] if place >= 0 else place for place in lin.residuals]
    order = sorted({atom for atom in atoms if type(atom) is int}, key=lambda atom: (atom >= 0, abs(atom)))
    return [(lin.primal.aval(atom).strong, _origin(lin.primal, atom, arguments)) for atom in order]


def _origin(jaxpr: Jaxpr, atom: int, arguments: Arguments) -> str:
    if atom < 0:
        number = -1 - atom
        return f"from the argument {arguments.path(number)}" if number < len(arguments.avals) else "from a constant"
    return _computed_by(jaxpr, atom)


def _computed_by(jaxpr: Jaxpr, atom: int) -> str:
    """What computes a result of a program, in the program of a call if it is one."""
    eqn = next(eqn for eqn in jaxpr.eqns if atom in eqn.outs)
    if eqn.primitive.is_call:
        inner = eqn.params["jaxpr"]
        result = inner.outs[atom - eqn.outs[0]]
        if type(result) is int and result >= 0:
            return _computed_by(inner, result)
    what = f"named {eqn.params['name']!r}" if eqn.primitive is name_p else f"output of {eqn.primitive.name}"
    return what if eqn.source is None else f"{what} from {describe_line(*eqn.source)}"
