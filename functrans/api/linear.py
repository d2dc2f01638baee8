"""jvp, linearize, vjp and linear_transpose of Python functions: derivatives as linear maps."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from functrans.api.arguments import (
    Arguments,
    Described,
    array_outputs,
    flatten_arguments,
    name_of,
    output_path,
    record,
    value_of_leaf,
)
from functrans.api.differentiation import aux_outputs
from functrans.api.execution import run_program
from functrans.core.aval import Aval
from functrans.core.jaxpr import Jaxpr
from functrans.core.recording import UNKNOWN
from functrans.core.tracer import Tracer
from functrans.dtypes import float0
from functrans.errors import hide_frames
from functrans.ops.conversion import convert_element_type
from functrans.transforms import jvp as forward
from functrans.transforms.linearize import Linearized
from functrans.transforms.linearize import linearize as linearize_program
from functrans.transforms.reverse import pull_back
from functrans.transforms.tangents import Nonzeros, fill_zeros, without_zeros
from functrans.tree import TreeDef, flatten, register_pytree_node_class, structure, unflatten

__all__ = ["jvp", "linear_transpose", "linearize", "vjp"]


def jvp(
    fun: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False
) -> tuple[Any, ...]:
    """The value of `fun` and its derivative in a direction, by forward mode.

    Args:
        fun: a function of arrays and pytrees.
        primals: its arguments, a tuple or list.
        tangents: the direction, of the same structure, shapes and dtypes; for integer leaves None or `float0`.
        has_aux: whether `fun` returns a pair, of which the second part is handed on.

    Returns:
        `(out, out_tangent)`, or `(out, out_tangent, aux)`.

    Raises:
        TypeError: if primals and tangents do not match, naming the leaf.

    >>> import functrans as ft
    >>> ft.jvp(lambda x, y: x * y, (2.0, 3.0), (1.0, 0.0))
    (np.float64(6.0), np.float64(3.0))
    """
    try:
        return _jvp(fun, primals, tangents, has_aux)
    except Exception as error:
        raise hide_frames(error)  # noqa: B904  (it is the same error)


def _jvp(fun: Callable[..., Any], primals: Any, tangents: Any, has_aux: bool) -> tuple[Any, ...]:
    for name, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, (tuple, list)):
            raise TypeError(f"jvp needs a tuple or list of {name}, one for each argument, got {type(given).__name__}")
    arguments = flatten_arguments(fun, tuple(primals), {})
    given = _tangents(arguments, tuple(tangents))
    wrt = frozenset([i for i, t in enumerate(given) if t is not None])
    jaxpr, values, (out_tree, aux), _ = record(
        arguments, arguments.values, _outputs(fun, has_aux), differentiated=wrt, forward=True, reads=given
    )
    nonzeros = tuple([i in wrt for i in range(len(values))])
    program, out_nonzeros = forward.jvp(jaxpr, nonzeros)
    results = run_program(program, [*values, *without_zeros(given)[0]])
    n_outs = out_tree.num_leaves
    out_dots = _output_tangents(results[len(jaxpr.outs) :], out_nonzeros, jaxpr.out_avals)
    out, out_dot = unflatten(out_tree, results[:n_outs]), unflatten(out_tree, out_dots[:n_outs])
    return (out, out_dot, aux(results[n_outs : len(jaxpr.outs)])) if has_aux else (out, out_dot)


def zero_tangent(aval: Aval) -> Any:
    """A zero tangent for the user: of dtype float0 for integers and booleans, which have no other."""
    zero = np.zeros(aval.shape, aval.dtype if aval.inexact else float0)
    return zero if aval.shape or not aval.inexact else zero[()]


def _output_tangents(given: Sequence[Any], nonzeros: Nonzeros, avals: Sequence[Aval]) -> list[Any]:
    """The tangents of all outputs, from those that are not zero."""
    return [zero_tangent(aval) if t is None else t for t, aval in zip(fill_zeros(given, nonzeros), avals, strict=True)]


def _outputs(fun: Callable[..., Any], has_aux: bool) -> Callable[[Any], tuple[list[Any], Any]]:
    def outputs(out: Any) -> tuple[list[Any], Any]:
        if not has_aux:
            leaves, treedef = array_outputs(fun, out)
            return leaves, (treedef, None)
        if not isinstance(out, tuple) or len(out) != 2:
            raise TypeError(f"with has_aux=True, {name_of(fun)} must return a pair (out, aux), got {out!r:.60}")
        leaves, treedef = array_outputs(fun, out[0])
        more, rebuild = aux_outputs(out[1])
        return leaves + more, (treedef, rebuild)

    return outputs


def _tangents(arguments: Arguments, tangents: tuple[Any, ...]) -> list[Any]:
    """The tangents of the inputs, checked against them; None for those that have none."""
    leaves, treedef = flatten((tangents, {}), is_leaf=lambda x: x is None)
    expected = structure((unflatten(arguments.treedef, [0] * len(arguments.leaves))[0], {}))
    if treedef != expected:
        raise TypeError(
            f"primals and tangents must have the same structure: {name_of(arguments.fun)} got primals "
            f"{expected.children()[0]} and tangents {treedef.children()[0]}"
        )
    places = range(len(leaves)) if arguments.places is None else arguments.places
    return [
        _matching(arguments.path(number), leaves[place], aval, "tangent", "primal")
        for number, (place, aval) in enumerate(zip(places, arguments.avals, strict=True))
    ]


def _matching(path: Any, leaf: Any, aval: Aval, kind: str, of: str) -> Any:
    """A tangent or cotangent if it fits the aval; None for an integer, which has none."""
    if leaf is None or getattr(leaf, "dtype", None) == float0:
        if aval.inexact and leaf is not None:
            raise TypeError(f"the {kind} of {path} has dtype float0, which is for integers; the {of} is {aval.strong}")
        return None
    given, value = value_of_leaf(leaf)
    if given is None:
        raise TypeError(f"the {kind} of {path} must be an array or a number, got {leaf!r:.60}")
    if not aval.inexact:
        if type(value) is not Tracer and not np.any(value):
            return None
        raise TypeError(
            f"the {of} {path} is {aval.strong} and has no {kind}: pass None, or zeros of dtype float0, "
            f"got {given.strong}"
        )
    if given.shape != aval.shape or (given.dtype != aval.dtype and not given.weak):
        raise TypeError(
            f"the {kind} of {path} must have the shape and dtype of the {of}, {aval.strong}, but is {given.strong}"
        )
    if given.dtype == aval.dtype:
        return value
    return np.asarray(value, aval.dtype) if type(value) is not Tracer else convert_element_type(value, aval.dtype)


# --------------------------------------------------------------------------------------------------------------------
# linearize and vjp


def linearize(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """The value of `fun` and its derivative as a function of the direction; what does not depend on it runs once.

    Args:
        fun: a function of arrays and pytrees.
        primals: its arguments.
        has_aux: whether `fun` returns a pair, of which the second part is handed on.

    Returns:
        `(out, f_jvp)`, or `(out, f_jvp, aux)`, where `f_jvp(*tangents)` is the tangent of `out`.

    >>> import functrans as ft
    >>> y, f_jvp = ft.linearize(lambda x: x**3, 2.0)
    >>> y, f_jvp(1.0)
    (np.float64(8.0), np.float64(12.0))
    """
    try:
        point = _Point(fun, primals, has_aux)
    except Exception as error:
        raise hide_frames(error)  # noqa: B904  (it is the same error)
    return (point.out, point.push_forward(), point.aux) if has_aux else (point.out, point.push_forward())


def vjp(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """The value of `fun` and the function that pulls cotangents back, by reverse mode.

    Args:
        fun: a function of arrays and pytrees.
        primals: its arguments.
        has_aux: whether `fun` returns a pair, of which the second part is handed on.

    Returns:
        `(out, f_vjp)`, or `(out, f_vjp, aux)`, where `f_vjp(ct)`, for a cotangent of the structure of `out`, is a tuple
        of cotangents, one for each argument. Those of integers have dtype `float0`.

    >>> import functrans as ft
    >>> y, f_vjp = ft.vjp(lambda x, y: x * y, 2.0, 3.0)
    >>> y, f_vjp(1.0)
    (np.float64(6.0), (np.float64(3.0), np.float64(2.0)))
    """
    try:
        point = _Point(fun, primals, has_aux)
    except Exception as error:
        raise hide_frames(error)  # noqa: B904  (it is the same error)
    return (point.out, point.pull_back(), point.aux) if has_aux else (point.out, point.pull_back())


class _Point:
    """A function linearized at a point."""

    def __init__(self, fun: Callable[..., Any], primals: tuple[Any, ...], has_aux: bool) -> None:
        arguments = flatten_arguments(fun, primals, {})
        inexact = [i for i, aval in enumerate(arguments.avals) if aval.inexact]
        jaxpr, values, (out_tree, aux), _ = record(
            arguments, arguments.values, _outputs(fun, has_aux), differentiated=frozenset(inexact)
        )
        chosen = set(inexact)
        lin = linearize_program(jaxpr, tuple([i in chosen for i in range(len(values))]))
        results = run_program(lin.primal, values)
        n_outs = out_tree.num_leaves
        self.space = _Space(arguments, out_tree, jaxpr.out_avals, tuple(inexact))
        self.lin: Linearized = lin
        residuals = lin.read_residuals(values, results)
        self.residuals = [
            x if place >= len(jaxpr.outs) else _kept(x) for x, place in zip(residuals, lin.residuals, strict=True)
        ]
        self.out = unflatten(out_tree, results[:n_outs])
        self.aux = aux(results[n_outs : len(jaxpr.outs)]) if has_aux else None

    def push_forward(self) -> PushForward:
        """The derivative as a function of the direction."""
        return PushForward(self.space, self.lin.linear, self.lin.nonzeros, self.residuals)

    def pull_back(self) -> PullBack:
        """The transpose of the derivative."""
        return PullBack(self.space, self.lin.linear, self.lin.nonzeros, self.residuals)


class _Space:
    """The arguments and the outputs of a function, without their values: where a linear map of their tangents lives.

    It can be pickled whatever the function is, of which only the name and those of its parameters are kept then.
    """

    def __init__(
        self, arguments: Arguments, out_tree: TreeDef, out_avals: tuple[Aval, ...], wrt: tuple[int, ...]
    ) -> None:
        self.arguments = arguments._replace(leaves=[None] * len(arguments.leaves), values=[])
        self.out_tree = out_tree
        self.out_avals = out_avals
        self.wrt = wrt
        """The numbers of the arguments' leaves that have tangents."""

    def __reduce__(self) -> tuple[Any, ...]:
        arguments = self.arguments._replace(fun=Signature.of(self.arguments.fun))
        return _Space, (arguments, self.out_tree, self.out_avals, self.wrt)

    def __eq__(self, other: object) -> bool:
        return type(other) is _Space and self._key() == other._key()

    def __hash__(self) -> int:
        return hash((self.out_tree, self.out_avals, tuple(self.arguments.avals)))

    def _key(self) -> tuple[Any, ...]:
        arguments = self.arguments
        return arguments.treedef, arguments.avals, arguments.places, self.out_tree, self.out_avals, self.wrt

    @property
    def name(self) -> str:
        """The name of the function."""
        return name_of(self.arguments.fun)

    def domain(self) -> str:
        """The types of the arguments that have tangents."""
        return ", ".join([str(self.arguments.avals[i].strong) for i in self.wrt])

    def codomain(self) -> str:
        """The types of the outputs."""
        return ", ".join([str(aval.strong) for aval in self.out_avals[: self.out_tree.num_leaves]])


