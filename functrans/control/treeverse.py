"""Going backwards through a long computation with few snapshots of its state.

To reverse a loop its states are needed from the last to the first. Where there is no room for all of them, some are
kept and the others computed again from the nearest one before. With s snapshots, and at most r evaluations of a step
beyond that with which it is reversed, loops of up to binomial(s + r, s) steps are reversed, and no schedule is better:

- A. Griewank, Achieving logarithmic growth of temporal and spatial complexity in reverse automatic differentiation,
  Optimization Methods and Software 1 (1992): the schedule for a known number of steps;
- A. Griewank and A. Walther, Algorithm 799: revolve, ACM Transactions on Mathematical Software 26 (2000): the counts;
- Q. Wang, P. Moin and G. Iaccarino, Minimal repetition dynamic checkpointing algorithm for unsteady adjoint
  calculation, SIAM Journal on Scientific Computing 31 (2009): what to keep while the number of steps is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import comb
from typing import Any

__all__ = ["OnlineSnapshots", "evaluations", "go_back", "repetitions", "split"]


def repetitions(length: int, snapshots: int) -> int:
    """How often a step must be evaluated at the most, besides once to be reversed.

    >>> repetitions(10, 3), repetitions(11, 3)
    (2, 3)
    """
    r = 0
    while comb(snapshots + r, snapshots) < length:
        r += 1
    return r


def evaluations(length: int, snapshots: int) -> int:
    """How many evaluations of steps a reversal takes at the least, besides the one of each step to be reversed.

    >>> evaluations(10, 3), evaluations(10, 10), evaluations(10, 1)
    (15, 9, 45)
    """
    r = repetitions(length, snapshots)
    return r * length - comb(snapshots + r, r - 1) if r else 0


def split(length: int, snapshots: int) -> int:
    """How many steps to go before the next snapshot is kept, where there is one at the beginning."""
    if snapshots == 1:
        return length - 1
    r = repetitions(length, snapshots)
    least = comb(snapshots + r - 2, snapshots) if r >= 2 else 1
    return max(least, length - comb(snapshots - 1 + r, snapshots - 1), 1)


def go_back(
    length: int,
    kept: Sequence[tuple[int, Any]],
    snapshots: int,
    advance: Callable[[Any], Any],
    pull: Callable[[Any], object],
) -> None:
    """Go through the steps of a loop from the last to the first.

    Args:
        length: the number of steps.
        kept: the numbers of steps before which the state is known, and the states; that of step 0 first.
        snapshots: how many states may be kept at a time, at least those that are.
        advance: from the state before a step to the one after it.
        pull: called with the state before each step.
    """
    stack = [(start, state) for start, state in kept if start < length]
    end = length
    while end:
        start, state = stack[-1]
        free = snapshots - len(stack)
        if free <= 0:
            for last in range(end - 1, start, -1):
                x = state
                for _ in range(start, last):
                    x = advance(x)
                pull(x)
        elif end - start > 1:
            steps = split(end - start, free + 1)
            for _ in range(steps):
                state = advance(state)
            stack.append((start + steps, state))
            continue
        pull(state)
        stack.pop()
        end = start


class OnlineSnapshots:
    """The states that are kept while a loop runs forwards and its length is unknown.

    Each has a level. One that lies before another of a higher level is dispensable; where there is none, the latest
    moves on to the next state, and its level rises.
    """

    __slots__ = ("dispensable", "levels", "limit", "starts", "states")

    def __init__(self, limit: int, state: Any) -> None:
        self.limit = limit
        self.starts = [0]
        self.states = [state]
        self.levels: list[float] = [float("inf")]
        self.dispensable: list[int] = []
        """The starts of those that are dispensable, the next to go last."""

    def offer(self, start: int, state: Any) -> None:
        """Take note of the state before a step."""
        level = 0.0
        if len(self.starts) >= self.limit:
            if self.limit == 1:
                return
            if self.dispensable:
                self._remove(self.starts.index(self.dispensable.pop()))
            else:
                level = self.levels[-1] + 1
                self._remove(len(self.starts) - 1)
                self.dispensable = [s for s, have in zip(self.starts, self.levels, strict=True) if have < level][::-1]
        self.starts.append(start)
        self.states.append(state)
        self.levels.append(level)

    def _remove(self, number: int) -> None:
        del self.starts[number], self.states[number], self.levels[number]

    def kept(self) -> list[tuple[int, Any]]:
        """The numbers of the steps, and the states."""
        return list(zip(self.starts, self.states, strict=True))
