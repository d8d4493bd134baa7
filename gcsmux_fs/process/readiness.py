"""How the mount process reports that the mount is ready, has failed, or is about to stop.

The report goes to the command that started the process, or to systemd.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import sys
import time
from typing import TYPE_CHECKING, Protocol

from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.process.log_destinations import stderr_is_journal
from gcsmux_fs.process.logs import printable, sentence
from gcsmux_fs.process.sd_notify import notify
from gcsmux_fs.process.standard_streams import print_error

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "READINESS_VARIABLE",
    "ForegroundReporter",
    "ParentGone",
    "PipeReporter",
    "ReadinessReporter",
    "inherited_pipe",
    "print_failure",
]

log = logging.getLogger(__name__)

READINESS_VARIABLE = "_GCSMUX_READINESS_FD"
"""The environment variable with the descriptor of the pipe to which the mount process writes."""

# Time in seconds that each message during a start asks systemd for. One attempt to reach the
# service and the pause before the next attempt take at most 11 s.
_MORE_SECONDS = 30.0


class ParentGone(ConfigError):
    """The command that started this process ended before the mount was ready."""


class ReadinessReporter(Protocol):
    """Receives one report, `ready` or `failed`, and reports about the state before and after."""

    def waiting(self, reason: str) -> None:
        """Report that the service cannot be reached now, and that the start tries again."""

    def warn(self, text: str) -> None:
        """Keep a warning for the user who starts the mount; call this before `ready`."""

    def ready(self) -> None:
        """Report that the mount answers.

        Raises:
            ParentGone: the command that started this process has ended, so the caller must unmount.
        """

    def failed(self, reason: str, exit_code: int) -> None:
        """Report why the mount did not start, or why it ended."""

    def reloading(self) -> None:
        """Report that the mount drops its cached names; `reloaded` follows."""

    def reloaded(self) -> None:
        """Report that the cached names are dropped."""

    def stopping(self, reason: str = "") -> None:
        """Report that the mount is about to end, and has not failed."""

    def stopped(self) -> None:
        """Report that the mount has ended and was removed."""


def inherited_pipe() -> int | None:
    """Return the descriptor of the pipe to the parent, or None if there is no such pipe.

    After this call, child processes of this process do not inherit the pipe.
    """
    number = os.environ.pop(READINESS_VARIABLE, "")
    if not number.isdecimal():
        return None
    descriptor = int(number)
    try:
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            return None
        os.set_inheritable(descriptor, False)
    except OSError:
        return None
    return descriptor


class PipeReporter:
    """Reports to the parent of a detached process; redirects stderr when the mount is ready."""

    def __init__(self, descriptor: int, log_file: Path | None) -> None:
        self._warning = ""
        self._descriptor: int | None = descriptor
        self._log_file = log_file

    def warn(self, text: str) -> None:
        """Keep a warning for the `ready` report; the parent prints all of them."""
        self._warning += " " + sentence(text)

    def waiting(self, reason: str) -> None:
        """Do nothing, because the parent waits until the start timeout."""

    def ready(self) -> None:
        """Leave the session of the parent, redirect stderr, and report `ready`."""
        # Until now, the process is in the process group of the parent. autofs lets only this group
        # access a mount point that is being mounted, if systemd or mount(8) started the parent.
        with contextlib.suppress(PermissionError):
            os.setsid()
        self._redirect_stderr()
        try:
            self._write("ready" + self._warning)
        except BrokenPipeError:
            raise ParentGone(
                "the command that started this mount has ended: unmounting it again."
            ) from None

    def failed(self, reason: str, exit_code: int) -> None:
        """Report the reason to the parent; if `ready` was reported, write the reason to the log."""
        if self._descriptor is None:
            log.error("%s", reason)
            return
        with contextlib.suppress(BrokenPipeError):
            self._write(f"failed {exit_code} {sentence(reason)}")

    def reloading(self) -> None:
        """Do nothing, because the parent has already returned."""

    def reloaded(self) -> None:
        """Do nothing, because the parent has already returned."""

    def stopping(self, reason: str = "") -> None:
        """Do nothing, because the parent has already returned."""

    def stopped(self) -> None:
        """Do nothing, because the parent has already returned."""

    def _write(self, report: str) -> None:
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            try:
                os.write(descriptor, report.encode(errors="backslashreplace") + b"\n")
            finally:
                os.close(descriptor)

    def _redirect_stderr(self) -> None:
        sys.stderr.flush()
        path = os.devnull if self._log_file is None else self._log_file
        target = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.dup2(target, sys.stderr.fileno())
        os.close(target)


class ForegroundReporter:
    """Reports on stderr, and also to systemd if systemd started the process.

    Args:
        source: the mounted bucket, such as `gs://bucket`.
        place: the mount point.
    """

    def __init__(self, program: str, source: str, place: Path) -> None:
        self._program = program
        self._source = printable(source)
        self._place = printable(os.fspath(place))
        notify(f"STATUS=Connecting to {self._source}.", _more_time())

    def waiting(self, reason: str) -> None:
        """Show the reason in `systemctl status`, and ask systemd for more time."""
        notify(f"STATUS=Waiting for {self._source}: {sentence(reason)}", _more_time())

    def warn(self, text: str) -> None:
        """Do nothing, because the log on stderr contains the warning."""

    def ready(self) -> None:
        """Notify systemd, which then starts the units that wait for this mount."""
        notify("READY=1", f"STATUS=Mounted {self._source} on {self._place}.")

    def failed(self, reason: str, exit_code: int) -> None:
        """Print the reason as one sentence, and set it as the status in `systemctl status`."""
        text = sentence(reason)
        notify(f"STATUS={text}")
        print_failure(self._program, text)

    def reloading(self) -> None:
        """Notify systemd; the time lets systemd ignore messages of an earlier reload."""
        notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self) -> None:
        """Notify systemd, which ends `systemctl reload`."""
        self.ready()

    def stopping(self, reason: str = "") -> None:
        """Notify systemd that the mount ends on request and has not failed."""
        notify("STOPPING=1", f"STATUS={sentence(reason or f'Unmounting {self._place}')}")

    def stopped(self) -> None:
        """Set the last status, which `systemctl status` shows after the end of the process."""
        notify(f"STATUS=Unmounted {self._place}.")


def print_failure(program: str, text: str) -> None:
    """Print why a command failed, as one line on stderr, with priority err in the journal.

    The journal shows the name of the program that systemd started, so the line omits this name.
    """
    in_journal = stderr_is_journal()
    is_named = in_journal and os.environ.get("SYSTEMD_EXEC_PID") == str(os.getpid())
    line = text if is_named else f"{program}: {text}"
    print_error(f"<3>{line}" if in_journal else line)


def _more_time() -> str:
    return f"EXTEND_TIMEOUT_USEC={int(_MORE_SECONDS * 1e6)}"
