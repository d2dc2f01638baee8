"""Derivative rules of one's own for Python functions: custom_jvp, custom_vjp and custom_gradient."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import numpy as np

from functrans.api.arguments import flatten_arguments, name_of
from functrans.api.execution import strengthened
from functrans.api.function_structure import StructureMemo, structure_of
from functrans.api.rule_recording import (
    Call,
    NamedFunction,
    RecordedRules,
    RuleFunctions,
    consumers,
    deferred,
    record_function,
    record_rules,
    rules_open,
    whole_arguments,
)
from functrans.api.rule_results import (
    CustomVJPPrimal,
    OutputTypes,
    SymbolicZero,
    described,
    output_types,
    tangents_of,
)
from functrans.api.transformed import Transformed, look_like
from functrans.core.aval import aval_of
from functrans.core.jaxpr import Jaxpr, derived
from functrans.core.primitive import apply_operation
from functrans.core.recording import Recording, recording_for
from functrans.core.tracer import Tracer
from functrans.ops.custom_rules import Rules, custom_call_p
from functrans.ops.elementwise import add
from functrans.ops.identity import stop_gradient
from functrans.tree import flatten, unflatten
from functrans.tree import map as tree_map

__all__ = [
    "CustomVJPPrimal",
    "SymbolicZero",
    "custom_gradient",
    "custom_jvp",
    "custom_vjp",
    "custom_vjp_primal_tree_values",
    "zero_from_primal",
]

_LEVELS_AHEAD = 3
"""How many rules, one called in the other, are recorded at once where it is not known which derivatives will be asked
for, if they close over arrays or tracers."""
_DEFERRED_AT_MOST = 100
"""Types of arguments for which a function keeps its rules."""


class CustomRules(Transformed):
    """A function whose derivative is given by rules: the base of `custom_jvp` and `custom_vjp`.

    Both kinds of rules may be given: forward mode takes the JVP, reverse mode the VJP. If there is only one, the other
    mode is derived from it.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        nondiff_argnums: int | Sequence[int] = (),
        nondiff_argnames: str | Sequence[str] = (),
    ) -> None:
        super().__init__(fun, nondiff_argnums=nondiff_argnums, nondiff_argnames=nondiff_argnames)
        self.name = name_of(fun)
        self.rules = RuleFunctions()
        self._names, self._n_plain = _plain_parameters(fun)
        self._nondiff: tuple[int, ...] = ()
        if nondiff_argnums != () or nondiff_argnames != ():
            self._nondiff = _positions(self.name, self._signature, nondiff_argnums, nondiff_argnames)
        self._named: dict[int, NamedFunction] = {}
        self._structures = StructureMemo()

    @functools.cached_property
    def _signature(self) -> inspect.Signature | None:
        return _signature_of(self.fun)

    def __reduce__(self) -> str | tuple[Any, ...]:
        found = super().__reduce__()
        return found if isinstance(found, str) else (*found, {"rules": self.rules})

    # ---- giving the rules

    def defjvp(self, jvp: Callable[..., Any], symbolic_zeros: bool = False) -> Callable[..., Any]:
        """Give the JVP rule.

        Args:
            jvp: `jvp(*nondiff, primals, tangents)` returns the output of the function and its tangent, for tuples of
                the arguments that have derivatives and of their tangents. It must be linear in the tangents. The
                tangents of integers and booleans are zeros of dtype float0; None as the tangent of an output, or of a
                part of it, is zero.
            symbolic_zeros: whether tangents that are zero for sure are `SymbolicZero`s instead of zeros.

        Returns:
            `jvp`, so that this can be used as a decorator.
        """
        self.rules = self.rules._replace(jvp=_function(jvp, self.name), jvp_symbolic_zeros=bool(symbolic_zeros))
        return jvp

    def defjvps(self, *jvps: Callable[..., Any] | None) -> None:
        """Give the JVP rule argument by argument.

        Args:
            jvps: one for each positional argument, `jvp(tangent, output, *primals)`, which returns what the tangent of
                this argument gives for the output; they are added up. None for an argument without derivative.

        Raises:
            TypeError: if the function has `nondiff_argnums`.
        """
        if self._nondiff:
            raise TypeError(f"defjvps of {self.name} cannot be used together with nondiff_argnums: use defjvp")
        for jvp in jvps:
            if jvp is not None:
                _function(jvp, self.name)
        self.rules = self.rules._replace(jvp=_ByArgument(self, jvps), jvp_symbolic_zeros=True)

    def defvjp(
        self,
        fwd: Callable[..., Any],
        bwd: Callable[..., Any],
        symbolic_zeros: bool = False,
        optimize_remat: bool = False,
    ) -> None:
        """Give the VJP rule.

        Args:
            fwd: takes the arguments of the function, and returns its output and any residuals: a pytree of arrays and
                of whatever else `bwd` needs.
            bwd: `bwd(*nondiff, residuals, ct)` returns a tuple with the cotangent of each argument that can have one;
                None is zero, for an argument or a part of it. `ct` has the structure of the output; for integers and
                booleans it has zeros of dtype float0. A rule that is not linear in `ct` serves reverse mode alone.
            symbolic_zeros: whether `fwd` gets `CustomVJPPrimal`s in place of arrays, with `.value`, and `.perturbed`
                that tells whether a derivative by it is asked for.
            optimize_remat: there for JAX's sake; nothing needs it here.
        """
        self.rules = self.rules._replace(
            fwd=_function(fwd, self.name), bwd=_function(bwd, self.name), vjp_symbolic_zeros=bool(symbolic_zeros)
        )

    # ---- calling

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The function on these arguments, with its rules where a derivative may be asked for."""
        tracers = _tracers(args, kwargs)
        if not tracers:
            return self.fun(*args, **kwargs)
        own = self._positional(args, kwargs)
        nondiff: dict[int, Any] = {}
        if self._nondiff:
            nondiff = {i: tree_map(_constant, own[i]) for i in self._nondiff_among(len(own))}
            own = tuple([x for i, x in enumerate(own) if i not in nondiff])
            tracers = _tracers(own, {})
        taking = recording_for(tracers)
        inexact = [x for x in tracers if x.aval.inexact]
        if not inexact or taking is None:
            return self.fun(*whole_arguments(own, nondiff))
        needed_by, others_later = consumers(inexact)
        if not needed_by and not others_later and not taking.literals:
            return _without_weak(self.fun(*whole_arguments(own, nondiff)))  # nobody will ask for its derivative
        call = self._call(own, nondiff)
        is_kept = taking.literals and taking.staging
        symbolic = call.rules.jvp_symbolic_zeros or call.rules.vjp_symbolic_zeros
        if needed_by and not (is_kept and symbolic):
            return self._recorded_now(call, needed_by, is_kept)
        return self._recorded_later(call, bool(needed_by), taking)

    def _call(self, own: tuple[Any, ...], nondiff: dict[int, Any]) -> Call:
        n_args = len(own) + len(nondiff)
        named = None if nondiff else self._named.get(n_args)
        if named is None:
            names = self._names if n_args == self._n_plain else self._parameter_names(n_args)
            named = NamedFunction(self.fun, self.name, [name for i, name in enumerate(names) if i not in nondiff])
            if not nondiff:
                self._named[n_args] = named
        call = Call(self.name, named, self.rules, flatten_arguments(named, own, {}), nondiff)
        if nondiff:
            run = NamedFunction(lambda *given: self.fun(*call.whole(given)), self.name, named.parameters)
            return call._replace(fun=run, arguments=call.arguments._replace(fun=run))
        return call

    def _recorded_now(self, call: Call, needed_by: Sequence[Recording], is_kept: bool) -> Any:
        """A call whose rules are recorded now."""
        recorded = self._record(call, needed_by, is_kept)
        return self._bind(call, recorded.jaxpr, recorded.programs, recorded.consts, recorded.types)

    def _recorded_later(self, call: Call, is_needed: bool, taking: Recording) -> Any:
        """A call whose rules are recorded when a derivative is asked for, if they do not close over arrays."""
        arguments = call.arguments
        structure, kept = self._structures.of((self.fun, *self.rules))
        is_open = structure.reads_arrays or structure.is_traced
        more = [*call.nondiff.values(), *arguments.static_leaves()]
        added = structure_of(*more) if more else None
        if added is not None:
            is_open = is_open or added.reads_arrays or added.is_traced
        if is_open and (is_needed or rules_open() < (_LEVELS_AHEAD if taking.literals else 1)):
            try:
                return self._recorded_now(call, [], True)
            except Exception:
                if is_needed:
                    raise
        jaxpr, consts, types = record_function(call)
        places = None if arguments.places is None else tuple(arguments.places)
        own = tuple(call.nondiff), arguments.treedef, tuple(arguments.avals), places, types.treedef, types.avals
        rules = None if is_open or more else kept.get(own)
        if rules is None:
            key = structure.key, None if added is None else added.key, own
            is_traced = structure.is_traced or (added is not None and added.is_traced)
            rules = deferred(call, key, types, is_traced)
            if not is_open and not more and len(kept) < _DEFERRED_AT_MOST:
                kept[own] = rules
        return self._bind(call, jaxpr, rules, consts, types)

    def _record(self, call: Call, needed_by: Sequence[Recording], is_kept: bool) -> RecordedRules:
        perturbed = [aval.inexact for aval in call.arguments.avals]
        if is_kept:
            return record_rules(call, perturbed, True, True)
        if call.rules.jvp_symbolic_zeros or call.rules.vjp_symbolic_zeros:
            chosen = frozenset(needed_by)
            perturbed = [
                type(x) is Tracer and not chosen.isdisjoint(x.recording.differentiating(x.atom))
                for x in call.arguments.values
            ]
        forward = any([recording.forward for recording in needed_by])
        return record_rules(call, perturbed, forward, not all([recording.forward for recording in needed_by]))

    def _bind(self, call: Call, jaxpr: Jaxpr, rules: Rules, consts: list[Any], types: OutputTypes) -> Any:
        operands = [*call.arguments.values, *consts]
        avals = tuple([x.aval if type(x) is Tracer else aval_of(x) for x in operands])
        name, n_consts = self.name, len(consts)
        operation = derived(
            jaxpr,
            ("custom call", avals, name, n_consts, rules),
            lambda: custom_call_p.operation(
                avals, {"jaxpr": jaxpr, "name": name, "n_consts": n_consts, "rules": rules}
            ),
        )
        return unflatten(types.treedef, strengthened(apply_operation(operation, operands)))

    def _positional(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """All arguments by position, with the defaults."""
        if not kwargs and len(args) == self._n_plain:
            return args
        signature = self._signature
        if signature is None:
            if kwargs:
                raise TypeError(
                    f"{self.name} has no signature, so its keyword arguments {sorted(kwargs)} cannot be put into the "
                    "order that its rules know: pass them by position"
                )
            return args
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}: {error}") from None
        if bound.kwargs:
            raise TypeError(
                f"{self.name}: the rules of a function know its arguments by position, so {sorted(bound.kwargs)} "
                "cannot be keyword-only: make them ordinary parameters, and those without derivative nondiff_argnames"
            )
        if _is_python(self.fun):
            bound.apply_defaults()
        return bound.args

    def _nondiff_among(self, n_args: int) -> list[int]:
        outside = [i for i in self._nondiff if not -n_args <= i < n_args]
        if outside:
            raise ValueError(f"nondiff_argnums={outside[0]} of {self.name} is out of range: it got {n_args} arguments")
        return sorted({i % n_args for i in self._nondiff})

    def _parameter_names(self, n_args: int) -> list[str]:
        names: list[str] = []
        for parameter in self._signature.parameters.values() if self._signature is not None else ():
            if parameter.kind is parameter.VAR_POSITIONAL:
                names += [f"{parameter.name}_{i}" for i in range(n_args - len(names))]
            elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                names.append(parameter.name)
        return [*names, *[f"args_{i}" for i in range(len(names), n_args)]][:n_args]


class custom_jvp(CustomRules):  # noqa: N801  (a decorator)
    """A function with a JVP rule of one's own, which is taken in place of its derivative.

    Without transformations, and where nothing is differentiated, a call just runs the function. Reverse mode is made of
    the rule by linearizing and transposing it, so it must be linear in the tangents; or give a VJP rule too, with
    `defvjp`.

    The rule is recorded at each call that is differentiated: it may branch on what has a value there, and close over
    arrays. To differentiate by the arguments and by what the function closes over at once is an error.

    Args:
        fun: a function of arrays, numbers and pytrees. Leaves that are none of these (strings, functions) are handed
            on as they are.
        nondiff_argnums: positional arguments that have no derivative, and that the rules get first.
        nondiff_argnames: the same by name.

    >>> import numpy as np
    >>> import functrans as ft
    >>> @ft.custom_jvp
    ... def log1pexp(x):
    ...     return np.log1p(np.exp(x))
    >>> @log1pexp.defjvp
    ... def log1pexp_jvp(primals, tangents):
    ...     (x,), (t,) = primals, tangents
    ...     return log1pexp(x), (1 - 1 / (1 + np.exp(x))) * t
    >>> ft.grad(log1pexp)(1.0), ft.jvp(log1pexp, (0.0,), (2.0,))[1]
    (np.float64(0.731...), np.float64(1.0))
    """

    transformation = "custom_jvp"


class custom_vjp(CustomRules):  # noqa: N801  (a decorator)
    """A function with a VJP rule of one's own, which is taken in place of its derivative.

    Under reverse mode the forward rule runs in the place of the function. A VJP is linear in its cotangent, and its
    transpose is the JVP: so forward mode works too, as long as the backward rule is linear. One that is not (gradient
    clipping) serves reverse mode; or give a JVP rule too, with `defjvp`.

    Args:
        fun: a function of arrays, numbers and pytrees. Leaves that are none of these (strings, functions) are handed
            on as they are.
        nondiff_argnums: positional arguments that have no derivative, and that `bwd` gets first.
        nondiff_argnames: the same by name.

    >>> import numpy as np
    >>> import functrans as ft
    >>> @ft.custom_vjp
    ... def clip_gradient(x, bound):
    ...     return x
    >>> clip_gradient.defvjp(
    ...     lambda x, bound: (x, bound), lambda bound, ct: (np.clip(ct, -bound, bound), None)
    ... )
    >>> ft.grad(lambda x: 10.0 * clip_gradient(x, 0.5))(1.0)
    np.float64(0.5)
    """

    transformation = "custom_vjp"


def custom_gradient(fun: Callable[..., Any]) -> custom_vjp:
    """A function with a gradient of one's own, given by one function.

    Args:
        fun: returns a pair `(out, pull_back)`, where `pull_back(ct)`, for a cotangent of `out`, returns those of the
            arguments, a tuple for several. It may close over what `fun` has computed.

    Returns:
        A function with the arguments of `fun` that returns `out`, a `custom_vjp`.

    >>> import functrans as ft
    >>> @ft.custom_gradient
    ... def square(x):
    ...     return x**2, lambda ct: 3 * x * ct
    >>> square(5.0), ft.grad(square)(5.0)
    (25.0, np.float64(15.0))
    """
    if not callable(fun):
        raise TypeError(f"custom_gradient needs a function, got {fun!r:.80} of type {type(fun).__name__}")
    made = custom_vjp(_OutputOnly(fun))
    made.defvjp(fun, _pull_back_by)
    return made


@dataclass(eq=False)
class _OutputOnly:
    """The first of the two that a function returns."""

    fun: Callable[..., Any]

    def __post_init__(self) -> None:
        look_like(self, self.fun)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        out = self.fun(*args, **kwargs)
        if not isinstance(out, (tuple, list)) or len(out) != 2:
            raise TypeError(
                f"with custom_gradient, {described(self.fun)} must return a pair (output, function of the cotangent), "
                f"but returned {out!r:.60}"
            )
        return out[0]


def _pull_back_by(pull_back: Callable[[Any], Any], ct: Any) -> Any:
    cts = pull_back(ct)
    return tuple(cts) if isinstance(cts, (tuple, list)) and not hasattr(cts, "_fields") else (cts,)


def custom_vjp_primal_tree_values(tree: Any) -> Any:
    """The values of the arguments of a forward rule with `symbolic_zeros=True`: each `CustomVJPPrimal` replaced.

    Raises:
        TypeError: if a leaf is something else.
    """

    def value(leaf: Any) -> Any:
        if type(leaf) is not CustomVJPPrimal:
            raise TypeError(f"every leaf must be a CustomVJPPrimal, got one of type {type(leaf).__name__}")
        return leaf.value

    return tree_map(value, tree)


def zero_from_primal(val: Any, symbolic_zeros: bool = False) -> Any:
    """The zero tangent of a value: an array of zeros (of dtype float0 for integers), or a `SymbolicZero`."""
    zero = SymbolicZero(aval_of(val).strong)
    if symbolic_zeros:
        return zero
    return np.zeros(zero.shape, zero.dtype)


# --------------------------------------------------------------------------------------------------------------------
# The pieces


@dataclass(eq=False)
class _ByArgument:
    """The JVP rule that `defjvps` makes of one for each argument."""

    function: CustomRules
    jvps: tuple[Callable[..., Any] | None, ...]

    @property
    def __name__(self) -> str:
        return f"defjvps of {self.function.name}"

    def __call__(self, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
        if len(self.jvps) != len(primals):
            raise TypeError(
                f"{self.function.name} has {len(primals)} arguments, and defjvps got {len(self.jvps)} rules: give one "
                "for each argument, None for those without derivative"
            )
        out = self.function(*primals)
        leaves, treedef = flatten(out)
        types = output_types(treedef, [aval_of(leaf) for leaf in leaves])
        total: list[Any] = [None] * sum([aval.inexact for aval in types.avals])
        for jvp, t in zip(self.jvps, tangents, strict=True):
            if jvp is not None and not _is_zero(t):
                parts = tangents_of(jvp(_filled(t), out, *primals), types, jvp, self.function.name)
                total = [b if a is None else add(a, b) for a, b in zip(total, parts, strict=True)]
        given = iter(total)
        return out, unflatten(treedef, [next(given) if aval.inexact else None for aval in types.avals])


_LEAVES = frozenset([Tracer, np.ndarray, float, int])


def _tracers(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tracer]:
    """The tracers in the arguments of a call."""
    leaves: Sequence[Any] = args
    if kwargs or not _LEAVES.issuperset(map(type, args)):
        leaves = flatten((args, kwargs))[0]
    return [x for x in leaves if type(x) is Tracer]


def _without_weak(out: Any) -> Any:
    """What a function returned, with the dtypes that it would have if it were recorded."""
    if type(out) is Tracer:
        return strengthened([out])[0]
    leaves, treedef = flatten(out)
    return unflatten(treedef, strengthened(leaves))


def _is_zero(tangent: Any) -> bool:
    return all([leaf is None or type(leaf) is SymbolicZero for leaf in flatten(tangent)[0]])


def _filled(tangent: Any) -> Any:
    return tree_map(lambda t: np.zeros(t.shape, t.dtype) if type(t) is SymbolicZero else t, tangent)


def _constant(leaf: Any) -> Any:
    return stop_gradient(leaf) if type(leaf) is Tracer else leaf


def _function(rule: Any, name: str) -> Any:
    if not callable(rule):
        raise TypeError(f"a rule of {name} must be a function, got {rule!r:.60} of type {type(rule).__name__}")
    return rule


def _signature_of(fun: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(fun)
    except (TypeError, ValueError):
        return None


def _plain_parameters(fun: Callable[..., Any]) -> tuple[list[str], int]:
    """The names of the parameters, and how many there are, if they are all positional; else -1."""
    if type(fun) is FunctionType and not fun.__dict__:  # what inspect would find, which takes ten times as long
        code = fun.__code__
        if not code.co_kwonlyargcount and not code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS):
            return list(code.co_varnames[: code.co_argcount]), code.co_argcount
    signature = _signature_of(fun)
    parameters = [] if signature is None else list(signature.parameters.values())
    positional = all([p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters])
    return [p.name for p in parameters], len(parameters) if positional and signature is not None else -1


def _is_python(fun: Any) -> bool:
    """Whether a function is written in Python, so that it gets its defaults like other arguments. Those of NumPy's
    functions are not meant for rules."""
    while isinstance(fun, (functools.partial, Transformed)):
        fun = fun.func if isinstance(fun, functools.partial) else fun.fun
    return hasattr(fun, "__code__") or hasattr(fun, "__func__") or hasattr(type(fun).__call__, "__code__")


def _positions(name: str, signature: inspect.Signature | None, argnums: Any, argnames: Any) -> tuple[int, ...]:
    numbers = [argnums] if isinstance(argnums, int) else list(argnums)
    for number in numbers:
        if not isinstance(number, int) or isinstance(number, bool):
            raise TypeError(f"nondiff_argnums of {name} must be ints, got {number!r}")
    parameters = [] if signature is None else list(signature.parameters)
    for wanted in [argnames] if isinstance(argnames, str) else argnames:
        if wanted not in parameters:
            raise ValueError(f"nondiff_argnames: {name} has no parameter {wanted!r}, only {', '.join(parameters)}")
        numbers.append(parameters.index(wanted))
    return tuple(numbers)
