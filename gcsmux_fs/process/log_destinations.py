"""Where the log goes: the journal, syslog, a file or stderr.

Without options, the log goes to stderr in the foreground. If stderr is the journal, records go to
the journal's own socket instead, with priorities and fields. A detached mount logs to the journal,
or to syslog if the machine has no journal, or nowhere if it has neither.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import logging.handlers
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.process.log_datagrams import JournalHandler, SyslogHandler
from gcsmux_fs.process.log_formats import JsonFormatter, LineFormatter
from gcsmux_fs.process.log_storms import LogStormFilter
from gcsmux_fs.process.log_streams import StderrHandler
from gcsmux_fs.process.logs import printable, set_log_level

if TYPE_CHECKING:
    from io import TextIOWrapper

    from gcsmux_fs.settings.settings import Settings

__all__ = [
    "configure_logging",
    "log_destination",
    "lost_log_lines",
    "reopen_log_file",
    "stderr_is_journal",
]

_JOURNAL_SOCKET = Path("/run/systemd/journal/socket")
_SYSLOG_SOCKET = Path("/dev/log")
_PROGRAM = "gcsmux-mount"
# Only the owner may read the log file, because it contains names of objects and mount points.
_LOG_FILE_MODE = 0o600

# google-auth logs to these loggers that it found no metadata server and no project. The first makes
# the mount fail with the same text, and a mount needs no project.
_REDUNDANT_LOGGERS = ("google.auth._default", "google.auth.compute_engine._metadata")


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

    def reopen(self) -> None:
        """Open the file again, also for stderr if stderr is the file.

        Raises:
            OSError: the file cannot be opened.
        """
        self.acquire()
        try:
            stream, self.stream = self.stream, None
            stderr_is_file = stream is not None and _same_file(stream.fileno(), sys.stderr.fileno())
            if stream is not None:
                stream.close()
            self.stream = opened = self._open()
            self._statstream()
            if stderr_is_file:
                os.dup2(opened.fileno(), sys.stderr.fileno())
        finally:
            self.release()

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
    """Send the log to the destination that `settings` name, in the format that they name.

    Raises:
        ConfigError: the destination does not exist, or the log file cannot be opened.
    """
    handler = _handler(settings, detached=detached)
    handler.addFilter(LogStormFilter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    set_log_level(settings.log_level)
    logging.getLogger("pyfuse3").addFilter(_KilledReaderFilter())
    for name in _REDUNDANT_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.captureWarnings(capture=True)
    # With the default value True, the module logging would print a traceback to stderr for each
    # line that cannot be written.
    logging.raiseExceptions = False


def reopen_log_file() -> None:
    """Open the log file again under its name, for example after it was renamed.

    Do nothing if the log goes elsewhere. If the file cannot be opened, the next line tries again.
    """
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _PrivateFileHandler):
            with contextlib.suppress(OSError):
                handler.reopen()


def lost_log_lines() -> int:
    """Return the number of lines that were not logged, because of a storm or a busy receiver."""
    lost = 0
    for handler in logging.getLogger().handlers:
        if isinstance(handler, JournalHandler | SyslogHandler | StderrHandler):
            lost += handler.lost
        lost += sum(each.suppressed for each in handler.filters if isinstance(each, LogStormFilter))
    return lost


def log_destination(settings: Settings, *, detached: bool) -> str:
    """Return where the log goes: a path, `journal`, `syslog`, `stderr` or `nowhere`."""
    if settings.log_file is not None:
        return str(settings.log_file)
    return _destination(settings, detached=detached)


def _handler(settings: Settings, *, detached: bool) -> logging.Handler:
    if settings.log_file is not None:
        handler = _file_handler(settings.log_file)
        handler.setFormatter(_formatter(settings, LineFormatter(with_time=True)))
        return handler
    match _destination(settings, detached=detached):
        case "journal":
            return _journal_handler(settings)
        case "syslog":
            return _syslog_handler(settings)
        case "stderr":
            return _stderr_handler(settings)
    return logging.NullHandler()


def _destination(settings: Settings, *, detached: bool) -> str:
    if settings.log_to != "auto":
        return settings.log_to
    if not detached:
        in_journal = stderr_is_journal() and settings.log_format == "text"
        return "journal" if in_journal and _JOURNAL_SOCKET.is_socket() else "stderr"
    if _JOURNAL_SOCKET.is_socket():
        return "journal"
    return "syslog" if _SYSLOG_SOCKET.is_socket() else "nowhere"


def _file_handler(path: Path) -> logging.Handler:
    try:
        return _PrivateFileHandler(path)
    except OSError as error:
        raise ConfigError(f"--log-file {path} cannot be written: {error.strerror}.") from None


def _journal_handler(settings: Settings) -> logging.Handler:
    _require_socket(_JOURNAL_SOCKET, "journal")
    fields = {f"GCSMUX_{name.upper()}": text for name, text in _mount_fields(settings).items()}
    handler = JournalHandler(_JOURNAL_SOCKET, _PROGRAM, fields)
    handler.setFormatter(LineFormatter(with_level=False))
    return handler


def _syslog_handler(settings: Settings) -> logging.Handler:
    _require_socket(_SYSLOG_SOCKET, "syslog")
    handler = SyslogHandler(_SYSLOG_SOCKET, _PROGRAM)
    handler.setFormatter(_formatter(settings, LineFormatter()))
    return handler


def _stderr_handler(settings: Settings) -> logging.Handler:
    handler = StderrHandler(sys.stderr)
    in_journal = stderr_is_journal()
    text = LineFormatter(with_time=not in_journal, with_priority=in_journal)
    handler.setFormatter(_formatter(settings, text))
    return handler


def _formatter(settings: Settings, text: LineFormatter) -> logging.Formatter:
    return JsonFormatter(_mount_fields(settings)) if settings.log_format == "json" else text


def _mount_fields(settings: Settings) -> dict[str, str]:
    return {"bucket": settings.bucket, "mountpoint": printable(str(settings.mountpoint))}


def _require_socket(path: Path, destination: str) -> None:
    if not path.is_socket():
        raise ConfigError(
            f"--log-to {destination} needs the socket {path}, which does not exist: choose another"
            " destination."
        )


def stderr_is_journal() -> bool:
    """Return whether stderr is the DEVICE:INODE that systemd passes in JOURNAL_STREAM."""
    try:
        status = os.fstat(sys.stderr.fileno())
    except OSError:  # stderr is closed
        return False
    return os.environ.get("JOURNAL_STREAM", "") == f"{status.st_dev}:{status.st_ino}"


def _same_file(first: int, second: int) -> bool:
    return os.path.samestat(os.fstat(first), os.fstat(second))
