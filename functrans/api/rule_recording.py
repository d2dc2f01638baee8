"""Recording the derivative rules that users write: from Python functions to programs.

A rule is recorded where it is called, with the values that the arguments have there, so that Python may look at them;
what it closes over becomes operands. The backward rule is recorded inside of the recording of the forward rule, so that
it has the values of the residuals, and may close over what the forward rule computes.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from functrans.api.arguments import Arguments, Recorded, array_outputs, name_of, record
from functrans.api.rule_results import (
    CustomVJPPrimal,
    OutputTypes,
    SymbolicZero,
    cotangents_of,
    output_types,
    pair_of,
    primal_outputs,
    tangents_of,
)
from functrans.caching import kept
from functrans.control.rearranging import rearranged
from functrans.core.aval import Aval, aval_of
from functrans.core.evaluation import eval_jaxpr, stage
from functrans.core.jaxpr import Jaxpr, Literal, derived
from functrans.core.recording import UNKNOWN, Recording, no_staging
from functrans.core.rules import zeros_like
from functrans.core.tracer import Tracer
from functrans.dtypes import float0
from functrans.errors import MissingRuleError
from functrans.ops.constant import Constant, constant_p
from functrans.ops.custom_rules import DeferredRules, RulePrograms, VjpPrograms
from functrans.passes.inline import inline
from functrans.tree import TreeDef, flatten, structure, unflatten

__all__ = [
    "Call",
    "NamedFunction",
    "RecordedRules",
    "RuleFunctions",
    "consumers",
    "deferred",
    "record_function",
    "record_rules",
    "rules_open",
    "whole_arguments",
]


class RuleFunctions(NamedTuple):
    """The rules of a function, as its user gave them."""

    jvp: Callable[..., Any] | None = None
    jvp_symbolic_zeros: bool = False
    fwd: Callable[..., Any] | None = None
    bwd: Callable[..., Any] | None = None
    vjp_symbolic_zeros: bool = False

    @property
    def shown(self) -> str:
        """Which there are, for printed programs."""
        return ",".join([name for name, rule in (("jvp", self.jvp), ("vjp", self.fwd)) if rule is not None]) or "none"


class NamedFunction:
    """A function with another's name, and names of parameters."""

    def __init__(self, call: Callable[..., Any], name: str, parameters: Sequence[str]) -> None:
        self._call = call
        self.__name__ = name
        self.parameters = parameters

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.Signature([inspect.Parameter(p, inspect.Parameter.POSITIONAL_ONLY) for p in self.parameters])

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)


class Call(NamedTuple):
    """A call of a function with rules. Inputs are the arrays in those of its arguments that have derivatives."""

    name: str
    fun: NamedFunction
    rules: RuleFunctions
    arguments: Arguments
    """Those that have derivatives, in the order of the positional arguments."""
    nondiff: dict[int, Any]
    """The others, by position."""

    def whole(self, args: Sequence[Any]) -> Sequence[Any]:
        """All arguments, from those that have derivatives."""
        return whole_arguments(args, self.nondiff)

    def first(self) -> list[Any]:
        """The arguments without derivatives, as the rules get them first."""
        return [self.nondiff[i] for i in sorted(self.nondiff)] if self.nondiff else []

    def inexact(self) -> list[int]:
        """The numbers of the inputs that have tangents."""
        return [i for i, aval in enumerate(self.arguments.avals) if aval.inexact]

    def without_values(self) -> Call:
        """The call with nothing of what its inputs are, but for their types."""
        arguments = self.arguments
        leaves: list[Any] = list(arguments.leaves)
        for place in range(len(leaves)) if arguments.places is None else arguments.places:
            leaves[place] = None
        return self._replace(arguments=arguments._replace(leaves=leaves, values=[UNKNOWN] * len(arguments.avals)))


