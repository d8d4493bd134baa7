"""A served folder with one bucket, and hypothesis without a deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from pathlib import Path

# A slow machine must not fail a test.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """The served folder. Its only bucket is `b`."""
    folder = tmp_path / "served"
    (folder / "b").mkdir(parents=True)
    return folder


@pytest.fixture
def bucket(served: Path) -> Path:
    """The folder of bucket `b`."""
    return served / "b"
