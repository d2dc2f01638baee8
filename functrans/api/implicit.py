"""custom_root and custom_linear_solve: solutions of equations, with the derivatives that the equations give them.

How an equation is solved is the user's business, and never differentiated: a solver may stop at a tolerance, or call
SciPy. A solver that asks for values that are unknown while it is recorded is called as it is, on arrays, when the
program runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from functrans.api.arguments import Arguments, array_outputs, name_of, record, value_of_leaf
from functrans.api.callbacks import pure_callback
from functrans.api.closures import with_shared_consts
from functrans.api.execution import run_program, strengthened
from functrans.api.inspection import ShapeDtypeStruct
from functrans.control.rearranging import rearranged
from functrans.core.aval import Aval
from functrans.core.jaxpr import Jaxpr
from functrans.core.recording import UNKNOWN, recording_for
from functrans.errors import (
    ConcretizationTypeError,
    DetachedTracerError,
    TracerArrayConversionError,
    UnexpectedTracerError,
    hide_frames,
)
from functrans.ops.conversion import convert_element_type
from functrans.ops.linear_solve import linear_solve_p, root_p, undifferentiated_p
from functrans.passes.inline import inline
from functrans.transforms.linearize import linearize
from functrans.transforms.transpose import transpose
from functrans.tree import TreeDef, flatten, leaf_path, structure, unflatten

__all__ = ["custom_linear_solve", "custom_root"]

_ASKS_FOR_VALUES = (ConcretizationTypeError, DetachedTracerError, TracerArrayConversionError)


def custom_linear_solve(
    matvec: Callable[[Any], Any],
    b: Any,
    solve: Callable[[Callable[[Any], Any], Any], Any],
    transpose_solve: Callable[[Callable[[Any], Any], Any], Any] | None = None,
    symmetric: bool = False,
    has_aux: bool = False,
) -> Any:
    """The solution x of the linear equation `matvec(x) = b`, differentiated as such, not as the solver's steps.

    With A the matrix of `matvec`: `A dx = db - dA x`, and the cotangent of b solves the transposed equation. What
    `matvec` closes over is differentiated; `solve` need not be differentiable. Where `solve` asks for values that are
    unknown (a loop that stops at a tolerance, SciPy), it is called on arrays when the program runs; it must then get
    what is traced through `matvec` and `b` alone.

    Args:
        matvec: a linear function from x to an array, or a pytree, like b.
        b: the right-hand side, of floats or complex numbers.
        solve: `solve(matvec, b)` returns x, like b in structure, shapes and dtypes.
        transpose_solve: `transpose_solve(vecmat, b)` does so for the transposed equation; for reverse mode.
        symmetric: whether `matvec` is its own transpose (without conjugation), so that `solve` solves that one too.
        has_aux: whether the solvers return a pair of x and something else, which has no derivative.

    Returns:
        x, or `(x, aux)`.

    Raises:
        TypeError: if b is not of floats, if `matvec` or a solver returns something else than what is like b, or, in
            reverse mode, if there is no way to solve the transposed equation.

    >>> import numpy as np
    >>> import functrans as ft
    >>> def solution(d, b):
    ...     return ft.lax.custom_linear_solve(lambda x: d * x, b, lambda matvec, b: b / d, symmetric=True)
    >>> ft.grad(lambda d, b: np.sum(solution(d, b)), argnums=(0, 1))(np.array([2.0, 4.0]), np.array([1.0, 1.0]))
    (array([-0.25  , -0.0625]), array([0.5 , 0.25]))
    """
    try:
        return _custom_linear_solve(matvec, b, solve, transpose_solve, symmetric, has_aux)
    except Exception as error:
        raise hide_frames(error)  # noqa: B904  (it is the same error)


def custom_root(
    f: Callable[[Any], Any],
    initial_guess: Any,
    solve: Callable[[Callable[[Any], Any], Any], Any],
    tangent_solve: Callable[[Callable[[Any], Any], Any], Any],
    has_aux: bool = False,
) -> Any:
    """A root x of `f(x) = 0`, differentiated by the implicit function theorem.

    What `f` closes over is differentiated: `df/dx dx = -df/da da` at the root. The guess is not, and `solve` need not
    be differentiable. Where `solve` asks for values that are unknown, it is called on arrays when the program runs; it
    must then get what is traced through `f` and the guess alone.

    Args:
        f: a function from x to an array, or a pytree, like x.
        initial_guess: an array, a number or a pytree of floats, like the root.
        solve: `solve(f, initial_guess)` returns the root.
        tangent_solve: `tangent_solve(g, y)` returns the solution of `g(x) = y`, where `g` is the derivative of `f` at
            the root, a linear function: for numbers `lambda g, y: y / g(1.0)`. It must be linear in y, and
            differentiable, by `custom_linear_solve` for instance.
        has_aux: whether `solve` returns a pair of the root and something else, which has no derivative.

    Returns:
        The root, or `(root, aux)`.

    Raises:
        TypeError: if the guess is not of floats, or a function returns something else than what is like the guess.

    >>> import functrans as ft
    >>> def square_root(a):
    ...     def newton(f, x):
    ...         while abs(f(x)) > 1e-12:
    ...             x = x - f(x) / (2 * x)
    ...         return x
    ...     return ft.lax.custom_root(lambda x: x * x - a, 1.0, newton, lambda g, y: y / g(1.0))
    >>> ft.grad(square_root)(4.0)
    np.float64(0.25)
    """
    try:
        return _custom_root(f, initial_guess, solve, tangent_solve, has_aux)
    except Exception as error:
        raise hide_frames(error)  # noqa: B904  (it is the same error)


# --------------------------------------------------------------------------------------------------------------------
# Vectors: the unknown and the right-hand side, pytrees of arrays


class _Vector(NamedTuple):
    """A pytree of floats, and what is like it: of the same structure, shapes and dtypes."""

    caller: str
    """The public function."""
    name: str
    """Its parameter."""
    treedef: TreeDef
    avals: tuple[Aval, ...]
    values: list[Any]

    def arguments(self, name: str, fun: Callable[..., Any], copies: int = 1) -> Arguments:
        """A call of a function of one or two such vectors, under a name for messages."""

        def of_one(x: Any) -> Any:
            return fun(x)

        def of_two(x: Any, y: Any) -> Any:
            return fun(x, y)

        called = of_one if copies == 1 else of_two
        called.__name__ = name
        treedef = structure((tuple([self.tree(self.values)] * copies), {}))
        values = self.values * copies
        return Arguments(called, values, treedef, list(self.avals) * copies, values, None)

    def tree(self, leaves: Sequence[Any]) -> Any:
        """The vector of these leaves."""
        return unflatten(self.treedef, leaves)

    def like(self, what: str, out: Any, convert: bool = False) -> list[Any]:
        """The leaves of a vector that must be like this one.

        Args:
            what: what to call it in messages.
            out: the vector.
            convert: whether smaller dtypes are converted: SciPy tries a function on integers.

        Raises:
            TypeError: if it is not, naming the leaf.
        """
        leaves, treedef = flatten(out)
        if treedef != self.treedef:
            raise TypeError(
                f"{self.caller}: {what} must be of the structure of {self.name}, {self.treedef}, and is {treedef}"
            )
        return [
            self._fitted(what, leaf, aval, leaf_path(treedef, place), convert)
            for place, (leaf, aval) in enumerate(zip(leaves, self.avals, strict=True))
        ]

    def _fitted(self, what: str, leaf: Any, aval: Aval, path: str, convert: bool) -> Any:
        given, value = value_of_leaf(leaf)
        if given is None or value is UNKNOWN:
            raise TypeError(f"{self.caller}: {what}{path} must be an array or a number, got {leaf!r:.60}")
        fits = given.shape == aval.shape and _RANKS[given.dtype.kind] <= _RANKS[aval.dtype.kind]
        if fits and (given.weak or (convert and np.can_cast(given.dtype, aval.dtype))):
            return convert_element_type(value, aval.dtype)
        if given.strong is not aval:
            raise TypeError(
                f"{self.caller}: {what}{path} is {given.strong}, and must be {aval}, like {self.name}{path}"
            )
        return value


_RANKS = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}


def _vector(caller: str, name: str, tree: Any) -> _Vector:
    leaves, treedef = flatten(tree)
    avals, values = [], []
    for place, leaf in enumerate(leaves):
        path = name + leaf_path(treedef, place)
        try:
            aval, value = value_of_leaf(leaf)
        except TypeError as error:
            raise TypeError(f"{caller}: {path}: {error}") from None
        if aval is None or value is UNKNOWN:
            raise TypeError(f"{caller}: {path} must be an array or a number, got {leaf!r:.60}")
        if not aval.inexact:
            raise TypeError(
                f"{caller}: {path} is {aval.strong}, and must be of floats, which have derivatives: convert it"
            )
        avals.append(aval.strong)
        values.append(value)
    return _Vector(caller, name, treedef, tuple(avals), values)


# --------------------------------------------------------------------------------------------------------------------
# Recorded functions of vectors


class _Closed(NamedTuple):
    """A program with the values that its function closes over, its last inputs."""

    jaxpr: Jaxpr
    consts: list[Any]


def _recorded(
    arguments: Arguments, values: Sequence[Any], outputs: Callable[[Any], tuple[list[Any], Any]]
) -> tuple[_Closed, Any]:
    """A recorded function of vectors, and what else it returned."""
    recorded = record(arguments, values, outputs, staging=True)
    return _Closed(inline(recorded.jaxpr), recorded.values[len(values) :]), recorded.rest


def _function_of(program: _Closed, vector: _Vector, name: str) -> Callable[[Any], Any]:
    """A recorded function as a Python function of a vector."""

    def apply(x: Any) -> Any:
        leaves = vector.like(f"the argument of {name}", x, convert=True)
        return vector.tree(strengthened(run_program(program.jaxpr, [*leaves, *program.consts])))

    return apply


def _transposed(program: _Closed, n: int) -> _Closed:
    """The transpose of a linear function, which closes over the same values."""
    n_consts = len(program.consts)
    linear = (True,) * n + (False,) * n_consts
    jaxpr, _ = transpose(program.jaxpr, linear, (True,) * n, instantiate=True)
    avals = [*jaxpr.in_avals[n_consts:], *jaxpr.in_avals[:n_consts]]
    inputs = [-1 - n - i for i in range(n_consts)] + [-1 - i for i in range(n)]
    return _Closed(rearranged(jaxpr, avals, inputs, range(n)), program.consts)


# --------------------------------------------------------------------------------------------------------------------
# Solvers


class _Solver(NamedTuple):
    """A call `solve(function, vector)` of the user's."""

    name: str
    solve: Callable[[Callable[[Any], Any], Any], Any]
    function: Callable[[Any], Any]
    """What the solver gets to call while it is recorded."""
    program: Callable[[], _Closed]
    """Gives the program of it, which the solver gets to call when it runs on arrays."""
    program_name: str
    vector: _Vector
    has_aux: bool

    def record(self, values: Sequence[Any]) -> tuple[_Closed, Any]:
        """The program that solves, from these values, and the structure of the auxiliary result, or None."""
        arguments = self.vector.arguments(self.name, lambda x: self.solve(self.function, x))
        try:
            return _recorded(arguments, values, self._outputs)
        except _ASKS_FOR_VALUES as error:
            if self.has_aux:
                raise TypeError(
                    f"{self.vector.caller}: {self.name} asks for values that are unknown while it is recorded. It "
                    "would be called when the program runs, but with has_aux=True the types of all that it returns "
                    f"must be known before. {error}"
                ) from error
        program = self.program()
        arguments = self.vector.arguments(self.name, lambda x: self._called(program, x))
        return _recorded(arguments, values, lambda out: (flatten(out)[0], None))

    def _outputs(self, out: Any) -> tuple[list[Any], Any]:
        if not self.has_aux:
            return self.vector.like(f"what {self.name} returns", out), None
        if not isinstance(out, tuple) or len(out) != 2:
            raise TypeError(
                f"{self.vector.caller}: with has_aux=True, {self.name} must return a pair (x, aux), got {out!r:.60}"
            )
        aux_leaves, aux_tree = array_outputs(self.solve, out[1])
        return self.vector.like(f"what {self.name} returns", out[0]) + aux_leaves, aux_tree

    def _called(self, program: _Closed, x: Any) -> Any:
        """The solution by a call of the solver with arrays."""
        vector, name, solve, program_name, jaxpr = self.vector, self.name, self.solve, self.program_name, program.jaxpr

        def call(consts: list[Any], x: Any) -> Any:
            try:
                out = solve(_function_of(_Closed(jaxpr, consts), vector, program_name), x)
            except (*_ASKS_FOR_VALUES, UnexpectedTracerError) as error:
                raise TypeError(
                    f"{vector.caller}: {name} asks for values that are unknown while it is recorded, so it is called "
                    "with arrays when the program runs, and there it met a traced value that it closes over. It gets "
                    f"what is traced only through {program_name} and the vector that it is called with. {error}"
                ) from error
            return vector.tree(vector.like(f"what {name} returns", out))

        call.__name__ = name
        like = vector.tree([ShapeDtypeStruct(aval.shape, aval.dtype) for aval in vector.avals])
        return pure_callback(call, like, program.consts, x, vmap_method="sequential")


