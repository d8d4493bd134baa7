"""Tests of which mount a path means. No path inside a mount may be used in a system call."""

from __future__ import annotations

import errno

import pytest

from gcsmux_fs.control import mounts
from gcsmux_fs.control.mounts import locate_path, name_in_mount, only_mount, resolve_outside
from gcsmux_fs.fuse.mountinfo import FSTYPE, MountEntry
from gcsmux_fs.model.errors import ConfigError

MOUNTS = {"/mnt/data", "/srv/other"}
LINKS = {"/link": "mnt/data/folder", "/home/me/data": "/mnt/data", "/up": "../mnt", "/a": "/b"}


def read_link(path: str) -> str:
    assert not any(path == mount or path.startswith(f"{mount}/") for mount in MOUNTS)
    if path == "/loop":
        return "/loop"
    if path not in LINKS:
        raise OSError(errno.EINVAL, "not a link")
    return LINKS[path]


@pytest.mark.parametrize(
    ("path", "resolved"),
    [
        ("/mnt/data", "/mnt/data"),
        ("/mnt/data/a/../b/./c/", "/mnt/data/b/c"),
        ("/home/me/data/x", "/mnt/data/x"),
        ("/link/x", "/mnt/data/folder/x"),
        ("/link/../x", "/mnt/data/x"),
        ("/up/data/x", "/mnt/data/x"),
        ("/mnt/data/../data2", "/mnt/data2"),
        ("/a", "/b"),
        ("/../mnt/data", "/mnt/data"),
        ("//mnt//data", "/mnt/data"),
    ],
)
def test_links_are_followed_up_to_a_mount(path: str, resolved: str) -> None:
    assert resolve_outside(path, MOUNTS, read_link) == resolved


def test_a_circle_of_links_is_an_error() -> None:
    with pytest.raises(OSError, match="symbolic links"):
        resolve_outside("/loop", MOUNTS, read_link)


def entry(path: str, *, root: str = "/", minor: int = 57, number: int = 2) -> MountEntry:
    return MountEntry(number, 1, 0, minor, root, path, FSTYPE, "gs://bucket", 0)


@pytest.mark.parametrize(
    ("mount", "path", "name"),
    [
        (entry("/mnt/data"), "/mnt/data", ""),
        (entry("/mnt/data"), "/mnt/data/a/b", "a/b"),
        (entry("/bound", root="/folder"), "/bound/a", "folder/a"),
        (entry("/bound", root="/folder"), "/bound", "folder"),
        (entry("/"), "/a", "a"),
    ],
)
def test_the_name_of_a_path_is_relative_to_the_root_of_the_bucket(
    mount: MountEntry, path: str, name: str
) -> None:
    assert name_in_mount(mount, path) == name


def use_table(monkeypatch: pytest.MonkeyPatch, *entries: MountEntry) -> None:
    root = MountEntry(1, 0, 8, 1, "/", "/", "ext4", "/dev/sda1")
    monkeypatch.setattr(mounts, "mount_table", lambda: (root, *entries))


def test_a_path_is_found_by_the_mount_table(monkeypatch: pytest.MonkeyPatch) -> None:
    mount = entry("/absent/mount point")
    use_table(monkeypatch, mount)
    assert locate_path("/absent/mount point/a b") == (mount, "a b")
    with pytest.raises(ConfigError, match="in no mount of gcsmux-mount"):
        locate_path("/absent")


def test_the_mount_point_may_be_left_out_if_there_is_one_mount(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_table(monkeypatch)
    with pytest.raises(ConfigError, match="no bucket is mounted"):
        only_mount()
    # A bind mount of the same file system is no other mount.
    use_table(monkeypatch, entry("/one"), entry("/bound", root="/folder", number=3))
    assert only_mount().path == "/one"
    use_table(monkeypatch, entry("/one"), entry("/two", minor=58, number=3))
    with pytest.raises(ConfigError, match="mount points: /one, /two"):
        only_mount()


def test_an_empty_path_does_not_mean_the_current_directory() -> None:
    with pytest.raises(ConfigError, match=r"^a path is an empty text: write a path in a mount\.$"):
        locate_path("")