def whole_arguments(args: Sequence[Any], nondiff: dict[int, Any]) -> Sequence[Any]:
    """All arguments of a call, from those that have derivatives, and the others by position."""
    if not nondiff:
        return args
    given = iter(args)
    return [nondiff[i] if i in nondiff else next(given) for i in range(len(args) + len(nondiff))]


# --------------------------------------------------------------------------------------------------------------------
# For which derivatives rules are needed


class _OpenRules(threading.local):
    """The serial numbers of the recordings of rules that are open in this thread."""

    def __init__(self) -> None:
        self.serials: list[int] = []


_open_rules = _OpenRules()


def _open_rule(args: Sequence[Any]) -> None:
    """Say that a rule is being recorded, with these arguments, until `_close_rules`."""
    tracer = next((x for x in args if type(x) is Tracer), None)
    if tracer is None:
        tracer = next(x for x in flatten(args)[0] if type(x) is Tracer)
    _open_rules.serials.append(tracer.recording.serial)


def _record_rule(arguments: Arguments, known: Sequence[Any], outputs: Callable[[Any], Any]) -> Recorded:
    """Record a rule, whose function calls `_open_rule`."""
    serials = _open_rules.serials
    n_open = len(serials)
    try:
        return record(arguments, known, outputs, staging=True)
    finally:
        del serials[n_open:]


def rules_open() -> int:
    """How many rules are being recorded in this thread, one inside of the other."""
    return len(_open_rules.serials)


_PYTHON_FLOAT = aval_of(0.0)
_NOWHERE: frozenset[Recording] = frozenset()
_LATER: frozenset[Recording] = frozenset([UNKNOWN])


def consumers(values: Sequence[Any]) -> tuple[list[Recording], bool]:
    """The recordings that will differentiate a call on these values, innermost first, so that its rules are needed.

    And whether there may be others later, since the values are not known yet.

    A call inside of a rule does not count for the innermost recording around the rule: that one uses up the rule
    itself, and only a second derivative comes to the calls inside of it.
    """
    found = _NOWHERE
    for x in values:
        if type(x) is Tracer:
            found |= x.recording.differentiating(x.atom)
    others_later = found is not _NOWHERE and UNKNOWN in found
    inner = len(_open_rules.serials)
    used_up, needed = 0, []
    around = found - _LATER if others_later else found
    for recording in sorted(around, key=_latest_first) if len(around) > 1 else around:
        while inner and _open_rules.serials[inner - 1] > recording.serial:
            inner -= 1
            used_up += 1
        if used_up:
            used_up -= 1
        else:
            needed.append(recording)
    return needed, others_later


def _latest_first(recording: Recording) -> int:
    return -recording.serial


# --------------------------------------------------------------------------------------------------------------------
# Recording


def record_function(call: Call) -> tuple[Jaxpr, list[Any], OutputTypes]:
    """The program of the function itself, what it closes over, and what it returns."""
    arguments = call.arguments
    recorded = record(arguments, arguments.values, lambda out: array_outputs(call.fun, out), staging=True)
    jaxpr = inline(recorded.jaxpr)
    return jaxpr, _closed_over(recorded, len(arguments.avals)), output_types(recorded.rest, jaxpr.out_avals)


def _closed_over(recorded: Recorded, n_inputs: int) -> list[Any]:
    """What a recorded function closes over. Python floats are floats again, which are quicker to record than arrays."""
    avals, values = recorded.jaxpr.in_avals, recorded.values
    return [
        values[i].item() if avals[i] is _PYTHON_FLOAT and type(values[i]) is np.ndarray else values[i]
        for i in range(n_inputs, len(values))
    ]


class RecordedRules(NamedTuple):
    """The rules of a call as programs, and that of the function as the rules give it."""

    jaxpr: Jaxpr
    programs: RulePrograms
    consts: list[Any]
    types: OutputTypes


