"""How a serving process tells whoever started it that it is ready, or why not."""

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
from gcsmux_fs.process.standard_streams import tell

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = [
    "WORD_VARIABLE",
    "Announcer",
    "ForegroundAnnouncer",
    "ParentGone",
    "PipeAnnouncer",
    "ReleasingAnnouncer",
    "inherited_pipe",
]

log = logging.getLogger(__name__)

# Holds the number of the descriptor on which the parent waits for the word.
WORD_VARIABLE = "_GCSMUX_WORD_FD"


class ParentGone(ConfigError):
    """The command that started this process ended before the mount was ready: unmount."""


class Announcer(Protocol):
    """Receives one word, `ready` or `failed`, and later perhaps `stopping`."""

    def remark(self, text: str) -> None:
        """Show something odd, before the word, to whoever waits for it and sees no log."""

    def ready(self) -> None:
        """Tell that the mount answers.

        Raises:
            ParentGone: nobody waits for this mount any more.
        """

    def failed(self, reason: str, exit_code: int) -> None:
        """Tell why there is no mount, or no longer one."""

    def stopping(self) -> None:
        """Tell that the mount is about to go, on purpose."""


def inherited_pipe() -> int | None:
    """Return the descriptor a parent waits on, and hide it from further processes."""
    number = os.environ.pop(WORD_VARIABLE, "")
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


class PipeAnnouncer:
    """Says its word to the parent of a detached process, and lets go of its stderr."""

    def __init__(self, descriptor: int, log_file: Path | None) -> None:
        self._remark = ""
        self._descriptor: int | None = descriptor
        self._log_file = log_file

    def remark(self, text: str) -> None:
        """Have the parent show it when all is well."""
        self._remark = " " + sentence(text)

    def ready(self) -> None:
        """Say `ready`; from here on stderr is the log file, or nowhere."""
        self._detach_stderr()
        try:
            self._say("ready" + self._remark)
        except BrokenPipeError:
            raise ParentGone("the command that started this mount has gone.") from None

    def failed(self, reason: str, exit_code: int) -> None:
        """Say why not; after `ready` there is only the log to tell."""
        if self._descriptor is None:
            log.error("%s", reason)
            return
        with contextlib.suppress(BrokenPipeError):
            self._say(f"failed {exit_code} {sentence(reason)}")

    def stopping(self) -> None:
        """Do nothing: the parent is long gone."""

    def _say(self, word: str) -> None:
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            try:
                os.write(descriptor, word.encode(errors="backslashreplace") + b"\n")
            finally:
                os.close(descriptor)

    def _detach_stderr(self) -> None:
        sys.stderr.flush()
        path = os.devnull if self._log_file is None else self._log_file
        target = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.dup2(target, sys.stderr.fileno())
        os.close(target)


class ForegroundAnnouncer:
    """Speaks to whoever looks at stderr, and to systemd where that has started the process."""

    def __init__(self, program: str) -> None:
        self._program = program

    def remark(self, text: str) -> None:
        """Do nothing: the log is in sight."""

    def ready(self) -> None:
        """Tell systemd, which starts what waits for this mount."""
        notify("READY=1", "STATUS=Mounted.")

    def failed(self, reason: str, exit_code: int) -> None:
        """Print the reason as one sentence; systemctl status shows it too."""
        text = sentence(reason)
        notify(f"STATUS={text}")
        tell(f"{self._program}: {text}")

    def stopping(self) -> None:
        """Tell systemd that this end is meant."""
        notify("STOPPING=1", "STATUS=Unmounting.")


class ReleasingAnnouncer:
    """Passes each word on to another announcer, and calls `release` once the mount is ready."""

    def __init__(self, announcer: Announcer, release: Callable[[], None]) -> None:
        self._announcer = announcer
        self._release = release

    def remark(self, text: str) -> None:
        """Pass it on."""
        self._announcer.remark(text)

    def ready(self) -> None:
        """Pass it on, and release what was held while the mount was being made."""
        self._announcer.ready()
        self._release()

    def failed(self, reason: str, exit_code: int) -> None:
        """Pass it on."""
        self._announcer.failed(reason, exit_code)

    def stopping(self) -> None:
        """Pass it on."""
        self._announcer.stopping()
