from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.fuse import mountpoint, start_lock
from gcsmux_fs.fuse.mountinfo import MountEntry, mount_table
from gcsmux_fs.fuse.mountpoint import claim_mountpoint, refusal
from gcsmux_fs.fuse.observer import Observation, observe
from gcsmux_fs.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

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


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts")
RIGHT_NOW = "another command is mounting on .* right now: wait until its mount is ready"


def test_a_claimed_directory_is_not_claimed_again_by_whatever_path(tmp_path: Path) -> None:
    directory = tmp_path / "mnt"
    directory.mkdir()
    (tmp_path / "link").symlink_to(directory)
    with claim_mountpoint(directory) as claim:
        for path in (directory, tmp_path / "link"):
            with pytest.raises(ConfigError, match=RIGHT_NOW):
                claim_mountpoint(path)
        claim.release()
        claim_mountpoint(tmp_path / "link").release()
    claim_mountpoint(directory).release()


@needs_root
def test_a_claimed_directory_is_claimed_where_it_is_bound_too(tmp_path: Path) -> None:
    directory, bound = tmp_path / "mnt", tmp_path / "bound"
    directory.mkdir()
    bound.mkdir()
    with ExitStack() as cleanup:
        subprocess.run(["mount", "--bind", directory, bound], check=True)
        cleanup.callback(lambda: subprocess.run(["umount", bound], check=True))
        with claim_mountpoint(bound), pytest.raises(ConfigError, match=RIGHT_NOW):
            claim_mountpoint(directory)
        claim_mountpoint(directory).release()


def test_a_claim_does_not_outlive_its_process_nor_pass_to_others(tmp_path: Path) -> None:
    with claim_mountpoint(tmp_path):
        other = subprocess.run(["ls", "-l", "/proc/self/fd"], capture_output=True, check=True)
        assert os.fsencode(tmp_path) not in other.stdout
    # What another program has locked is not ours to mount on either, until it ends.
    with subprocess.Popen(["flock", "--no-fork", tmp_path, "sleep", "60"]) as holder:
        while _is_free(tmp_path):
            assert holder.poll() is None
        with pytest.raises(ConfigError, match=RIGHT_NOW):
            claim_mountpoint(tmp_path)
        holder.kill()
    claim_mountpoint(tmp_path).release()


def _is_free(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


@needs_root
def test_a_dead_mount_that_another_start_has_replaced_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the one found dead is gone when it may remove it, and something else is there."""
    tables = iter([(), (replace(OURS, path=os.fspath(tmp_path)),)])
    dead = Observation(os.fspath(tmp_path), errno=errno.ENOTCONN)

    @contextmanager
    def late() -> Iterator[None]:
        subprocess.run(["mount", "-t", "tmpfs", "live", tmp_path], check=True)
        monkeypatch.undo()
        yield

    monkeypatch.setattr(mountpoint, "mount_table", lambda: next(tables))
    monkeypatch.setattr(mountpoint, "observe_and_lock", lambda _path, **_: (dead, None))
    monkeypatch.setattr(mountpoint, "clearing_lock", late)
    with ExitStack() as cleanup:
        cleanup.callback(lambda: subprocess.run(["umount", "-l", tmp_path], check=True))
        with pytest.raises(ConfigError, match=r"a file system \(tmpfs\) is mounted"):
            claim_mountpoint(tmp_path)
        assert [entry.source for entry in mount_table() if entry.path == str(tmp_path)] == ["live"]


def test_the_clearing_lock_is_waited_for_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = tmp_path / "fuse"
    device.touch()
    monkeypatch.setattr(start_lock, "_DEVICE", device)
    with start_lock.clearing_lock():
        assert not _is_free(device)
        monkeypatch.setattr(start_lock, "_LONGEST_WAIT_SECONDS", 0.1)
        with start_lock.clearing_lock():
            pass
        assert not _is_free(device)
    assert _is_free(device)


def test_where_there_is_no_device_nothing_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start_lock, "_DEVICE", tmp_path / "absent")
    with start_lock.clearing_lock():
        pass


AUTOMOUNTED = """
import ctypes, os, select, subprocess, sys
path, claim = sys.argv[1:]
reading, writing = os.pipe()
os.setpgid(0, 0)
data = f"fd={writing},pgrp={os.getpgrp()},minproto=5,maxproto=5,direct".encode()
assert ctypes.CDLL(None).mount(b"auto", path.encode(), b"autofs", 0, data) == 0
# Whoever is of another group triggers the mount.
subprocess.run([sys.executable, "-c", claim, path], timeout=20, process_group=0, check=True)
assert not select.select([reading], [], [], 0)[0], "triggered"
"""
CLAIM_TWICE = """
import sys
from pathlib import Path
from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.fuse.mountpoint import claim_mountpoint
with claim_mountpoint(Path(sys.argv[1])):
    try:
        claim_mountpoint(Path(sys.argv[1]))
    except ConfigError as error:
        print(error)
"""


@needs_root
def test_an_automount_trap_is_claimed_and_not_triggered(tmp_path: Path) -> None:
    if "autofs" not in Path("/proc/filesystems").read_text():
        pytest.skip("this kernel has no autofs")
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", AUTOMOUNTED, tmp_path, CLAIM_TWICE],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "another command is mounting on" in done.stdout
