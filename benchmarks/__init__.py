"""functrans beside hand-written NumPy, autograd, JAX and PyTorch: `python -m benchmarks`.

Each family of workloads is a module of `families`, where every library's way of doing it stands beside the others'.
`workload.py` says what a workload is, `sampling.py` what can be measured, and `turns.py` how contestants take turns
in one process and one thread. `table.py` prints the results; `readme.py` and `chart.py` write them into the README.
"""
