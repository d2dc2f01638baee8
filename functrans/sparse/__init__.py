"""Sparse Jacobians and Hessians, as `scipy.sparse` arrays. SciPy must be installed.

>>> import numpy as np
>>> import functrans as ft
>>> heat = lambda u: u[:-2] - 2 * u[1:-1] + u[2:]
>>> ft.sparse.jacobian(heat)(np.zeros(4)).toarray()
array([[ 1., -2.,  1.,  0.],
       [ 0.,  1., -2.,  1.]])
"""

from functrans.sparse.derivatives import hessian, jacobian, sparsity_pattern
from functrans.sparse.plans import Coloring

__all__ = ["Coloring", "hessian", "jacobian", "sparsity_pattern"]