class Signature:
    """What is left of a function when it is pickled: what messages say of it."""

    def __init__(self, name: str, parameters: tuple[tuple[str, Any], ...] | None) -> None:
        self.__name__ = name
        self._parameters = parameters
        if parameters is not None:
            self.__signature__ = inspect.Signature([inspect.Parameter(p, kind) for p, kind in parameters])

    @staticmethod
    def of(fun: Callable[..., Any]) -> Signature:
        """That of a function."""
        try:
            parameters = [(p.name, p.kind) for p in inspect.signature(fun).parameters.values()]
        except (TypeError, ValueError):
            return Signature(name_of(fun), None)
        return Signature(name_of(fun), tuple(parameters))

    def __reduce__(self) -> tuple[Any, ...]:
        return Signature, (self.__name__, self._parameters)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(f"{self.__name__} itself was not pickled, only its derivative at a point")


class _LinearMap:
    """A linear program between two spaces, with the residuals that it reads.

    It is a pytree whose leaves are the residuals, so that `jit` and others take it and return it; it can be pickled.
    """

    shows = ""

    def __init__(self, space: _Space, linear: Jaxpr, nonzeros: Nonzeros, residuals: Sequence[Any]) -> None:
        self.space = space
        self.linear = linear
        self.nonzeros = nonzeros
        self.residuals = residuals

    def __call__(self, *args: Any) -> Any:
        try:
            return self.apply(*args)
        except Exception as error:
            raise hide_frames(error)  # noqa: B904  (it is the same error)

    def apply(self, *args: Any) -> Any:
        """The value of the map."""
        raise TypeError(f"{type(self).__name__} does not define apply")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.space, self.linear, self.nonzeros, list(self.residuals))

    def tree_flatten(self) -> tuple[tuple[Any, ...], Any]:
        """The residuals, and the rest."""
        return tuple(self.residuals), (self.space, self.linear, self.nonzeros)

    @classmethod
    def tree_unflatten(cls, data: Any, residuals: Sequence[Any]) -> _LinearMap:
        """The map with other residuals."""
        space, linear, nonzeros = data
        return cls(space, linear, nonzeros, list(residuals))


