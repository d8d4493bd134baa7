"""Tests of mount points: which directories are accepted, with which messages other directories are
refused, and how mount commands lock a directory."""

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
from gcsmux_fs.fuse.mountpoint import (
    claim_mountpoint,
    clear_dead_mounts,
    mounting_place,
    refusal,
)
from gcsmux_fs.fuse.observer import Observation, observe, observe_and_lock
from gcsmux_fs.fuse.start_lock import Claim
from gcsmux_fs.model.errors import ConfigError, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator

GOOD = Observation("/mnt/data", directory=True, writable=True, empty=True)
OWN = MountEntry(10, 1, 0, 39, "/", "/mnt/data", "fuse.gcsmux-mount", "gs://bucket", 0)
FOREIGN = replace(OWN, fstype="fuse.sshfs", source="host:")
ROOT, USER, OTHER = 0, 1000, 1001


def failing(number: int) -> Observation:
    return Observation("/mnt/data", errno=number, writable=True)


def table(*entries: MountEntry | None) -> tuple[MountEntry, ...]:
    return tuple(entry for entry in entries if entry is not None)


@pytest.mark.parametrize(
    ("observation", "top"),
    [
        (GOOD, None),
        (replace(GOOD, empty=False), replace(OWN, fstype="autofs")),
        (GOOD, replace(OWN, fstype="ext4", root="/srv/shared")),
    ],
    ids=["empty directory", "autofs trap", "bind mount of an empty directory"],
)
def test_a_usable_mount_point_is_accepted(observation: Observation, top: MountEntry | None) -> None:
    assert refusal(observation, table(top), user=ROOT) is None


