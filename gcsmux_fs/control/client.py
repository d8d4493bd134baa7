"""The synchronous client of the control socket, for the subcommands of `gcsmux`.

    with control_client(mount) as client:
        print(client.ask("status"))

The client finds a mount in the mount table and never looks at the mount itself, so it does not wait
for a mount that hangs. Each failure is a `ControlError`, whose message is one sentence.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Self

from gcsmux_fs.control.control_server import peer_of
from gcsmux_fs.control.protocol import (
    MAX_ANSWER_BYTES,
    Json,
    LineBuffer,
    Request,
    Result,
    decode_answer,
    encode_request,
)
from gcsmux_fs.control.socket_places import connected, open_directory, places_of, socket_name
from gcsmux_fs.model.errors import GcsmuxError
from gcsmux_fs.process.shell_commands import unmount_command

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from gcsmux_fs.fuse.mountinfo import MountEntry

__all__ = ["ANSWER_SECONDS", "ControlClient", "ControlError", "NoAnswer", "control_client"]

ANSWER_SECONDS = 5.0
"""Default maximum time in seconds between two lines of an answer. A mount whose loop is blocked
answers after two seconds."""

_RECEIVE_BYTES = 1 << 16


class ControlError(GcsmuxError):
    """A mount cannot be asked; the message is one sentence for the user."""


class NoAnswer(ControlError):
    """The process of the mount does not answer, or has ended."""


class ControlClient:
    """One connection to the control socket of `mount`, for one command."""

    def __init__(self, mount: MountEntry, connection: socket.socket) -> None:
        self._mount = mount
        self._connection = connection
        #: The process that serves the mount, and its user.
        self.process, self.user = peer_of(connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(
        self,
        command: str,
        arguments: Json | None = None,
        on_progress: Callable[[Json], None] | None = None,
    ) -> Json:
        """Send a command and return the fields of its result; may be called once.

        `on_progress` gets the fields of each progress line.

        Raises:
            NoAnswer: no line came in time.
            ControlError: the connection was closed.
            CommandFailed: the mount answered with an error.
        """
        request = encode_request(Request(command, arguments or {}))
        lines = LineBuffer(MAX_ANSWER_BYTES)
        if _is_stopped(self.process):
            raise self._no_answer()
        try:
            # A server that refuses this client closes the connection without reading the request.
            with contextlib.suppress(BrokenPipeError):
                self._connection.sendall(request)
            while True:
                while (line := lines.next_line()) is None:
                    received = self._connection.recv(_RECEIVE_BYTES)
                    if not received:
                        raise ControlError(
                            f"the process {self.process} of {self._mount.path} closed the control"
                            " connection: the mount may be ending, see its log."
                        )
                    lines.feed(received)
                answer = decode_answer(line)
                if isinstance(answer, Result):
                    return answer.fields
                if on_progress is not None:
                    on_progress(answer.fields)
        except TimeoutError:
            raise self._no_answer() from None
        except OSError as error:
            raise ControlError(
                f"the control connection to {self._mount.path} failed: {error.strerror}."
            ) from None

    def _no_answer(self) -> NoAnswer:
        process = self.process
        where = f"the process {process} of {self._mount.path}"
        if _is_stopped(process):
            return NoAnswer(f"{where} is stopped: continue it by `kill -CONT {process}`.")
        return NoAnswer(
            f"{where} did not answer within {self._connection.gettimeout():g} s: the machine is"
            f" overloaded or the process hangs, see its log."
        )


def _is_stopped(process: int) -> bool:
    """Return whether a signal has stopped a process (state T in proc(5))."""
    try:
        content = Path(f"/proc/{process}/stat").read_bytes()
    except OSError:
        return False
    # The name of the program, in parentheses, may contain any character.
    return content.rpartition(b")")[2].split()[0] == b"T"


def control_client(mount: MountEntry, seconds: float = ANSWER_SECONDS) -> ControlClient:
    """Connect to the control socket of a mount; all waits last at most `seconds`.

    Raises:
        ControlError: there is no socket, the mount belongs to another user, or its process has
            ended.
    """
    user, owner = os.geteuid(), mount.owner or 0
    name = socket_name((mount.major, mount.minor))
    for place in places_of(os.environ, owner):
        try:
            with open_directory(place, {0, owner}) as directory:
                connection = connected(directory, name, seconds)
        except FileNotFoundError:
            continue
        except ConnectionRefusedError:
            unmount = unmount_command(mount.path, user=user, owner=owner) or "umount as root"
            raise NoAnswer(
                f"the process of {mount.path} has ended: unmount it by {unmount}."
            ) from None
        except PermissionError:
            if user in (0, owner):
                continue
            break
        except (TimeoutError, BlockingIOError):
            # EAGAIN: many clients wait to be accepted, so the process has not run for a while.
            raise NoAnswer(
                f"the process of {mount.path} accepts no control connection: if it is stopped"
                " (state T in `ps`), continue it by `kill -CONT`, otherwise try again."
            ) from None
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP, errno.ENOTSOCK):
                continue
            raise ControlError(
                f"the control socket of {mount.path} cannot be used: {error.strerror}."
            ) from None
        client = ControlClient(mount, connection)
        if client.user in (0, owner):
            return client
        # Another user has put a socket of another process here, through a symbolic link.
        connection.close()
    if user not in (0, owner):
        raise ControlError(
            f"the mount {mount.path} belongs to the user {owner}: only this user and root may"
            " control it."
        )
    raise ControlError(
        f"the mount {mount.path} has no control socket here: it was made by an older version or in"
        " another container, or its log says why."
    )
