from __future__ import annotations

import errno
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.errors import ConfigError
from gcsmux_fs.fuse.mountinfo import MountEntry
from gcsmux_fs.fuse.mountpoint import claim_mountpoint, refusal
from gcsmux_fs.fuse.observer import Observation, observe

if TYPE_CHECKING:
    from pathlib import Path

GOOD = Observation("/mnt/data", directory=True, writable=True, empty=True)
OURS = MountEntry(10, 1, 0, 39, "/", "/mnt/data", "fuse.gcsmux-mount", "gs://bucket", 0)
FOREIGN = replace(OURS, fstype="fuse.sshfs", source="host:")
ROOT, USER, OTHER = 0, 1000, 1001


def failing(number: int) -> Observation:
    return Observation("/mnt/data", errno=number, writable=True)


def table(*entries: MountEntry | None) -> tuple[MountEntry, ...]:
    return tuple(entry for entry in entries if entry is not None)


@pytest.mark.parametrize(
    ("seen", "top"),
    [
        (GOOD, None),
        (replace(GOOD, empty=False), replace(OURS, fstype="autofs")),
        (GOOD, replace(OURS, fstype="ext4", root="/srv/shared")),
    ],
    ids=["empty directory", "automount trap", "empty directory bound into a container"],
)
def test_what_can_be_mounted_on_is_not_refused(seen: Observation, top: MountEntry | None) -> None:
    assert refusal(seen, table(top), user=ROOT) is None


@pytest.mark.parametrize(
    ("seen", "top", "sentence"),
    [
        (failing(errno.ENOENT), None, "does not exist: create it first by `mkdir -p /mnt/data`"),
        (failing(errno.ENOTDIR), None, "cannot be mounted on: Not a directory"),
        (failing(errno.EACCES), None, "cannot be mounted on: Permission denied"),
        (failing(errno.ELOOP), None, "cannot be mounted on: Too many levels of symbolic links"),
        (
            failing(errno.ETIMEDOUT),
            FOREIGN,
            "does not answer: remove the mount first by `umount -l /mnt/data`",
        ),
        (failing(errno.ENOTCONN), FOREIGN, r"there is a dead mount \(fuse.sshfs\) at /mnt/data"),
        (failing(errno.ENOTCONN), None, "there is a dead mount above /mnt/data"),
        (
            failing(errno.EACCES),
            replace(OURS, owner=USER),
            "unmount it first by `umount /mnt/data`",
        ),
        (replace(GOOD, directory=False), None, "is not a directory"),
        (replace(GOOD, path="/proc/1"), None, "belongs to the kernel"),
        (replace(GOOD, path="/sys"), None, "belongs to the kernel"),
        (
            GOOD,
            OURS,
            "gs://bucket is mounted on /mnt/data already: unmount it first by `umount /mnt/data`",
        ),
        (GOOD, FOREIGN, r"a file system \(fuse.sshfs\) is mounted on /mnt/data already"),
        (replace(GOOD, empty=False), None, "is not empty"),
    ],
)
def test_what_cannot_be_mounted_on_is_refused_with_the_reason(
    seen: Observation, top: MountEntry | None, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        raise ConfigError(refusal(seen, table(top), user=ROOT))


@pytest.mark.parametrize(
    ("seen", "mounted", "user", "sentence"),
    [
        (GOOD, replace(OURS, owner=USER), USER, "by `fusermount3 -u /mnt/data`."),
        (GOOD, replace(OURS, owner=USER), ROOT, "by `umount /mnt/data`."),
        (GOOD, OURS, USER, "by another user: name another directory."),
        (failing(errno.EACCES), OURS, USER, "by another user: name another directory."),
        (failing(errno.ENOTCONN), FOREIGN, USER, "have root remove it by `umount -l /mnt/data`."),
        (
            failing(errno.ENOTCONN),
            replace(FOREIGN, owner=USER),
            USER,
            "remove it first by `fusermount3 -u -z /mnt/data`.",
        ),
        (
            failing(errno.ETIMEDOUT),
            replace(FOREIGN, path="/mnt", fstype="nfs4", owner=None),
            USER,
            "have root remove the mount by `umount -l /mnt`.",
        ),
        (
            failing(errno.ENOTCONN),
            replace(FOREIGN, path="/mnt"),
            ROOT,
            "above /mnt/data: remove it first by `umount -l /mnt`.",
        ),
        (failing(errno.ETIMEDOUT), replace(FOREIGN, path="/"), ROOT, "name a directory elsewhere."),
        (
            Observation("/mnt/data", errno=errno.ENOENT),
            None,
            USER,
            "this user cannot create it: name a directory of this user.",
        ),
        (Observation("/dev/fd/3", errno=errno.ENOENT), None, ROOT, "belongs to the kernel"),
        (replace(GOOD, locked=True), None, ROOT, "another command is mounting on /mnt/data"),
        (replace(GOOD, locked=True), OURS, ROOT, "another command is mounting on /mnt/data"),
    ],
)
def test_the_way_out_is_one_that_this_user_has(
    seen: Observation, mounted: MountEntry | None, user: int, sentence: str
) -> None:
    assert sentence in (refusal(seen, table(mounted), user=user) or "")


def test_only_users_need_to_be_able_to_write() -> None:
    read_only = replace(GOOD, writable=False)
    assert refusal(read_only, (), user=ROOT) is None
    assert "is not writable" in (refusal(read_only, (), user=USER) or "")


def test_a_path_that_only_begins_like_the_kernels_is_fine() -> None:
    assert refusal(replace(GOOD, path="/process"), (), user=ROOT) is None


def test_an_empty_directory_is_prepared_under_its_real_name(tmp_path: Path) -> None:
    real = tmp_path / "möwe data"
    real.mkdir()
    link = tmp_path / "link"
    link.symlink_to(real)
    with claim_mountpoint(link) as claim:
        assert claim.path == real


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.touch(), "is not a directory"),
        (lambda path: (path / "inner").mkdir(parents=True), "is not empty"),
        (lambda path: path.symlink_to(path), "Too many levels"),
    ],
)
def test_real_obstacles_are_seen(tmp_path: Path, make: object, sentence: str) -> None:
    path = tmp_path / "point"
    assert callable(make)
    make(path)
    with pytest.raises(ConfigError, match=sentence):
        claim_mountpoint(path)


def test_an_observer_that_gets_no_answer_is_given_up(tmp_path: Path) -> None:
    assert observe(tmp_path, timeout_seconds=0.0).errno == errno.ETIMEDOUT
