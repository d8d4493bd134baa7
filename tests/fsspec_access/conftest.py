"""Fixtures: one emulator for all tests, a bucket for each test, and a file system that reads it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.fsspec_access.file_system import GcsmuxFileSystem
from tests.support.emulator_process import BUCKET, EmulatorProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

_test_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def shared_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """The emulator process that all tests share. The first call of `use_new_bucket` starts it."""
    process = EmulatorProcess(tmp_path_factory.mktemp("emulator"))
    yield process
    process.__exit__()


@pytest.fixture
def emulator(shared_emulator: EmulatorProcess) -> Iterator[EmulatorProcess]:
    """The shared emulator with an empty bucket for this test."""
    shared_emulator.use_new_bucket(f"{BUCKET}-fsspec-{next(_test_numbers)}")
    try:
        yield shared_emulator
    finally:
        shared_emulator.remove_bucket()


@pytest.fixture
def fs(emulator: EmulatorProcess) -> GcsmuxFileSystem:
    """A file system without mount. All tests share one engine, because their settings are equal."""
    return GcsmuxFileSystem(endpoint=emulator.endpoint, plaintext=True, anonymous=True)


@pytest.fixture
def root(emulator: EmulatorProcess) -> str:
    """The path of the test's bucket in the file system."""
    return emulator.bucket_name
