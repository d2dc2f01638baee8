"""Programs made to run: each backend turns a program into a function of arrays."""
