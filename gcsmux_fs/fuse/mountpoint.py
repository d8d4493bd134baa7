"""Finds out whether a directory can be mounted on, what is mounted there, and whether it answers.

An access to a path may hang, so another process accesses the path (see `observer`). This process
reads only the mount table.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from gcsmux_fs.fuse.mountinfo import MountEntry, covering_mount, mount_table, top_mount
from gcsmux_fs.fuse.observer import (
    OBSERVE_SECONDS,
    Observation,
    observe,
    observe_and_lock,
    observer_command,
    parse_observation,
)
from gcsmux_fs.fuse.replacement import can_replace, replacing, unmount
from gcsmux_fs.fuse.start_lock import Claim, clearing_lock
from gcsmux_fs.model.errors import ConfigError, TransientError
from gcsmux_fs.process.shell_commands import command, unmount_command

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "answers",
    "answers_async",
    "claim_mountpoint",
    "clear_dead_mounts",
    "mounting_place",
    "own_mounts",
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
    """Claim a directory for a mount. A dead mount of this program may hide the directory.

    Raises:
        TransientError: another mount command is at work there, or the path does not answer.
        ConfigError: the directory cannot be mounted on; the message says why and what to do.
    """
    while True:
        table_before = mount_table()
        observation, descriptor = _look(path, table_before, locking=True)
        if _dead_mount(observation) is not None:
            if descriptor is not None:
                # The mount died after its directory was locked, so the lock is not a valid claim.
                os.close(descriptor)
            return Claim(Path(observation.path), None, is_hidden=True)
        top_before = top_mount(table_before, observation.path)
        if observation.errno in _DEAD_ERRNOS and top_before is not None and top_before.is_gcsmux:
            # Another mount command has removed the dead mount since the look, so look again.
            continue
        claim = Claim(Path(observation.path), descriptor)
        sentence = refusal(observation, mount_table(), user=os.geteuid())
        if sentence is None:
            return claim
        claim.release()
        raise (TransientError if _may_pass(observation) else ConfigError)(sentence)


@contextlib.contextmanager
def mounting_place(claim: Claim) -> Iterator[Path]:
    """Yield the directory on which to mount now.

    It is the claimed directory, or a private directory: then the mount that the block makes
    replaces a dead mount at the claimed directory when the block ends.

    Raises:
        ConfigError: the claimed directory can no longer be mounted on.
    """
    if not claim.is_hidden:
        yield claim.path
        return
    with clearing_lock():
        dead = _last_dead_mount(claim.path)
        if dead is not None and can_replace():
            log.info("replacing a dead mount of %s at %s", dead.source, dead.path)
            with replacing(claim.path) as private:
                yield private
            return
        if dead is not None:
            _remove(dead)
    with claim_mountpoint(claim.path) as fresh:
        if fresh.is_hidden:
            raise TransientError(f"another mount at {claim.path} died during the start: try again.")
        claim.take_over(fresh)
    yield claim.path


def own_mounts() -> frozenset[int]:
    """Return the IDs of all mounts of this program, dead or alive."""
    return frozenset(entry.mount_id for entry in mount_table() if entry.is_gcsmux)


def clear_dead_mounts(path: Path, *, keep: frozenset[int] = frozenset()) -> None:
    """Remove the dead mounts at `path`, which processes of this program have left in a crash.

    `keep` has the IDs of dead mounts that stay. Programs see errors there instead of an empty
    directory.

    Raises:
        ConfigError: a dead mount cannot be removed.
    """
    with clearing_lock():
        for _ in range(_MAX_STACKED):
            observation, _ = _look(path, mount_table(), locking=False)
            dead = _dead_mount(observation)
            if dead is None or dead.mount_id in keep:
                return
            _remove(dead)


def _last_dead_mount(path: Path) -> MountEntry | None:
    """Return the dead mount of this program at `path`, or None.

    Of several dead mounts on top of each other, remove all except for the lowest.
    """
    for _ in range(_MAX_STACKED):
        observation, _ = _look(path, mount_table(), locking=False)
        dead = _dead_mount(observation)
        if dead is None or _number_of_mounts(dead.path) == 1:
            return dead
        _remove(dead)
    raise ConfigError(f"{path} holds more than {_MAX_STACKED} dead mounts: name another directory.")


def _number_of_mounts(path: str) -> int:
    return sum(entry.path == path and entry.is_gcsmux for entry in mount_table())


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


def _may_pass(observation: Observation) -> bool:
    """Return whether the reason of a refusal may end without a change by the administrator."""
    return observation.locked or observation.errno in _DEAD_ERRNOS | {errno.ETIMEDOUT}


def _remove(dead: MountEntry) -> None:
    """Remove the topmost mount of the path of `dead`, even if programs use this mount."""
    path = dead.path
    log.info("removing a dead mount of %s at %s", dead.source, path)
    try:
        unmount(path)
    except OSError as error:
        if error.errno != errno.EPERM:
            raise ConfigError(
                f"the dead mount at {path} cannot be removed: {error.strerror}."
            ) from None
    else:
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
