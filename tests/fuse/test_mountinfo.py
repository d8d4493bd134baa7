"""Tests of the parser of /proc/self/mountinfo, and of the choice of the topmost mount."""

from __future__ import annotations

import itertools
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.fuse.mountinfo import (
    MountEntry,
    covering_mount,
    mount_table,
    parse_mountinfo,
    top_mount,
)

LINE = (
    b"42 27 0:39 / /mnt/my\\040data ro,nosuid,nodev,relatime shared:1 master:2 - fuse.gcsmux-mount"
    b" gs://b/p\\040x\\134z ro,user_id=0,group_id=0\n"
)


def test_a_line_with_optional_fields_and_escapes_is_parsed() -> None:
    assert parse_mountinfo(LINE) == (
        MountEntry(
            mount_id=42,
            parent_id=27,
            major=0,
            minor=39,
            root="/",
            path="/mnt/my data",
            fstype="fuse.gcsmux-mount",
            source="gs://b/p x\\z",
            owner=0,
            is_shared=True,
        ),
    )


def test_a_mount_of_this_program_is_recognised_by_its_type() -> None:
    (entry,) = parse_mountinfo(LINE)
    assert entry.is_gcsmux
    assert entry.device == os.makedev(0, 39)


def test_a_mount_of_version_0_1_is_recognised() -> None:
    (entry,) = parse_mountinfo(LINE.replace(b"fuse.gcsmux-mount", b"fuse.gcsmux"))
    assert entry.is_gcsmux


@pytest.mark.parametrize(
    ("fstype", "options", "owner"),
    [
        (b"fuse.sshfs", b"rw,user_id=1000,group_id=0", 1000),
        (b"fuse", b"user_id=7", 7),
        (b"ext4", b"rw,user_id=1000", None),
        (b"fuse.sshfs", b"rw,another_user_id=1000", None),
    ],
)
def test_only_a_fuse_mount_has_an_owner(fstype: bytes, options: bytes, owner: int | None) -> None:
    (entry,) = parse_mountinfo(b"1 2 0:3 / /mnt ro - " + fstype + b" source " + options)
    assert entry.owner == owner


def test_the_nearest_mount_above_a_path_covers_it() -> None:
    table = (entry(1, 0, "/"), entry(10, 1, "/mnt"), entry(20, 1, "/mnt/da"))
    for path, covering in (
        ("/mnt/da/ta", 20),
        ("/mnt/da", 20),
        ("/mnt/data", 10),
        ("/mnt", 10),
        ("/mn", 1),
        ("/", 1),
    ):
        mount = covering_mount(table, path)
        assert mount is not None
        assert mount.mount_id == covering
    assert covering_mount((), "/mnt") is None


def escape(path: bytes) -> bytes:
    """Escape a path as the kernel function seq_path does."""
    return b"".join(b"\\%03o" % byte if byte in b" \t\n\\" else bytes([byte]) for byte in path)


@given(st.binary(min_size=1).filter(lambda path: b"\0" not in path))
def test_any_path_is_parsed_back_from_its_escaped_form(path: bytes) -> None:
    line = b"1 2 0:3 / /" + escape(path) + b" ro - ext4 /dev/sda1 ro"
    (entry,) = parse_mountinfo(line)
    assert os.fsencode(entry.path) == b"/" + path


def entry(
    mount_id: int, parent_id: int, path: str, fstype: str = "fuse.gcsmux-mount"
) -> MountEntry:
    return MountEntry(mount_id, parent_id, 0, mount_id, "/", path, fstype, "source")


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_topmost_of_stacked_mounts_does_not_depend_on_the_order_of_lines(
    order: tuple[int, ...],
) -> None:
    stacked = [entry(10, 1, "/mnt"), entry(30, 10, "/mnt"), entry(20, 30, "/mnt")]
    table = (*(stacked[index] for index in order), entry(40, 20, "/mnt/below"))
    mount = top_mount(table, "/mnt")
    assert mount is not None
    assert mount.mount_id == 20


def test_a_path_without_a_mount_has_no_topmost_mount() -> None:
    assert top_mount((entry(10, 1, "/mnt"),), "/mnt/data") is None


def test_the_mount_table_of_this_machine_has_a_root() -> None:
    assert top_mount(mount_table(), "/") is not None
