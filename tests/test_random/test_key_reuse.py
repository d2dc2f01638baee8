"""A key that is used twice is an error where one asks for it."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans.config import config
from functrans.errors import KeyReuseError

r = ft.random


def keys(n: int = 3) -> Any:
    return r.split(r.key(0), n)


def step(w: Any, key: Any) -> Any:
    return w * r.normal(key)


def after_split() -> None:
    key = r.key(0)
    r.split(key)
    r.normal(key)


def twice_in(transform: Callable[..., Any]) -> Callable[[], Any]:
    return lambda: transform(lambda key: r.normal(key) + r.uniform(key))(r.key(0))


def two_calls(make: Callable[[], Callable[..., Any]]) -> Callable[[], Any]:
    def run() -> None:
        f, key = make(), r.key(0)
        f(1.0, key)
        f(2.0, key)

    return run


def captured() -> None:
    key = r.key(0)
    for _ in range(2):
        ft.grad(lambda w: step(w, key))(1.0)


def same_place() -> None:
    parts = keys()
    r.normal(parts[1])
    r.normal(parts.reshape(3, 1)[1, 0])


def in_a_scan() -> None:
    ft.lax.scan(lambda total, key: (total + r.normal(key) * r.uniform(key), None), 0.0, keys())


def mapped_twice() -> None:
    several = keys()
    ft.vmap(r.normal)(several)
    ft.vmap(r.normal)(several)


def branch_then_again() -> None:
    key = r.key(0)
    ft.lax.cond(True, lambda k: r.normal(k), lambda k: r.uniform(k), key)
    r.normal(key)


REUSED = {
    "plain": lambda: (lambda key: (r.normal(key), r.uniform(key)))(r.key(0)),
    "after split": after_split,
    "the same element": same_place,
    "in jit": twice_in(ft.jit),
    "in jit, sliced": lambda: ft.jit(lambda k: r.normal(k[0]) + r.normal(k[0]))(keys()),
    "in grad": lambda: ft.grad(lambda w, key: step(w, key) * step(w, key))(1.0, r.key(0)),
    "in checkpoint": twice_in(ft.checkpoint),
    "in vmap": lambda: ft.vmap(lambda key: r.normal(key) + r.uniform(key))(keys()),
    "in scan": in_a_scan,
    "two calls of grad": two_calls(lambda: ft.grad(step)),
    "two calls of jit": two_calls(lambda: ft.jit(step)),
    "two calls of jit of grad": two_calls(lambda: ft.jit(ft.grad(step))),
    "two calls of jit with a branch": two_calls(
        lambda: ft.jit(lambda w, key: ft.lax.cond(w > 0, lambda k: r.normal(k), lambda k: r.uniform(k), key))
    ),
    "captured": captured,
    "mapped twice": mapped_twice,
    "after a branch": branch_then_again,
    "plain words": lambda: (lambda key: (r.normal(key), r.normal(key)))(r.PRNGKey(0)),
}


@pytest.mark.parametrize("name", REUSED)
def test_second_use_is_an_error(name: str) -> None:
    with ft.debug_key_reuse(), pytest.raises(KeyReuseError, match=r"test_key_reuse\.py") as caught:
        REUSED[name]()
    assert len(re.findall(r"test_key_reuse\.py:\d+", str(caught.value))) >= 2, "both lines"


def loop_of_splits() -> None:
    key = r.key(0)
    for _ in range(3):
        key, drawn = r.split(key)
        ft.grad(step)(1.0, drawn)


def while_loop() -> None:
    def body(value: Any) -> Any:
        i, key, x = value
        key, drawn = r.split(key)
        return i + 1, key, x + r.normal(drawn)

    ft.lax.while_loop(lambda value: value[0] < 3, body, (0, r.key(0), 0))  # an int first: the body is recorded twice


def branches() -> None:
    key = r.key(0)
    ft.lax.switch(
        1,
        [
            lambda k: r.normal(k),
            lambda k: r.uniform(k),
            lambda k: r.gumbel(k),
        ],
        key,
    )


def clones() -> None:
    key = r.key(0)
    r.normal(r.clone(key))
    r.normal(r.clone(key))
    r.normal(key)


def new_keys_for_a_jitted_function() -> None:
    f = ft.jit(step)
    for key in keys():
        f(1.0, key)


FINE = {
    "two keys of one seed": lambda: (r.normal(r.key(0)), r.normal(r.key(0))),
    "elements": lambda: [r.normal(key) for key in keys()],
    "loop of splits": loop_of_splits,
    "folded in": lambda: ft.jit(lambda key: [r.normal(r.fold_in(key, i)) for i in range(3)])(r.key(0)),
    "split in jit": lambda: ft.jit(lambda key: [r.normal(k) for k in r.split(key, 3)])(r.key(0)),
    "while loop": while_loop,
    "branches": branches,
    "clones": clones,
    "clones in jit": lambda: ft.jit(lambda key: r.normal(r.clone(key)) + r.normal(r.clone(key)))(r.key(0)),
    "new keys": new_keys_for_a_jitted_function,
    "checkpointed gradient": lambda: ft.grad(ft.checkpoint(step))(1.0, r.key(0)),
    "hessian": lambda: ft.hessian(lambda w, key: step(w, key) ** 2)(1.0, r.key(0)),
    "samplers of several keys": lambda: [r.beta(k, 1.0, 2.0) * r.ball(r.clone(k), 3) for k in keys()],
    "scan": lambda: ft.lax.scan(lambda total, key: (total + r.normal(key), None), 0.0, keys()),
}


@pytest.mark.parametrize("name", FINE)
def test_one_use_each_is_fine(name: str) -> None:
    with ft.debug_key_reuse():
        FINE[name]()


def test_it_is_off_unless_asked_for() -> None:
    key = r.key(0)
    assert r.normal(key) == r.normal(key)
    assert not config.debug_key_reuse
    with ft.debug_key_reuse(True):
        assert config.debug_key_reuse
        with ft.debug_key_reuse(False):
            assert r.normal(key) == r.normal(key)
    assert not config.debug_key_reuse
    jitted = ft.jit(lambda key: r.normal(key))
    np.testing.assert_array_equal(jitted(key), jitted(key))


def test_an_array_in_the_place_of_another_is_a_new_key() -> None:
    with ft.debug_key_reuse():
        for seed in range(200):
            r.normal(r.key(seed))  # its memory is used again
