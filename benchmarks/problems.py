"""The data of the workloads, the same for every library."""

import numpy as np

Arrays = dict[str, np.ndarray]


def mlp(
    inputs: int = 64, hidden: int = 64, outputs: int = 10, batch: int = 32
) -> tuple[Arrays, np.ndarray, np.ndarray]:
    """Parameters, inputs and targets of a small tanh MLP, in float64."""
    rng = np.random.default_rng(0)
    params = {
        "W1": rng.normal(size=(inputs, hidden)) / np.sqrt(inputs),
        "b1": rng.normal(size=hidden),
        "W2": rng.normal(size=(hidden, outputs)) / np.sqrt(hidden),
        "b2": rng.normal(size=outputs),
    }
    return params, rng.normal(size=(batch, inputs)), rng.normal(size=(batch, outputs))


def lstm(
    inputs: int = 32, hidden: int = 64, batch: int = 16, steps: int = 100
) -> tuple[Arrays, np.ndarray, np.ndarray]:
    """Parameters, first state and inputs of an LSTM, in float64."""
    rng = np.random.default_rng(0)
    params = {
        "W": rng.normal(size=(hidden, 4 * hidden)) / 8,
        "U": rng.normal(size=(inputs, 4 * hidden)) / 6,
        "b": np.zeros(4 * hidden),
    }
    return params, np.zeros((batch, hidden)), rng.normal(size=(steps, batch, inputs))


def vector() -> np.ndarray:
    return np.linspace(-1.0, 1.0, 10)


def recording_operands() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, y and w of the operations that are recorded: two vectors and a square matrix."""
    rng = np.random.default_rng(0)
    return rng.normal(size=10), rng.normal(size=10), rng.normal(size=(10, 10))
