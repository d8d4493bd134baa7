"""Where the log goes, and how a line of it looks.

One event is one line: time, level, logger, message. Names of objects are anybody's text, so every
character that could end a line or steer a terminal is written as an escape, tracebacks included.
What looks like a token or a key is left out, whoever mentions it: errors of google-auth hold what
a token server has answered.
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
# What is logged may name objects and mount points: it is its owner's business.
_LOG_FILE_MODE = 0o600

# The levels of sd-daemon(3), which journald reads at the start of a line on stderr.
_JOURNAL_PREFIXES = {
    logging.DEBUG: "<7>",
    logging.INFO: "<6>",
    logging.WARNING: "<4>",
    logging.ERROR: "<3>",
    logging.CRITICAL: "<2>",
}

# Libraries whose INFO and DEBUG lines tell nothing about a mount stay at WARNING.
_OUR_LOGGERS = ("gcsmux_fs", "pyfuse3")


# It logs with a traceback that no token could be had; the call then fails with the same words.
_REPEATING_LOGGER = "grpc._plugin_wrapping"

_SECRET = re.compile(
    r"""
    -----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY-----.*?(?:-----END[ ][A-Z ]*-----|\Z)
    | \beyJ[\w-]{8,}(?:\.[\w-]*)+      # a JSON Web Token: an id token, or a signed assertion
    | \b(?:ya29\.[\w.-]{8,}|1//0[\w-]{20,})  # an access token of Google's, or what renews it
    | \bAIza[\w-]{30,}                # a key of an API
    | (?P<scheme>\b(?i:bearer)[ ])[\w.~+/=-]+
    | (?P<address>://)[^\s/@]+:[^\s/@]+(?=@)  # a user and a password
    | (?P<field>(?i:_token|_secret|private_key|signature|password)["']?\s*[:=]\s*)
      (?:(?P<quote>["'])(?:(?!(?P=quote)).)*|[^\s"'&,;}\]]+)
    """,
    re.VERBOSE | re.DOTALL,
)


def _hidden(found: re.Match[str]) -> str:
    kept = (found[name] or "" for name in ("scheme", "address", "field", "quote"))
    return "".join(kept) + "[secret]"


def redacted(text: str) -> str:
    """Return `text` without what looks like a token or a key."""
    return _SECRET.sub(_hidden, text)


def printable(text: str) -> str:
    """Return `text` with every character escaped that is not plainly visible on one line."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def sentence(text: str) -> str:
    """Return `text` as one printable line that ends as a sentence does."""
    line = printable(redacted(text.strip()))
    return line if line.endswith("?") else line.rstrip(".") + "."


class _LineFormatter(logging.Formatter):
    """Writes a record as one line, its traceback included."""

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
    """Appends to a file that only its owner reads; follows when the file has been rotated away.

    A file that cannot be made again (its folder is gone, the disk is full) is tried for again at
    the next line; whoever had something to log goes on.
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


class _UnansweredFilter(logging.Filter):
    """Lowers pyfuse3's complaint about a reader that was killed before its answer to DEBUG.

    The kernel then has no request any more to answer (ENOENT), and nobody misses anything.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if "fuse_reply_" in message and message.endswith(os.strerror(errno.ENOENT)):
            record.levelno, record.levelname = logging.DEBUG, "DEBUG"
            return logging.getLogger(record.name).isEnabledFor(logging.DEBUG)
        return True


def configure_logging(settings: Settings, *, detached: bool) -> None:
    """Send the log to --log-file; else to stderr, or to syslog, if any, where stderr is gone.

    Raises:
        ConfigError: the file cannot be written to.
    """
    handler = _handler(settings.log_file, detached=detached)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for name in _OUR_LOGGERS:
        logging.getLogger(name).setLevel(settings.log_level.upper())
    logging.getLogger("pyfuse3").addFilter(_UnansweredFilter())
    logging.getLogger(_REPEATING_LOGGER).setLevel(logging.CRITICAL)
    logging.captureWarnings(capture=True)
    # Nobody would read the traceback of a log that cannot be written, and stderr is not ours.
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
    """Tell whether a descriptor is the one that JOURNAL_STREAM=device:inode speaks of."""
    status = os.fstat(descriptor)
    return stream == f"{status.st_dev}:{status.st_ino}"