class _Rule(NamedTuple):
    """A rule that has been recorded by itself."""

    program: Jaxpr
    """The forward rule: from the inputs, then what it closes over, to the outputs, then the residuals. A JVP rule: from
    the inputs, then those tangents that there are, then what it closes over, to the outputs, then their tangents."""
    consts: list[Any]
    types: OutputTypes
    backward: Jaxpr | None = None
    """Of a forward rule: from some residuals, then the cotangents, then other residuals, to those of the inputs."""
    n_read: int = 0
    """How many residuals come before the cotangents."""
    have: tuple[bool, ...] = ()
    """Of a JVP rule: which inputs have a tangent."""


def record_rules(
    call: Call, perturbed: Sequence[bool], forward: bool, reverse: bool, expected: OutputTypes | None = None
) -> RecordedRules:
    """Record the rules of a call.

    Args:
        call: the call.
        perturbed: which inputs may have a tangent.
        forward, reverse: the modes that will be asked for. A mode whose rule is not given is derived from the other.
        expected: what the function returns, if it is known.

    Raises:
        MissingRuleError: if the function has no rule.
        TypeError: if a rule returns what it must not.
    """
    rules = call.rules
    if rules.jvp is None and rules.fwd is None:
        raise MissingRuleError(
            f"{call.name} is differentiated and has no rule: give it one with {call.name}.defjvp(rule) or "
            f"{call.name}.defvjp(fwd, bwd), before it is called"
        )
    vjp = _record_vjp(call, perturbed, expected) if rules.fwd is not None and (reverse or rules.jvp is None) else None
    types = expected if vjp is None else vjp.types
    jvp = _record_jvp(call, perturbed, types) if rules.jvp is not None and (forward or rules.fwd is None) else None
    return _together(len(call.arguments.avals), vjp, jvp)


def _together(n_args: int, vjp: _Rule | None, jvp: _Rule | None) -> RecordedRules:
    """The rules on common operands: the inputs, then what each of them closes over."""
    key: tuple[Any, ...]
    if vjp is None:
        assert jvp is not None
        key = ("JVP rule", n_args, jvp.have, len(jvp.types.avals))
        jaxpr, programs = derived(jvp.program, key, lambda: _jvp_alone(n_args, jvp))
        return RecordedRules(jaxpr, programs, jvp.consts, jvp.types)
    key = ("VJP rule", n_args, vjp.backward, vjp.n_read, len(vjp.types.avals))
    if jvp is not None:
        key = (*key, jvp.program, jvp.have)
    jaxpr, programs = derived(vjp.program, key, lambda: _vjp_first(n_args, vjp, jvp))
    return RecordedRules(jaxpr, programs, vjp.consts if jvp is None else [*vjp.consts, *jvp.consts], vjp.types)


def _jvp_alone(n_args: int, jvp: _Rule) -> tuple[Jaxpr, RulePrograms]:
    program = _with_all_tangents(jvp.program, n_args, jvp.have)
    stop = n_args + len(jvp.consts)
    fixed, tangents = program.in_avals[:stop], program.in_avals[stop:]
    inputs = [*_places(range(stop)), *[zeros_like(aval) for aval in tangents]]
    return rearranged(program, fixed, inputs, range(len(jvp.types.avals))), RulePrograms(program, None)


def _vjp_first(n_args: int, vjp: _Rule, jvp: _Rule | None) -> tuple[Jaxpr, RulePrograms]:
    assert vjp.backward is not None
    n_vjp = n_args + len(vjp.consts)
    avals, jvp_program = list(vjp.program.in_avals), None
    if jvp is not None:
        program = _with_all_tangents(jvp.program, n_args, jvp.have)
        stop = n_args + len(jvp.consts)
        avals += program.in_avals[n_args:stop]
        tangents = program.in_avals[stop:]
        inputs = _places(range(n_args), range(n_vjp, len(avals) + len(tangents)))
        jvp_program = rearranged(program, [*avals, *tangents], inputs, range(len(program.outs)))
    inputs = _places(range(n_vjp))
    forward = rearranged(vjp.program, avals, inputs, range(len(vjp.program.outs)))
    jaxpr = rearranged(vjp.program, avals, inputs, range(len(vjp.types.avals)))
    n_cts = sum([aval.inexact for aval in vjp.types.avals])
    backward = _with_cotangents_last(vjp.backward, vjp.n_read, vjp.n_read + n_cts)
    return jaxpr, RulePrograms(jvp_program, VjpPrograms(forward, backward))


