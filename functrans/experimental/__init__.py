"""What JAX has under `jax.experimental`."""

from functrans.api.callbacks import io_callback

__all__ = ["io_callback"]