def _check_functions(caller: str, **functions: Any) -> None:
    for name, function in functions.items():
        if not callable(function):
            raise TypeError(
                f"{caller}: {name} must be a function, got {function!r:.60} of type {type(function).__name__}"
            )


def _result(outs: Sequence[Any], vector: _Vector, aux_tree: TreeDef | None) -> Any:
    n = len(vector.avals)
    outs = strengthened(outs)
    x = vector.tree(outs[:n])
    return x if aux_tree is None else (x, unflatten(aux_tree, outs[n:]))


# --------------------------------------------------------------------------------------------------------------------
# The two functions


def _custom_linear_solve(matvec: Any, b: Any, solve: Any, transpose_solve: Any, symmetric: bool, has_aux: bool) -> Any:
    caller = "custom_linear_solve"
    _check_functions(caller, matvec=matvec, solve=solve)
    vector = _vector(caller, "b", b)
    n = len(vector.avals)
    # The right-hand side is unknown to the solver: the program that it records is to solve for others too.
    unknown = [UNKNOWN] * n
    forward, _ = _recorded(
        vector.arguments(name_of(matvec), matvec), unknown, lambda out: (vector.like("what matvec returns", out), None)
    )
    solver = _Solver(
        "solve", solve, _function_of(forward, vector, "matvec"), lambda: forward, "matvec", vector, has_aux
    )
    solution, aux_tree = solver.record(unknown)
    programs = [forward, solution]
    if symmetric:
        programs += programs
    elif transpose_solve is not None:
        _check_functions(caller, transpose_solve=transpose_solve)
        backward = _transposed(forward, n)
        solver = solver._replace(
            name="transpose_solve",
            solve=transpose_solve,
            function=_function_of(backward, vector, "vecmat"),
            program=lambda: backward,
            program_name="vecmat",
        )
        programs += [backward, solver.record(unknown)[0]]
    shared, consts = with_shared_consts(programs)
    names = ("matvec", "jaxpr", "vecmat", "transpose_solve")
    params = {name: shared[i] if i < len(shared) else None for i, name in enumerate(names)}
    return _result(linear_solve_p.bind(*consts, *vector.values, n=n, **params), vector, aux_tree)


