"""How the mount process reports that the mount is ready, has failed, or is about to stop.

The report goes to the command that started the process, or to systemd.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import sys
from typing import TYPE_CHECKING, Protocol

from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.process.logs import sentence
from gcsmux_fs.process.sd_notify import notify
from gcsmux_fs.process.standard_streams import print_error

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = [
    "READINESS_VARIABLE",
    "ForegroundReporter",
    "ParentGone",
    "PipeReporter",
    "ReadinessReporter",
    "ReleasingReporter",
    "inherited_pipe",
]

log = logging.getLogger(__name__)

READINESS_VARIABLE = "_GCSMUX_READINESS_FD"
"""The environment variable with the descriptor of the pipe to which the mount process writes."""


class ParentGone(ConfigError):
    """The command that started this process ended before the mount was ready."""


class ReadinessReporter(Protocol):
    """Receives one report, `ready` or `failed`, and possibly `stopping` later."""

    def warn(self, text: str) -> None:
        """Keep a warning for the user who starts the mount; call this before `ready`."""

    def ready(self) -> None:
        """Report that the mount answers.

        Raises:
            ParentGone: the command that started this process has ended, so the caller must unmount.
        """

    def failed(self, reason: str, exit_code: int) -> None:
        """Report why the mount did not start, or why it ended."""

    def stopping(self) -> None:
        """Report that the mount is about to be unmounted, because the process got a signal."""


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
        """Keep the warning for the `ready` report; the parent prints it."""
        self._warning = " " + sentence(text)

    def ready(self) -> None:
        """Report `ready`, after redirecting stderr to the log file or /dev/null."""
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

    def stopping(self) -> None:
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
    """Reports on stderr, and also to systemd if systemd started the process."""

    def __init__(self, program: str) -> None:
        self._program = program

    def warn(self, text: str) -> None:
        """Do nothing, because the log on stderr contains the warning."""

    def ready(self) -> None:
        """Notify systemd, which then starts the units that wait for this mount."""
        notify("READY=1", "STATUS=Mounted.")

    def failed(self, reason: str, exit_code: int) -> None:
        """Print the reason as one sentence, and set it as the status in `systemctl status`."""
        text = sentence(reason)
        notify(f"STATUS={text}")
        print_error(f"{self._program}: {text}")

    def stopping(self) -> None:
        """Notify systemd that the mount ends on request and has not failed."""
        notify("STOPPING=1", "STATUS=Unmounting.")


class ReleasingReporter:
    """Passes each report to another reporter, and calls `release` when the mount is ready."""

    def __init__(self, reporter: ReadinessReporter, release: Callable[[], None]) -> None:
        self._reporter = reporter
        self._release = release

    def warn(self, text: str) -> None:
        """Pass the warning on."""
        self._reporter.warn(text)

    def ready(self) -> None:
        """Pass the report on, then call `release`."""
        self._reporter.ready()
        self._release()

    def failed(self, reason: str, exit_code: int) -> None:
        """Pass the report on."""
        self._reporter.failed(reason, exit_code)

    def stopping(self) -> None:
        """Pass the report on."""
        self._reporter.stopping()
