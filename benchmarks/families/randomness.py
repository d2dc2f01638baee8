"""Random numbers by key."""

from __future__ import annotations

import functrans as ft

from ..libraries import jax
from ..sampling import Call
from ..workload import MILLISECONDS, Target, Workload

COUNT = 1_000_000


def in_functrans() -> Call:
    key = ft.random.key(0)
    return Call(lambda: ft.random.normal(key, (COUNT,), "float32"))


def in_jax() -> Call:
    draw, key = jax.jit(lambda key: jax.random.normal(key, (COUNT,), "float32")), jax.random.key(0)
    return Call(lambda: jax.block_until_ready(draw(key)))


WORKLOADS = (
    Workload(
        "1,000,000 normal numbers, float32",
        {"functrans": in_functrans, "JAX, jitted": in_jax},
        targets=(Target("functrans", 1.0, "JAX, jitted"),),
        unit=MILLISECONDS,
    ),
)
