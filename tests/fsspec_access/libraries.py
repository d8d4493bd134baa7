"""Import of the libraries that read through gcsmux://; they are an optional dependency group."""

from __future__ import annotations

import importlib
import os
from typing import Any

import pytest

__all__ = ["library"]


def library(name: str) -> Any:
    """Return a module, or skip the test if the dependency group is not installed.

    With GCSMUX_REQUIRE_FSSPEC_LIBRARIES, a missing library is an error.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        if os.environ.get("GCSMUX_REQUIRE_FSSPEC_LIBRARIES"):
            raise
        pytest.skip(f"{name} is not installed: run scripts/bootstrap fsspec-tests")