def _places(*ranges: range) -> list[int | Literal]:
    return [-1 - i for part in ranges for i in part]


def _record_vjp(call: Call, perturbed: Sequence[bool], expected: OutputTypes | None) -> _Rule:
    arguments, fwd = call.arguments, call.rules.fwd
    assert fwd is not None

    def run(*args: Any) -> Any:
        given = _marked(args, perturbed) if call.rules.vjp_symbolic_zeros else args
        _open_rule(args)
        return fwd(*call.whole(given))

    def outputs(out: Any) -> tuple[list[Any], tuple[OutputTypes, Jaxpr, int]]:
        primal, residuals = pair_of(out, fwd, call.name, "(output, residuals)")
        leaves, types = primal_outputs(primal, fwd, call.name, expected)
        backward, read, n_read = _record_backward(call, residuals, types)
        return [*leaves, *read], (types, backward, n_read)

    named = arguments._replace(fun=NamedFunction(run, name_of(fwd), call.fun.parameters))
    recorded = _record_rule(named, arguments.values, outputs)
    types, backward, n_read = recorded.rest
    return _Rule(inline(recorded.jaxpr), _closed_over(recorded, len(arguments.avals)), types, backward, n_read)


def _marked(args: tuple[Any, ...], perturbed: Sequence[bool]) -> tuple[Any, ...]:
    """The arguments of a forward rule with `symbolic_zeros=True`."""
    leaves, treedef = flatten(args)
    marks = iter(perturbed)
    return unflatten(treedef, [CustomVJPPrimal(x, next(marks) if type(x) is Tracer else False) for x in leaves])


def _record_backward(call: Call, residuals: Any, types: OutputTypes) -> tuple[Jaxpr, list[Any], int]:
    """The backward rule as a program from some residuals, then the cotangents, then other residuals; the values of all
    these residuals, and how many come first."""
    bwd = call.rules.bwd
    assert bwd is not None
    leaves, held_tree = flatten(residuals)
    places = [place for place, x in enumerate(leaves) if type(x) is Tracer]
    read = [leaves[place] for place in places]
    n_read = len(read)
    avals, known, values = [x.aval for x in read], list(read), list(read)
    stand_in = next((x for x in call.arguments.values if type(x) is Tracer and x.aval.inexact), UNKNOWN)
    for place, aval in enumerate(types.avals, len(leaves)):
        if aval.inexact:
            leaves.append(None)
            places.append(place)
            avals.append(aval)
            values.append(stand_in)  # the derivatives of what the outputs depend on
            known.append(UNKNOWN)
        else:
            leaves.append(_no_tangent(aval, call.rules.vjp_symbolic_zeros))
    treedef = _two_arguments(held_tree, types.treedef)
    named = NamedFunction(lambda held, ct: bwd(*call.first(), held, ct), name_of(bwd), ["residuals", "ct"])
    all_places = places if len(places) < len(leaves) else None
    arguments = Arguments(named, leaves, treedef, avals, values, all_places)
    recorded = record(
        arguments,
        known,
        lambda out: (cotangents_of(out, call.arguments, bwd, call.name), None),
        staging=True,
        once=any([value is not UNKNOWN for value in call.arguments.values]),  # it is run where the forward rule is
    )
    return inline(recorded.jaxpr), [*read, *_closed_over(recorded, len(avals))], n_read


