"""Tests the repeated search for submounts, in a fake of /proc."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.fuse.submount_search import SubmountSearch

if TYPE_CHECKING:
    from pathlib import Path

OURS = os.makedev(0, 57)
PLAIN = "1 0 8:1 / / rw - ext4 /dev/sda rw\n2 1 0:57 / /data rw - fuse.gcsmux-mount b rw\n"
SHARED = PLAIN.replace("/data rw -", "/data rw shared:3 -")
COVERED = PLAIN + "3 2 0:60 / /data/folder rw - tmpfs none rw\n"
FIRST_PIDS, OTHER_PIDS = "pid:[4026531836]", "pid:[5]"


class FakeProc:
    """A directory like /proc, and a clock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = 0.0
        self.process("self", "mnt:[1]")
        self.process("1", "mnt:[1]")

    def process(
        self, name: str, namespace: str, table: str = PLAIN, pids: str = FIRST_PIDS
    ) -> None:
        links = self.path / name / "ns"
        links.mkdir(parents=True, exist_ok=True)
        for link, target in (("mnt", namespace), ("pid", pids)):
            (links / link).unlink(missing_ok=True)
            (links / link).symlink_to(target)
        (links.parent / "mountinfo").write_text(table)

    def search(self) -> SubmountSearch:
        return SubmountSearch(OURS, self.path, lambda: self.now)


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    return FakeProc(tmp_path)


def test_the_own_table_is_read_each_time(proc: FakeProc) -> None:
    search = proc.search()
    for table, found in ((PLAIN, False), (COVERED, True), (PLAIN, False)):
        proc.process("self", "mnt:[1]", table)
        assert search.found() is found


def test_a_new_process_with_a_namespace_of_its_own_is_found(proc: FakeProc) -> None:
    search = proc.search()
    assert not search.found()
    proc.process("20", "mnt:[2]", COVERED)
    assert search.found()
    for link in (proc.path / "20").rglob("*"):
        if not link.is_dir() or link.is_symlink():
            link.unlink()
    (proc.path / "20" / "ns").rmdir()
    (proc.path / "20").rmdir()
    assert not search.found()


def test_the_table_of_a_known_namespace_is_read_each_time(proc: FakeProc) -> None:
    search = proc.search()
    proc.process("20", "mnt:[2]")
    for _ in range(3):
        assert not search.found()
        proc.now += 100
    proc.process("20", "mnt:[2]", COVERED)
    assert search.found()


def test_a_young_process_that_makes_a_namespace_is_found(proc: FakeProc) -> None:
    search = proc.search()
    proc.process("20", "mnt:[1]")
    assert not search.found()
    proc.now += 5
    proc.process("20", "mnt:[2]", COVERED)
    assert search.found()


def test_a_process_that_starts_during_the_search_is_found(proc: FakeProc) -> None:
    def clock() -> float:
        # The clock is read after the processes were listed.
        proc.process("20", "mnt:[2]", COVERED)
        return 0.0

    assert SubmountSearch(OURS, proc.path, clock).found()


def test_an_old_process_that_makes_a_namespace_is_found_soon(proc: FakeProc) -> None:
    search = proc.search()
    for number in range(100, 200):
        proc.process(str(number), "mnt:[1]")
    for _ in range(3):
        assert not search.found()
        proc.now += 100
    proc.process("150", "mnt:[2]", COVERED)
    assert any(search.found() for _ in range(10))


def test_a_shared_mount_may_be_covered_where_this_process_sees_nothing(proc: FakeProc) -> None:
    search = proc.search()
    for pids, table, found in (
        (FIRST_PIDS, SHARED, False),
        (OTHER_PIDS, PLAIN, False),
        (OTHER_PIDS, SHARED, True),
    ):
        proc.process("self", "mnt:[1]", table, pids)
        assert search.found() is found


def test_hidden_processes_may_have_a_submount(proc: FakeProc) -> None:
    search = proc.search()
    assert not search.found()
    (proc.path / "1" / "mountinfo").unlink()
    assert search.found()


def test_a_table_of_an_unknown_format_may_have_a_submount(proc: FakeProc) -> None:
    proc.process("self", "mnt:[1]", "unknown\n")
    assert proc.search().found()


def test_a_machine_without_proc_may_have_a_submount(tmp_path: Path) -> None:
    assert SubmountSearch(OURS, tmp_path / "absent").found()


def test_this_machine_is_searched() -> None:
    search = SubmountSearch(os.makedev(0, 4_000))
    assert [search.found() for _ in range(3)] == [False] * 3
