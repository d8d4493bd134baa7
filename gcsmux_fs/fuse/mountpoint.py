"""The mount point: whether it can be mounted on, what is there already, whether it answers.

Looking at a path may hang for as long as somebody else's file system does, and a process that
serves a mount must never look at it itself. So every look is taken by a short-lived process, the
observer, under a time limit; this process only reads what is in /proc.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from gcsmux_fs.errors import ConfigError
from gcsmux_fs.fuse.mountinfo import MountEntry, mount_table, top_mount

__all__ = [
    "OBSERVE_SECONDS",
    "Observation",
    "answers",
    "answers_async",
    "clear_dead_mounts",
    "observe",
    "prepare_mountpoint",
    "refusal",
]

log = logging.getLogger(__name__)

# A local directory answers in milliseconds; a remote one that needs longer cannot be told from
# one that hangs, and the user is promised an answer within ten seconds.
OBSERVE_SECONDS = 5.0
# A killed observer is gone at once, or hangs in the kernel for good.
_KILL_SECONDS = 1.0
# Crash loops leave stacks of dead mounts; one that needs more is not what it seems to be.
_MAX_STACKED = 64

# What the kernel answers for a mount whose process is gone, or whose connection was aborted.
_DEAD_ERRNOS = frozenset({errno.ENOTCONN, errno.ECONNABORTED})

_AUTOFS = "autofs"
_KERNEL_TREES = ("/proc", "/sys", "/dev")

_MNT_DETACH = 2
_UMOUNT_NOFOLLOW = 8

# Tells as JSON what it finds. The directory is listed only on request, because opening an autofs
# mount point triggers the very mount that is being made.
_OBSERVER = """\
import json, os, stat, sys
path = os.path.realpath(os.fsencode(sys.argv[1]))
seen = {"path": os.fsdecode(path)}
try:
    status = os.stat(path)
    seen["device"] = status.st_dev
    seen["directory"] = stat.S_ISDIR(status.st_mode)
    seen["writable"] = os.access(path, os.W_OK | os.X_OK)
    if sys.argv[2] == "list" and seen["directory"]:
        with os.scandir(path) as entries:
            seen["empty"] = next(entries, None) is None
except OSError as error:
    seen["errno"] = error.errno
