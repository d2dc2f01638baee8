"""What a primitive is: a name, and the table of its rules.

A rule is a function; `rules.py` says what each must look like and has the functions that fill the table. A primitive
is *strict*: its operands have exactly the shapes and dtypes that it works on, nothing is broadcast or promoted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakValueDictionary

from functrans.caching import register_table
from functrans.core.aval import Aval, aval_of
from functrans.core.axis_names import recording_within
from functrans.core.jaxpr import Operation, clear_programs
from functrans.core.params import Params
from functrans.core.recording import no_staging, recording_for
from functrans.core.references import name_in_module, user_module
from functrans.errors import MissingRuleError
from functrans.forking import fork_safe_lock

__all__ = ["Primitive", "apply_operation", "registered_primitives"]

Rule = Callable[..., Any]

_registry: dict[str, Primitive] = {}
_mutex = fork_safe_lock()


def registered_primitives() -> Mapping[str, Primitive]:
    """Every primitive by its name."""
    return _registry


class Primitive:
    """An operation that programs are made of, with its rules.

    Args:
        name: what the printed program calls it; unique.
        multiple_results: whether it returns a tuple of arrays instead of one.
        effectful: whether it does something besides computing its results, so that no pass may drop, repeat or
            reorder it.

    >>> from functrans.core.primitive import Primitive
    >>> registered_primitives()["sin"]
    sin
    """

    def __init__(self, name: str, *, multiple_results: bool = False, effectful: bool = False) -> None:
        if name in _registry:
            raise ValueError(f"there is a primitive named {name!r} already")
        self.name = name
        module = user_module()
        if module is not None:
            self.__module__ = module  # a primitive of a user's is pickled as a name of that module
        self.multiple_results = multiple_results
        self.effectful = effectful
        # The rules, see rules.py. None: not given.
        self.impl: Rule | None = None
        self.specialize: Rule | None = None
        self.abstract: Rule | None = None
        self.jvp: Rule | None = None
        self.jvp_rules: tuple[Rule | None, ...] | None = None
        self.vjp: Rule | None = None
        self.linearize: Rule | None = None
        self.transpose: Rule | None = None
        self.batch: Rule | None = None
        self.absent: dict[str, str] = {}
        """Rules that the primitive has not, each with the reason (`{"transpose": "not linear"}`)."""
        self.decorated: str | None = None
        """The name of the function of which `functrans.extend.primitive` made it, if it did."""
        self.owner: Any = None
        """The `ExtendedPrimitive` that it belongs to, if it does."""
        self.batches_programs = False
        """Whether its batching rule takes a `BatchAxis` in the place of the size."""
        self.is_call = False
        """Whether all that is left of it in the final form is its parameter `jaxpr`, inlined on its operands."""
        self.is_collective = False
        """Whether it works over the axis that its parameter `axis_name` names."""
        self.is_elementwise = False
        """Whether it works element by element, and its implementation broadcasts as NumPy does."""
        self.uses_key = False
        """Whether its first operand is the words of a key, which must not be used again (`config.debug_key_reuse`)."""
        self.is_view = False
        """Whether a result may share memory with an operand; an implementation that returns a view must say so, or
        results of `jit` would share memory with its arguments."""
        self.places_zeros: Callable[[Sequence[Any], Mapping[str, Any]], bool] | None = None
        """`places_zeros(inputs, params)`: whether the result may be zero in some places because the primitive has put
        zeros there, and not by their value (`functrans.transforms.masking`)."""
        self.guard: Rule | None = None
        """`guard(masked, params)`: the primitive and parameters, on the same operands, in whose products the zeros of
        the operands that are masked stay zero; None where there are none such."""
        self.narrow: Rule | None = None
        """`narrow(operation, used)`: an operation that computes just the results that are used, with the numbers of the
        operands that it needs and of the results that it gives; None where it would be no smaller."""
        self._operations: WeakValueDictionary[tuple[Any, ...], Operation] = WeakValueDictionary()
        register_table("operations in use", self._operations)
        _registry[name] = self

    def __repr__(self) -> str:
        return self.name

    @property
    def is_constant(self) -> bool:
        """Whether no derivative passes through it (comparisons, `floor`, `stop_gradient`)."""
        return self.jvp_rules is not None and not any(self.jvp_rules)

    def __reduce__(self) -> str | tuple[Any, ...]:
        owned = None if self.owner is None else name_in_module(self.owner, self.owner.__module__)
        if owned is not None:
            return getattr, (self.owner, "primitive")
        name = None if self.__module__ == __name__ else name_in_module(self, self.__module__)
        return (_lookup, (self.name,)) if name is None else name

    def bind(self, *operands: Any, **params: Any) -> Any:
        """Apply the primitive: record it where a recording takes it, else compute it.

        Args:
            operands: tracers, literals, arrays or numbers.
            params: the parameters of the equation, all hashable.

        Returns:
            A tracer or an array; a tuple of them for a primitive with multiple results.
        """
        return apply_operation(self.operation(tuple([aval_of(x) for x in operands]), params), operands)

    def operation(self, in_avals: tuple[Aval, ...], params: Mapping[str, Any]) -> Operation:
        """The primitive applied to avals, type-checked by its abstract rule the first time."""
        frozen = params if type(params) is Params else Params.of(params)
        found = self._operations.get((in_avals, frozen))
        if found is None:
            if self.abstract is None:
                raise MissingRuleError(self._missing("abstract", "the shape and dtype of its results"))
            outs = self.abstract(*in_avals, **frozen)
            outs = tuple(outs) if self.multiple_results else (outs,)
            fresh = Operation(self, frozen, in_avals, outs)
            with _mutex:  # a weak dictionary's setdefault is not atomic
                found = self._operations.setdefault((in_avals, frozen), fresh)
        return found

    def operations(self) -> list[Operation]:
        """Its operations that are in use."""
        # Other threads may add to the table meanwhile: its references are listed in one step, its values are not.
        found = [reference() for reference in self._operations.valuerefs()]
        return [operation for operation in found if operation is not None]

    def remedy(self, rule: str, signature: str) -> str:
        """What to write to give it a rule."""
        if self.decorated is not None:
            return f"@{self.decorated}.def_{rule}"
        return f"functrans.extend.def_{rule}({self.name}_p, {signature})"

    def forget(self) -> None:
        """Let go of all that was derived from the rules: one of them has changed."""
        operations = self.operations()
        for operation in operations:
            operation.run = None
            operation.memo.clear()
        if operations:
            clear_programs()

    def evaluate(self, operation: Operation, values: list[Any]) -> Any:
        """Compute the primitive on arrays of the operation's avals."""
        run = operation.run or self.bound(operation)
        with no_staging():
            return run(*values)

    def bound(self, operation: Operation) -> Callable[..., Any]:
        """The function of arrays that computes the operation, made when it is first asked for."""
        if operation.run is None:
            operation.run = self.implementation(operation)
        return operation.run

    def implementation(self, operation: Operation) -> Callable[..., Any]:
        """A function of arrays that computes the operation."""
        if self.specialize is not None:
            return self.specialize(*operation.in_avals, **operation.params)
        impl = self.impl
        if impl is None:
            raise MissingRuleError(self._missing("impl", "its value on NumPy arrays"))
        if not operation.params:
            return impl
        params = operation.params
        return lambda *values: impl(*values, **params)

    def _missing(self, rule: str, what: str) -> str:
        return f"primitive {self.name!r} has no {rule} rule ({what}). Give it one: `{self.remedy(rule, 'rule')}`."


def apply_operation(operation: Operation, operands: Sequence[Any]) -> Any:
    """Record an operation where a recording takes it, else compute it. The operands must have its avals."""
    recording = recording_for(operands, operation.effectful)
    if operation.axis_names:
        recording = recording_within(operation.axis_names, recording)
    if recording is not None:
        return recording.record(operation, operands)
    return operation.primitive.evaluate(operation, [_as_array(x) for x in operands])


def _lookup(name: str) -> Primitive:
    if name not in _registry:
        raise LookupError(
            f"there is no primitive named {name!r} in this process: import the module that makes it before a program "
            "that has it is unpickled. (One that is a global of its module is imported with it.)"
        )
    return _registry[name]


def _as_array(x: Any) -> Any:
    array = getattr(x, "array", None)  # a literal
    return x if hasattr(x, "dtype") and array is None else (_number(x) if array is None else array)


def _number(x: Any) -> Any:
    aval = aval_of(x)
    return aval.dtype.type(x)