@kept("layouts of custom rules", 4096)
def _two_arguments(first: TreeDef, second: TreeDef) -> TreeDef:
    """The structure of a call with two arguments of these structures."""
    return structure(((unflatten(first, range(first.num_leaves)), unflatten(second, range(second.num_leaves))), {}))


def _with_cotangents_last(jaxpr: Jaxpr, start: int, stop: int) -> Jaxpr:
    """The program with its inputs `start` to `stop` at the end."""
    avals = jaxpr.in_avals
    order = [*range(start), *range(stop, len(avals)), *range(start, stop)]
    place = {old: -1 - new for new, old in enumerate(order)}
    inputs = [place[i] for i in range(len(avals))]
    return rearranged(jaxpr, [avals[i] for i in order], inputs, range(len(jaxpr.outs)))


def _no_tangent(aval: Aval, symbolic: bool) -> Any:
    """What a rule gets as the tangent of an integer, or as one that is zero for sure."""
    return SymbolicZero(aval) if symbolic else np.zeros(aval.shape, float0)


def _record_jvp(call: Call, perturbed: Sequence[bool], expected: OutputTypes | None) -> _Rule:
    jvp, arguments = call.rules.jvp, call.arguments
    assert jvp is not None
    given = arguments.values
    places = None if arguments.places is None else tuple(arguments.places)
    wanted = tuple(perturbed) if call.rules.jvp_symbolic_zeros else None
    layout = _jvp_layout(arguments.treedef, places, tuple(arguments.avals), wanted)

    def run(primals: Any, tangents: Any) -> Any:
        _open_rule(primals)
        return jvp(*call.first(), primals, tangents)

    def outputs(out: Any) -> tuple[list[Any], OutputTypes]:
        primal, tangent = pair_of(out, jvp, call.name, "(output, tangent of the output)")
        outs, types = primal_outputs(primal, jvp, call.name, expected)
        return [*outs, *tangents_of(tangent, types, jvp, call.name)], types

    named = Arguments(
        NamedFunction(run, name_of(jvp), ["primals", "tangents"]),
        [*arguments.leaves, *layout.tangents],
        layout.treedef,
        layout.avals,
        [*given, *[given[number] for number in layout.numbers]],  # a tangent has the derivatives of the primal
        layout.places,
    )
    recorded = _record_rule(named, [*given, *[UNKNOWN] * len(layout.numbers)], outputs)
    program, consts = inline(recorded.jaxpr), _closed_over(recorded, len(layout.avals))
    return _Rule(program, consts, recorded.rest, have=layout.have)


class _JVPLayout(NamedTuple):
    """The arguments of a JVP rule: the primals, then their tangents."""

    treedef: TreeDef
    tangents: list[Any]
    """The leaves of the tangents; None for one that is an input, or of a leaf that is no array."""
    avals: list[Aval]
    numbers: list[int]
    """Of which primals there are tangents among the inputs."""
    places: list[int] | None
    have: tuple[bool, ...]
    """Whether a primal has one."""


@kept("layouts of custom rules", 4096)
def _jvp_layout(
    treedef: TreeDef, places: tuple[int, ...] | None, avals: tuple[Aval, ...], wanted: tuple[bool, ...] | None
) -> _JVPLayout:
    n_leaves = treedef.num_leaves
    own = range(n_leaves) if places is None else places
    have = tuple([aval.inexact and (wanted is None or wanted[number]) for number, aval in enumerate(avals)])
    numbers = [number for number, has in enumerate(have) if has]
    tangents: list[Any] = [None] * n_leaves
    for number, place in enumerate(own):
        if not have[number]:
            tangents[place] = _no_tangent(avals[number], wanted is not None)
    all_places = [*own, *[n_leaves + own[number] for number in numbers]]
    return _JVPLayout(
        _two_arguments(*[treedef.children()[0]] * 2),
        tangents,
        [*avals, *[avals[number].strong for number in numbers]],
        numbers,
        all_places if len(all_places) < 2 * n_leaves else None,
        have,
    )