print(json.dumps(seen))
"""


@dataclass(frozen=True, slots=True)
class Observation:
    """What the observer saw; `errno` is 0 where nothing failed, ETIMEDOUT where nothing came."""

    path: str
    errno: int = 0
    device: int = 0
    directory: bool = False
    writable: bool = False
    empty: bool = False


def _observer_command(path: Path, *, listing: bool) -> list[str]:
    mode = "list" if listing else "stat"
    return [sys.executable, "-S", "-I", "-c", _OBSERVER, os.fspath(path), mode]


def _parse_observation(output: bytes, path: Path) -> Observation:
    try:
        return Observation(**json.loads(output))
    except ValueError:
        return Observation(os.fspath(path), errno=errno.EIO)


def observe(
    path: Path, *, listing: bool = True, timeout_seconds: float = OBSERVE_SECONDS
) -> Observation:
    """Look at `path` from another process."""
    observer = subprocess.Popen(
        _observer_command(path, listing=listing),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
    )
    try:
        output, _ = observer.communicate(timeout=timeout_seconds)
    except subprocess.TimeoutExpired:
        _abandon(observer)
        return Observation(os.fspath(path), errno=errno.ETIMEDOUT)
    return _parse_observation(output, path)


def _abandon(observer: subprocess.Popen[bytes]) -> None:
    """Kill an observer, without waiting for one that the kernel does not let go."""
    observer.kill()
    if observer.stdout is not None:
        observer.stdout.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        observer.wait(timeout=_KILL_SECONDS)


def _is_our_mount(seen: Observation) -> bool:
    top = top_mount(mount_table(), seen.path)
    return seen.errno == 0 and top is not None and top.is_ours and top.device == seen.device


def answers(mountpoint: Path, *, timeout_seconds: float = OBSERVE_SECONDS) -> bool:
    """Tell whether our mount is at `mountpoint` and answers another process in time."""
    return _is_our_mount(observe(mountpoint, listing=False, timeout_seconds=timeout_seconds))


async def answers_async(mountpoint: Path, *, timeout_seconds: float = OBSERVE_SECONDS) -> bool:
    """Do as `answers`, while the trio run of the caller goes on serving the mount."""
    # Loading trio takes longer than all else that answers a mistyped command.
    import trio

    with trio.move_on_after(timeout_seconds):
        observer = await trio.run_process(
            _observer_command(mountpoint, listing=False),
            capture_stdout=True,
            check=False,
            cwd="/",
        )
        return _is_our_mount(_parse_observation(observer.stdout, mountpoint))
    return False


def prepare_mountpoint(path: Path) -> Path:
    """Return the real path of a directory that can be mounted on; dead mounts of ours go first.

    Raises:
        ConfigError: it cannot be mounted on, and why.
    """
    seen, top = _look_and_clear(path)
    sentence = refusal(seen, top, privileged=os.geteuid() == 0)
    if sentence is not None:
        raise ConfigError(sentence)
    return Path(seen.path)


def clear_dead_mounts(path: Path) -> None:
    """Remove what crashed processes of ours have left mounted at `path`.

    Raises:
        ConfigError: there is one, and it cannot be removed.
    """
    _look_and_clear(path)


def _look_and_clear(path: Path) -> tuple[Observation, MountEntry | None]:
    for _ in range(_MAX_STACKED):
        covering = top_mount(mount_table(), os.fspath(path))
        seen = observe(path, listing=covering is None or covering.fstype != _AUTOFS)
        top = top_mount(mount_table(), seen.path)
        if seen.errno not in _DEAD_ERRNOS or top is None or not top.is_ours:
            return seen, top
        log.info("removing a dead mount of %s at %s", top.source, seen.path)
        _detach(seen.path)
    raise ConfigError(f"{path} holds more than {_MAX_STACKED} dead mounts: unmount them by hand.")


def _detach(path: str) -> None:
    """Take the topmost mount off `path`, whoever still uses it."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.umount2(os.fsencode(path), _MNT_DETACH | _UMOUNT_NOFOLLOW) != 0:
            reason = os.strerror(ctypes.get_errno())
            raise ConfigError(f"the dead mount at {path} cannot be removed: {reason}.")
        return
    command = ["fusermount3", "-u", "-z", "-q", "--", path]
    try:
        subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise ConfigError(
            f"the dead mount at {path} cannot be removed by this user: root can, by umount -l."
        ) from None


def refusal(seen: Observation, top: MountEntry | None, *, privileged: bool) -> str | None:
    """Return why what was seen cannot be mounted on, in one sentence, or None if it can.

    `top` is what is mounted there already. Two kinds of mount are no obstacle: the trap that
    automounting sets, which waits for this very mount, and an empty directory bound there from
    elsewhere, which is how a container shares its mounts with its host.
    """
    path = seen.path
    if seen.errno:
        return _refusal_of_errno(seen, top)
    if not seen.directory:
        return f"{path} is not a directory: name an empty directory."
    if any(path == tree or path.startswith(tree + "/") for tree in _KERNEL_TREES):
        return f"{path} belongs to the kernel: name an empty directory elsewhere."
    if top is not None and top.is_ours:
        return f"{top.source} is mounted on {path} already: unmount it first by umount {path}."
    if top is not None and top.fstype == _AUTOFS:
        return None
    if top is not None and top.root == "/":
        return f"a file system ({top.fstype}) is mounted on {path} already: name another directory."
    if not seen.empty:
        return f"{path} is not empty: a mount would hide what is in it; name an empty directory."
    if not privileged and not seen.writable:
        return f"{path} is not writable for this user, as mounting on it asks for."
    return None


def _refusal_of_errno(seen: Observation, top: MountEntry | None) -> str:
    path = seen.path
    if seen.errno == errno.ENOENT:
        return f"{path} does not exist: create it first by mkdir -p {path}."
    if seen.errno == errno.ETIMEDOUT:
        return f"{path} does not answer: something mounted there hangs; umount -l may remove it."
    if seen.errno in _DEAD_ERRNOS:
        what = f"({top.fstype}) at" if top is not None else "above"
        return f"there is a dead mount {what} {path}: remove it first by umount -l."
    if seen.errno == errno.EACCES and top is not None and top.is_ours:
        return f"{top.source} is mounted on {path} already, by another user."
    return f"{path} cannot be mounted on: {os.strerror(seen.errno)}."
