"""Simplifications: programs to programs that mean the same. `pipeline.py` has the list."""
