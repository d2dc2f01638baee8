"""Functions compared by what they do, not by which object they are."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans.api.function_structure import StructureMemo, structure_of


def closing(value: Any) -> Any:
    return lambda x: (x, value)


def defaulting(value: Any) -> Any:
    return lambda x, y=value: (x, y)


def keyword_defaulting(value: Any) -> Any:
    return lambda x, *, y=value: (x, y)


def calling(value: Any) -> Any:
    inner = closing(value)
    return lambda x: inner(x)


def partial(value: Any) -> Any:
    return functools.partial(closing(0), value)


def transformed(value: Any) -> Any:
    return ft.grad(closing(value))


def with_rules(value: Any) -> Any:
    f = ft.custom_jvp(closing(0))
    f.defjvp(closing(value))
    return f


def recursive(value: Any) -> Any:
    def f(x: Any) -> Any:
        return f(x), value

    return f


def in_a_cycle(value: Any) -> Any:
    cycle: list[Any] = [value]
    cycle.append(cycle)
    return closing(cycle)


MAKERS = [closing, defaulting, keyword_defaulting, calling, partial, transformed, with_rules, recursive, in_a_cycle]


@dataclass
class Point:
    x: Any


VALUES: list[Any] = [
    1, True, 1.0, 0.0, -0.0, 1j, "a", b"a", None, (1, 2), [1, 2], {"a": 1}, {"a": 2}, {"b": 1}, frozenset({1}), {1, 2},
    np.float32(1), np.float64(1), np.arange(3), np.arange(3.0), np.arange(3.0) + 1, np.dtype("f4"), np.sin, np.cos, int,
    Point(1), Point(2), slice(1), ...,
]  # fmt: skip


@pytest.mark.parametrize("make", MAKERS)
def test_equal_just_if_they_do_the_same(make: Any) -> None:
    keys = [structure_of(make(value)).key for value in VALUES]
    again = [structure_of(make(value)).key for value in VALUES]
    assert keys == again
    assert len(set(keys)) == len(VALUES)


def test_functions_of_different_code_differ() -> None:
    assert structure_of(lambda x: x + 1) != structure_of(lambda x: x + 2)
    assert structure_of(closing(1)) != structure_of(defaulting(1))


def test_objects_are_themselves_and_what_they_hold() -> None:
    class Config:
        def __init__(self) -> None:
            self.scale: Any = 1.0

    one, other = Config(), Config()
    assert structure_of(closing(one)) == structure_of(closing(one))
    assert structure_of(closing(one)) != structure_of(closing(other))
    before = structure_of(closing(one))
    one.scale = 2.0
    assert structure_of(closing(one)) != before
    assert not before.reads_arrays
    one.scale = np.ones(2)
    assert structure_of(closing(one)).reads_arrays


SCALE = 1.0


def reading_a_global(x: Any) -> Any:
    return [SCALE * y for y in x]


def test_globals_count(monkeypatch: Any) -> None:
    before = structure_of(reading_a_global)
    assert before == structure_of(reading_a_global)
    monkeypatch.setitem(globals(), "SCALE", 2.0)
    assert structure_of(reading_a_global) != before
    monkeypatch.setitem(globals(), "SCALE", np.ones(3))
    assert structure_of(reading_a_global).reads_arrays


def test_tracers_are_found() -> None:
    found: list[bool] = []

    def f(x: Any) -> Any:
        for holder in (closing(x), closing([x]), calling({"a": (x,)}), Point(x), functools.partial(closing(0), x)):
            found.append(structure_of(holder).is_traced)
        return x

    ft.grad(f)(1.0)
    assert found == [True] * 5
    assert not structure_of(closing(1.0)).is_traced


def test_large_and_deep_values_end() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    many = [[i] for i in range(5000)]
    assert structure_of(closing(deep)) == structure_of(closing(deep))
    assert structure_of(closing(many)) == structure_of(closing(many))
    hash(structure_of(closing(deep)).key)


def test_a_variable_that_is_not_set_yet() -> None:
    def make() -> Any:
        def f() -> Any:
            return later

        key = structure_of(f).key
        later = 1
        return key, structure_of(f).key

    before, after = make()
    assert before != after


# --------------------------------------------------------------------------------------------------------------------
# Structures that are kept

_factor: Any = 1.0


class Holder:
    def __init__(self, value: Any) -> None:
        self.value = value


@dataclass
class Record:
    value: Any


def changing_cell() -> Any:
    value = 1.0

    def change() -> None:
        nonlocal value
        value = 2.0

    return (lambda x: x * value), change


def changing_global() -> Any:
    def change() -> None:
        global _factor
        _factor = object()

    return (lambda x: x * _factor), change


def changing_item(container: Any, key: Any) -> Any:
    return closing(container), lambda: container.__setitem__(key, object())


def changing_attribute(x: Any, name: str) -> Any:
    return closing(x), lambda: setattr(x, name, (2.0,))


def changing_rules() -> Any:
    f = ft.custom_jvp(closing(0))
    return closing(f), lambda: f.defjvp(closing(1))


CHANGING: dict[str, Any] = {
    "cell": changing_cell,
    "global": changing_global,
    "list": lambda: changing_item([1.0], 0),
    "longer list": lambda: (lambda values: (closing(values), lambda: values.append(1.0)))([1.0]),
    "dict": lambda: changing_item({"a": 1.0}, "a"),
    "new key": lambda: changing_item({"a": 1.0}, "b"),
    "in a tuple": lambda: (lambda values: (closing((values,)), lambda: values.append(1.0)))([1.0]),
    "object": lambda: changing_attribute(Holder(1.0), "value"),
    "another attribute": lambda: changing_attribute(Holder(1.0), "other"),
    "dataclass": lambda: changing_attribute(Record(1.0), "value"),
    "default": lambda: changing_attribute(defaulting(1.0), "__defaults__"),
    "code": lambda: (lambda f: (closing(f), lambda: setattr(f, "__code__", calling.__code__)))(lambda value: value),
    "rules": changing_rules,
}


@pytest.mark.parametrize("what", CHANGING)
def test_a_structure_is_kept_until_something_changes(what: str) -> None:
    function, change = CHANGING[what]()
    memo = StructureMemo()
    structure, kept = memo.of((function,))
    assert structure == structure_of(function)
    assert memo.of((function,)) == (structure, {})
    assert memo.of((function,))[1] is kept
    change()
    changed, fresh = memo.of((function,))
    assert changed.key != structure.key
    assert fresh is not kept
    assert changed == structure_of(function)
    assert memo.of((closing(1.0),))[0] == structure_of(closing(1.0))


def test_what_holds_arrays_is_looked_at_each_time() -> None:
    array, memo = np.zeros(3), StructureMemo()
    before = memo.of((closing(array),))[0]
    array[0] = 1.0
    assert memo.of((closing(array),))[0] != before
