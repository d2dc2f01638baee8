"""Sparse Jacobians and Hessians: a pattern, colours, and one derivative pass for each colour."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from functrans.api.arguments import Arguments, array_outputs, flatten_arguments, name_of, output_path, record
from functrans.api.differentiation import grad, normalize_argnums
from functrans.api.transformed import Transformed
from functrans.backends.running import run
from functrans.core.jaxpr import Jaxpr, derived
from functrans.core.recording import UNKNOWN
from functrans.core.tracer import Tracer
from functrans.forking import fork_safe_lock
from functrans.sparse.dependence import identity, nothing
from functrans.sparse.loading import scipy_sparse
from functrans.sparse.plans import Coloring, Plan, boolean_matrix, n_colors, plan_of, symmetric_plan
from functrans.sparse.propagation import propagate
from functrans.transforms.batch import BatchAxis, batch_to
from functrans.transforms.linearize import Linearized, linearize
from functrans.transforms.transpose import transpose

__all__ = ["Coloring", "hessian", "jacobian", "sparsity_pattern"]

MODES = ("auto", "fwd", "rev", "both")
_ENTRIES_MAX = 1 << 28
_CHUNK_BYTES = 1 << 26
_PLANS_MAX = 4
"""How many plans a program keeps, for different indices that it closes over."""

_lock = fork_safe_lock()


def jacobian(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    *,
    mode: str = "auto",
    sparsity: Any = None,
    chunk_size: int | None = None,
) -> SparseJacobian:
    """A function that computes the Jacobian of `fun` as a sparse array.

    The sparsity pattern is read off the recorded program, never off values. Columns (or rows) that cannot meet are
    given one colour, and computed by one derivative pass. Pattern and colours are kept with the program: calls that
    record the same program find them.

    Args:
        fun: a function of real arrays and pytrees of them.
        argnums: with respect to which positional arguments.
        mode: "fwd" computes columns by forward mode, "rev" rows by reverse mode, "both" the rows with the most entries
            by reverse mode and the rest by forward mode, "auto" what needs the fewest passes.
        sparsity: the pattern, if it is known: a sparse or dense boolean array that is true wherever the Jacobian may
            not be zero. What it leaves out is wrong in the result.
        chunk_size: how many passes run at once; as many as need about 64 MB if not given.

    Returns:
        A function with the arguments of `fun` that returns a `scipy.sparse.csr_array`. Its rows are the elements of
        the outputs and its columns those of the arguments named, leaf by leaf, each in C order. Entries of the pattern
        are stored, even those that happen to be zero. Its method `pattern(*args)` gives the pattern alone,
        `coloring(*args)` the colours.

    Raises:
        ImportError: if SciPy is not installed.
        TypeError: when called, if an argument or an output is not real and floating, or is a tracer of another
            transformation: a sparse array cannot hold one.
        ValueError: when called, if the pattern has more than 268 million entries, or `sparsity` another shape.

    >>> import numpy as np
    >>> import functrans as ft
    >>> diffs = ft.sparse.jacobian(lambda u: (u[1:] - u[:-1]) ** 2)
    >>> diffs(np.array([0.0, 1.0, 3.0])).toarray()
    array([[-2.,  2.,  0.],
           [ 0., -4.,  4.]])
    >>> diffs.coloring(np.zeros(1000)).n_passes
    2
    """
    return SparseJacobian(fun, **_options(argnums, mode, sparsity, chunk_size))


def hessian(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    *,
    sparsity: Any = None,
    chunk_size: int | None = None,
) -> SparseHessian:
    """A function that computes the Hessian of a scalar function as a sparse array.

    Each pass is the derivative of the gradient in one direction; since a Hessian is symmetric it needs fewer colours
    than a Jacobian of its pattern would. Arguments, result and errors are those of `jacobian`.

    >>> import numpy as np
    >>> import functrans as ft
    >>> chain = ft.sparse.hessian(lambda x: np.sum((x[1:] - x[:-1] ** 2) ** 2))
    >>> chain(np.array([1.0, 2.0, 3.0])).toarray()
    array([[ 4., -4.,  0.],
           [-4., 38., -8.],
           [ 0., -8.,  2.]])
    """
    return SparseHessian(fun, **_options(argnums, "fwd", sparsity, chunk_size))


def sparsity_pattern(fun: Callable[..., Any], *args: Any, argnums: int | Sequence[int] = 0, **kwargs: Any) -> Any:
    """Where the Jacobian of `fun` may not be zero, whatever the values of the arguments.

    Args:
        fun: a function of real arrays and pytrees of them.
        args, kwargs: its arguments. While `fun` is recorded they have values: if Python branches on them, the pattern
            is that of the branch taken.
        argnums: with respect to which positional arguments.

    Returns:
        A boolean `scipy.sparse.csr_array`, with rows and columns as those of `jacobian`.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.sparse.sparsity_pattern(lambda x: np.cumsum(np.sin(x)), np.ones(3)).toarray().astype(int)
    array([[1, 0, 0],
           [1, 1, 0],
           [1, 1, 1]])
    """
    return jacobian(fun, argnums).pattern(*args, **kwargs)


def _options(argnums: Any, mode: str, sparsity: Any, chunk_size: int | None) -> dict[str, Any]:
    scipy_sparse()
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(map(repr, MODES))}, got {mode!r}")
    if chunk_size is not None and (not isinstance(chunk_size, (int, np.integer)) or chunk_size < 1):
        raise ValueError(f"chunk_size must be a positive int, got {chunk_size!r}")
    if sparsity is not None:
        sparsity = boolean_matrix(sparsity)
    return {"argnums": normalize_argnums(argnums), "mode": mode, "sparsity": sparsity, "chunk_size": chunk_size}


class _Problem(NamedTuple):
    """A function recorded at a point and linearized."""

    lin: Linearized
    jaxpr: Jaxpr
    values: list[Any]
    """The values of the inputs."""
    inputs: tuple[int, ...]
    """The numbers of the inputs that are differentiated."""

    @property
    def in_sizes(self) -> list[int]:
        """How many elements those have."""
        return [self.jaxpr.in_avals[i].size for i in self.inputs]

    @property
    def dtype(self) -> Any:
        """That of the Jacobian: of the outputs, as far as SciPy has sparse arrays of it."""
        return np.result_type(np.float32, *[aval.dtype for aval in self.jaxpr.out_avals])

    @property
    def shape(self) -> tuple[int, int]:
        """That of the Jacobian."""
        return sum([aval.size for aval in self.jaxpr.out_avals]), sum(self.in_sizes)


class SparseJacobian(Transformed):
    """The function that `jacobian` returns."""

    transformation = "sparse.jacobian"

    symmetric = False

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The Jacobian as a sparse array."""
        problem = self._record(args, kwargs)
        results = run(problem.lin.primal, problem.values)
        residuals = problem.lin.read_residuals(problem.values, results)
        plan = self._plan(problem, residuals)
        forward = self._forward(problem, residuals, plan.coloring.columns)
        reverse = self._reverse(problem, residuals, plan.coloring.rows)
        data = np.concatenate([forward.reshape(-1), reverse.reshape(-1)])[plan.places]
        pattern = plan.pattern
        return scipy_sparse().csr_array((data, pattern.indices.copy(), pattern.indptr.copy()), pattern.shape)

    def pattern(self, *args: Any, **kwargs: Any) -> Any:
        """Where the Jacobian may not be zero: a boolean `csr_array`."""
        problem = self._record(args, kwargs)
        return self._plan(problem, self._residuals(problem)).pattern.copy()

    def coloring(self, *args: Any, **kwargs: Any) -> Coloring:
        """The colours of columns and rows, and the number of passes."""
        problem = self._record(args, kwargs)
        return self._plan(problem, self._residuals(problem)).coloring

    # ---- the function at a point

    def _record(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Problem:
        arguments = flatten_arguments(self.fun, args, kwargs)
        inputs = self._inputs(arguments, len(args))
        for number, value in enumerate(arguments.values):
            if type(value) is Tracer:
                raise TypeError(
                    f"{self.transformation} of {name_of(self.fun)} gives a scipy.sparse array, which cannot hold "
                    f"tracers, but {arguments.path(number)} is one: call it outside of jit, grad and vmap, or use "
                    "functrans.jacfwd, jvp or vjp inside"
                )
        recorded = record(arguments, arguments.values, self._outputs, differentiated=frozenset(inputs))
        if any([type(x) is Tracer for x in recorded.values]):
            raise TypeError(
                f"{self.transformation} of {name_of(self.fun)} gives a scipy.sparse array, which cannot hold tracers, "
                "but the function closes over one: call it outside of jit, grad and vmap"
            )
        chosen = set(inputs)
        nonzeros = tuple([i in chosen for i in range(len(recorded.values))])
        return _Problem(linearize(recorded.jaxpr, nonzeros), recorded.jaxpr, recorded.values, inputs)

    def _inputs(self, arguments: Arguments, n_args: int) -> tuple[int, ...]:
        """The numbers of the inputs that argnums names."""
        argnums = self.options["argnums"]
        starts = [0]
        for child in arguments.treedef.children()[0].children():
            starts.append(starts[-1] + child.num_leaves)
        leaves: list[int] = []
        for i in (argnums,) if isinstance(argnums, int) else argnums:
            if not -n_args <= i < n_args:
                raise ValueError(
                    f"argnums={i} is out of range for the {n_args} positional arguments of {name_of(self.fun)}"
                )
            leaves += range(starts[i % n_args], starts[i % n_args + 1])
        if len(set(leaves)) != len(leaves) or leaves != sorted(leaves):
            raise ValueError(f"argnums must name arguments in rising order, each once, got {argnums}")
        places = range(len(arguments.leaves)) if arguments.places is None else arguments.places
        numbers = {place: number for number, place in enumerate(places)}
        inputs = tuple([numbers[leaf] for leaf in leaves if leaf in numbers])
        for number in inputs:
            aval = arguments.avals[number]
            if aval.dtype.kind != "f":
                raise TypeError(
                    f"{self.transformation} is taken with respect to real floats, but {arguments.path(number)} of "
                    f"{name_of(self.fun)} is {aval.strong}: convert it, or choose other arguments (argnums=...)"
                )
        return inputs

    def _outputs(self, out: Any) -> tuple[list[Any], Any]:
        leaves, treedef = array_outputs(self.fun, out)
        for place, leaf in enumerate(leaves):
            dtype = leaf.dtype if hasattr(leaf, "dtype") else np.result_type(leaf)
            if dtype.kind != "f":
                raise TypeError(
                    f"{self.transformation} needs real floats as outputs, but {output_path(self.fun, treedef, place)} "
                    f"is of dtype {dtype.name}"
                )
        return leaves, treedef

    def _residuals(self, problem: _Problem) -> list[Any]:
        return problem.lin.read_residuals(problem.values, run(problem.lin.primal, problem.values))

    # ---- pattern and colours

    def _plan(self, problem: _Problem, residuals: Sequence[Any]) -> Plan:
        given = self.options["sparsity"]
        if given is not None and given.shape != problem.shape:
            raise ValueError(f"sparsity has shape {given.shape}, and the Jacobian has {problem.shape}")
        known = _known_residuals(problem, residuals)
        sizes = tuple([aval.size for aval in problem.jaxpr.out_avals])
        key = (self.options["mode"], self.symmetric, _digest(given, known))
        # On the linear program, whose life they share; the last few, since indices may change at each call.
        kept: OrderedDict[Any, Plan] = derived(
            problem.lin.linear, ("sparse plans", len(problem.inputs), problem.lin.nonzeros, sizes), OrderedDict
        )
        with _lock:
            plan = kept.get(key)
        if plan is None:
            pattern = _pattern(problem, known, name_of(self.fun)) if given is None else given
            plan = self._planned(pattern)
            with _lock:
                kept[key] = plan
                if len(kept) > _PLANS_MAX:
                    kept.popitem(last=False)
        return plan

    def _planned(self, pattern: Any) -> Plan:
        return plan_of(pattern, self.options["mode"])

    # ---- passes

    def _forward(self, problem: _Problem, residuals: Sequence[Any], colors: Any) -> Any:
        avals = [problem.jaxpr.in_avals[i].strong for i in problem.inputs]
        linear, n_out = problem.lin.linear, problem.shape[0]

        def passes(seeds: list[Any], size: int) -> Any:
            axes = (0,) * len(avals) + (None,) * len(residuals)
            program = batch_to(linear, BatchAxis(size), axes, (0,) * len(linear.outs))
            return iter(run(program, [*seeds, *residuals]))

        out_avals = problem.jaxpr.out_avals
        return self._compressed(passes, colors, avals, out_avals, problem.lin.nonzeros, (n_out, problem.dtype))

    def _reverse(self, problem: _Problem, residuals: Sequence[Any], colors: Any) -> Any:
        in_avals = [problem.jaxpr.in_avals[i].strong for i in problem.inputs]
        linear, n_in = problem.lin.linear, problem.shape[1]
        is_linear = (True,) * len(in_avals) + (False,) * len(residuals)
        if not n_colors(colors):
            return np.zeros((0, n_in), problem.dtype)
        all_outs = (True,) * len(linear.outs)
        backward, nonzeros = transpose(linear, is_linear, all_outs, masked=all_outs)  # zeros of seeds stay zero

        def passes(seeds: list[Any], size: int) -> Any:
            given = [seed for seed, nonzero in zip(seeds, problem.lin.nonzeros, strict=True) if nonzero]
            axes = (None,) * len(residuals) + (0,) * len(given)
            program = batch_to(backward, BatchAxis(size), axes, (0,) * len(backward.outs))
            return iter(run(program, [*residuals, *given]))

        return self._compressed(passes, colors, problem.jaxpr.out_avals, in_avals, nonzeros, (n_in, problem.dtype))

    def _compressed(
        self,
        passes: Callable[[list[Any], int], Any],
        colors: Any,
        avals: Sequence[Any],
        out_avals: Sequence[Any],
        nonzeros: Sequence[bool],
        into: tuple[int, Any],
    ) -> Any:
        """For each colour the derivative in the direction that is 1 where that colour is."""
        count, (n_out, dtype) = n_colors(colors), into
        width = max(len(colors), n_out, 1)
        chunk = self.options["chunk_size"] or max(1, _CHUNK_BYTES // (8 * width))
        compressed = np.zeros((count, n_out), dtype)
        for start in range(0, count, chunk):
            stop = min(start + chunk, count)
            results = passes(_seeds(colors, start, stop, avals), stop - start)
            place = 0
            for aval, nonzero in zip(out_avals, nonzeros, strict=True):
                if nonzero:
                    compressed[start:stop, place : place + aval.size] = next(results).reshape(stop - start, aval.size)
                place += aval.size
        return compressed


class SparseHessian(SparseJacobian):
    """The function that `hessian` returns."""

    transformation = "sparse.hessian"

    symmetric = True

    def __init__(self, fun: Callable[..., Any], **options: Any) -> None:
        super().__init__(fun, **options)
        self._gradient = _GradientJacobian(grad(fun, options["argnums"]), **options)

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The Hessian as a sparse array."""
        return self._gradient.call(args, kwargs)

    def pattern(self, *args: Any, **kwargs: Any) -> Any:
        """Where the Hessian may not be zero: a symmetric boolean `csr_array`."""
        return self._gradient.pattern(*args, **kwargs)

    def coloring(self, *args: Any, **kwargs: Any) -> Coloring:
        """The colours of the columns, and the number of passes."""
        return self._gradient.coloring(*args, **kwargs)


class _GradientJacobian(SparseJacobian):
    """The Jacobian of a gradient, which is symmetric."""

    transformation = "sparse.hessian"

    symmetric = True

    def _planned(self, pattern: Any) -> Plan:
        return symmetric_plan(pattern)


def _seeds(colors: Any, start: int, stop: int, avals: Sequence[Any]) -> list[Any]:
    seeds, first = [], 0
    for aval in avals:
        own = colors[first : first + aval.size]
        seed = np.zeros((stop - start, aval.size), aval.dtype)
        chosen = np.flatnonzero((own >= start) & (own < stop))
        seed[own[chosen] - start, chosen] = 1
        seeds.append(seed.reshape(stop - start, *aval.shape))
        first += aval.size
    return seeds


def _known_residuals(problem: _Problem, residuals: Sequence[Any]) -> list[Any]:
    """The integers among the residuals that do not depend on what is differentiated."""
    fixed = _independent(problem)
    known = []
    for place, value in zip(problem.lin.residuals, residuals, strict=True):
        is_integer = getattr(value, "dtype", None) is not None and value.dtype.kind in "biu"
        known.append(np.asarray(value) if is_integer and place in fixed else UNKNOWN)
    return known


def _independent(problem: _Problem) -> set[int]:
    """Which inputs and outputs of the primal program do not depend on what is differentiated (`-1 - i` for inputs)."""
    jaxpr, inputs = problem.lin.primal, problem.inputs
    return derived(jaxpr, ("independent", inputs), lambda: _find_independent(jaxpr, inputs))


def _find_independent(jaxpr: Jaxpr, inputs: tuple[int, ...]) -> set[int]:
    dependent = {-1 - i for i in inputs}
    for eqn in jaxpr.eqns:
        if not dependent.isdisjoint([x for x in eqn.inputs if type(x) is int]):
            dependent.update(eqn.outs)
    free = {-1 - i for i in range(len(jaxpr.in_avals))} - dependent
    return free | {number for number, atom in enumerate(jaxpr.outs) if atom not in dependent}


def _digest(given: Any, known: Sequence[Any]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    arrays = [(i, x) for i, x in enumerate(known) if x is not UNKNOWN]
    if given is not None:
        arrays = [(-1, given.indptr), (-2, given.indices)]
    for number, x in arrays:
        digest.update(f"{number}{x.shape}{x.dtype.str}".encode())
        digest.update(np.ascontiguousarray(x).data)
    return digest.digest()


def _pattern(problem: _Problem, known: Sequence[Any], name: str) -> Any:
    n = problem.shape[1]
    given, first = [], 0
    for size in problem.in_sizes:
        given.append(identity(n, first, size))
        first += size
    n_given = len(given)
    found = iter(propagate(problem.lin.linear, [*given, *[None] * len(known)], [*[UNKNOWN] * n_given, *known], n))
    outs = []
    for aval, nonzero in zip(problem.jaxpr.out_avals, problem.lin.nonzeros, strict=True):
        out = next(found) if nonzero else None
        outs.append(nothing(aval.size, n) if out is None else out)
    entries = sum([out.entries() for out in outs])
    if entries > _ENTRIES_MAX:
        raise ValueError(
            f"the Jacobian of {name}, of shape {problem.shape}, may have {entries} entries that are not zero, which is "
            "too many to store: use products with it instead (functrans.jvp, functrans.vjp, functrans.linearize), or "
            "give the pattern (sparsity=...), if fewer are there"
        )
    blocks = [out.matrix() for out in outs]
    return boolean_matrix(scipy_sparse().vstack(blocks, format="csr") if blocks else np.zeros((0, n), bool))
