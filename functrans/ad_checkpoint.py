"""Checkpointing in detail: names for values, and what reverse mode keeps; where JAX has them, in `ad_checkpoint`."""

from functrans import checkpoint_policies
from functrans.api.checkpoint import checkpoint, checkpoint_name, print_saved_residuals, saved_residuals
from functrans.ops.checkpoint import name_p

remat = checkpoint

__all__ = [
    "checkpoint",
    "checkpoint_name",
    "checkpoint_policies",
    "name_p",
    "print_saved_residuals",
    "remat",
    "saved_residuals",
]
