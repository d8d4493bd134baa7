"""Looks at a path from another process, because an access to the path may hang.

An access hangs for as long as the file system at the path hangs, and a process that serves a mount
must never access its own mount. So a short-lived process, the observer, looks at the path, with a
time limit. If a mount command claims a directory (see `start_lock`), the observer also opens and
locks the directory, and sends the descriptor to the mount command.
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

from gcsmux_fs.model.errors import TransientError

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

OBSERVE_SECONDS = 5.0
"""Time limit of an observer in seconds. A local directory answers in milliseconds. A path that
takes longer than the limit counts as hanging, because a command must answer its user within ten
seconds."""

# Maximum time in seconds to wait for the end of a killed observer. A killed observer ends at once,
# or may hang in the kernel for ever.
_KILL_SECONDS = 1.0

# The program of the observer. The program prints an `Observation` as JSON. With a third argument,
# the number of a socket, the program first locks the directory and sends the descriptor of the
# directory, so the observation is true while the lock is held. To open an autofs mount point by its
# path would trigger the mount that is being made. So the program does not list an autofs directory,
# and opens the directory through an O_PATH descriptor, which triggers nothing. If the program does
# not list the directory, it calls statvfs, because the kernel passes each statvfs to the process
# that serves a mount, but may answer stat from its cache.
_OBSERVER = """\
import json, os, stat, sys

path = os.path.realpath(os.fsencode(sys.argv[1]))
observation = {"path": os.fsdecode(path)}


def lock(receiver):
    import fcntl, socket

    reference = os.open(path, os.O_PATH)
    directory = os.open(f"/proc/self/fd/{reference}", os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        observation["locked"] = True
    except OSError:
        pass
    else:
        socket.send_fds(socket.socket(fileno=receiver), [b"locked"], [directory])


try:
    if len(sys.argv) > 3 and stat.S_ISDIR(os.stat(path).st_mode):
        lock(int(sys.argv[3]))
    if sys.argv[2] == "stat":
        os.fstatvfs(os.open(path, os.O_PATH))
    status = os.stat(path)
    observation["device"] = status.st_dev
    observation["directory"] = stat.S_ISDIR(status.st_mode)
    observation["writable"] = os.access(path, os.W_OK | os.X_OK)
    if sys.argv[2] == "list" and observation["directory"]:
        with os.scandir(path) as entries:
            observation["empty"] = next(entries, None) is None
except FileNotFoundError as error:
    observation["errno"] = error.errno
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    observation["writable"] = os.access(path, os.W_OK | os.X_OK)
except OSError as error:
    observation["errno"] = error.errno
print(json.dumps(observation))
"""


@dataclass(frozen=True, slots=True)
class Observation:
    """What the observer saw at a path.

    `errno` is 0 if nothing failed, and ETIMEDOUT if the observer gave no answer in time. `writable`
    describes the directory, or the nearest directory above a path that does not exist. `locked`
    means that another mount command has claimed the directory.
    """

    path: str
    errno: int = 0
    device: int = 0
    directory: bool = False
    writable: bool = False
    empty: bool = False
    locked: bool = False


def observer_command(path: Path, *, listing: bool) -> list[str]:
    """Return the command that looks at `path`.

    With `listing`, its output also shows whether `path` is empty.
    """
    mode = "list" if listing else "stat"
    return [sys.executable, "-S", "-I", "-c", _OBSERVER, os.fspath(path), mode]


def parse_observation(output: bytes, path: Path) -> Observation:
    """Return the observation that an observer printed; errno EIO if it printed no observation."""
    try:
        return Observation(**json.loads(output))
    except ValueError:
        return Observation(os.fspath(path), errno=errno.EIO)


def observe(
    path: Path, *, listing: bool = True, timeout_seconds: float = OBSERVE_SECONDS
) -> Observation:
    """Look at `path` from another process.

    Raises:
        TransientError: the other process cannot be started.
    """
    return _observe(observer_command(path, listing=listing), path, timeout_seconds)


def observe_and_lock(path: Path, *, listing: bool = True) -> tuple[Observation, int | None]:
    """Lock the directory `path`, and look at the directory from another process meanwhile.

    The returned descriptor holds the lock; None if the directory could not be locked.

    Raises:
        TransientError: the other process cannot be started.
    """
    receiver, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with receiver, sender:
        observer = [*observer_command(path, listing=listing), str(sender.fileno())]
        observation = _observe(observer, path, OBSERVE_SECONDS, sender.fileno())
        sender.close()
        # If the observer has sent a message, the message is in the socket even if the observer has
        # ended or hangs.
        flags = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
        with contextlib.suppress(BlockingIOError):
            _, descriptors, _, _ = socket.recv_fds(receiver, 16, 1, flags)
            return observation, next(iter(descriptors), None)
    return observation, None


def _observe(
    command: list[str], path: Path, timeout_seconds: float, *inherited: int
) -> Observation:
    try:
        observer = subprocess.Popen(
            command,
            pass_fds=inherited,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
        )
    except OSError as error:
        raise TransientError(
            f"{path} cannot be examined, because no process can be started: {error.strerror}: check"
            " the limits of processes and memory, and try again."
        ) from None
    try:
        output, _ = observer.communicate(timeout=timeout_seconds)
    except subprocess.TimeoutExpired:
        _abandon(observer)
        return Observation(os.fspath(path), errno=errno.ETIMEDOUT)
    return parse_observation(output, path)


def _abandon(observer: subprocess.Popen[bytes]) -> None:
    """Kill an observer. Wait for its end only briefly, because it may hang in the kernel."""
    observer.kill()
    if observer.stdout is not None:
        observer.stdout.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        observer.wait(timeout=_KILL_SECONDS)
