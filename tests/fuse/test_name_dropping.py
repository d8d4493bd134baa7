"""Tests of which notifications make the kernel drop names, and of the search for submounts."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from gcsmux_fs.fuse.mountinfo import MountEntry
from gcsmux_fs.fuse.name_dropping import KernelNames, NameDropper
from gcsmux_fs.fuse.name_pruning import EPOCH_MESSAGE, NamePruner
from gcsmux_fs.fuse.submounts import all_mount_tables, has_submounts

if TYPE_CHECKING:
    from gcsmux_fs.namespace.tree import Tree

OURS = os.makedev(0, 57)


class RecordingTree:
    """A fake of `Tree` with one inode, which records the invalidated names."""

    def __init__(self) -> None:
        self.invalidated: list[str] = []

    def invalidate(self, name: str) -> list[int]:
        self.invalidated.append(name)
        return [7]


class Kernel:
    """Accepts the notification codes `known`; refuses others as an older kernel does."""

    def __init__(self, *known: int) -> None:
        self._known = known
        self.written: list[bytes] = []

    def write(self, _: int, message: bytes) -> int:
        self.written.append(message)
        if message[4] not in self._known:
            raise OSError(errno.EINVAL, "Invalid argument")
        return len(message)


def dropper(kernel: Kernel, *, submounts: bool) -> tuple[NameDropper, RecordingTree]:
    names = NamePruner(kernel.write)
    names.attach(3)
    tree = RecordingTree()
    return (
        NameDropper(cast("Tree", tree), names, Path("/mnt"), is_mounted_on=lambda: submounts),
        tree,
    )


async def test_one_notification_drops_present_and_absent_names() -> None:
    kernel = Kernel(8, 9)
    names, tree = dropper(kernel, submounts=False)
    assert await names.drop() is KernelNames.ALL
    assert await names.drop(["folder/", "file"]) is KernelNames.ALL
    assert tree.invalidated == ["", "folder/", "file"]
    assert kernel.written == [EPOCH_MESSAGE] * 2


async def test_a_mount_below_gets_no_notification_that_would_unmount_it() -> None:
    kernel = Kernel(8, 9)
    names, _ = dropper(kernel, submounts=True)
    assert await names.drop() is KernelNames.PRESENT
    assert EPOCH_MESSAGE not in kernel.written
    assert len(kernel.written) == 1


@pytest.mark.parametrize(("known", "dropped"), [([9], KernelNames.PRESENT), ([], KernelNames.NONE)])
async def test_an_older_kernel_drops_what_it_can(known: list[int], dropped: KernelNames) -> None:
    names, tree = dropper(Kernel(*known), submounts=False)
    assert await names.drop() is dropped
    assert set(tree.invalidated) == {""}


def mount(number: int, parent: int, path: str, *, device: int = 57, root: str = "/") -> MountEntry:
    return MountEntry(number, parent, 0, device, root, path, "fuse", "bucket")


OTHER = mount(1, 0, "/", device=8)
DATA = mount(2, 1, "/data")


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ([OTHER, DATA], False),
        ([OTHER, DATA, mount(3, 2, "/data/cache", device=9)], True),
        # A mount over the root directory hides the mount; its place has no name in the mount.
        ([OTHER, DATA, mount(3, 2, "/data", device=9)], False),
        # A directory of the mount that is bound elsewhere, and covered there.
        (
            [
                OTHER,
                mount(2, 1, "/bound", root="/folder"),
                mount(3, 2, "/bound", device=9),
            ],
            True,
        ),
        ([OTHER, DATA, mount(3, 1, "/database", device=9)], False),
    ],
)
def test_mounts_on_directories_of_a_mount_are_found(table: list[MountEntry], found: bool) -> None:
    assert has_submounts(OURS, [[OTHER], table]) is found


def test_the_mount_tables_of_all_processes_are_read_once_each(tmp_path: Path) -> None:
    for process in ("1", "2", "self", "3"):
        (tmp_path / process).mkdir()
        line = b"21 1 0:5 / /a rw - tmpfs x rw\n" if process == "2" else b"22 1 0:6 / /b rw - y z\n"
        if process != "3":
            (tmp_path / process / "mountinfo").write_bytes(line)
    assert sorted(entry.path for table in all_mount_tables(tmp_path) for entry in table) == [
        "/a",
        "/b",
    ]
