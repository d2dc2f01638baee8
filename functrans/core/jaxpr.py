"""A program as a value.

A `Jaxpr` is immutable. It says what its inputs are (`in_avals`), lists its equations in the order in which they run,
and names its outputs. Variables are plain integers, called atoms together with literals:

- input `i` is `-1 - i`, so that an input found late (a captured array) renumbers nothing;
- the results of the equations are numbered 0, 1, 2, ... in the order of the equations;
- a `Literal` stands for itself.

Two recordings of the same computation at the same shapes give equal programs, and equal programs are one object as
long as somebody uses it: `intern_program` looks them up. What is derived from a program (its derivative, its
executable) is kept on it, see `derived`; so a second call of a transformation only looks things up.
"""

from __future__ import annotations

import gc
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from types import CodeType
from typing import Any, NamedTuple, Protocol, TypeVar

from functrans.caching import register_table
from functrans.config import config
from functrans.core.aval import Aval
from functrans.core.literal import Literal, literal_of
from functrans.core.params import Params
from functrans.core.printing import format_jaxpr
from functrans.forking import fork_safe_lock

__all__ = [
    "Atom",
    "ClosedJaxpr",
    "Equation",
    "Fresh",
    "Jaxpr",
    "Literal",
    "Operation",
    "ProgramCounts",
    "axis_names_in",
    "cached_equations",
    "clear_programs",
    "derived",
    "fresh_or_interned",
    "gc_paused",
    "intern_program",
    "interned",
    "jaxprs_in",
    "literal_of",
    "program_counts",
    "used_again",
]

T = TypeVar("T")

_lock = fork_safe_lock()


class PrimitiveLike(Protocol):
    """What a program needs to know of a primitive."""

    name: str
    multiple_results: bool
    effectful: bool
    is_collective: bool
    is_elementwise: bool
    uses_key: bool

    @property
    def is_constant(self) -> bool: ...

    def evaluate(self, operation: Operation, values: list[Any]) -> Any: ...

    def bound(self, operation: Operation) -> Callable[..., Any]: ...


Atom = int | Literal
Source = tuple[CodeType, int, tuple[str, ...]] | None
"""The code and the instruction that asked for an equation, and the names of the scopes that it is in."""
RawEquation = tuple["Operation", tuple[Atom, ...]]

_NO_NAMES: frozenset[Hashable] = frozenset()


class Operation:
    """A primitive with its parameters, applied to operands of known avals. Interned by the primitive that makes it."""

    __slots__ = (
        "__weakref__",
        "axis_names",
        "effectful",
        "in_avals",
        "memo",
        "out_avals",
        "params",
        "primitive",
        "run",
        "single",
    )

    def __init__(
        self,
        primitive: PrimitiveLike,
        params: Params,
        in_avals: tuple[Aval, ...],
        out_avals: tuple[Aval, ...],
    ) -> None:
        self.primitive = primitive
        self.params = params
        self.in_avals = in_avals
        self.out_avals = out_avals
        self.single = not primitive.multiple_results
        carried = [jaxpr for value in params.values() for jaxpr in jaxprs_in(value)]
        self.effectful: bool = primitive.effectful or any(
            [eqn.operation.effectful for jaxpr in carried for eqn in jaxpr.eqns]
        )
        """Whether it does something besides computing its results, in itself or in a program that it carries."""
        names = frozenset([params["axis_name"]]) if primitive.is_collective else _NO_NAMES
        self.axis_names: frozenset[Hashable] = names.union(*map(axis_names_in, carried)) if carried else names
        """The named axes over which it works, in itself or in a program that it carries."""
        self.memo: dict[Hashable, Any] = {}
        """What is derived from it."""
        self.run: Callable[..., Any] | None = None
        """The implementation bound to the parameters, made when it is first needed."""

    def __repr__(self) -> str:
        return f"{self.primitive.name}({', '.join(map(repr, self.in_avals))})"


