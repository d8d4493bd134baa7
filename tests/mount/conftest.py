"""An emulator over a folder of its own for each test, and mounts of its bucket."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .harness import BUCKET, EmulatorProcess, MountProcess, NewMount, wait_until
from .tls import Service, certificate, tls_relay

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may enter, which pytest's own are not; large files go with it."""
    with tempfile.TemporaryDirectory(prefix="gcsmux-mount-test-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@pytest.fixture
def emulator(folder: Path) -> Iterator[EmulatorProcess]:
    """The emulator with one empty bucket; at the end no stream is open, and nothing was wrong."""
    with EmulatorProcess(folder / "buckets") as process:
        yield process
        wait_until(lambda: process.statistics().streams_open == 0, "no stream")
    assert process.log == ""


@pytest.fixture
def service(emulator: EmulatorProcess, folder: Path) -> Iterator[Service]:
    """The emulator behind TLS."""
    made = certificate(folder)
    with tls_relay(emulator.port, made) as endpoint:
        yield Service(endpoint, made)


@pytest.fixture
def mount(emulator: EmulatorProcess, folder: Path) -> NewMount:
    """Mounts of the bucket."""
    numbers = itertools.count()

    def new_mount(
        *options: str, bucket: str = BUCKET, expected_warnings: Sequence[str] = ()
    ) -> MountProcess:
        place = folder / f"mount-{next(numbers)}"
        place.mkdir()
        return MountProcess(emulator, place, options, bucket, expected_warnings)

    return new_mount
