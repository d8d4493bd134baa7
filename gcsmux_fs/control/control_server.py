"""The server of the control socket, in threads of its own.

It answers while the event loops are busy or blocked, as long as the interpreter runs threads.

Invariants:
1. At most `MAX_CLIENTS` clients are served at a time; a further client gets an error.
2. A client that sends nothing, or that does not read its answer, is disconnected after
   `SILENCE_SECONDS`. It holds one thread until then, and nothing else.
3. Only root and the user of this process are served.
4. No error of a client or of a command ends the server.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Protocol

from gcsmux_fs.control.mounts import own_mounts
from gcsmux_fs.control.protocol import (
    MAX_REQUEST_BYTES,
    CommandFailed,
    ErrorCode,
    Json,
    LineBuffer,
    Request,
    decode_request,
    encode_error,
    encode_progress,
    encode_result,
)
from gcsmux_fs.control.socket_places import BoundSocket, socket_name
from gcsmux_fs.fuse.mountinfo import mount_table
from gcsmux_fs.model.errors import GcsmuxError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["MAX_CLIENTS", "SILENCE_SECONDS", "Command", "ControlServer", "Exchange", "peer_of"]

log = logging.getLogger(__name__)

MAX_CLIENTS = 16
"""Maximum number of clients at a time: some people with `gcsmux top`, an exporter, and commands."""

SILENCE_SECONDS = 10.0
"""Time in seconds after which a client is disconnected that neither sends nor reads."""

# struct ucred (unix(7), SO_PEERCRED): process, user, group.
_CREDENTIALS = struct.Struct("=iII")
_RECEIVE_BYTES = 65536
_RETRY_SECONDS = 1.0


class Command(Protocol):
    """A function that answers a command. It runs in a thread of the server."""

    def __call__(self, arguments: Json, exchange: Exchange, /) -> Json:
        """Return the fields of the result.

        Raises:
            GcsmuxError: the command failed; the message is one sentence for the user.
        """


def peer_of(connection: socket.socket) -> tuple[int, int]:
    """Return the process and the user at the other end of a connected Unix socket.

    For a client, this is the process that has called listen(2), even if that process is stopped.
    """
    content = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process, user, _ = _CREDENTIALS.unpack(content)
    return process, user


class Exchange:
    """The connection of one command, from the view of the command."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    @property
    def is_open(self) -> bool:
        """Whether the client waits for an answer. A client cancels by closing its connection."""
        poll = select.poll()
        # POLLHUP alone is always reported. A client that has only finished sending is still open.
        poll.register(self._connection, 0)
        return not poll.poll(0)

    def progress(self, fields: Json) -> bool:
        """Send a progress line. Return False if the client has closed its connection."""
        if not self.is_open:
            return False
        try:
            self._connection.sendall(encode_progress(fields))
        except OSError:
            return False
        return True


class ControlServer:
    """Answers `commands` on the socket `name` in `directory`, from `start` to `close`."""

    def __init__(self, commands: Mapping[str, Command]) -> None:
        self._commands = commands
        self._places = threading.BoundedSemaphore(MAX_CLIENTS)
        self._users = {0, os.geteuid()}
        self._bound: BoundSocket | None = None
        self._thread: threading.Thread | None = None
        self._closing = False

    def start(self, directory: Path, name: str) -> None:
        """Make the socket and answer clients. If the socket cannot be made, log the reason."""
        try:
            mounts = own_mounts(mount_table())
            kept = {socket_name((mount.major, mount.minor)) for mount in mounts}
            self._bound = BoundSocket(directory, name, kept)
        except OSError as error:
            log.warning(
                "no control socket in %s (%s): `gcsmux stats` and similar commands cannot reach"
                " this mount",
                directory,
                error.strerror,
            )
            return
        self._thread = threading.Thread(
            target=self._accept_clients, args=(self._bound.listener,), name="control", daemon=True
        )
        self._thread.start()
        log.debug("control socket: %s", self._bound.path)

    def close(self) -> None:
        """Remove the socket and accept no more clients."""
        if self._bound is None or self._thread is None:
            return
        self._closing = True
        # Shutting down the listener makes the waiting accept() fail.
        try:
            self._bound.listener.shutdown(socket.SHUT_RDWR)
        except OSError as error:
            log.debug("the control socket cannot be shut down: %s", error)
        self._thread.join(1.0)
        self._bound.close()
        self._bound = None

    def _accept_clients(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError as error:
                if self._closing:
                    return
                # For example, the process has no free file descriptor.
                log.debug("the control socket cannot accept a client: %s", error)
                time.sleep(_RETRY_SECONDS)
                continue
            connection.settimeout(SILENCE_SECONDS)
            if not self._places.acquire(blocking=False):
                _send(connection, encode_error(ErrorCode.BUSY, "too many clients: try again."))
                connection.close()
                continue
            try:
                threading.Thread(
                    target=self._serve, args=(connection,), name="control client", daemon=True
                ).start()
            except RuntimeError as error:
                log.warning("no thread for a client of the control socket: %s", error)
                connection.close()
                self._places.release()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                _send(connection, self._answer(connection))
        except Exception:
            log.exception("a client of the control socket was not served")
        finally:
            self._places.release()

    def _answer(self, connection: socket.socket) -> bytes:
        try:
            process, user = peer_of(connection)
            if user not in self._users:
                raise CommandFailed(
                    ErrorCode.REFUSED,
                    f"only root and the user {os.geteuid()} may control this mount.",
                )
            request = _receive(connection)
            if request is None:
                return b""
            log.debug("control: %s from process %d of user %d", request.command, process, user)
            command = self._commands.get(request.command)
            if command is None:
                raise CommandFailed(
                    ErrorCode.UNKNOWN_COMMAND,
                    f"the mount has no command {request.command[:40]!r}: use the same version of"
                    " gcsmux, or mount again.",
                )
            return encode_result(command(request.arguments, Exchange(connection)))
        except CommandFailed as error:
            return encode_error(error.code, str(error))
        except GcsmuxError as error:
            return encode_error(ErrorCode.FAILED, str(error))
        except Exception as error:
            log.exception("a command of the control socket failed")
            return encode_error(ErrorCode.FAILED, f"internal error, please report it: {error!r}")


def _receive(connection: socket.socket) -> Request | None:
    """Return the request of a client; None if the client closes its connection or stays silent."""
    lines = LineBuffer(MAX_REQUEST_BYTES)
    while (line := lines.next_line()) is None:
        try:
            received = connection.recv(_RECEIVE_BYTES)
        except OSError:
            return None
        if not received:
            return None
        lines.feed(received)
    return decode_request(line)


def _send(connection: socket.socket, line: bytes) -> None:
    try:
        connection.sendall(line)
    except OSError as error:
        log.debug("a client of the control socket did not read its answer: %s", error)
