"""What caches hold: seen, bounded, cleared, from many threads."""

import gc
import re
import threading
from pathlib import Path

import numpy as np
import pytest

import functrans as ft
from functrans.caching import kept, kept_tables, register_table

PACKAGE = Path(ft.__file__).parent


@pytest.fixture(autouse=True)
def empty():
    ft.clear_caches()


def info_of(name):
    return [f for f in ft.cache_info().functions if f.name == name and f.where.startswith(__file__)]


def test_programs_are_counted():
    gradient = ft.grad(lambda x: np.sum(np.sin(x) ** 2))
    before = ft.cache_info().programs
    gradient(np.ones(3))
    first = ft.cache_info().programs
    assert first.misses > before.misses
    assert first.equations > first.programs > 0
    assert first.derived["executable"] == 1
    assert first.derived["gradient"] == 1
    ft.grad(lambda x: np.sum(np.sin(x) ** 2))(np.ones(3))
    second = ft.cache_info().programs
    assert second.misses == first.misses
    assert second.hits > first.hits
    assert second.equations == first.equations


def test_jitted_functions_are_listed_as_long_as_they_live():
    @ft.jit
    def doubled(x):
        return x * 2

    for n in (2, 3, 2, 3):
        doubled(np.ones(n))
    (info,) = info_of("doubled")
    assert (info.programs, info.recorded, info.limit) == (2, 2, 1024)
    assert info.where.startswith(f"{__file__}:")
    doubled.clear_cache()
    assert info_of("doubled")[0].programs == 0
    del doubled
    assert not info_of("doubled")


def test_everything_is_cleared():
    f = ft.jit(ft.grad(lambda p: np.sum(np.tanh(p["W"] @ p["x"])[::2] * 0.5)))
    f({"W": np.ones((3, 3)), "x": np.ones(3)})
    assert sum(table.size for table in kept_tables() if table.limit) > 10
    ft.clear_caches()
    after = ft.cache_info()
    assert after.programs.programs == after.programs.equations == after.programs.hits == after.programs.misses == 0
    assert not after.programs.derived
    left = {name: table.size for name, table in after.tables.items() if table.limit and table.size}
    assert left == {"structures (limit in nodes)": 1}  # the leaf
    assert f({"W": np.ones((3, 3)), "x": np.ones(3)})["x"].shape == (3,)


def test_evictions(monkeypatch):
    monkeypatch.setattr(ft.config, "program_cache_equations", 40)
    for n in range(20):
        ft.grad(lambda x, n=n: np.sum(x**n))(np.ones(3))
    counts = ft.cache_info().programs
    assert counts.evictions > 0
    assert counts.limit == 40
    assert counts.equations <= 60


def test_the_table_is_readable():
    ft.jit(lambda x: x + 1)(1.0)
    lines = repr(ft.cache_info()).splitlines()
    assert lines[0].split() == ["kept", "limit", "hits", "misses"]
    assert any(line.startswith("equations of programs") and line.endswith("200,000") for line in lines)
    assert all(len(line) < 200 for line in lines)


def test_a_changing_float_makes_no_new_program():
    def loss(x, rate):
        return np.sum(x * x) * rate + rate * 0.5

    def step(x, rate):
        return x - rate * ft.grad(lambda y: loss(y, rate) * (1.0 + rate))(x)

    x = np.ones(3)
    for _ in range(5):
        step(x, 0.1)
    before = ft.cache_info()
    for i in range(200):
        step(x, 0.1 / (i + 1))
    after = ft.cache_info()
    assert after.programs.misses == before.programs.misses
    assert {n: t.size for n, t in after.tables.items()} == {n: t.size for n, t in before.tables.items()}


def test_changing_lengths_of_loops_stay_within_the_limit(monkeypatch):
    monkeypatch.setattr(ft.config, "program_cache_equations", 800)

    def loss(x, n):
        for _ in range(n):
            x = np.sin(x) * 0.9
        return np.sum(x)

    for n in range(1, 50):
        for _ in range(2):  # a program that comes again is kept
            ft.grad(lambda x, n=n: loss(x, n))(np.ones(3))
        counts = ft.cache_info().programs
        assert counts.equations <= 800 + 20 * n
    assert counts.evictions > 0
    for table in kept_tables():
        assert table.limit is None or table.size <= table.limit
        if "plans" in table.name:
            assert table.size < 20


def test_operations_go_with_their_programs():
    def in_use():
        return ft.cache_info().tables["operations in use"].size

    before = in_use()
    for n in range(50):
        ft.grad(lambda x: np.sum(np.sin(x)))(np.ones(n + 2))
    assert in_use() > before + 50
    ft.clear_caches()
    gc.collect()
    assert in_use() < before + 20


def test_threads_look_clear_and_call_at_once():
    errors = []
    gradient, jitted = ft.grad(lambda x: np.sum(x**3)), ft.jit(lambda x: np.sum(x**3))

    def work(seed):
        try:
            for i in range(40):
                n = (seed + i) % 7 + 1
                if (seed + i) % 5 == 0:
                    ft.clear_caches()
                info = ft.cache_info()
                assert info.programs.equations >= 0
                np.testing.assert_array_equal(gradient(np.full(n, 2.0)), np.full(n, 12.0))
                assert jitted(np.full(n, 2.0)) == 8.0 * n
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_tables_of_one_name_are_added_up():
    @kept("test: halves", 10)
    def half(x):
        return x / 2

    @kept("test: halves", 20)
    def quarter(x):
        return x / 4

    assert half(1) + quarter(1) + quarter(1) == 1.0
    assert ft.cache_info().tables["test: halves"] == ("test: halves", 2, 30, 1, 2)
    rows = {1: 1}
    register_table("test: rows", rows, 5, rows.clear)
    assert ft.cache_info().tables["test: rows"] == ("test: rows", 1, 5, None, None)
    ft.clear_caches()
    assert not rows
    assert half.cache_info().currsize == 0


def test_every_cache_of_the_package_says_that_it_exists():
    """`lru_cache` of one entry keeps a constant; any other must be `kept`."""
    unregistered = re.compile(
        r"lru_cache\((?!maxsize=1\))|@(functools\.)?(lru_cache|cache)$|functools\.cache\b", re.MULTILINE
    )
    sources = {path: path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py") if path.name != "caching.py"}
    assert not [path for path, source in sources.items() if unregistered.search(source)]
    assert unregistered.search("@lru_cache(maxsize=8)")
    assert unregistered.search("@functools.cache\n")
