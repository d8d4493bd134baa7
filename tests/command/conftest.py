"""A real emulator and a real mount point, for the tests that start the real command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

BIN = Path(sys.executable).parent


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve a bucket named my-bucket that holds the object dir/hello; yields host:port."""
    folder = tmp_path_factory.mktemp("buckets")
    (folder / "my-bucket" / "dir").mkdir(parents=True)
    (folder / "my-bucket" / "dir" / "hello").write_text("hello\n")
    with subprocess.Popen(
        [BIN / "gcsmux-emulator", folder, "--port", "0"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("gcsmux-emulator listening on "), line
        yield line.split()[-1]
        process.terminate()


@pytest.fixture
def mountpoint(tmp_path: Path) -> Iterator[Path]:
    """An empty directory, on which nothing stays mounted."""
    path = tmp_path / "mnt"
    path.mkdir()
    yield path
    for _ in range(10):
        if subprocess.run(["umount", "-l", path], capture_output=True, check=False).returncode:
            break


@pytest.fixture
def environment(emulator: str) -> dict[str, str]:
    """The environment of a user who works with the emulator."""
    return {
        **{name: text for name, text in os.environ.items() if name != "NOTIFY_SOCKET"},
        "STORAGE_EMULATOR_HOST_GRPC": emulator,
    }