def _with_all_tangents(jaxpr: Jaxpr, n_args: int, have: Sequence[bool]) -> Jaxpr:
    """A JVP rule from the inputs, the constants and then the tangents of all inexact inputs, of which it has some."""
    stop = n_args + sum(have)
    consts = jaxpr.in_avals[stop:]
    tangents = [(i, aval.strong) for i, aval in enumerate(jaxpr.in_avals[:n_args]) if aval.inexact]
    place = {i: -1 - n_args - len(consts) - number for number, (i, _) in enumerate(tangents)}
    given = [place[i] for i in range(n_args) if have[i]]
    inputs = [*_places(range(n_args)), *given, *_places(range(n_args, n_args + len(consts)))]
    avals = [*jaxpr.in_avals[:n_args], *consts, *[aval for _, aval in tangents]]
    return rearranged(jaxpr, avals, inputs, range(len(jaxpr.outs)))


# --------------------------------------------------------------------------------------------------------------------
# Recording later


def deferred(call: Call, key: Any, types: OutputTypes, is_traced: bool) -> DeferredRules:
    """The rules of a call, to be recorded when a derivative is asked for.

    Args:
        call: the call.
        key: what it is, by structure.
        types: what the function returns.
        is_traced: whether the rules close over a tracer, which has no meaning later.
    """
    name, shown = call.name, call.rules.shown
    if is_traced:

        def refuse(nonzeros: Any, forward: bool, jaxpr: Jaxpr) -> RulePrograms:
            raise TypeError(
                f"a derivative of {name} is asked for after the function that defines it has returned, and its rules "
                f"close over a traced value of that function. Make the value an argument of {name}."
            )

        return DeferredRules(key, shown, refuse)
    kept = call.without_values()

    def record_now(nonzeros: tuple[bool, ...], forward: bool, jaxpr: Jaxpr) -> RulePrograms:
        return _record_deferred(kept, nonzeros, forward, jaxpr, types)

    return DeferredRules(key, shown, record_now)


def _record_deferred(
    call: Call, nonzeros: tuple[bool, ...], forward: bool, jaxpr: Jaxpr, types: OutputTypes
) -> RulePrograms:
    before = _open_rules.serials
    _open_rules.serials = []
    try:
        with no_staging(), stage(f"the rules of {call.name}", ()):
            recorded = record_rules(call, nonzeros, forward, not forward, types)
    finally:
        _open_rules.serials = before
    if any([type(x) is Tracer for x in recorded.consts]):
        raise TypeError(
            f"the rules of {call.name} close over a traced value, which the function that is differentiated does not "
            f"have. Make the value an argument of {call.name}."
        )
    n_args = len(nonzeros)
    jvp, vjp = recorded.programs
    if jvp is not None:
        jvp = _closed(jvp, n_args, recorded.consts, jaxpr)
    if vjp is not None:
        vjp = VjpPrograms(_closed(vjp.forward, n_args, recorded.consts, jaxpr), vjp.backward)
    return RulePrograms(jvp, vjp)


def _closed(program: Jaxpr, n_args: int, consts: Sequence[Any], jaxpr: Jaxpr) -> Jaxpr:
    """A program with the arrays that it closes over inside, and the constants of the function as further inputs."""
    own = program.in_avals[n_args + len(consts) :]
    avals = [*jaxpr.in_avals, *own]
    if not consts:
        places = _places(range(n_args), range(len(jaxpr.in_avals), len(avals)))
        return rearranged(program, avals, places, range(len(program.outs)))
    with stage("custom_call", avals) as recording:
        inputs = recording.inputs()
        values = [constant_p.bind(value=Constant(x)) for x in consts]
        outs = eval_jaxpr(program, [*inputs[:n_args], *values, *inputs[len(jaxpr.in_avals) :]], recording)
        return inline(recording.close(outs)[0])
