"""The destination of the log and the format of its lines.

Each record is one line: time, level, logger, message, traceback. Object names may contain any
characters, so every character that ends a line or controls a terminal is escaped. Tokens and keys
are replaced in every line, because the errors of libraries may contain tokens and keys. For
example, an error of google-auth quotes the answer of the token server.
"""

from __future__ import annotations

import errno
import logging
import logging.handlers
import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import ConfigError

if TYPE_CHECKING:
    from io import TextIOWrapper

    from gcsmux_fs.settings.settings import Settings

__all__ = ["configure_logging", "printable", "redacted", "sentence"]

_SYSLOG_SOCKET = Path("/dev/log")
_PROGRAM = "gcsmux-mount"
# Only the owner may read the log file, because it contains names of objects and mount points.
_LOG_FILE_MODE = 0o600

# By log level: the prefix of a line on stderr. journald reads the level from this prefix, see
# sd-daemon(3).
_JOURNAL_PREFIXES = {
    logging.DEBUG: "<7>",
    logging.INFO: "<6>",
    logging.WARNING: "<4>",
    logging.ERROR: "<3>",
    logging.CRITICAL: "<2>",
}

# --log-level applies to these loggers. Other libraries stay at WARNING, because their INFO and
# DEBUG lines do not describe the mount.
_MOUNT_LOGGERS = ("gcsmux_fs", "pyfuse3")

# gRPC logs a failed token renewal to this logger, with a traceback. These records are dropped,
# because the call that needed the token fails with the same text.
_REDUNDANT_LOGGER = "grpc._plugin_wrapping"

_SECRET = re.compile(
    r"""
    -----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY-----.*?(?:-----END[ ][A-Z ]*-----|\Z)
    | \beyJ[\w-]{8,}(?:\.[\w-]*)+      # a JSON Web Token: an ID token or a signed assertion
    | \b(?:ya29\.[\w.-]{8,}|1//0[\w-]{20,})  # Google's access token or refresh token
    | \bAIza[\w-]{30,}                # an API key
    | (?P<scheme>\b(?i:bearer)[ ])[\w.~+/=-]+
    | (?P<address>://)[^\s/@]+:[^\s/@]+(?=@)  # a user name and a password in a URL
    | (?P<field>(?i:_token|_secret|private_key|signature|password)["']?\s*[:=]\s*)
      (?:(?P<quote>["'])(?:(?!(?P=quote)).)*|[^\s"'&,;}\]]+)
    """,
    re.VERBOSE | re.DOTALL,
)


def _hidden(match: re.Match[str]) -> str:
    kept = (match[name] or "" for name in ("scheme", "address", "field", "quote"))
    return "".join(kept) + "[secret]"


def redacted(text: str) -> str:
    """Return `text` with every apparent token, key or password replaced by `[secret]`."""
    return _SECRET.sub(_hidden, text)


def printable(text: str) -> str:
    """Return `text` on one line, with every unprintable character escaped."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def sentence(text: str) -> str:
    """Return `text` as one printable line without secrets that ends with `.` or `?`."""
    line = printable(redacted(text.strip()))
    return line if line.endswith("?") else line.rstrip(".") + "."


class _LineFormatter(logging.Formatter):
    """Formats a record, including its traceback, as one line."""

    def __init__(self, layout: str, *, with_level_prefix: bool = False) -> None:
        super().__init__(layout)
        self.converter = time.gmtime
        self.default_time_format = "%Y-%m-%dT%H:%M:%S"
        self.default_msec_format = "%s.%03dZ"
        self._with_level_prefix = with_level_prefix

    def format(self, record: logging.LogRecord) -> str:
        line = printable(redacted(super().format(record)))
        prefix = _JOURNAL_PREFIXES.get(record.levelno, "") if self._with_level_prefix else ""
        return prefix + line


class _PrivateFileHandler(logging.handlers.WatchedFileHandler):
    """Appends to a file with mode 0600, and creates the file again after it was renamed.

    If the file cannot be created (its folder does not exist, or the disk is full), the line is
    lost. The code that logs gets no exception. The next line tries again to create the file.
    """

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except OSError:
            self.handleError(record)

    def _open(self) -> TextIOWrapper:
        return open(
            self.baseFilename,
            "a",
            encoding="utf-8",
            opener=lambda path, flags: os.open(path, flags, _LOG_FILE_MODE),
        )


class _KilledReaderFilter(logging.Filter):
    """Lowers to DEBUG the level of an error that pyfuse3 logs after a program was killed.

    pyfuse3 logs this error because the kernel has dropped the request of the killed program, and
    refuses the reply with ENOENT.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if "fuse_reply_" in message and message.endswith(os.strerror(errno.ENOENT)):
            record.levelno, record.levelname = logging.DEBUG, "DEBUG"
            return logging.getLogger(record.name).isEnabledFor(logging.DEBUG)
        return True


def configure_logging(settings: Settings, *, detached: bool) -> None:
    """Send the log to `settings.log_file`, to stderr or to syslog.

    With --log-file, the log goes only to this file. Without it, a mount in the foreground logs to
    stderr. A detached mount logs to syslog, or nowhere if the machine has no syslog socket.

    Raises:
        ConfigError: the log file cannot be opened.
    """
    handler = _handler(settings.log_file, detached=detached)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for name in _MOUNT_LOGGERS:
        logging.getLogger(name).setLevel(settings.log_level.upper())
    logging.getLogger("pyfuse3").addFilter(_KilledReaderFilter())
    logging.getLogger(_REDUNDANT_LOGGER).setLevel(logging.CRITICAL)
    logging.captureWarnings(capture=True)
    # With the default value True, the module logging would print a traceback to stderr for each
    # line that cannot be written.
    logging.raiseExceptions = False


def _handler(log_file: Path | None, *, detached: bool) -> logging.Handler:
    layout = "%(levelname)s %(name)s: %(message)s"
    handler: logging.Handler
    if log_file is not None:
        try:
            handler = _PrivateFileHandler(log_file)
        except OSError as error:
            raise ConfigError(
                f"--log-file {log_file} cannot be written: {error.strerror}."
            ) from None
        handler.setFormatter(_LineFormatter("%(asctime)s " + layout))
    elif not detached:
        handler = logging.StreamHandler(sys.stderr)
        in_journal = _is_journal(sys.stderr.fileno(), os.environ.get("JOURNAL_STREAM", ""))
        handler.setFormatter(
            _LineFormatter(layout, with_level_prefix=True)
            if in_journal
            else _LineFormatter("%(asctime)s " + layout)
        )
    elif _SYSLOG_SOCKET.is_socket():
        handler = logging.handlers.SysLogHandler(
            os.fspath(_SYSLOG_SOCKET), logging.handlers.SysLogHandler.LOG_DAEMON
        )
        handler.ident = f"{_PROGRAM}[{os.getpid()}]: "
        handler.setFormatter(_LineFormatter(layout))
    else:
        handler = logging.NullHandler()
    return handler


def _is_journal(descriptor: int, stream: str) -> bool:
    """Return whether the DEVICE:INODE in `stream` (JOURNAL_STREAM) is that of the descriptor."""
    status = os.fstat(descriptor)
    return stream == f"{status.st_dev}:{status.st_ino}"
