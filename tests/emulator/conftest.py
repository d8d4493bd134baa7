"""What the emulator's tests share: a bucket to fill, and hypothesis without its deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from pathlib import Path

# A busy machine is no failure.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """A folder to serve; its only bucket is `b`."""
    folder = tmp_path / "served"
    (folder / "b").mkdir(parents=True)
    return folder


@pytest.fixture
def bucket(served: Path) -> Path:
    """The folder of bucket `b`."""
    return served / "b"
