"""Code generation: a program becomes the source of one Python function, as a careful person would write it with NumPy.

`generate.py` writes a function for a program, `function.py` its equations, `rules.py` has the table of what primitives
are in the source; the modules besides it fill the table.
"""

from functrans.backends.numpy_codegen import reading as reading
from functrans.backends.numpy_codegen import shapes as shapes
from functrans.backends.numpy_codegen.generate import generated as generated