class Equation:
    """One step of a program: results `outs` are the operation applied to the atoms `inputs`."""

    __slots__ = ("inputs", "operation", "outs", "source")

    def __init__(self, operation: Operation, inputs: tuple[Atom, ...], first: int, source: Source) -> None:
        self.operation = operation
        self.inputs = inputs
        self.outs = range(first, first + len(operation.out_avals))
        self.source = source

    @property
    def primitive(self) -> Any:
        return self.operation.primitive

    @property
    def params(self) -> Params:
        return self.operation.params

    @property
    def in_avals(self) -> tuple[Aval, ...]:
        return self.operation.in_avals

    @property
    def out_avals(self) -> tuple[Aval, ...]:
        return self.operation.out_avals

    @property
    def invars(self) -> tuple[Atom, ...]:
        """JAX's name of `inputs`."""
        return self.inputs

    @property
    def outvars(self) -> range:
        """JAX's name of `outs`."""
        return self.outs

    @property
    def scopes(self) -> tuple[str, ...]:
        """The names of the scopes that it was recorded in (`functrans.named_scope`), outermost first."""
        return () if self.source is None else self.source[2]

    def __repr__(self) -> str:
        return f"{', '.join(map(str, self.outs))} = {self.primitive.name} {' '.join(map(str, self.inputs))}"


class Jaxpr:
    """An immutable program, compared and hashed by structure. Those that are kept for reuse are made by
    `intern_program`.
    """

    __slots__ = (
        "__weakref__",
        "_avals",
        "_eqns",
        "_hash",
        "_key",
        "_out_avals",
        "family",
        "in_avals",
        "memo",
        "outs",
        "sources",
    )

    def __init__(self, key: tuple[Any, ...], sources: list[Source]) -> None:
        # While values are checked, an error must name the line of this program, and not of one that is like it.
        self._key = (*key, tuple(sources)) if config.checks_values else key
        self.in_avals: tuple[Aval, ...] = key[0]
        self.outs: tuple[Atom, ...] = key[2]
        self.sources = sources
        """For each equation the line that asked for it."""
        self.memo: dict[Hashable, Any] = {}
        self.family: _Family | None = None
        # Of the program that a pass hands to the next one nobody asks for these.
        self._hash: int | None = None
        self._eqns: tuple[Equation, ...] | None = None
        self._avals: list[Aval] | None = None
        self._out_avals: tuple[Aval, ...] | None = None

    @property
    def eqns(self) -> tuple[Equation, ...]:
        """The equations, in the order in which they run."""
        found = self._eqns
        if found is None:
            eqns, first = [], 0
            for (operation, inputs), source in zip(self.equations, self.sources, strict=True):
                eqn = Equation(operation, inputs, first, source)
                first = eqn.outs.stop
                eqns.append(eqn)
            found = self._eqns = tuple(eqns)
        return found

    @property
    def avals(self) -> list[Aval]:
        """The avals of the results, by number."""
        found = self._avals
        if found is None:
            found = []
            for operation, _ in self.equations:
                found += operation.out_avals
            self._avals = found
        return found

    @property
    def out_avals(self) -> tuple[Aval, ...]:
        """The avals of the outputs."""
        found = self._out_avals
        if found is None:
            found = self._out_avals = tuple([self.aval(atom) for atom in self.outs])
        return found

    def aval(self, atom: Atom) -> Aval:
        """The aval of an input, a result or a literal."""
        if type(atom) is not int:
            return atom.aval  # type: ignore[union-attr]
        return self.avals[atom] if atom >= 0 else self.in_avals[-1 - atom]

    def __hash__(self) -> int:
        found = self._hash
        if found is None:
            found = self._hash = hash(self._key)
        return found

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(other) is not Jaxpr:
            return NotImplemented
        return hash(self) == hash(other) and self._key == other._key

    @property
    def equations(self) -> tuple[RawEquation, ...]:
        """The equations as pairs of operation and operands."""
        equations: tuple[RawEquation, ...] = self._key[1]
        return equations

    @property
    def invars(self) -> range:
        """The atoms of the inputs: -1, -2, ..."""
        return range(-1, -1 - len(self.in_avals), -1)

    @property
    def outvars(self) -> tuple[Atom, ...]:
        """JAX's name of `outs`."""
        return self.outs

    def __len__(self) -> int:
        return len(self.equations)

    def __reduce__(self) -> tuple[Any, ...]:
        raw = tuple([(e.primitive, dict(e.params), e.in_avals, e.inputs) for e in self.eqns])
        return _rebuild, (self.in_avals, raw, self.outs)

    def __str__(self) -> str:
        return format_jaxpr(self)

    __repr__ = __str__


