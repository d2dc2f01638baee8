"""Initial values: JAX's numbers, variances, orthogonality."""

import numpy as np
import pytest

import functrans as ft
from functrans.nn import initializers

KEY = ft.random.key(7)
# What jax.nn.initializers gave with jax.random.key(7) for shape (3, 2), in float32: the first column.
JAX = {
    "uniform": ((2.0,), [1.348179817199707, 0.605687141418457, 1.461773157119751]),
    "normal": ((2.0,), [0.9024702906608582, -1.032478928565979, 1.230993390083313]),
    "truncated_normal": ((2.0,), [0.8587167263031006, -0.9814288020133972, 1.1679484844207764]),
    "glorot_uniform": ((), [0.3814118802547455, -0.43194812536239624, 0.505847156047821]),
    "he_normal": ((), [0.3985441327095032, -0.45549675822257996, 0.5420635342597961]),
    "lecun_normal": ((), [0.28181323409080505, -0.32208481431007385, 0.38329675793647766]),
    "orthogonal": ((), [0.48973512649536133, -0.5602856278419495, 0.6680116653442383]),
}


@pytest.mark.parametrize("name", JAX)
def test_numbers_of_jax(name):
    args, expected = JAX[name]
    init = getattr(initializers, name)(*args)
    found = init(KEY, (3, 2), "float32")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, 0], expected, rtol=2e-5)
    assert init(KEY, (3, 2)).dtype == np.float64
    np.testing.assert_array_equal(ft.jit(lambda k: init(k, (3, 2), "float32"))(KEY), found)
    keys = ft.random.split(KEY, 3)
    np.testing.assert_allclose(ft.vmap(lambda k: init(k, (4, 2)))(keys)[1], init(keys[1], (4, 2)), rtol=1e-12)


@pytest.mark.parametrize("distribution", ["truncated_normal", "normal", "uniform"])
@pytest.mark.parametrize(("mode", "fan"), [("fan_in", 90), ("fan_out", 180), ("fan_avg", 135), ("fan_geo_avg", 127.28)])
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_variance(mode, fan, distribution, dtype):
    drawn = initializers.variance_scaling(3.0, mode, distribution)(KEY, (3, 3, 10, 20), dtype)
    assert np.mean(np.abs(drawn) ** 2) * fan / 3 == pytest.approx(1, abs=0.06)
    assert abs(drawn.mean()) < 0.02


def test_axes_of_the_fans():
    init = initializers.lecun_uniform(in_axis=0, out_axis=(1, 2), batch_axis=-1)
    assert np.abs(init(KEY, (12, 5, 5, 40))).max() == pytest.approx(0.5, abs=0.01)
    assert initializers.he_normal()(KEY, (0, 3)).shape == (0, 3)


def test_orthogonal():
    for shape, axis in (((5, 3), -1), ((3, 5), -1), ((2, 4, 3), 1)):
        drawn = initializers.orthogonal(2.0, axis)(KEY, shape)
        matrix = np.moveaxis(drawn, axis, -1).reshape(-1, shape[axis])
        product = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
        np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-12)
    kernel = initializers.delta_orthogonal()(KEY, (3, 4, 2, 3))
    np.testing.assert_allclose(kernel[1, 1] @ kernel[1, 1].T, np.eye(2), atol=1e-12)
    kernel = np.array(kernel)
    kernel[1, 1] = 0
    assert not kernel.any()


def test_constants():
    assert initializers.zeros(None, (2, 3), "int8").dtype == np.int8
    assert initializers.ones(KEY, [2]).tolist() == [1, 1]
    assert initializers.constant([1, 2])(None, (2, 2), "float32").tolist() == [[1, 2], [1, 2]]


def test_bad_arguments():
    with pytest.raises(ValueError, match="mode must be 'fan_in'"):
        initializers.variance_scaling(1.0, "fan", "normal")
    with pytest.raises(ValueError, match="distribution must be"):
        initializers.variance_scaling(1.0, "fan_in", "cauchy")
    with pytest.raises(ValueError, match=r"an array of shape \(3,\) has no axes in_axis=-2 and out_axis=-1"):
        initializers.glorot_normal()(KEY, (3,))
    with pytest.raises(ValueError, match="gives floats or complex numbers, not int64"):
        initializers.normal()(KEY, (3,), int)
    with pytest.raises(TypeError, match="shape must be a sequence of ints, got 3"):
        initializers.normal()(KEY, 3)
    with pytest.raises(ValueError, match="the 3 input features are more than the 2 output features"):
        initializers.delta_orthogonal()(KEY, (3, 3, 2))


@pytest.mark.parametrize("scale", [-1.0, np.nan, np.inf])
def test_variance_scaling_needs_a_scale(scale):
    with pytest.raises(ValueError, match="scale must be a number that is not negative, got"):
        initializers.variance_scaling(scale, "fan_in", "normal")
