"""Sends log records to the journal and to syslog, as datagrams on a Unix socket.

A datagram is sent without waiting. If the receiver does not read, for example because journald
hangs, a send that waits would block the thread that serves the kernel, and with it all programs on
the mount. So a record that cannot be sent at once is lost and counted.

The journal's protocol is described in https://systemd.io/JOURNAL_NATIVE_PROTOCOL. A record that is
too large for a datagram is passed in a sealed memory file.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
import struct
from typing import TYPE_CHECKING

from gcsmux_fs.process.log_formats import PRIORITIES
from gcsmux_fs.process.logs import printable, redacted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["JournalHandler", "SyslogHandler"]

# The facility "daemon" of syslog(3), shifted as in a priority.
_DAEMON = 3 << 3
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class _DatagramHandler(logging.Handler):
    """Sends each record as one datagram to the socket at `path`."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = os.fspath(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        #: Number of records that could not be sent.
        self.lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record, or count it as lost."""
        try:
            self._send(self.encoded(record))
        except OSError:
            self.lost += 1
        except Exception:
            # As in every handler of the module logging: an error of the log stops no caller.
            self.handleError(record)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        super().close()

    def encoded(self, record: logging.LogRecord) -> bytes:
        """Return the datagram of a record."""
        raise NotImplementedError

    def _send(self, datagram: bytes) -> None:
        # The socket is not connected, so a restart of the receiver needs no new connection.
        self._socket.sendto(datagram, socket.MSG_DONTWAIT, self._path)


class SyslogHandler(_DatagramHandler):
    """Sends records to syslog, with the program's name and process ID."""

    def __init__(self, path: Path, program: str) -> None:
        super().__init__(path)
        self._tag = f"{program}[{os.getpid()}]: "

    def encoded(self, record: logging.LogRecord) -> bytes:
        """Return the priority, the tag and the formatted line."""
        priority = _DAEMON | PRIORITIES.get(record.levelno, 5)
        line = self._tag + self.format(record)
        return f"<{priority}>{line}".encode(errors="backslashreplace")


class JournalHandler(_DatagramHandler):
    """Sends records to the journal by its native protocol.

    `fields` are added to each record. The names of fields are upper case.
    """

    def __init__(self, path: Path, program: str, fields: Mapping[str, str]) -> None:
        super().__init__(path)
        self._fields = {"SYSLOG_IDENTIFIER": program, **fields}

    def encoded(self, record: logging.LogRecord) -> bytes:
        """Return the fields of a record in the journal's format."""
        fields = {
            "MESSAGE": self.format(record),
            "PRIORITY": str(PRIORITIES.get(record.levelno, 5)),
            "LOGGER": record.name,
            "CODE_FILE": record.pathname,
            "CODE_LINE": str(record.lineno),
            "CODE_FUNC": record.funcName or "",
            "THREAD_NAME": record.threadName or "",
            **self._fields,
        }
        return b"".join(_field(name, value) for name, value in fields.items())

    def _send(self, datagram: bytes) -> None:
        try:
            super()._send(datagram)
        except OSError as error:
            if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                raise
            self._send_in_file(datagram)

    def _send_in_file(self, datagram: bytes) -> None:
        """Send a datagram that is too large for the socket as the descriptor of a memory file."""
        file = os.memfd_create("journal-entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.write(file, datagram)
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", file))]
            self._socket.sendmsg([], rights, socket.MSG_DONTWAIT, self._path)
        finally:
            os.close(file)


def _field(name: str, value: str) -> bytes:
    """Return a field in the form that permits every byte in its value: name, size, value."""
    data = printable(redacted(value)).encode(errors="backslashreplace")
    return name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"
