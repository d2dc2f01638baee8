"""Hypothesis profiles: `ci` is short and repeatable, `HYPOTHESIS_PROFILE=long` searches.

Every program that a test makes is type-checked. Tests record one function as often as they like.
"""

import gc
import os

import pytest
from hypothesis import settings

import functrans

settings.register_profile("ci", max_examples=25, deadline=None, derandomize=True)
settings.register_profile("long", max_examples=1000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

functrans.config.check_programs = True


def pytest_collection_finish() -> None:
    """The many tests themselves stay: the garbage collector needs not look through them again and again."""
    gc.collect()
    gc.freeze()


RETRACE_WARNING = functrans.config.retrace_warning


def pytest_runtest_setup() -> None:
    functrans.config.retrace_warning = None


@pytest.hookimpl(trylast=True)  # after the fixtures
def pytest_runtest_teardown() -> None:
    functrans.config.retrace_warning = RETRACE_WARNING
