"""Looking at a path without the risk of hanging with it.

Looking at a path may hang for as long as somebody else's file system does, and a process that
serves a mount must never look at it itself. So every look is taken by a short-lived process, the
observer, under a time limit. Where a start claims a directory (see `startlock`), the observer also
opens and locks it, and hands the descriptor over.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "OBSERVE_SECONDS",
    "Observation",
    "observe",
    "observe_and_lock",
    "observer_command",
    "parse_observation",
]

# A local directory answers in milliseconds; a remote one that needs longer cannot be told from
# one that hangs, and the user is promised an answer within ten seconds.
OBSERVE_SECONDS = 5.0
# A killed observer is gone at once, or hangs in the kernel for good.
_KILL_SECONDS = 1.0

# Tells as JSON what it finds. With a socket as its third argument it first locks the directory and
# sends the descriptor, so that what it finds holds as long as the lock. Opening an autofs mount
# point by its path triggers the very mount that is being made: there the directory is not listed,
# and it is opened by way of another descriptor (O_PATH), which triggers nothing.
_OBSERVER = """\
import json, os, stat, sys

path = os.path.realpath(os.fsencode(sys.argv[1]))
seen = {"path": os.fsdecode(path)}


def lock(ours):
    import fcntl, socket

    place = os.open(path, os.O_PATH)
    directory = os.open(f"/proc/self/fd/{place}", os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        seen["locked"] = True
    except OSError:
        pass
    else:
        socket.send_fds(socket.socket(fileno=ours), [b"locked"], [directory])


try:
    if len(sys.argv) > 3 and stat.S_ISDIR(os.stat(path).st_mode):
        lock(int(sys.argv[3]))
    status = os.stat(path)
    seen["device"] = status.st_dev
    seen["directory"] = stat.S_ISDIR(status.st_mode)
    seen["writable"] = os.access(path, os.W_OK | os.X_OK)
    if sys.argv[2] == "list" and seen["directory"]:
        with os.scandir(path) as entries:
            seen["empty"] = next(entries, None) is None
except FileNotFoundError as error:
    seen["errno"] = error.errno
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    seen["writable"] = os.access(path, os.W_OK | os.X_OK)
except OSError as error:
    seen["errno"] = error.errno
print(json.dumps(seen))
"""


@dataclass(frozen=True, slots=True)
class Observation:
    """What the observer saw; `errno` is 0 where nothing failed, ETIMEDOUT where nothing came.

    `writable` is of the directory, or of the one in which it can be created if it does not exist.
    `locked` tells that another start has claimed the directory.
    """

    path: str
    errno: int = 0
    device: int = 0
    directory: bool = False
    writable: bool = False
    empty: bool = False
    locked: bool = False


def observer_command(path: Path, *, listing: bool) -> list[str]:
    """Return the command that looks at `path`; `listing` also tells whether it is empty."""
    mode = "list" if listing else "stat"
    return [sys.executable, "-S", "-I", "-c", _OBSERVER, os.fspath(path), mode]


def parse_observation(output: bytes, path: Path) -> Observation:
    """Return what an observer printed; one that was killed has seen EIO."""
    try:
        return Observation(**json.loads(output))
    except ValueError:
        return Observation(os.fspath(path), errno=errno.EIO)


def observe(
    path: Path, *, listing: bool = True, timeout_seconds: float = OBSERVE_SECONDS
) -> Observation:
    """Look at `path` from another process."""
    return _observe(observer_command(path, listing=listing), path, timeout_seconds)


def observe_and_lock(path: Path, *, listing: bool = True) -> tuple[Observation, int | None]:
    """Look at `path` with its directory locked; the descriptor holds the lock, if there is one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        observer = [*observer_command(path, listing=listing), str(theirs.fileno())]
        seen = _observe(observer, path, OBSERVE_SECONDS, theirs.fileno())
        theirs.close()
        # The observer has ended, so that its message is here; one that hangs may still have sent.
        flags = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
        with contextlib.suppress(BlockingIOError):
            _, descriptors, _, _ = socket.recv_fds(ours, 16, 1, flags)
            return seen, next(iter(descriptors), None)
    return seen, None


def _observe(
    command: list[str], path: Path, timeout_seconds: float, *inherited: int
) -> Observation:
    observer = subprocess.Popen(
        command,
        pass_fds=inherited,
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
    return parse_observation(output, path)


def _abandon(observer: subprocess.Popen[bytes]) -> None:
    """Kill an observer, without waiting for one that the kernel does not let go."""
    observer.kill()
    if observer.stdout is not None:
        observer.stdout.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        observer.wait(timeout=_KILL_SECONDS)
