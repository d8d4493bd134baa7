"""The protocol of the control socket: its messages, its limits and its errors; sans-IO.

A message is one JSON object in one line. The client sends a request:

    {"version": 1, "command": "stats", "arguments": {}}

The server answers with any number of progress lines and then with one last line, which has either
the result or an error:

    {"progress": {...}}
    {"ok": {...}}
    {"error": {"code": "failed", "message": "...", "server": "0.2.0"}}

A connection carries one request. The client cancels a command by closing the connection.

A newer client may send arguments that an older server ignores, and a newer server may add fields to
an answer. `PROTOCOL_VERSION` changes only when an old program would misunderstand a message.

docs/CONTROL.md describes the commands.
"""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass, field
from typing import Any

from gcsmux_fs import __version__
from gcsmux_fs.model.errors import GcsmuxError

__all__ = [
    "MAX_ANSWER_BYTES",
    "MAX_REQUEST_BYTES",
    "PROTOCOL_VERSION",
    "CommandFailed",
    "ErrorCode",
    "Json",
    "LineBuffer",
    "Progress",
    "Request",
    "Result",
    "decode_answer",
    "decode_request",
    "encode_error",
    "encode_progress",
    "encode_request",
    "encode_result",
]

Json = dict[str, Any]

PROTOCOL_VERSION = 1
"""The version of this protocol. A server refuses a request of another version."""

MAX_REQUEST_BYTES = 1 << 20
"""Maximum length of a request line. It holds a thousand paths of the longest object names."""

MAX_ANSWER_BYTES = 16 << 20
"""Maximum length of an answer line. It holds 20,000 streams whose object names have 500 bytes."""


class ErrorCode(enum.StrEnum):
    """Why a command failed."""

    BAD_REQUEST = "bad-request"  # the line is no request, or an argument is wrong
    UNKNOWN_COMMAND = "unknown-command"
    VERSION = "version"  # client and server have different versions of the protocol
    REFUSED = "refused"  # the client runs as another user
    BUSY = "busy"  # too many clients are connected
    BLOCKED = "blocked"  # the event loop does not run
    ENDING = "ending"  # the mount is being unmounted
    FAILED = "failed"  # the command failed, as the message explains


class CommandFailed(GcsmuxError):
    """A command failed; the message is one sentence for the user."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Request:
    """A command and its arguments."""

    command: str
    arguments: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Progress:
    """A line that shows how far a command is."""

    fields: Json


@dataclass(frozen=True, slots=True)
class Result:
    """The last line of a command that succeeded."""

    fields: Json


def _line(message: Json) -> bytes:
    # The text is ASCII: json writes a surrogate, which represents a byte of a path that is not
    # UTF-8, as an escape sequence.
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def encode_request(request: Request) -> bytes:
    """Return the line of a request.

    Raises:
        CommandFailed: the line is longer than `MAX_REQUEST_BYTES`.
    """
    line = _line(
        {
            "version": PROTOCOL_VERSION,
            "command": request.command,
            "arguments": request.arguments,
        }
    )
    if len(line) > MAX_REQUEST_BYTES:
        raise CommandFailed(
            ErrorCode.BAD_REQUEST,
            f"the arguments are longer than {MAX_REQUEST_BYTES} bytes: pass fewer at a time.",
        )
    return line


def decode_request(line: bytes) -> Request:
    """Return the request in a line.

    Raises:
        CommandFailed: the line is not a request of this version.
    """
    message = _decode(line)
    version = message.get("version")
    if version != PROTOCOL_VERSION:
        raise CommandFailed(
            ErrorCode.VERSION,
            f"the mount speaks version {PROTOCOL_VERSION} of the control protocol, the client"
            f" version {json.dumps(version)[:20]}: use gcsmux {__version__}, or mount again.",
        )
    command, arguments = message.get("command"), message.get("arguments", {})
    if not isinstance(command, str) or not isinstance(arguments, dict):
        raise CommandFailed(
            ErrorCode.BAD_REQUEST,
            "a request needs a text as its command and an object as its arguments.",
        )
    return Request(command, arguments)


def encode_progress(fields: Json) -> bytes:
    """Return a progress line."""
    return _line({"progress": fields})


def encode_result(fields: Json) -> bytes:
    """Return the last line of a command that succeeded; an error line if it would be too long."""
    line = _line({"ok": fields})
    if len(line) > MAX_ANSWER_BYTES:
        return encode_error(
            ErrorCode.FAILED, f"the answer is longer than {MAX_ANSWER_BYTES} bytes."
        )
    return line


def encode_error(code: ErrorCode, message: str) -> bytes:
    """Return the last line of a command that failed."""
    return _line({"error": {"code": code.value, "message": message, "server": __version__}})


def decode_answer(line: bytes) -> Progress | Result:
    """Return the content of an answer line.

    Raises:
        CommandFailed: the line reports an error, or is not an answer.
    """
    match _decode(line):
        case {"progress": dict() as fields}:
            return Progress(fields)
        case {"ok": dict() as fields}:
            return Result(fields)
        case {"error": {"code": str() as code, "message": str() as message}}:
            known = code in ErrorCode.__members__.values()
            raise CommandFailed(ErrorCode(code) if known else ErrorCode.FAILED, message)
    raise CommandFailed(ErrorCode.BAD_REQUEST, "the control socket sent an unknown answer.")


def _decode(line: bytes) -> Json:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise CommandFailed(ErrorCode.BAD_REQUEST, "a line is not a JSON object.")
    return message


class LineBuffer:
    """Splits received bytes into lines of at most `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._received = bytearray()

    def feed(self, received: bytes) -> None:
        """Add received bytes."""
        self._received += received

    def next_line(self) -> bytes | None:
        """Remove and return the first complete line without its end; None if there is none.

        Raises:
            CommandFailed: the first line is too long.
        """
        end = self._received.find(b"\n", 0, self._max_bytes)
        if end < 0:
            if len(self._received) >= self._max_bytes:
                raise CommandFailed(
                    ErrorCode.BAD_REQUEST, f"a line is longer than {self._max_bytes} bytes."
                )
            return None
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        return line
