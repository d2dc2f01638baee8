"""Transformations of programs, one a file: each a pure function from program to program."""
