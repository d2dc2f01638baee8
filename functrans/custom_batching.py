"""Functions that say themselves how they are batched; where JAX has them."""

from functrans.api.custom_batching import custom_vmap, sequential_vmap

__all__ = ["custom_vmap", "sequential_vmap"]