def _rebuild(in_avals: tuple[Aval, ...], raw: tuple[Any, ...], outs: tuple[Atom, ...]) -> Jaxpr:
    equations = tuple([(p.operation(avals, params), inputs) for p, params, avals, inputs in raw])
    return intern_program(in_avals, equations, outs, [None] * len(equations))


class ClosedJaxpr:
    """A program with the arrays that its function closed over (its last inputs), as `make_jaxpr` returns it."""

    def __init__(self, jaxpr: Jaxpr, consts: Sequence[Any] = ()) -> None:
        self.jaxpr = jaxpr
        self.consts = tuple(consts)

    @property
    def in_avals(self) -> tuple[Aval, ...]:
        """The avals of the arguments, without those of the constants."""
        return self.jaxpr.in_avals[: len(self.jaxpr.in_avals) - len(self.consts)]

    @property
    def out_avals(self) -> tuple[Aval, ...]:
        return self.jaxpr.out_avals

    @property
    def eqns(self) -> tuple[Equation, ...]:
        return self.jaxpr.eqns

    @property
    def literals(self) -> tuple[Any, ...]:
        """JAX's name of `consts`."""
        return self.consts

    def __str__(self) -> str:
        return format_jaxpr(self.jaxpr, n_consts=len(self.consts))

    __repr__ = __str__


# --------------------------------------------------------------------------------------------------------------------
# Keeping programs: one table, bounded in equations


class _Family:
    """A program and all that was derived from it: they are kept, and let go, together."""

    __slots__ = ("in_use", "members", "recent", "weight")

    def __init__(self) -> None:
        self.members: list[Jaxpr] = []
        self.weight = 0
        self.in_use = 0
        """How many derivations from one of its programs are under way."""
        self.recent = False  # whether a recording has come to one of its programs without looking it up


_programs: dict[Hashable, Jaxpr] = {}
_families: OrderedDict[_Family, None] = OrderedDict()
_total = 0
_counts = {"hits": 0, "misses": 0, "evictions": 0}


def intern_program(
    in_avals: tuple[Aval, ...],
    equations: tuple[RawEquation, ...],
    outs: tuple[Atom, ...],
    sources: list[Source],
) -> Jaxpr:
    """The program with these inputs, equations and outputs: the one that is kept, or else a new one."""
    key = (in_avals, equations, outs)
    jaxpr = None if config.checks_values else _programs.get(key)
    return interned(Jaxpr(key, sources) if jaxpr is None else jaxpr)


class Fresh(NamedTuple):
    """A program that was never seen before, as it was recorded."""

    in_avals: tuple[Aval, ...]
    equations: tuple[RawEquation, ...]
    outs: tuple[Atom, ...]
    sources: list[Source]

    def interned(self) -> Jaxpr:
        """The program as one that is kept."""
        return intern_program(*self)


_seen: dict[int, None] = {}
_SEEN_AT_MOST = 4096
register_table("programs seen once", _seen, limit=_SEEN_AT_MOST)  # cleared with the programs


def fresh_or_interned(
    in_avals: tuple[Aval, ...],
    equations: tuple[RawEquation, ...],
    outs: tuple[Atom, ...],
    sources: list[Source],
) -> Jaxpr | Fresh:
    """The program as `intern_program` gives it if it was seen before; at first sight only its hash is kept."""
    if config.checks_values:
        return intern_program(in_avals, equations, outs, sources)
    number = hash((in_avals, equations, outs))
    with _lock:
        if number not in _seen:
            if len(_seen) >= _SEEN_AT_MOST:
                del _seen[next(iter(_seen))]
            _seen[number] = None
            return Fresh(in_avals, equations, outs, sources)
    return intern_program(in_avals, equations, outs, sources)


def interned(jaxpr: Jaxpr) -> Jaxpr:
    """The program equal to this one that is kept; this one from now on, if there is none."""
    with _lock:
        jaxpr = _programs.setdefault(jaxpr._key, jaxpr)
        _counts["misses" if jaxpr.family is None else "hits"] += 1
        if jaxpr.family is None:
            jaxpr.family = _Family()
            jaxpr.family.members.append(jaxpr)
            _charge(jaxpr.family, 1 + len(jaxpr))
        elif jaxpr.family in _families:
            _families.move_to_end(jaxpr.family)
        else:
            _charge(jaxpr.family, 0)  # it was let go, and somebody has held it
    return jaxpr


