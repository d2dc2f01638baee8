"""Each function against NumPy: value, dtype and shape, for many dtypes, shapes and axes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import functrans as ft
import functrans.numpy as fnp
from tests.test_numpy.agreement import DTYPES, FLOATS, NUMBERS, arrays, assert_agrees

AXES = st.sampled_from([None, 0, -1, 1, (0, 1), (), -2])
ONE_AXIS = st.sampled_from([0, -1, 1, 2, None])
UFUNCS = [name for name in fnp.universal.__all__ if getattr(np, name).signature is None]


@pytest.mark.parametrize("name", [name for name in UFUNCS if getattr(np, name).nin == 1])
@given(x=arrays())
def test_unary_ufunc(name, x):
    assert_agrees(lambda m, x: getattr(m, name)(x), x)


@pytest.mark.parametrize("name", [name for name in UFUNCS if getattr(np, name).nin == 2])
@given(x=arrays(max_dims=2), data=st.data())
def test_binary_ufunc(name, x, data):
    shape = st.sampled_from([x.shape, (), x.shape[-1:], (2, *x.shape)])
    y = data.draw(arrays(shape=data.draw(shape)))
    assert_agrees(lambda m, x, y: getattr(m, name)(x, y), x, y)


@pytest.mark.parametrize("name", [name for name in UFUNCS if getattr(np, name).nin == 2])
@pytest.mark.parametrize("scalar", [2, 1.5, True, 1j])
@given(x=arrays(shape=(2,)))
def test_ufunc_with_a_python_scalar(name, scalar, x):
    assert_agrees(lambda m, x: getattr(m, name)(x, scalar), x)
    assert_agrees(lambda m, x: getattr(m, name)(scalar, x), x)


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "all", "any", "ptp", "count_nonzero", "amax", "amin"])
@given(x=arrays(), axis=AXES, keepdims=st.booleans())
def test_reduction(name, x, axis, keepdims):
    assert_agrees(lambda m, x: getattr(m, name)(x, axis=axis, keepdims=keepdims), x)


@pytest.mark.parametrize("name", ["mean", "var", "std", "nanmean", "nansum", "nanprod", "nanvar", "nanstd", "nanmax"])
@given(x=arrays(shape=st.sampled_from([(3,), (2, 3), (2, 1, 3)])), axis=st.sampled_from([None, 0, -1]))
def test_statistics(name, x, axis):
    assert_agrees(lambda m, x: getattr(m, name)(x, axis=axis), x)


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "mean", "all"])
@given(x=arrays(shape=(2, 3)), axis=AXES)
def test_reduction_with_where(name, x, axis):
    mask = np.array([True, False, True])
    assert_agrees(lambda m, x: getattr(m, name)(x, axis=axis, where=mask), x)
    if name not in ("mean", "all"):
        assert_agrees(lambda m, x: getattr(m, name)(x, axis=axis, where=mask, initial=2), x)


@pytest.mark.parametrize("name", ["sum", "prod", "mean", "cumsum"])
@pytest.mark.parametrize("dtype", ["float32", "int32", "complex128"])
@given(x=arrays(NUMBERS[:-2], shape=(2, 3)))
def test_dtype_of_the_result(name, dtype, x):
    assert_agrees(lambda m, x: getattr(m, name)(x, dtype=dtype), x)


@given(x=arrays(FLOATS, shape=(2, 3)), ddof=st.sampled_from([0, 1, 0.5]))
def test_degrees_of_freedom(x, ddof):
    assert_agrees(lambda m, x: m.var(x, axis=1, ddof=ddof), x)
    assert_agrees(lambda m, x: m.std(x, correction=ddof, keepdims=True), x)


@pytest.mark.parametrize("name", ["argmax", "argmin", "cumsum", "cumprod", "nancumsum", "nancumprod"])
@given(x=arrays(), axis=ONE_AXIS)
def test_along_one_axis(name, x, axis):
    assert_agrees(lambda m, x: getattr(m, name)(x, axis=axis), x)


@pytest.mark.parametrize("ufunc", [np.add, np.multiply, np.maximum, np.minimum, np.logical_and, np.logical_or])
@given(x=arrays(), axis=st.sampled_from([0, -1, 1]))
def test_methods_of_ufuncs(ufunc, x, axis):
    assert_agrees(lambda m, x: ufunc.reduce(x, axis=axis), x)
    assert_agrees(lambda m, x: ufunc.reduce(x, axis=axis, keepdims=True), x)
    assert_agrees(lambda m, x: ufunc.accumulate(x, axis=axis), x)
    assert_agrees(lambda m, x: ufunc.outer(x, np.array([1, 2])), x)


SHAPES = {
    "flip": lambda m, x, axis: m.flip(x, axis),
    "squeeze": lambda m, x, axis: m.squeeze(x, axis),
    "expand_dims": lambda m, x, axis: m.expand_dims(x, axis),
    "moveaxis": lambda m, x, axis: m.moveaxis(x, axis, 0),
    "swapaxes": lambda m, x, axis: m.swapaxes(x, axis, -1),
    "rollaxis": lambda m, x, axis: m.rollaxis(x, axis),
    "roll": lambda m, x, axis: m.roll(x, 2, axis),
    "repeat": lambda m, x, axis: m.repeat(x, 2, axis),
    "stack": lambda m, x, axis: m.stack([x, x], axis),
    "concatenate": lambda m, x, axis: m.concatenate([x, x], axis),
    "append": lambda m, x, axis: m.append(x, x, axis),
    "split": lambda m, x, axis: m.split(x, [1, 2], axis),
    "array_split": lambda m, x, axis: m.array_split(x, 2, axis),
    "unstack": lambda m, x, axis: m.unstack(x, axis=axis),
    "diff": lambda m, x, axis: m.diff(x, axis=axis),
    "sort": lambda m, x, axis: m.sort(x, axis=axis),
    "argsort": lambda m, x, axis: m.argsort(x, axis=axis, stable=True),
    "delete": lambda m, x, axis: m.delete(x, 0, axis),
    "insert": lambda m, x, axis: m.insert(x, 0, 1, axis),
    "trapezoid": lambda m, x, axis: m.trapezoid(x, axis=axis),
}


@pytest.mark.parametrize("name", SHAPES)
@given(x=arrays(["float64", "int8", "bool"]), axis=st.sampled_from([0, -1, 1, 2]))
def test_with_an_axis(name, x, axis):
    assert_agrees(lambda m, x: SHAPES[name](m, x, axis), x)


WHOLE = {
    "ravel F": lambda m, x: m.ravel(x, order="F"),
    "reshape F": lambda m, x: m.reshape(x, (-1, 2), order="F"),
    "reshape": lambda m, x: m.reshape(x, (3, -1)),
    "x.reshape": lambda m, x: x.reshape(-1, 1),
    "rot90": lambda m, x: m.rot90(x),
    "tril": lambda m, x: m.tril(x, 1),
    "triu": lambda m, x: m.triu(x, -1),
    "diag": lambda m, x: m.diag(x, 1),
    "diagflat": lambda m, x: m.diagflat(x, -1),
    "diagonal": lambda m, x: m.diagonal(x, -1, 1, 0),
    "trace": lambda m, x: m.trace(x, 1),
    "tile": lambda m, x: m.tile(x, (2, 1, 2)),
    "broadcast_to": lambda m, x: m.broadcast_to(x, (2, 3)),
    "broadcast_arrays": lambda m, x: m.broadcast_arrays(x, np.ones((2, 1, 1, 1))),
    "resize": lambda m, x: m.resize(x, (2, 3)),
    "vstack": lambda m, x: m.vstack([x, x]),
    "hstack": lambda m, x: m.hstack([x, x]),
    "dstack": lambda m, x: m.dstack([x, x]),
    "column_stack": lambda m, x: m.column_stack([x, x]),
    "block": lambda m, x: m.block([[x, x], [x, x]]),
    "pad": lambda m, x: m.pad(x, (1, 2)),
    "pad values": lambda m, x: m.pad(x, 1, constant_values=(1, 2)),
    "where": lambda m, x: m.where(x, x, 1.5),
    "select": lambda m, x: m.select([x == 1, x == 0], [x, 2 * x], -1),
    "clip": lambda m, x: m.clip(x, 0, 1),
    "clip one end": lambda m, x: m.clip(x, None, 0.5),
    "round": lambda m, x: m.round(x * 13, -1),
    "zeros_like": lambda m, x: m.zeros_like(x, dtype="float32"),
    "full_like": lambda m, x: m.full_like(x, 2),
    "isclose": lambda m, x: m.isclose(x, x + 1e-9),
    "allclose": lambda m, x: m.allclose(x, 1),
    "array_equal": lambda m, x: m.array_equal(x, x),
    "nan_to_num": lambda m, x: m.nan_to_num(x / 0, posinf=3),
    "real": lambda m, x: (m.real(x), m.imag(x), x.real, x.imag, m.conj(x), x.conj()),
    "angle": lambda m, x: m.angle(x),
    "sinc": lambda m, x: m.sinc(x),
    "meshgrid": lambda m, x: m.meshgrid(x, [1, 2]),
    "ediff1d": lambda m, x: m.ediff1d(x, to_end=x),
    "T": lambda m, x: (x.T, x.ravel(), x.flatten(), x.copy(), x.astype("complex128")),
    "iteration": lambda m, x: list(x),
    "norm": lambda m, x: np.linalg.norm(x),
    "attributes": lambda m, x: (m.shape(x), m.ndim(x), m.size(x), m.iscomplexobj(x), x.nbytes, x.itemsize),
}


@pytest.mark.parametrize("name", WHOLE)
@given(x=arrays())
def test_of_a_whole_array(name, x):
    assert_agrees(WHOLE[name], x)


VECTORS = {
    "convolve": lambda m, x: [m.convolve(x, [1.0, 2, 3], mode) for mode in ("full", "same", "valid")],
    "correlate": lambda m, x: [m.correlate(x, [1.0, 2], mode) for mode in ("full", "same", "valid")],
    "correlate with more": lambda m, x: [m.correlate([1j] * 9, x, mode) for mode in ("full", "same", "valid")],
    "polyval": lambda m, x: m.polyval(x, 2.0),
    "polyadd": lambda m, x: m.polyadd(x, [1, 2]),
    "vander": lambda m, x: m.vander(x, 3),
    "einsum": lambda m, x: m.einsum("i,j->ji", x, x),
    "median": lambda m, x: m.median(x.real),
    "percentile": lambda m, x: m.percentile(x.real, [0, 30.5, 100]),
    "quantile": lambda m, x: m.quantile(x.real, 0.3, method="lower", keepdims=True),
    "searchsorted": lambda m, x: m.searchsorted(m.sort(x.real), [-1, 0.5, 9], side="right"),
    "digitize": lambda m, x: m.digitize(x.real, np.array([-1, 0, 1.5])),
    "interp": lambda m, x: m.interp(x.real, [-1, 0, 2], [3.0, 4, 7]),
    "interp periodic": lambda m, x: m.interp(x.real, [-1, 0, 2], [3.0, 4, 7], period=4),
    "unwrap": lambda m, x: m.unwrap(x.real * 3),
    "cov": lambda m, x: m.cov(x, x[::-1]),
    "average": lambda m, x: m.average(x, weights=np.arange(x.size) + 1, returned=True),
    "cumulative_sum": lambda m, x: m.cumulative_sum(x, include_initial=True),
    "linspace": lambda m, x: m.linspace(abs(x[0]), 7, 5, retstep=True),
    "unpacking": lambda m, x: (lambda a, b, *rest: (a + b, rest))(*x),
    "pad reflect": lambda m, x: [m.pad(x, 5, mode=mode) for mode in ("reflect", "symmetric", "wrap", "edge")],
    "lexsort": lambda m, x: m.lexsort((x.real, x.real > 0)),
    "gradient": lambda m, x: (m.gradient(x, 0.5), m.gradient(x, edge_order=2)),
    "norms": lambda m, x: [np.linalg.norm(x, p) for p in (None, 1, 2, 3, np.inf, -np.inf, 0)],
}


@pytest.mark.parametrize("name", VECTORS)
@given(x=st.sampled_from([3, 4, 7]).flatmap(lambda n: arrays(["int32", "float32", "float64", "complex128"], (n,))))
def test_of_a_vector(name, x):
    if name == "linspace" and x.dtype.kind == "c":
        return
    assert_agrees(VECTORS[name], x)


@pytest.mark.parametrize("name", ["matmul", "dot", "inner", "vdot", "outer", "kron", "vecdot", "matvec", "vecmat"])
@given(data=st.data())
def test_product(name, data):
    shapes = st.sampled_from([(), (3,), (2, 3), (3, 3), (4, 3, 3), (2, 1, 3, 3), (0, 3), (3, 0)])
    names = ["int8", "int64", "float32", "float64", "complex128"]
    x, y = data.draw(arrays(names, shape=shapes)), data.draw(arrays(names, shape=shapes))
    if name == "kron" and (x.ndim > 2 or y.ndim > 2):
        return
    assert_agrees(lambda m, x, y: getattr(m, name)(x, y), x, y)


EINSUMS = {
    "ij,jk->ik": [(2, 3), (3, 4)],
    "ij,jk": [(2, 3), (3, 4)],
    "...ij,...jk->...ik": [(5, 2, 3), (3, 4)],
    "ii,j->ij": [(3, 3), (2,)],
    "bi,bi->b": [(4, 3), (4, 3)],
    "ij,j->i": [(1, 3), (3,)],
    "ij,ij->ij": [(1, 3), (2, 3)],
    "ij,kl->": [(2, 3), (2, 2)],
    "ij,jk,kl->il": [(2, 3), (3, 4), (4, 2)],
    "ij,jk,kl,li": [(2, 3), (3, 4), (4, 2), (2, 2)],
    "iij->j": [(2, 2, 3)],
    "...i->...": [(2, 3)],
}


@pytest.mark.parametrize("subscripts", EINSUMS)
@given(data=st.data())
def test_einsum(subscripts, data):
    operands = [data.draw(arrays(["int64", "float64", "complex128"], shape)) for shape in EINSUMS[subscripts]]
    assert_agrees(lambda m, *xs: m.einsum(subscripts, *xs), *operands)


def test_einsum_with_lists_of_axes():
    x = np.arange(6.0).reshape(2, 3)
    assert_agrees(lambda m, x: m.einsum(x, [0, 1], x, [2, 1], [2, 0]), x)


@pytest.mark.parametrize("subscripts", ["ij,jk", "ij->ijk", "ij->ii", "i,i", "i.j,j"])
def test_einsum_refuses_what_does_not_fit(subscripts):
    with pytest.raises(ValueError, match="einsum"):
        ft.jit(lambda x: fnp.einsum(subscripts, x, x[:1, :1].T.ravel()[:1].repeat(2)))(np.ones((2, 3)))


CREATION = {
    "zeros": lambda m: m.zeros((2, 3), dtype="float32"),
    "ones": lambda m: m.ones(3),
    "empty": lambda m: m.empty((0, 2)),
    "full": lambda m: m.full((2,), 3),
    "eye": lambda m: m.eye(3, 4, 1),
    "identity": lambda m: m.identity(2, dtype=int),
    "tri": lambda m: m.tri(3, k=-1),
    "arange": lambda m: (m.arange(5), m.arange(2, 9, 3), m.arange(0, 1, 0.3), m.arange(4, 0, -1, dtype="float32")),
    "linspace": lambda m: (m.linspace(0, 1, 7), m.linspace(0, 1, 5, endpoint=False), m.linspace(3, 4, 1)),
    "linspace of integers": lambda m: m.linspace(0, 10, 4, dtype=int),
    "logspace": lambda m: m.logspace(0, 2, 5, base=2),
    "geomspace": lambda m: m.geomspace(1, 1000, 4),
    "indices": lambda m: m.indices((2, 3)),
    "array": lambda m: m.array(2.0, ndmin=2),
}


@pytest.mark.parametrize("name", CREATION)
def test_creation_is_part_of_the_program(name):
    assert_agrees(lambda m, x: CREATION[name](m), 1.0)
    program = ft.make_jaxpr(lambda x: CREATION[name](fnp))(1.0)
    assert not program.consts


def test_an_array_of_numbers_is_captured():
    assert_agrees(lambda m, x: m.asarray([[1, 2], [3, 4.5]]) + x, 1.0)


def test_lists_of_tracers_are_arrays():
    x = np.array([1.0, 2.0])
    stacked = ft.jit(lambda x: fnp.asarray([x, [x[0], 5], (7, 8)]))(x)
    np.testing.assert_array_equal(stacked, [[1, 2], [1, 5], [7, 8]])
    assert ft.jit(lambda x: fnp.sum([x[0], x[1], 1]))(x) == 4
    np.testing.assert_array_equal(ft.grad(lambda x: fnp.sum(fnp.array([x[0] * x[1], 3.0])))(x), [2, 1])


def test_outside_of_recordings_functions_are_numpys():
    assert type(fnp.sin(np.ones(2))) is np.ndarray
    assert fnp.sum([1, 2]) == 3
    assert fnp.zeros(3).flags.writeable


@pytest.mark.parametrize("dtype", DTYPES)
def test_names_of_dtypes(dtype):
    name = {"bool": "bool_"}.get(dtype, dtype)
    assert getattr(fnp, name) is getattr(np, name)


def test_where_needs_no_safe_values():
    gradient = ft.grad(lambda x: np.sum(np.where(x > 0, np.sqrt(np.where(x > 0, x, 1)), 0)))(np.array([0.0, 4.0]))
    np.testing.assert_array_equal(gradient, [0, 0.25])


def test_bincount_with_a_length():
    x = np.array([1, 3, 3])
    np.testing.assert_array_equal(ft.jit(lambda x: fnp.bincount(x, length=5))(x), np.bincount(x, minlength=5))
    gradient = ft.grad(lambda w: fnp.bincount(x, w, length=4)[3])(np.ones(3))
    np.testing.assert_array_equal(gradient, [0, 1, 1])


def test_piecewise():
    x = np.array([-1.0, 2.0])
    assert_agrees(lambda m, x: m.piecewise(x, [x < 0, x >= 0], [lambda v: -v, lambda v: v * 2]), x)


def test_multi_dot_and_matrix_power():
    x = np.arange(6.0).reshape(2, 3)
    assert_agrees(lambda m, x: np.linalg.multi_dot([x[0], x.T, x, x[1]]), x)
    assert_agrees(lambda m, x: [np.linalg.matrix_power(x, n) for n in (0, 1, 5)], x[:, :2])
