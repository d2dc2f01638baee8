"""Parameters are equal just if they mean the same."""

import pickle
from enum import Enum
from typing import Any

import numpy as np
import pytest

from functrans.core.params import Params, fingerprint


class Colour(Enum):
    RED = 1
    BLUE = 2


DIFFERENT = [
    (0.0, -0.0),
    (1, True),
    (1, 1.0),
    (0, False),
    (1.0, np.float64(1.0)),
    (np.float64(0.0), np.float64(-0.0)),
    (np.float32(1), np.float64(1)),
    (1 + 0j, 1.0),
    (0j, complex(-0.0, 0.0)),
    ("1", 1),
    (None, False),
    ((1, 2), (1, 2.0)),
    ((0.0,), (-0.0,)),
    ((1, (2,)), (1, 2)),
    (frozenset([1]), frozenset([True])),
    (Colour.RED, Colour.BLUE),
    (np.dtype("float32"), np.dtype("float64")),
]


@pytest.mark.parametrize(("a", "b"), DIFFERENT)
def test_what_differs_in_meaning_is_not_equal(a: Any, b: Any) -> None:
    assert fingerprint(a) != fingerprint(b)
    assert Params.of({"p": a}) is not Params.of({"p": b})


SAME = [
    (float("nan"), float("nan")),
    ([1, 2], (1, 2)),
    ([[1], [2]], ((1,), (2,))),
    (np.dtype("f8"), np.dtype("float64")),
    (10**30, 10**30),
]


@pytest.mark.parametrize(("a", "b"), SAME)
def test_what_means_the_same_is_equal(a: Any, b: Any) -> None:
    assert fingerprint(a) == fingerprint(b)
    assert Params.of({"p": a}) is Params.of({"p": b})


def test_the_order_of_names_does_not_matter() -> None:
    assert Params.of({"a": 1, "b": 2}) is Params.of({"b": 2, "a": 1})


def test_params_are_read_only() -> None:
    params = Params.of({"axes": [0, 1]})
    assert params["axes"] == (0, 1)
    for change in (lambda: params.update(axes=1), lambda: params.pop("axes"), lambda: params.__setitem__("axes", 1)):
        with pytest.raises(TypeError, match="cannot change"):
            change()


def test_params_can_be_pickled() -> None:
    params = Params.of({"axes": (0, 1), "x": -0.0})
    assert pickle.loads(pickle.dumps(params)) is params


def test_what_is_not_hashable_is_refused() -> None:
    with pytest.raises(TypeError, match=r"must be hashable, got array\(\[1\]\) of type ndarray"):
        Params.of({"p": np.array([1])})


def test_what_can_change_is_refused() -> None:
    with pytest.raises(TypeError, match=r"a parameter of an equation must be hashable, got .* of type dict"):
        Params.of({"p": {"a": 1}})
