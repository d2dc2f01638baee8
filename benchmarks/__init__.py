"""functrans beside hand-written NumPy, autograd, JAX and PyTorch: `python -m benchmarks`.

`workloads.py` lists what is measured, `problems.py` and `operations.py` hold the data and the operations, one
`with_*.py` for each library writes the workloads as its users would, and `timing.py` measures all of them in
turns, in one process and one thread.
"""