@register_pytree_node_class
class PushForward(_LinearMap):
    """The function that `linearize` returns: from tangents of the arguments to the tangent of the output."""

    __name__ = "push_forward"

    def __repr__(self) -> str:
        return f"<derivative of {self.space.name}: ({self.space.domain()}) -> ({self.space.codomain()})>"

    def apply(self, *tangents: Any) -> Any:
        """The tangent of the output, from those of the arguments."""
        arguments, wrt, out_tree = self.space.arguments, self.space.wrt, self.space.out_tree
        given = _tangents(arguments, tangents)
        filled = [zero_tangent(arguments.avals[i]) if given[i] is None else given[i] for i in wrt]
        dots = run_program(self.linear, [*filled, *self.residuals])
        outs = _output_tangents(dots, self.nonzeros, self.space.out_avals)
        return unflatten(out_tree, outs[: out_tree.num_leaves])


@register_pytree_node_class
class PullBack(_LinearMap):
    """The function that `vjp` and `linear_transpose` return: from the cotangent of the output to a tuple of those of
    the arguments.
    """

    __name__ = "pull_back"
    masked = False
    """Whether zeros in cotangents stay zero through infinite and NaN partials, as those of unit vectors must."""

    def __call__(self, ct: Any) -> Any:
        return super().__call__(ct)

    def __repr__(self) -> str:
        return f"<transposed derivative of {self.space.name}: ({self.space.codomain()}) -> ({self.space.domain()})>"

    def apply(self, ct: Any) -> tuple[Any, ...]:
        """The cotangents of the arguments, from that of the output."""
        space = self.space
        cts = _cotangents(space.arguments.fun, ct, space.out_tree, space.out_avals)
        cts += [None] * (len(space.out_avals) - len(cts))
        run, n_wrt = run_program, len(space.wrt)
        pulled = pull_back(self.linear, self.nonzeros, n_wrt, self.residuals, cts, run, masked=self.masked)
        return _arguments_of(space.arguments, dict(zip(space.wrt, pulled, strict=True)))


