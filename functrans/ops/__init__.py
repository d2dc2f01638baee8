"""The primitives, a family to a file, each primitive one contiguous block with all of its rules."""
