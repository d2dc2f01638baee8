"""The benchmarks: contestants compute the same, and what is measured is counted right.

Here functrans and what is written by hand are held to agree, at small sizes; `python -m benchmarks` holds the peers to
it too, before it measures them.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from itertools import count

import numpy as np
import pytest

from benchmarks import readme, table
from benchmarks.families import WORKLOADS, convolutional, elementwise, memory
from benchmarks.libraries import library_of
from benchmarks.results import Result
from benchmarks.sampling import Call, Checked, FirstCalls, PeakBytes, PerOperation, Steps
from benchmarks.turns import Effort, Summary, take_turns
from benchmarks.workload import MILLISECONDS, PER_SECOND, Target, Workload, check_agreement

LARGE = (elementwise, memory, convolutional)
SMALL = (
    *[workload for workload in WORKLOADS if not any(workload in family.WORKLOADS for family in LARGE)],
    elementwise.chain_gradient(2 * elementwise.BLOCK + 5, MILLISECONDS),
    memory.peak(4, 5),
    convolutional.gradient("float64", batch=5),
)


def ours(workload):
    """The contestants that need no peer, if there are several."""
    return {label: make for label, make in workload.contestants.items() if library_of(label) in ("functrans", "NumPy")}


COMPARED = [workload for workload in SMALL if workload.compared and len(ours(workload)) > 1]


@pytest.mark.parametrize("workload", COMPARED, ids=lambda workload: workload.name)
def test_contestants_agree(workload):
    if "SciPy" in workload.name and not find_spec("scipy"):
        pytest.skip("needs SciPy")
    workload.check({label: make() for label, make in ours(workload).items()})


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_targets_are_about_contestants(workload):
    for target in workload.targets:
        assert target.of in workload.contestants
        assert target.against is None or target.against in workload.contestants


def test_names_are_unique():
    assert len({workload.name for workload in WORKLOADS}) == len(WORKLOADS)


def test_disagreement_is_refused():
    samplers = {"NumPy": Call(lambda: {"w": np.ones(2)}), "functrans": Call(lambda: {"w": np.array([1.0, 1.0 + 1e-8])})}
    with pytest.raises(AssertionError, match="NumPy and functrans disagree"):
        check_agreement(samplers)
    check_agreement(samplers, tolerance=1e3)


# --------------------------------------------------------------------------------------------------------------------
# Samplers


def test_steps_take_the_state_that_was_returned():
    steps = Steps(lambda state, by: state + by, lambda: 0, (2,), read=lambda state: -state)
    assert steps.result() == -6
    assert steps.sample(1e-4) > 0


def test_first_calls_are_of_new_functions():
    made = []
    calls = FirstCalls(lambda n: lambda: made.append(n), operations=lambda n: 1 + n, calls=2)
    assert calls.sample(0) >= 0
    calls.sample(0)
    assert made == [0, 1, 2, 3]


def test_operations_are_what_a_call_is_longer_by():
    @dataclass
    class Constant:
        value: float

        def sample(self, seconds):
            return self.value

    assert PerOperation(Constant(5.0), Constant(1.0), 8).sample(1.0) == 0.5


def test_peak_counts_what_is_let_go_too():
    def function(n):
        return (np.ones(n) + np.ones(n)).sum()

    assert PeakBytes(function, (100_000,)).sample(0) == pytest.approx(2 * 800_000, rel=0.02)
    assert isinstance(PeakBytes(function, (1,)), Checked)


def test_summaries_of_turns():
    @dataclass
    class Given:
        values: list

        def sample(self, seconds):
            return self.values.pop(0)

    samplers = {"NumPy": Given([9.0, 1.0, 2.0, 4.0]), "functrans": Given([9.0, 3.0, 4.0, 2.0])}
    found = take_turns(samplers, Effort(turns=3, seconds=0.0, budget=0.0, least=3))
    assert found["NumPy"] == Summary(1.0, 2.0, 1.0, 1.0)
    assert found["functrans"] == Summary(2.0, 3.0, 2.0, 2.0)


# --------------------------------------------------------------------------------------------------------------------
# Reports


@pytest.fixture
def result():
    makers = dict.fromkeys(("NumPy, by hand", "functrans", "JAX"), lambda: Call(count))
    targets = (Target("functrans", 1.5, "NumPy, by hand"), Target("functrans", 1e-3), Target("functrans", 2.0, "JAX"))
    workload = Workload("a step", makers, targets, MILLISECONDS)
    hand, functrans = Summary(0.001, 0.001, 1.0, 1.0), Summary(0.002, 0.004, 2.0, 4.0)
    return Result(workload, {"NumPy, by hand": hand, "functrans": functrans, "JAX": None})


def test_verdicts(result):
    assert [table.verdict(result, target) for target in result.workload.targets] == [
        "functrans at most 1.5 x NumPy, by hand: 2.00 x, missed",
        "functrans at most 1 ms: 2.00 ms, missed",
        "functrans at most 2 x JAX: not measured",
    ]
    assert [target["met"] for target in result.as_record()["targets"]] == [False, False, None]


def test_lines(result):
    lines = list(table.lines(result))
    assert lines[0] == "a step (ms)"
    assert lines[3].split() == ["functrans", "2.00", "4.00", "2.00", "4.00"]
    assert lines[4].split() == ["JAX", "-", "-", "-", "-"]


def test_steps_are_counted_by_the_second():
    assert PER_SECOND.of(0.002) == 500


def test_the_readme_is_written_between_its_marks(result, tmp_path):
    page = tmp_path / "README.md"
    page.write_text(f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter\n")
    readme.write([result], page, "chart.png")
    first = page.read_text()
    assert "| a step (ms) | 2 |  |  |  |  |  | 1 |" in first
    assert first.startswith("before\n")
    assert first.endswith("after\n")
    assert "old" not in first
    readme.write([result], page, "chart.png")
    assert page.read_text() == first


def test_a_readme_without_marks_is_refused(result, tmp_path):
    page = tmp_path / "README.md"
    page.write_text("nothing\n")
    with pytest.raises(ValueError, match="has no lines"):
        readme.write([result], page, "chart.png")
