"""What is measured, and who takes part."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np

from .operations import OPERATIONS
from .timing import Call, Sampler, Timing, interleave


@dataclass(frozen=True)
class Contestant:
    """A function of `with_<package>.py`, which makes a sampler from `args`."""

    label: str
    package: str
    function: str
    args: tuple[str, ...] = ()

    def sampler(self) -> Sampler | None:
        """The sampler, or None where the package is not installed."""
        if find_spec(self.package) is None:
            return None
        module = import_module(f".with_{self.package}", __package__)
        return getattr(module, self.function)(*self.args)


@dataclass(frozen=True)
class Workload:
    """Contestants of which the first that is installed is the reference."""

    name: str
    contestants: tuple[Contestant, ...]

    def measure(self, repeats: int, seconds: float) -> dict[str, Timing | None]:
        """The timings of those installed, which first have to agree; None for the others."""
        samplers = {c.label: c.sampler() for c in self.contestants}
        installed = {label: sampler for label, sampler in samplers.items() if sampler is not None}
        check_agreement(installed)
        timings = interleave(installed, repeats, seconds)
        return {label: timings.get(label) for label in samplers}


def leaves(value: Any) -> Iterable[np.ndarray]:
    """The arrays in nested dicts, by sorted key."""
    if isinstance(value, dict):
        for key in sorted(value):
            yield from leaves(value[key])
    else:
        yield np.asarray(value)


def check_agreement(samplers: dict[str, Sampler]) -> None:
    """Fail unless all calls return the same numbers."""
    results = [(label, list(leaves(s.result()))) for label, s in samplers.items() if isinstance(s, Call)]
    for (first, expected), (second, actual) in pairwise(results):
        for a, b in zip(expected, actual, strict=True):
            rtol, atol = (1e-4, 1e-6) if a.dtype == np.float32 else (1e-10, 1e-13)
            np.testing.assert_allclose(b, a, rtol=rtol, atol=atol, err_msg=f"{first} and {second} disagree")


def recording(name: str) -> Workload:
    contestant = partial(Contestant, function="operation", args=(name,))
    return Workload(
        f"recording {name}, per operation",
        (
            contestant("functrans", "functrans"),
            contestant("JAX", "jax"),
            contestant("NumPy, running it", "numpy"),
        ),
    )


WORKLOADS = (
    Workload(
        "gradient of an MLP, 64-64-10, batch 32",
        (
            Contestant("NumPy by hand", "numpy", "mlp_gradient"),
            Contestant("functrans", "functrans", "mlp_gradient"),
            Contestant("functrans, jitted", "functrans", "mlp_gradient_jitted"),
            Contestant("autograd", "autograd", "mlp_gradient"),
            Contestant("JAX", "jax", "mlp_gradient"),
            Contestant("JAX, jitted", "jax", "mlp_gradient_jitted"),
            Contestant("PyTorch", "torch", "mlp_gradient"),
        ),
    ),
    Workload(
        "gradient of an LSTM, 100 steps of scan, hidden 64, batch 16",
        (
            Contestant("functrans, jitted", "functrans", "lstm_gradient_jitted"),
            Contestant("functrans", "functrans", "lstm_gradient"),
            Contestant("autograd", "autograd", "lstm_gradient"),
            Contestant("JAX, jitted", "jax", "lstm_gradient_jitted"),
        ),
    ),
    Workload(
        "1e6 normal numbers, float32",
        (
            Contestant("functrans", "functrans", "normals"),
            Contestant("JAX, jitted", "jax", "normals"),
        ),
    ),
    Workload(
        "gradient of a scalar function, x**2 + x",
        (
            Contestant("functrans", "functrans", "scalar_gradient"),
            Contestant("functrans, jitted", "functrans", "scalar_gradient_jitted"),
            Contestant("autograd", "autograd", "scalar_gradient"),
            Contestant("JAX", "jax", "scalar_gradient"),
            Contestant("JAX, jitted", "jax", "scalar_gradient_jitted"),
        ),
    ),
    Workload(
        "fixed cost of a gradient, 6 leaves in, 4 out",
        (
            Contestant("functrans", "functrans", "fixed_cost"),
            Contestant("autograd", "autograd", "fixed_cost"),
            Contestant("JAX", "jax", "fixed_cost"),
        ),
    ),
    Workload(
        "call of a jitted x + 1, 10 elements",
        (
            Contestant("functrans, jitted", "functrans", "jitted_call"),
            Contestant("JAX, jitted", "jax", "jitted_call"),
        ),
    ),
    *map(recording, OPERATIONS),
    Workload(
        "import, beyond NumPy",
        (
            Contestant("functrans", "functrans", "import_time"),
            Contestant("autograd", "autograd", "import_time"),
            Contestant("JAX", "jax", "import_time"),
            Contestant("PyTorch", "torch", "import_time"),
            Contestant("NumPy itself", "numpy", "import_time"),
        ),
    ),
)
