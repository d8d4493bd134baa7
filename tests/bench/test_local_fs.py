"""Tests the yardstick for the cache on disk: the plain file system serves what is in the folder."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks.local_fs import READ_AHEAD_BYTES
from benchmarks.running import Launch, on_mount
from benchmarks.tasks import Kind, Task

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 3_000_000


@pytest.mark.mount
@pytest.mark.real_time
def test_the_plain_file_system_serves_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    (folder / "files").mkdir(parents=True)
    for number in range(100):
        (folder / "files" / f"{number}").write_bytes(os.urandom(number))
    (folder / "big").write_bytes(os.urandom(SIZE))
    mountpoint = tmp_path / "mnt"
    command = [sys.executable, "-m", "benchmarks.local_fs", str(folder), str(mountpoint)]
    launch = Launch(command, own_read_ahead=0 if os.geteuid() else READ_AHEAD_BYTES)
    whole, _ = on_mount(Task(Kind.SEQUENTIAL, ("big",), SIZE), launch, mountpoint, None)
    assert whole.read_bytes == SIZE
    files, _ = on_mount(Task(Kind.FILES, ("files",)), launch, mountpoint, None)
    assert (files.operations, files.read_bytes) == (100, sum(range(100)))
