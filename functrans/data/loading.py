"""scikit-learn, which is optional: loaded when its data are first asked for."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["sklearn_datasets"]


def sklearn_datasets() -> Any:
    """The module `sklearn.datasets`.

    Raises:
        ImportError: if scikit-learn is not installed.
    """
    try:
        return importlib.import_module("sklearn.datasets")
    except ImportError as error:
        raise ImportError(
            "functrans.data.digits reads the digits that come with scikit-learn, which is not installed: "
            "pip install scikit-learn"
        ) from error
