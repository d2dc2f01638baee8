"""The loss of a recurrent network, over any library's NumPy and any loop like `scan`."""

from collections.abc import Callable
from typing import Any

Scan = Callable[..., Any]


def lstm_loss(np: Any, scan: Scan) -> Callable[..., Any]:
    """The sum of squares of all states of an LSTM, as a function of parameters, first state and inputs."""

    def sigmoid(x: Any) -> Any:
        return 1 / (1 + np.exp(-x))

    def loss(params: dict[str, Any], start: Any, xs: Any) -> Any:
        n = start.shape[1]

        def step(state: tuple[Any, Any], x: Any) -> tuple[tuple[Any, Any], Any]:
            h, c = state
            z = h @ params["W"] + x @ params["U"] + params["b"]
            c = sigmoid(z[:, n : 2 * n]) * c + sigmoid(z[:, :n]) * np.tanh(z[:, 2 * n : 3 * n])
            h = sigmoid(z[:, 3 * n :]) * np.tanh(c)
            return (h, c), h

        return np.sum(scan(step, (start, start), xs)[1] ** 2)

    return loss


def python_scan(np: Any) -> Scan:
    """`scan` as a Python loop."""

    def scan(step: Callable[..., Any], state: Any, xs: Any) -> tuple[Any, Any]:
        rows = []
        for x in xs:
            state, row = step(state, x)
            rows.append(row)
        return state, np.stack(rows)

    return scan
