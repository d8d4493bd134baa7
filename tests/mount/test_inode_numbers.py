"""The inode number of a file is a hash of what identifies the file.

So the inode number is the same after the kernel has forgotten the inode, and programs recognise
the file.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support import programs
from tests.support.harness import MountProcess, wait_until

if TYPE_CHECKING:
    from tests.support.harness import EmulatorProcess, NewMount

pytestmark = [
    pytest.mark.mount,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make the kernel forget inodes"),
]

NAMES = ["a", "b", "folder/c", "folder/deeper/d"]


def numbers(mounted: MountProcess) -> dict[bytes, int]:
    """Return the inode number of each path below the mount point."""
    with mounted.program() as program:
        found = program.call(programs.tree, str(mounted.path))
        return {
            path: program.call(os.lstat, os.fsencode(mounted.path) + b"/" + path).st_ino
            for path in found
        }


def make_the_kernel_forget(mounted: MountProcess) -> None:
    """Make the kernel forget all inodes of the mount except the root inode."""

    def has_forgotten() -> bool:
        mounted.drop_inodes()
        return mounted.statistics()["inodes"] == 1

    wait_until(has_forgotten, "only the root inode is left")


def test_inode_numbers_survive_a_dropped_cache_and_a_remount(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    for name in NAMES:
        emulator.place(name, name.encode())
    with mount() as mounted:
        before = numbers(mounted)
        make_the_kernel_forget(mounted)
        # Call stat in another order, because inode numbers must not depend on the order of lookups.
        assert mounted.run("stat", "-c%i", *reversed(NAMES)).stdout.split() == [
            str(before[name.encode()]).encode() for name in reversed(NAMES)
        ]
    emulator.place("a", b"overwritten")
    with mount() as mounted:
        after = numbers(mounted)
    assert after.pop(b"a") != before.pop(b"a")
    assert after == before
    assert len(set(after.values())) == len(after)


def test_an_incremental_archive_contains_no_unchanged_file(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    for name in NAMES:
        emulator.place(name, name.encode())
    archive = ("tar", "--listed-incremental=snar", "-cvf", "/dev/null", "-C", "mnt", ".")
    with mount() as mounted:
        assert b"./folder/c\n" in mounted.run_beside(*archive).stdout
        make_the_kernel_forget(mounted)
        listed = mounted.run_beside(*archive).stdout.splitlines()
        assert [line for line in listed if not line.endswith(b"/")] == []


def test_a_file_handle_opens_a_file_whose_inode_the_kernel_has_forgotten(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    for name in NAMES:
        emulator.place(name, name.encode())
    with mount("--metadata-ttl", "0") as mounted, mounted.program() as program:
        root = str(mounted.path)
        handles = [program.call(programs.handle_of, f"{root}/{name}") for name in NAMES]
        make_the_kernel_forget(mounted)
        for name, handle in zip(NAMES, handles, strict=True):
            assert program.call(programs.read_by_handle, root, handle) == name.encode()
        emulator.place("a", b"overwritten")
        make_the_kernel_forget(mounted)
        with pytest.raises(OSError, match="Stale file handle"):
            program.call(programs.read_by_handle, root, handles[0])
        assert program.call(programs.read_by_handle, root, handles[1]) == b"b"
