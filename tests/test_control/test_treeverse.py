"""The schedules of snapshots: every step once, from the last to the first, at the cost that the papers give."""

from math import comb

import pytest

from functrans.control.treeverse import OnlineSnapshots, evaluations, go_back, repetitions


class Run:
    """A loop over the integers that counts what it does."""

    def __init__(self) -> None:
        self.pulled: list[int] = []
        self.evaluated: dict[int, int] = {}

    def advance(self, state: int) -> int:
        self.evaluated[state] = self.evaluated.get(state, 0) + 1
        return state + 1


@pytest.mark.parametrize("snapshots", [1, 2, 3, 5, 8])
def test_a_known_length_costs_what_the_binomial_formula_says(snapshots: int) -> None:
    for length in [*range(60), 100, 211]:
        run = Run()
        go_back(length, [(0, 0)], snapshots, run.advance, run.pulled.append)
        assert run.pulled == list(range(length))[::-1]
        assert sum(run.evaluated.values()) == evaluations(length, snapshots)
        assert max(run.evaluated.values(), default=0) <= repetitions(length, snapshots)


def test_the_formulas() -> None:
    """Griewank and Walther: r l - binomial(s + r, r - 1) for binomial(s + r - 1, s) < l <= binomial(s + r, s)."""
    for snapshots in (1, 2, 4):
        for r in (1, 2, 3):
            longest = comb(snapshots + r, snapshots)
            assert repetitions(longest, snapshots) == r
            assert repetitions(longest + 1, snapshots) == r + 1
            assert evaluations(longest, snapshots) == r * longest - comb(snapshots + r, r - 1)
    assert evaluations(5, 1) == 4 + 3 + 2 + 1


@pytest.mark.parametrize("snapshots", [1, 2, 3, 5, 8])
def test_an_unknown_length(snapshots: int) -> None:
    """What is kept while the loop runs forwards costs no more than to begin again at its first state."""
    for length in [*range(1, 60), 100, 211, 500]:
        online = OnlineSnapshots(snapshots, 0)
        for i in range(1, length):
            online.offer(i, i)
            assert len(online.kept()) <= snapshots
        assert online.kept()[0] == (0, 0)
        assert all(start == state for start, state in online.kept())
        run = Run()
        go_back(length, online.kept(), snapshots, run.advance, run.pulled.append)
        assert run.pulled == list(range(length))[::-1]
        assert sum(run.evaluated.values()) <= evaluations(length, snapshots)
