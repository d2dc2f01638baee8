"""Colourings: what each promises, on random patterns."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functrans.sparse.coloring import color_columns, color_symmetric
from functrans.sparse.plans import boolean_matrix, plan_of

pytest.importorskip("scipy.sparse")

PATTERNS = st.tuples(st.integers(0, 9), st.integers(1, 9), st.floats(0, 1), st.integers(0, 10**6))


def random_pattern(drawn):
    m, n, density, seed = drawn
    return np.random.default_rng(seed).random((m, n)) < density


@settings(max_examples=60, deadline=None)
@given(PATTERNS)
def test_columns_of_one_color_share_no_row(drawn):
    pattern = random_pattern(drawn)
    colors = color_columns(boolean_matrix(pattern))
    for color in range(colors.max() + 1):
        assert (pattern[:, colors == color].sum(axis=1) <= 1).all()


@settings(max_examples=60, deadline=None)
@given(PATTERNS)
def test_each_entry_or_its_mirror_image_can_be_read(drawn):
    n = drawn[1]
    pattern = random_pattern((n, n, *drawn[2:]))
    pattern |= pattern.T
    colors = color_symmetric(boolean_matrix(pattern))
    for i, j in np.argwhere(pattern):
        alone = [pattern[a, colors == colors[b]].sum() == 1 for a, b in ((i, j), (j, i))]
        assert any(alone)
    assert colors.max() <= color_columns(boolean_matrix(pattern)).max()


@settings(max_examples=60, deadline=None)
@given(PATTERNS, st.sampled_from(["fwd", "rev", "both", "auto"]))
def test_plans_read_what_the_passes_give(drawn, mode):
    pattern = random_pattern(drawn)
    values = np.where(pattern, np.arange(1.0, pattern.size + 1).reshape(pattern.shape), 0.0)
    plan = plan_of(boolean_matrix(pattern), mode)
    columns, rows = plan.coloring
    forward = [values @ (columns == color) for color in range(columns.max(initial=-1) + 1)]
    reverse = [(rows == color) @ values for color in range(rows.max(initial=-1) + 1)]
    found = np.concatenate([*forward, *reverse, []])[plan.places]
    np.testing.assert_array_equal(found, values[pattern])
    assert mode != "fwd" or plan.coloring.n_passes == len(forward)


def test_orders():
    band = np.tri(50, k=1, dtype=bool) & ~np.tri(50, k=-2, dtype=bool)
    assert color_columns(boolean_matrix(band)).max() == 2
    assert color_symmetric(boolean_matrix(band | band.T)).max() == 2
    assert color_columns(boolean_matrix(np.zeros((3, 4), bool))).tolist() == [0, 0, 0, 0]
    assert color_columns(boolean_matrix(np.ones((3, 4), bool))).tolist() == [0, 1, 2, 3]