def _custom_root(f: Any, initial_guess: Any, solve: Any, tangent_solve: Any, has_aux: bool) -> Any:
    caller = "custom_root"
    _check_functions(caller, f=f, solve=solve, tangent_solve=tangent_solve)
    guess = _vector(caller, "initial_guess", initial_guess)
    n = len(guess.avals)

    def recorded_at(values: Sequence[Any]) -> _Closed:
        outputs = lambda out: (guess.like("what f returns", out), None)  # noqa: E731
        return _recorded(guess.arguments(name_of(f), f), values, outputs)[0]

    solver = _Solver("solve", solve, f, lambda: recorded_at([UNKNOWN] * n), "f", guess, has_aux)
    solution, aux_tree = solver.record(guess.values)
    found = strengthened(undifferentiated_p.bind(*guess.values, *solution.consts, jaxpr=solution.jaxpr))
    # f is recorded at the root, since at the guess Python may take another of its branches.
    root = guess._replace(values=list(found[:n]))
    equation = recorded_at(root.values)
    if recording_for([*root.values, *equation.consts]) is None:
        return _result(found, guess, aux_tree)
    programs = [equation, _tangent_solver(root, equation, tangent_solve)]
    (shared_f, shared_solve), consts = with_shared_consts(programs)
    inputs = range(len(shared_f.in_avals))
    identity = rearranged(
        shared_f, shared_f.in_avals, [-1 - i for i in inputs], [-1 - i for i in inputs[len(consts) :]]
    )
    outs = root_p.bind(*consts, *root.values, n=n, jaxpr=identity, f=shared_f, tangent_solve=shared_solve)
    return _result([*outs, *found[n:]], guess, aux_tree)


def _tangent_solver(root: _Vector, equation: _Closed, tangent_solve: Callable[..., Any]) -> _Closed:
    """The program of `tangent_solve`, from the root and a right-hand side."""
    n = len(root.avals)
    lin = linearize(equation.jaxpr, (True,) * n + (False,) * len(equation.consts), (True,) * n)

    def solved(x: Any, y: Any) -> Any:
        operands = [*flatten(x)[0], *equation.consts]
        residuals = lin.read_residuals(operands, run_program(lin.primal, operands))
        return tangent_solve(_function_of(_Closed(lin.linear, residuals), root, "the derivative of f"), y)

    values = [*root.values, *[UNKNOWN] * n]
    outputs = lambda out: (root.like("what tangent_solve returns", out), None)  # noqa: E731
    return _recorded(root.arguments("tangent_solve", solved, copies=2), values, outputs)[0]
