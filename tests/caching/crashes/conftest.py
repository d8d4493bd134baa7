"""Fixtures of the tests of crashes."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from .folders import memory_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A test that takes longer waits for something that never happens, such as a writer of a FIFO.
_HANG_SECONDS = 300


@pytest.fixture
def memory_path() -> Iterator[Path]:
    """A folder in memory if possible."""
    with memory_folder() as path:
        yield path


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