def _kept(residual: Any) -> Any:
    # What outlives the call must not change with the user's arrays: those that he gave, and those that he gets.
    return residual.copy() if type(residual) is np.ndarray else residual


def _cotangents(fun: Callable[..., Any], ct: Any, out_tree: TreeDef, avals: Sequence[Aval]) -> list[Any]:
    leaves, treedef = flatten(ct)
    if treedef != out_tree:
        raise TypeError(
            f"the cotangent must have the structure of the output of {name_of(fun)}, {out_tree}, but has {treedef}"
        )
    return [
        _matching(Described(partial(output_path, fun, out_tree, i)), leaf, aval, "cotangent", "output")
        for i, (leaf, aval) in enumerate(zip(leaves, avals, strict=False))
    ]


def _arguments_of(arguments: Arguments, cts: dict[int, Any]) -> tuple[Any, ...]:
    """Cotangents by input, in the structure of the arguments; zero where there is none."""
    inputs = [
        zero_tangent(aval) if cts.get(number) is None else cts[number] for number, aval in enumerate(arguments.avals)
    ]
    if arguments.places is None:
        return unflatten(arguments.treedef, inputs)[0]
    leaves: list[Any] = [None] * len(arguments.leaves)
    for place, ct in zip(arguments.places, inputs, strict=True):
        leaves[place] = ct
    return unflatten(arguments.treedef, leaves)[0]


# --------------------------------------------------------------------------------------------------------------------
# linear_transpose


def linear_transpose(fun: Callable[..., Any], *primals: Any) -> Callable[[Any], tuple[Any, ...]]:
    """The transpose of a function that is linear in its arguments.

    Args:
        fun: a linear function of arrays and pytrees.
        primals: arguments of the right shapes and dtypes; values are not looked at (`ShapeDtypeStruct` will do).

    Returns:
        A function from a cotangent of the output to a tuple of cotangents, one for each argument. As those that `vjp`
        and `linearize` return it can be pickled, and is a pytree of the arrays that it keeps.

    Raises:
        MissingRuleError: if `fun` is not linear, naming the primitive.

    >>> import functrans as ft
    >>> ft.linear_transpose(lambda x: 3.0 * x, 1.0)(2.0)
    (np.float64(6.0),)
    """
    try:
        arguments = flatten_arguments(fun, primals, {}, shapes=True)
        unknown = [UNKNOWN] * len(arguments.avals)
        jaxpr, values, (out_tree, _), _ = record(arguments, unknown, _outputs(fun, False))
    except Exception as error:
        raise hide_frames(error)  # noqa: B904  (it is the same error)
    space = _Space(arguments, out_tree, jaxpr.out_avals, tuple(range(len(unknown))))
    consts = [_kept(x) for x in values[len(unknown) :]]
    return PullBack(space, jaxpr, (True,) * len(jaxpr.outs), consts)
