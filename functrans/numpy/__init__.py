"""NumPy's functions for tracers."""

import sys

from functrans.numpy import choosing, joining, linear, reductions
from functrans.numpy.methods import install_methods
from functrans.numpy.operators import install_operators
from functrans.numpy.protocols import install_protocols

install_operators()
install_protocols(sys.modules[__name__])
install_methods()
