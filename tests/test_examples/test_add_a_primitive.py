"""The example runs, and prints what it is about."""

import runpy
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "add_a_primitive.py"


def test_add_a_primitive(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("scipy")
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    lines = capsys.readouterr().out.split("\n")
    assert lines[0] == "both rules are right"
    assert "the JVP rule of primitive 'wrong' (operand 0) is wrong" in lines
    assert lines[-2].startswith("  in the forward derivative (JVP) of <lambda>, order 1, entry [0] of the output by ")