@pytest.mark.parametrize(
    ("observation", "top", "sentence"),
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
            replace(OWN, owner=USER),
            "unmount it first by `umount /mnt/data`",
        ),
        (replace(GOOD, directory=False), None, "is not a directory"),
        (replace(GOOD, path="/proc/1"), None, "belongs to the kernel"),
        (replace(GOOD, path="/sys"), None, "belongs to the kernel"),
        (
            GOOD,
            OWN,
            "gs://bucket is mounted on /mnt/data already: unmount it first by `umount /mnt/data`",
        ),
        (GOOD, FOREIGN, r"a file system \(fuse.sshfs\) is mounted on /mnt/data already"),
        (replace(GOOD, empty=False), None, "is not empty"),
    ],
)
def test_an_unusable_mount_point_is_refused_with_a_reason(
    observation: Observation, top: MountEntry | None, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        raise ConfigError(refusal(observation, table(top), user=ROOT))


@pytest.mark.parametrize(
    ("observation", "mounted", "user", "sentence"),
    [
        (GOOD, replace(OWN, owner=USER), USER, "by `fusermount3 -u /mnt/data`."),
        (GOOD, replace(OWN, owner=USER), ROOT, "by `umount /mnt/data`."),
        (GOOD, OWN, USER, "by another user: name another directory."),
        (failing(errno.EACCES), OWN, USER, "by another user: name another directory."),
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
        (replace(GOOD, locked=True), OWN, ROOT, "another command is mounting on /mnt/data"),
    ],
)
def test_the_advice_is_a_command_that_this_user_may_run(
    observation: Observation, mounted: MountEntry | None, user: int, sentence: str
) -> None:
    assert sentence in (refusal(observation, table(mounted), user=user) or "")


def test_root_needs_no_write_permission() -> None:
    read_only = replace(GOOD, writable=False)
    assert refusal(read_only, (), user=ROOT) is None
    assert "is not writable" in (refusal(read_only, (), user=USER) or "")


def test_a_path_that_only_begins_like_proc_is_accepted() -> None:
    assert refusal(replace(GOOD, path="/process"), (), user=ROOT) is None


def test_a_claim_names_the_real_path_of_a_symbolic_link(tmp_path: Path) -> None:
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
def test_a_claim_of_an_unusable_path_is_refused(
    tmp_path: Path, make: object, sentence: str
) -> None:
    path = tmp_path / "point"
    assert callable(make)
    make(path)
    with pytest.raises(ConfigError, match=sentence):
        claim_mountpoint(path)


def test_an_observer_that_cannot_be_started_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    for look in (observe, observe_and_lock, claim_mountpoint, clear_dead_mounts):
        with pytest.raises(TransientError, match="no process can be started: No such file"):
            look(tmp_path)


def test_an_observer_without_an_answer_times_out(tmp_path: Path) -> None:
    assert observe(tmp_path, timeout_seconds=0.0).errno == errno.ETIMEDOUT


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts")
RIGHT_NOW = "another command is mounting on .* right now: wait until its mount is ready"


def test_a_claimed_directory_cannot_be_claimed_by_another_path(tmp_path: Path) -> None:
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
def test_a_claim_covers_a_bind_mount_of_the_directory(tmp_path: Path) -> None:
    directory, bound = tmp_path / "mnt", tmp_path / "bound"
    directory.mkdir()
    bound.mkdir()
    with ExitStack() as cleanup:
        subprocess.run(["mount", "--bind", directory, bound], check=True)
        cleanup.callback(lambda: subprocess.run(["umount", bound], check=True))
        with claim_mountpoint(bound), pytest.raises(ConfigError, match=RIGHT_NOW):
            claim_mountpoint(directory)
        claim_mountpoint(directory).release()


def test_a_claim_ends_with_its_process_and_is_not_inherited(tmp_path: Path) -> None:
    with claim_mountpoint(tmp_path):
        other = subprocess.run(["ls", "-l", "/proc/self/fd"], capture_output=True, check=True)
        assert os.fsencode(tmp_path) not in other.stdout
    # A directory that another program has locked can be claimed when that program ends.
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
def test_a_live_mount_that_replaced_a_dead_one_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process replaces the dead mount before this process gets the lock for a removal."""

    @contextmanager
    def lock_after_a_live_mount() -> Iterator[None]:
        subprocess.run(["mount", "-t", "tmpfs", "live", tmp_path], check=True)
        monkeypatch.undo()
        yield

    monkeypatch.setattr(mountpoint, "clearing_lock", lock_after_a_live_mount)
    claim = Claim(tmp_path, None, is_hidden=True)
    with ExitStack() as cleanup:
        cleanup.callback(lambda: subprocess.run(["umount", "-l", tmp_path], check=True))
        refused = pytest.raises(ConfigError, match=r"a file system \(tmpfs\) is mounted")
        with refused, mounting_place(claim):
            pytest.fail("there is no place for a mount")
        assert [entry.source for entry in mount_table() if entry.path == str(tmp_path)] == ["live"]


def test_the_wait_for_the_clearing_lock_is_bounded(
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


def test_without_dev_fuse_the_clearing_lock_is_skipped(
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
# A process of another process group triggers the automount.
subprocess.run([sys.executable, "-c", claim, path], timeout=20, process_group=0, check=True)
assert not select.select([reading], [], [], 0)[0], "triggered"
"""
CLAIM_TWICE = """
import sys
from pathlib import Path
from gcsmux_fs.model.errors import ConfigError, TransientError
from gcsmux_fs.fuse.mountpoint import claim_mountpoint
with claim_mountpoint(Path(sys.argv[1])):
    try:
        claim_mountpoint(Path(sys.argv[1]))
    except ConfigError as error:
        print(error)
"""


@needs_root
def test_the_claim_of_an_autofs_directory_triggers_no_mount(tmp_path: Path) -> None:
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


def test_a_dead_mount_that_another_start_removes_after_the_look_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = Observation(os.fspath(tmp_path), errno=errno.ENOTCONN)
    looks = 0

    def look(path: Path, *, listing: bool) -> tuple[Observation, int | None]:
        nonlocal looks
        looks += 1
        return (dead, None) if looks == 1 else observe_and_lock(path, listing=listing)

    def table_before_and_after_the_removal() -> tuple[MountEntry, ...]:
        return mount_table() if looks else (replace(OWN, path=os.fspath(tmp_path)), *mount_table())

    monkeypatch.setattr(mountpoint, "observe_and_lock", look)
    monkeypatch.setattr(mountpoint, "mount_table", table_before_and_after_the_removal)
    claim_mountpoint(tmp_path).release()
    assert looks == 2


def test_the_lock_on_a_mount_that_died_meanwhile_is_released(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = Observation(os.fspath(tmp_path), errno=errno.ENOTCONN)
    locked = os.open(tmp_path, os.O_RDONLY)
    looks = 0

    def look(path: Path, *, listing: bool) -> tuple[Observation, int | None]:
        nonlocal looks
        looks += 1
        return (dead, locked) if looks == 1 else observe_and_lock(path, listing=listing)

    tables = iter([mount_table(), (replace(OWN, path=os.fspath(tmp_path)),)])
    monkeypatch.setattr(mountpoint, "observe_and_lock", look)
    monkeypatch.setattr(mountpoint, "mount_table", lambda: next(tables, None) or mount_table())
    claim = claim_mountpoint(tmp_path)
    try:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(locked)
    finally:
        claim.release()
