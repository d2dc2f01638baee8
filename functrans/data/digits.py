"""The handwritten digits that come with scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans.data.loading import sklearn_datasets
from functrans.errors import hide_frames

__all__ = ["digits"]


def digits(dtype: Any = np.float64) -> tuple[np.ndarray, np.ndarray]:
    """1,797 handwritten digits of 8 by 8 pixels (Alpaydin and Kaynak, UCI Machine Learning Repository, 1998).

    Args:
        dtype: of the images.

    Returns:
        The images, of shape (1797, 64), scaled to [0, 1], and the labels, int64 of shape (1797,).

    Raises:
        ImportError: if scikit-learn is not installed.
    """
    try:
        found = sklearn_datasets().load_digits()
    except ImportError as error:
        raise hide_frames(error)  # noqa: B904  (it is the same error)
    return (found.data / 16).astype(dtype), found.target.astype(np.int64)
