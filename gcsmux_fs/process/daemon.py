"""Starts a detached mount process, and waits until the mount process reports.

Theory of operation. `gcsmux-mount` without -f uses two processes. The *parent* never loads gRPC,
because a process with gRPC must not fork. The parent starts a new interpreter with the same
arguments, and waits for one line on a pipe: `ready [WARNING]`, or `failed CODE SENTENCE`. The
*child* serves the mount. Until the child has reported, its stderr goes to a memory file. So the
parent can quote the last line after a crash, and the user never sees a traceback.

The child leaves the session of the parent when its mount answers, not earlier. While an automount
point waits for its mount, autofs blocks every process that is not in the process group of systemd,
and mount(8), the parent and the child are in this group.

Invariants:

1. The parent returns only after the mount has answered a request of a third process.
2. If the start fails, times out or is interrupted, no mount remains: the parent ends the child and
   removes a mount that the child left behind. If the parent is killed, or interrupted before it
   has the child's process ID, the child's report of `ready` fails, and the child unmounts.
3. The child has the parent's environment. So the variables that name the service or a key file also
   have an effect in the child.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import ConfigError, GcsmuxError
from gcsmux_fs.process.readiness import READINESS_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

__all__ = ["START_SECONDS", "StartFailed", "serving_command", "start"]

# The name of the installed command (pyproject.toml).
_SCRIPT = "gcsmux-mount"

START_SECONDS = 30.0
"""Maximum duration of a start in seconds, without the time to wait for the service. Each operation
of a start has a shorter timeout, so that its more specific failure is reported first."""
# Maximum time to wait for the exit of a child that was told to end or that closed its pipe.
_STOP_SECONDS = 5.0
_MAX_REPORT_BYTES = 65536
# A line on stderr that begins with one of these texts gives the reason of a failure. libfuse and
# fusermount3 write the reason only to stderr, because their return codes cannot contain a text.
_REASON_PREFIXES = ("fuse:", "fusermount3:", "fusermount:")


class StartFailed(GcsmuxError):
    """The mount did not start. The message of this exception is one sentence for the user."""

    def __init__(self, sentence: str, exit_code: int = 1) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


class _Interrupted(BaseException):
    """A signal interrupted the start. A BaseException, so that no `except Exception` catches it."""

    def __init__(self, number: int) -> None:
        self.number = number


def serving_command(arguments: Sequence[str]) -> list[str]:
    """Return the command that starts the mount process with these arguments of `gcsmux-mount`.

    If the script `gcsmux-mount` is beside the interpreter, the command contains the script, so that
    `ps` shows the name `gcsmux-mount`. The option -P removes the current directory from the module
    search path, because any user may be able to write there.
    """
    script = Path(sys.executable).with_name(_SCRIPT)
    program = [os.fspath(script)] if script.is_file() else ["-m", "gcsmux_fs"]
    return [sys.executable, "-P", *program, *arguments]


def start(
    command: Sequence[str],
    *,
    mountpoint: Path,
    answers: Callable[[], bool],
    clear: Callable[[], None],
    timeout_seconds: float = START_SECONDS,
) -> str:
    """Start the mount process, wait until its mount answers, and return the warning or "".

    `mountpoint` is only for messages. `answers` returns whether the mount answers a request of
    another process. `clear` removes the dead mount of a killed child, and may raise ConfigError.

    Raises:
        StartFailed: the mount did not start, and nothing remains of it.
    """
    try:
        with _signals_raise():
            return _start(command, mountpoint, answers, clear, timeout_seconds)
    except OSError as error:
        raise StartFailed(f"the mount process cannot be started: {error.strerror}.") from None
    except _Interrupted as interrupted:
        # The exit code that a shell reports for a command that a signal ended.
        code = 128 + interrupted.number
        raise StartFailed("interrupted, nothing is mounted.", code) from None


def _start(
    command: Sequence[str],
    mountpoint: Path,
    answers: Callable[[], bool],
    clear: Callable[[], None],
    timeout_seconds: float,
) -> str:
    deadline = time.monotonic() + timeout_seconds
    reading, writing = os.pipe()
    stderr = os.memfd_create("stderr")
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(os.close, stderr)
        cleanup.callback(os.close, reading)
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env=os.environ | {READINESS_VARIABLE: str(writing)},
                pass_fds=(writing,),
            )
        finally:
            os.close(writing)
        try:
            report = _wait_for_report(reading, deadline)
            if report is None:
                raise StartFailed(
                    f"the mount on {mountpoint} was not ready within {timeout_seconds:g} s:"
                    " add -f to see its log."
                )
            warning = _warning_of(report, child, stderr)
            if not answers():
                raise StartFailed(
                    f"the mount on {mountpoint} does not answer: add -f to see its log."
                )
        except BaseException:
            _end(child)
            # If `clear` fails too, do not report this second failure, because the first failure is
            # the reason why the start ended.
            with contextlib.suppress(ConfigError):
                clear()
            raise
        # The child continues to run after this process. Without a return code, Popen would warn
        # that the child still runs.
        child.returncode = 0
        return warning


@contextlib.contextmanager
def _signals_raise() -> Iterator[None]:
    """Raise `_Interrupted` on the first SIGINT, SIGTERM or SIGHUP, and ignore later ones."""

    def interrupt(number: int, _frame: FrameType | None) -> None:
        for each in previous_handlers:
            signal.signal(each, signal.SIG_IGN)
        raise _Interrupted(number)

    previous_handlers = {
        number: signal.signal(number, interrupt)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)


def _wait_for_report(reading: int, deadline: float) -> str | None:
    """Return the line that the child wrote, "" if it closed the pipe, None after the deadline."""
    report = b""
    while not report.endswith(b"\n"):
        remaining = deadline - time.monotonic()
        if remaining <= 0 or not select.select([reading], [], [], remaining)[0]:
            return None
        part = os.read(reading, _MAX_REPORT_BYTES)
        if not part:
            break
        report += part
    return report.decode(errors="replace").strip()


def _warning_of(report: str, child: subprocess.Popen[bytes], stderr: int) -> str:
    """Return the warning in a `ready` report, or ""; raise StartFailed for any other report."""
    verdict, _, rest = report.partition(" ")
    if verdict == "ready":
        return rest
    if verdict == "failed":
        code, _, sentence = rest.partition(" ")
        reasons = [line for line in _lines(stderr) if line.startswith(_REASON_PREFIXES)]
        raise StartFailed(sentence + (f" ({reasons[-1]})" if reasons else ""), int(code))
    last_line = (_lines(stderr) or ["it wrote nothing to stderr."])[-1]
    raise StartFailed(f"the mount process ended early ({_exit_status(child)}): {last_line}")


def _lines(stderr: int) -> list[str]:
    # This is pread(), because read() would move the file position. The child shares this position
    # and writes there.
    content = os.pread(stderr, os.fstat(stderr).st_size, 0)
    return [line for line in content.decode(errors="replace").splitlines() if line.strip()]


def _exit_status(child: subprocess.Popen[bytes]) -> str:
    try:
        code = child.wait(timeout=_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        return "it closed its pipe and still runs"
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def _end(child: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM to the child; kill the child if it has not exited after `_STOP_SECONDS`."""
    child.terminate()
    try:
        child.wait(timeout=_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=_STOP_SECONDS)
