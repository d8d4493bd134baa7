"""Tests of the disks that other tests use: their faults start and end when the test says so."""

from __future__ import annotations

import errno
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.disks.disk_faults import FOR_EVER, WRITING, DiskFault, FaultTable
from tests.support.disks.faulty_disk import FaultyDisk
from tests.support.harness import wait_until
from tests.support.sizes import MIB

if TYPE_CHECKING:
    from pathlib import Path

_SECONDS = 10
_READ = frozenset({"read"})


def test_a_fault_occurs_after_some_operations_and_a_number_of_times() -> None:
    table = FaultTable()
    table.replace((DiskFault(_READ, errno=errno.EIO, skip=1, times=2, path="chunks/*"),))
    paths = ["chunks/a", "chunks/b", "ledger", "chunks/c", "chunks/d"]
    met = [table.meets("read", path) is not None for path in paths]
    assert met == [False, True, False, True, False]
    assert table.meets("write", "chunks/e") is None
    assert (table.operations["read"], table.met["read"]) == (5, 2)


def test_a_fault_without_a_limit_never_ends() -> None:
    table = FaultTable()
    table.replace((DiskFault(_READ, errno=errno.EIO, times=FOR_EVER),))
    assert all(table.meets("read", "file") for _ in range(5))


def _run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=_SECONDS, env={"LC_ALL": "C"}
    )


@pytest.mark.mount
def test_a_disk_fails_hangs_and_fills_on_order(tmp_path: Path) -> None:
    with FaultyDisk(tmp_path) as disk:
        (disk.behind / "file").write_bytes(b"content")
        file = disk.path / "file"

        assert _run("cat", file).stdout == "content"
        disk.fail(_READ)
        assert "Input/output error" in _run("cat", file).stderr
        disk.fail(WRITING, errno.EROFS)
        assert "Read-only file system" in _run("mkdir", disk.path / "folder").stderr
        assert _run("cat", file).stdout == "content"

        disk.hang(_READ)
        with subprocess.Popen(["cat", file], stdout=subprocess.PIPE, text=True) as reader:
            wait_until(lambda: disk.waiting() == 1, "the read hangs")
            disk.heal()
            assert reader.communicate(timeout=_SECONDS)[0] == "content"
        assert disk.met() == {"read": 2, "mkdir": 1}

        disk.limit(MIB)
        filler = disk.path / "filler"
        filled = _run("dd", "if=/dev/zero", f"of={filler}", "bs=64K", "count=32")
        assert "No space left on device" in filled.stderr
        assert (disk.behind / "filler").stat().st_size <= MIB
        assert _run("stat", "-f", "-c", "%a", disk.path).stdout == "0\n"
        assert _run("rm", filler).returncode == 0
        assert _run("stat", "-f", "-c", "%a", disk.path).stdout == "256\n"


@pytest.mark.mount
def test_a_program_that_hangs_goes_on_when_the_test_ends(tmp_path: Path) -> None:
    with FaultyDisk(tmp_path) as disk:
        disk.hang()
        reader = subprocess.Popen(["ls", disk.path], stderr=subprocess.DEVNULL)
        wait_until(lambda: disk.waiting() > 0, "the program hangs")
    assert reader.wait(_SECONDS) is not None
