"""Fixtures of the tests of crashes."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHARED_MEMORY = Path("/dev/shm")

# A test that takes longer waits for something that never happens, such as a writer of a FIFO.
_HANG_SECONDS = 120


@pytest.fixture
def memory_path(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory if possible, where files are created and removed fast."""
    if not os.access(_SHARED_MEMORY, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=_SHARED_MEMORY) as path:
        yield Path(path)


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    """Fail a test that waits without end."""

    def fail(*_: object) -> None:
        raise AssertionError(f"the test did not end within {_HANG_SECONDS} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(_HANG_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
