"""Fixtures: one emulator for all tests, a bucket for each test, and mounts of this bucket."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.emulator_process import BUCKET
from tests.support.harness import EmulatorProcess, MountProcess, NewMount, wait_until
from tests.support.tls import Service, certificate, tls_relay

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_test_numbers = itertools.count(1)


def _open_folder() -> tempfile.TemporaryDirectory[str]:
    """Make a temporary folder that other users can enter.

    The temporary folders of pytest cannot be used, because only their owner can enter them.
    """
    folder = tempfile.TemporaryDirectory(prefix="gcsmux-mount-test-")
    Path(folder.name).chmod(0o755)
    return folder


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users can enter.

    The folder is removed after the test, because the files of a test can be large.
    """
    with _open_folder() as name:
        yield Path(name)


@pytest.fixture(scope="session")
def shared_emulator() -> Iterator[EmulatorProcess]:
    """The emulator process that all tests share. The first call of `use_new_bucket` starts it."""
    with _open_folder() as name:
        process = EmulatorProcess(Path(name))
        yield process
        process.__exit__()


@pytest.fixture
def emulator(shared_emulator: EmulatorProcess) -> Iterator[EmulatorProcess]:
    """The shared emulator with an empty bucket for this test.

    After the test, the fixture checks that no stream is open and that the emulator has logged
    nothing.
    """
    process = shared_emulator
    process.use_new_bucket(f"{BUCKET}-{next(_test_numbers)}")
    log_before = process.log
    try:
        yield process
        if process.running:
            wait_until(lambda: process.statistics().streams_open == 0, "no open stream")
        assert process.log == log_before
    finally:
        process.remove_bucket()


@pytest.fixture
def service(emulator: EmulatorProcess, folder: Path) -> Iterator[Service]:
    """A TLS proxy in front of the test's emulator."""
    server_certificate = certificate(folder)
    with tls_relay(emulator.port, server_certificate) as endpoint:
        yield Service(endpoint, server_certificate)


@pytest.fixture
def mount(emulator: EmulatorProcess, folder: Path) -> NewMount:
    """A function that makes mounts of the test's bucket."""
    numbers = itertools.count()

    def new_mount(
        *options: str, bucket: str = "", expected_warnings: Sequence[str] = ()
    ) -> MountProcess:
        mount_folder = folder / f"mount-{next(numbers)}"
        mount_folder.mkdir()
        return MountProcess(emulator, mount_folder, options, bucket, expected_warnings)

    return new_mount
