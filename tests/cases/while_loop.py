"""Cases of `functrans.ops.while_loop` and `functrans.ops.checkpointed_loop`: loops, and what their derivative runs."""

from typing import Any

import numpy as np

import functrans as ft
from functrans import lax
from functrans.control.loop_bodies import Body
from functrans.control.members import joined
from functrans.control.replay import bind_replay
from functrans.control.while_loop import bind_while
from functrans.core.aval import Aval, aval_of
from functrans.core.evaluation import stage
from functrans.core.jaxpr import Literal
from functrans.core.rules import zeros_like
from functrans.ops import tapes
from functrans.ops import while_loop as ops
from functrans.ops.checkpointed_loop import retrace_p, snapshots_p
from tests.cases.case import FLOATS, INEXACT, Case, Operand

INT = Aval((), np.dtype(np.int64))
COUNT = Operand((), 0, 3, dtype="int64")
SMALL = Operand((2,), -0.8, 0.8)


def _loop(n: Any, x: Any, y: Any, checkpoint: bool | int = False) -> Any:
    """x becomes sin(x) * y, n times."""
    return lax.fori_loop(0, n, lambda i, v: lax.mul(lax.sin(v), y), x, checkpoint=checkpoint)


def _loop_by_hand(n: Any, x: Any, y: Any) -> Any:
    for _ in range(int(n)):
        x = np.sin(x) * y
    return x


def _derivative(x: Any, y: Any, t: Any, checkpoint: bool | int = False) -> Any:
    return ft.linearize(lambda x: _loop(3, x, y, checkpoint), x)[1](t)


def _derivative_by_hand(x: Any, y: Any, t: Any) -> Any:
    for _ in range(3):
        x, t = np.sin(x) * y, t * np.cos(x) * y
    return t


def _tape(x: Any, n: int) -> Any:
    """A tape of x, 2 x, ..., n x."""
    aval = aval_of(x).strong
    with stage("body", [aval, INT, aval]) as recording:
        c, i, v = recording.inputs()
        body, _ = recording.close([lax.add(i, 1), lax.add(v, c), lax.add(v, c)])
    with stage("cond", [INT, aval]) as recording:
        cond, _ = recording.close([lax.lt(recording.inputs()[0], n)])
    _, (tape,), _ = bind_while(cond, Body(body, 1, 2), [], [x], [Literal(0, INT), zeros_like(aval)], counted=True)
    return tape


def _summed(tape: Any, length: int) -> Any:
    aval = Aval(tape.shape, tape.dtype[0])
    with stage("body", [aval, aval]) as recording:
        body, _ = recording.close([lax.add(*recording.inputs())])
    (total,), _ = bind_replay(Body(body, 0, 1), length, [], [zeros_like(aval)], [tape])
    return total


def _sum_of_tapes(x: Any, y: Any) -> Any:
    return _summed(tapes.add_tapes(_tape(x, 3), _tape(y, 3)), 3)


def _joined_tapes(x: Any, y: Any) -> Any:
    # Where the shorter has ended, there is what the longer has.
    return _summed(joined([_tape(x, 2), _tape(y, 2)]), 2)


def _chosen_tapes(p: Any, x: Any, y: Any) -> Any:
    return _summed(tapes.choose_tapes(p, [_tape(x, 3), _tape(y, 2)], (0,)), 3)


CASES = [
    Case(ops.while_p, _loop, _loop_by_hand, (COUNT, SMALL, SMALL), INEXACT, order=3),
    Case(
        snapshots_p,
        lambda n, x, y: _loop(n, x, y, 2),
        _loop_by_hand,
        (COUNT, SMALL, SMALL),
        INEXACT,
        order=3,
    ),
    Case(ops.replay_p, _derivative, _derivative_by_hand, (SMALL,) * 3, INEXACT, order=3),
    Case(
        retrace_p,
        lambda x, y, t: _derivative(x, y, t, 2),
        _derivative_by_hand,
        (SMALL,) * 3,
        INEXACT,
        order=3,
    ),
    Case(tapes.add_tapes_p, _sum_of_tapes, lambda x, y: 6 * (x + y), (Operand((2,)),) * 2, FLOATS, tolerance=4),
    Case(
        tapes.join_tapes_p,
        _joined_tapes,
        lambda x, y: np.stack([3 * x, 3 * y]),
        (Operand((2,)),) * 2,
        FLOATS,
        tolerance=4,
    ),
    Case(
        tapes.choose_tapes_p,
        _chosen_tapes,
        lambda p, x, y: np.where(p, 3 * y, 6 * x),
        (Operand((2,), dtype="bool"), Operand((2,)), Operand((2,))),
        FLOATS,
        tolerance=4,
    ),
]
