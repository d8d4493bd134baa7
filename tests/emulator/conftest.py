"""Fixtures: a folder that the emulator serves, with one bucket. Hypothesis has no deadline here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from pathlib import Path

# No deadline, so that a test does not fail because the machine is slow.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """The folder that the emulator serves. It has only the bucket `b`."""
    folder = tmp_path / "served"
    (folder / "b").mkdir(parents=True)
    return folder


@pytest.fixture
def bucket(served: Path) -> Path:
    """The folder with the files of bucket `b`."""
    return served / "b"
