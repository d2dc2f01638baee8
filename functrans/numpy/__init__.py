"""NumPy's functions for tracers."""

from functrans.numpy.operators import install_operators

install_operators()