def used_again(jaxpr: Jaxpr) -> None:
    """Note that a program was recorded once more, without a lock: a few hits may go uncounted."""
    _counts["hits"] += 1
    if jaxpr.family is not None:
        jaxpr.family.recent = True


def derived(jaxpr: Jaxpr, key: Hashable, make: Callable[[], T]) -> T:
    """What `make` returns, made once for a program and kept on it under the key."""
    memo = jaxpr.memo
    try:
        return memo[key]
    except KeyError:
        pass
    with gc_paused(), _in_use(jaxpr):
        value = make()
    with _lock:
        value = memo.setdefault(key, value)  # another thread may have been first
        for child in jaxprs_in(value):
            _adopt(jaxpr, child)
    return value


@contextmanager
def _in_use(jaxpr: Jaxpr) -> Iterator[None]:
    with _lock:
        if jaxpr.family is not None:
            jaxpr.family.in_use += 1
    try:
        yield
    finally:
        with _lock:
            if jaxpr.family is not None:  # perhaps another one by now
                jaxpr.family.in_use = max(0, jaxpr.family.in_use - 1)


@contextmanager
def gc_paused() -> Iterator[None]:
    """Within it, what is made is kept: to look through it for garbage again and again makes the time grow with its
    square."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def clear_programs() -> None:
    """Let go of every program that is kept for reuse."""
    with _lock:
        _seen.clear()
        while _families:
            _evict(next(iter(_families)))
        _counts.update(dict.fromkeys(_counts, 0))


def cached_equations() -> int:
    """How many equations (and one a program) are kept for reuse."""
    return _total


class ProgramCounts(NamedTuple):
    """What is kept of programs, and how often that was of use."""

    programs: int
    equations: int
    """Of all of them together, and one a program."""
    hits: int
    """How often a program that was recorded or derived was kept already."""
    misses: int
    """How often it was new."""
    evictions: int
    """How many programs went since there were too many equations."""
    derived: dict[str, int]
    """How many things of each kind are kept on the programs: `"executable"`, `"final"`, ..."""


def program_counts() -> ProgramCounts:
    """What is kept of programs."""
    with _lock:
        keys = [key for family in _families for member in family.members for key in member.memo]
        kinds = Counter([str(key[0] if type(key) is tuple and key else key) for key in keys])
        return ProgramCounts(len(_programs), _total, **_counts, derived=dict(kinds))


def _charge(family: _Family, weight: int) -> None:
    global _total
    if family not in _families:
        # It was evicted while somebody still held its programs, and is in use again.
        _families[family] = None
        _total += family.weight
        for member in family.members:
            _programs.setdefault(member._key, member)
    family.weight += weight
    _total += weight
    if _total > config.program_cache_equations:
        candidates = [f for f in _families if f is not family and not f.in_use]
        for other in candidates * 2:
            if other.recent:  # it gets a second chance
                other.recent = False
                _families.move_to_end(other)
            elif other in _families:
                _counts["evictions"] += len(other.members)
                _evict(other)
            if _total <= config.program_cache_equations:
                break


def _evict(family: _Family) -> None:
    global _total
    del _families[family]
    _total -= family.weight
    for member in family.members:
        if _programs.get(member._key) is member:
            del _programs[member._key]
        member.memo.clear()


def _adopt(parent: Jaxpr, child: Jaxpr) -> None:
    family, other = parent.family, child.family
    if family is None or other is None or family is other:
        return
    if other.members[0] is not child:  # derived from another program too: it weighs in both families
        _charge(family, 1 + len(child))
        return
    if other in _families:
        _release(other)
    weight, other.weight = other.weight, 0
    family.in_use += other.in_use
    other.in_use = 0
    for member in other.members:
        member.family = family
    family.members.extend(other.members)
    _charge(family, weight)


def _release(family: _Family) -> None:
    global _total
    del _families[family]
    _total -= family.weight


def axis_names_in(jaxpr: Jaxpr) -> frozenset[Hashable]:
    """The named axes over which the operations of a program work."""
    names = jaxpr.memo.get("axis_names")
    if names is None:
        names = jaxpr.memo["axis_names"] = _NO_NAMES.union(*[eqn.operation.axis_names for eqn in jaxpr.eqns])
    return names


def jaxprs_in(value: Any) -> Iterator[Jaxpr]:
    """The programs in a value (a parameter of an equation, what was derived), in tuples too."""
    if type(value) is Jaxpr:
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from jaxprs_in(part)
