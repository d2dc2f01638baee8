"""The primitives as functions, under JAX's names: strict, without broadcasting or promotion.

A family of primitives exports its functions and its primitives (`sin`, `sin_p`); of the others the names are listed.
"""

from functrans.api.branches import cond, switch
from functrans.api.implicit import custom_linear_solve, custom_root
from functrans.api.reducing import reduce, reduce_window
from functrans.api.scans import associative_scan, map, scan
from functrans.api.while_loops import fori_loop, while_loop
from functrans.ops.bitwise import *
from functrans.ops.collectives import (
    all_gather,
    all_gather_p,
    axis_index,
    axis_index_p,
    axis_size,
    pmax,
    pmax_p,
    pmean,
    pmin,
    pmin_p,
    psum,
    psum_p,
    psum_scatter,
    psum_scatter_p,
)
from functrans.ops.comparison import *
from functrans.ops.complex import *
from functrans.ops.cond import *
from functrans.ops.constant import *
from functrans.ops.conversion import *
from functrans.ops.convolution import ConvDimensionNumbers, conv_general_dilated_p
from functrans.ops.convolving import *
from functrans.ops.cumulative import *
from functrans.ops.dynamic_slicing import *
from functrans.ops.elementwise import *
from functrans.ops.exchanges import *
from functrans.ops.identity import *
from functrans.ops.indexing import *
from functrans.ops.iota import *
from functrans.ops.joining import *
from functrans.ops.linear_algebra import DotDimensionNumbers, batch_matmul, dot, dot_general, dot_general_p
from functrans.ops.magnitude import *
from functrans.ops.power import *
from functrans.ops.random_bits import bitcast_convert_type, bitcast_convert_type_p
from functrans.ops.random_gamma import random_gamma_grad, random_gamma_grad_p
from functrans.ops.reductions import *
from functrans.ops.rounding import *
from functrans.ops.scan import scan_p
from functrans.ops.scatter import *
from functrans.ops.selection import *
from functrans.ops.shape import *
from functrans.ops.slicing import *
from functrans.ops.sorting import *
from functrans.ops.special import *
from functrans.ops.transcendental import *
from functrans.ops.while_loop import while_p
from functrans.ops.window_reductions import (
    reduce_window_max,
    reduce_window_max_p,
    reduce_window_min,
    reduce_window_min_p,
    reduce_window_sum,
    reduce_window_sum_p,
)
