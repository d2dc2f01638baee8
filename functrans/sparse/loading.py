"""SciPy, which is optional: loaded when a sparse array is first asked for."""

from __future__ import annotations

import importlib
from functools import lru_cache
from typing import Any

__all__ = ["scipy_sparse"]


@lru_cache(maxsize=1)
def scipy_sparse() -> Any:
    """The module `scipy.sparse`.

    Raises:
        ImportError: if SciPy is not installed.
    """
    try:
        return importlib.import_module("scipy.sparse")
    except ImportError as error:
        raise ImportError(
            "functrans.sparse gives scipy.sparse arrays, and SciPy is not installed: pip install 'functrans[scipy]'"
        ) from error
