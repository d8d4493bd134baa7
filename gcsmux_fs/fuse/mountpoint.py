"""Finds out whether a directory can be mounted on, what is mounted there, and whether it answers.

An access to a path may hang, so another process accesses the path (see `observer`). This process
reads only the mount table.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import subprocess
from pathlib import Path

from gcsmux_fs.fuse.mountinfo import MountEntry, covering_mount, mount_table, top_mount
from gcsmux_fs.fuse.observer import (
    OBSERVE_SECONDS,
    Observation,
    observe,
    observe_and_lock,
    observer_command,
    parse_observation,
)
from gcsmux_fs.fuse.start_lock import Claim, clearing_lock
from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.process.shell_commands import command, unmount_command

__all__ = [
    "answers",
    "answers_async",
    "claim_mountpoint",
    "clear_dead_mounts",
    "refusal",
]

log = logging.getLogger(__name__)

# Maximum number of dead mounts that one mount command removes. A mount that crashes again and again
# leaves a stack of dead mounts; a stack that is higher than this has another cause.
_MAX_STACKED = 64

# The errors of an access to a mount whose process has ended, or whose connection was aborted.
_DEAD_ERRNOS = frozenset({errno.ENOTCONN, errno.ECONNABORTED})

_AUTOFS = "autofs"
_KERNEL_TREES = ("/proc", "/sys", "/dev")

_MNT_DETACH = 2
_UMOUNT_NOFOLLOW = 8


def _is_live_mount(observation: Observation) -> bool:
    top = top_mount(mount_table(), observation.path)
    return (
        observation.errno == 0
        and top is not None
        and top.is_gcsmux
        and top.device == observation.device
    )


def answers(mountpoint: Path, *, timeout_seconds: float = OBSERVE_SECONDS) -> bool:
    """Return whether a mount of this program is at `mountpoint` and answers another process."""
    return _is_live_mount(observe(mountpoint, listing=False, timeout_seconds=timeout_seconds))


async def answers_async(mountpoint: Path, *, timeout_seconds: float = OBSERVE_SECONDS) -> bool:
    """Like `answers`, but do not block the event loop, which serves the mount meanwhile."""
    # trio is imported here and not at the top, because its import takes time, and a mistyped
    # command should get its error message early.
    import trio

    with trio.move_on_after(timeout_seconds):
        observer = await trio.run_process(
            observer_command(mountpoint, listing=False),
            capture_stdout=True,
            check=False,
            cwd="/",
        )
        return _is_live_mount(parse_observation(observer.stdout, mountpoint))
    return False


def claim_mountpoint(path: Path) -> Claim:
    """Remove the dead mounts of this program at `path`, then claim this directory for a mount.

    Raises:
        ConfigError: the directory cannot be mounted on; the message says why and what to do.
    """
    observation, descriptor = _look_and_clear(path, locking=True)
    claim = Claim(Path(observation.path), descriptor)
    sentence = refusal(observation, mount_table(), user=os.geteuid())
    if sentence is not None:
        claim.release()
        raise ConfigError(sentence)
    return claim


def clear_dead_mounts(path: Path) -> None:
    """Remove the dead mounts at `path`, which processes of this program have left in a crash.

    Raises:
        ConfigError: a dead mount cannot be removed.
    """
    _look_and_clear(path, locking=False)


def _look_and_clear(path: Path, *, locking: bool) -> tuple[Observation, int | None]:
    for _ in range(_MAX_STACKED):
        table_before = mount_table()
        observation, descriptor = _look(path, table_before, locking=locking)
        if observation.errno not in _DEAD_ERRNOS:
            return observation, descriptor
        if descriptor is not None:
            # The mount died after its directory was locked, so the lock is not a valid claim.
            os.close(descriptor)
        if _dead_mount(observation) is None:
            top_before = top_mount(table_before, observation.path)
            if top_before is None or not top_before.is_gcsmux:
                return observation, None
            # Another mount command has removed the dead mount since the look, so look again.
            continue
        with clearing_lock():
            # Another mount command may have removed the dead mount before this process got the
            # lock.
            observation, _ = _look(path, mount_table(), locking=False)
            if (dead := _dead_mount(observation)) is not None:
                log.info("removing a dead mount of %s at %s", dead.source, dead.path)
                _detach(dead)
    raise ConfigError(f"{path} holds more than {_MAX_STACKED} dead mounts: name another directory.")


def _look(
    path: Path, table: tuple[MountEntry, ...], *, locking: bool
) -> tuple[Observation, int | None]:
    covering = top_mount(table, os.fspath(path))
    listing = covering is None or covering.fstype != _AUTOFS
    if locking:
        return observe_and_lock(path, listing=listing)
    return observe(path, listing=listing), None


def _dead_mount(observation: Observation) -> MountEntry | None:
    if observation.errno not in _DEAD_ERRNOS:
        return None
    top = top_mount(mount_table(), observation.path)
    return top if top is not None and top.is_gcsmux else None


def _detach(dead: MountEntry) -> None:
    """Remove the topmost mount of the path of `dead`, even if programs use this mount."""
    path = dead.path
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.umount2(os.fsencode(path), _MNT_DETACH | _UMOUNT_NOFOLLOW) != 0:
            reason = os.strerror(ctypes.get_errno())
            raise ConfigError(f"the dead mount at {path} cannot be removed: {reason}.")
        return
    fusermount = ["fusermount3", "-u", "-z", "-q", "--", path]
    try:
        subprocess.run(fusermount, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise ConfigError(
            f"the dead mount at {path} cannot be removed by this user: have root run"
            f" {command('umount', '-l', path)}."
        ) from None


def refusal(observation: Observation, table: tuple[MountEntry, ...], *, user: int) -> str | None:
    """Return a sentence: why `user` cannot mount on the observed path; None if `user` can.

    `table` is the mount table. A path on which something is mounted is refused, with two
    exceptions: an autofs mount point, because autofs waits for this mount; and an empty directory
    that is bind-mounted, because a container shares its mounts with the host in this way.
    """
    path = observation.path
    top = top_mount(table, path)
    if any(path == tree or path.startswith(tree + "/") for tree in _KERNEL_TREES):
        return f"{path} belongs to the kernel: name an empty directory elsewhere."
    if observation.errno:
        return _refusal_of_errno(observation, top, covering_mount(table, path), user)
    if not observation.directory:
        return f"{path} is not a directory: name an empty directory."
    if observation.locked:
        return f"another command is mounting on {path} right now: wait until its mount is ready."
    if top is not None and top.is_gcsmux:
        return _refusal_of_own_mount(top, user)
    if top is not None and top.fstype == _AUTOFS:
        return None
    if top is not None and top.root == "/":
        return f"a file system ({top.fstype}) is mounted on {path} already: name another directory."
    if not observation.empty:
        return f"{path} is not empty, and a mount would hide its files: name an empty directory."
    if user != 0 and not observation.writable:
        return (
            f"{path} is not writable for this user, and a user can mount only on a writable"
            " directory: name a directory of this user."
        )
    return None


def _refusal_of_own_mount(top: MountEntry, user: int) -> str:
    mounted = f"{top.source} is mounted on {top.path} already"
    unmount = unmount_command(top.path, user=user, owner=top.owner)
    if unmount is None:
        return f"{mounted}, by another user: name another directory."
    return f"{mounted}: unmount it first by {unmount}."


def _refusal_of_errno(
    observation: Observation, top: MountEntry | None, covering: MountEntry | None, user: int
) -> str:
    path = observation.path
    if observation.errno == errno.ENOENT:
        if not observation.writable:
            return (
                f"{path} does not exist, and this user cannot create it: name a directory of this"
                " user."
            )
        return f"{path} does not exist: create it first by {command('mkdir', '-p', path)}."
    if observation.errno == errno.ETIMEDOUT:
        return f"{path} does not answer: {_removal(covering, 'the mount', user)}."
    if observation.errno in _DEAD_ERRNOS:
        place = f"({top.fstype}) at" if top is not None else "above"
        return f"there is a dead mount {place} {path}: {_removal(covering, 'it', user)}."
    if observation.errno == errno.EACCES and top is not None and top.is_gcsmux:
        # Without allow_other, even root cannot look into the mount of another user.
        return _refusal_of_own_mount(top, user)
    return f"{path} cannot be mounted on: {os.strerror(observation.errno)}."


def _removal(covering: MountEntry | None, noun: str, user: int) -> str:
    """Return how `user` removes a mount that does not answer, or what to do instead.

    `noun` stands for the mount in the returned text: "the mount" or "it".
    """
    if covering is None or covering.path == "/":
        return "name a directory elsewhere"
    path = covering.path
    unmount = unmount_command(path, user=user, owner=covering.owner, lazily=True)
    if unmount is None:
        return f"have root remove {noun} by {command('umount', '-l', path)}"
    return f"remove {noun} first by {unmount}"
