"""The operations whose recording is timed, over any module that has NumPy's names."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

REPEATS = 200

Operation = Callable[[ModuleType, Any, Any, Any], Any]

OPERATIONS: dict[str, Operation] = {
    "x + y": lambda np, x, y, w: x + y,
    "x * 2.0": lambda np, x, y, w: x * 2.0,
    "np.tanh(x)": lambda np, x, y, w: np.tanh(x),
    "x[0]": lambda np, x, y, w: x[0],
    "x.reshape(5, 2)": lambda np, x, y, w: x.reshape(5, 2),
    "x.sum()": lambda np, x, y, w: x.sum(),
    "x @ w": lambda np, x, y, w: x @ w,
    "np.where(x > y, x, y)": lambda np, x, y, w: np.where(x > y, x, y),
}


def _nothing(np: ModuleType, x: Any, y: Any, w: Any) -> Any:
    return x


def repeat(np: ModuleType, name: str) -> Callable[[Any, Any, Any], Any]:
    """A function that does one operation REPEATS times; `nothing` is the loop alone."""
    operation = OPERATIONS.get(name, _nothing)

    def repeated(x: Any, y: Any, w: Any) -> Any:
        for _ in range(REPEATS):
            result = operation(np, x, y, w)
        return result

    return repeated
