"""Starting the serving process, and its first word.

Theory of operation. `gcsmux-mount` without -f is two processes. The *parent* never loads gRPC
(which must not be forked with) but starts a new interpreter with the same arguments, in a session
of its own, and waits for one line on a pipe: `ready`, or `failed CODE SENTENCE`. The *child*
serves; until it has said its word its stderr is kept in memory, so that a crash can be told in
the words it died with, and nothing of it reaches the user as a traceback.

Invariants:

1. The parent returns 0 only after the mount has answered a third process.
2. Whichever way the parent ends before that (a failure, a limit, a signal), no mount stays: it
   ends the child and takes away what the child may have left mounted; and a child whose parent
   was killed, or interrupted before it knew its child, finds the pipe closed when it wants to
   say `ready`, and unmounts.
3. The child's environment is the parent's, so that what names the service or its credentials
   there counts for the mount too.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from gcsmux_fs.fuse.mountpoint import answers, clear_dead_mounts
from gcsmux_fs.model.errors import ConfigError, GcsmuxError
from gcsmux_fs.process.readiness import WORD_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import FrameType

__all__ = ["StartFailed", "command_for", "start"]

# Each thing a start may wait for has a shorter limit of its own and a better sentence than this.
_START_SECONDS = 30.0
# Streams and connections are closed within this, or not by asking.
_STOP_SECONDS = 5.0
_LONGEST_WORD_BYTES = 65536
# libfuse and its helper tell on stderr what their return codes do not.
_TELLING_PREFIXES = ("fuse:", "fusermount3:", "fusermount:")


class StartFailed(GcsmuxError):
    """The mount did not come about; the message is one sentence for the user."""

    def __init__(self, sentence: str, exit_code: int = 1) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


class _Interrupted(BaseException):
    """A signal asked this process to end; not an Exception, so that nothing swallows it."""

    def __init__(self, number: int) -> None:
        self.number = number


def command_for(arguments: Sequence[str]) -> list[str]:
    """Return the command of the serving process for `gcsmux-mount`'s own arguments.

    -P keeps the current directory, which may be anybody's, out of the module search path.
    """
    return [sys.executable, "-P", "-m", "gcsmux_fs", *arguments]


def start(
    command: Sequence[str], mountpoint: Path, *, timeout_seconds: float = _START_SECONDS
) -> str:
    """Start the serving process and return, once its mount answers, what it finds odd, if anything.

    Raises:
        StartFailed: it does not, and nothing of it is left.
    """
    deadline = time.monotonic() + timeout_seconds
    try:
        with _signals_raise():
            return _start(command, mountpoint, deadline)
    except OSError as error:
        raise StartFailed(f"the serving process cannot be started: {error.strerror}.") from None
    except _Interrupted as interrupted:
        # The shell's convention for what a signal ended.
        code = 128 + interrupted.number
        raise StartFailed("interrupted, nothing is mounted.", code) from None


def _start(command: Sequence[str], mountpoint: Path, deadline: float) -> str:
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
                env=os.environ | {WORD_VARIABLE: str(writing)},
                pass_fds=(writing,),
                start_new_session=True,
            )
        finally:
            os.close(writing)
        try:
            remark = _judge(_await_word(reading, deadline), child, stderr, mountpoint)
        except BaseException:
            _end(child, mountpoint)
            raise
        # The child outlives this process; it is not to be reported as forgotten.
        child.returncode = 0
        return remark


@contextlib.contextmanager
def _signals_raise() -> Iterator[None]:
    """Turn the first of the signals that end a command into `_Interrupted`; ignore the others."""

    def interrupt(number: int, _frame: FrameType | None) -> None:
        for other in before:
            signal.signal(other, signal.SIG_IGN)
        raise _Interrupted(number)

    before = {
        number: signal.signal(number, interrupt)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _await_word(reading: int, deadline: float) -> str | None:
    """Return the child's line, an empty one if it has ended, or None if the time is over."""
    word = b""
    while not word.endswith(b"\n"):
        remaining = deadline - time.monotonic()
        if remaining <= 0 or not select.select([reading], [], [], remaining)[0]:
            return None
        part = os.read(reading, _LONGEST_WORD_BYTES)
        if not part:
            break
        word += part
    return word.decode(errors="replace").strip()


def _judge(word: str | None, child: subprocess.Popen[bytes], stderr: int, mountpoint: Path) -> str:
    """Return what comes with `ready`; raise StartFailed unless that is it and the mount answers."""
    if word is None:
        raise StartFailed("the mount was not ready in time: add -f to see its log.")
    verdict, _, rest = word.partition(" ")
    if verdict == "ready":
        if not answers(mountpoint):
            raise StartFailed(
                f"{mountpoint} was mounted but does not answer: add -f to see its log."
            )
        return rest
    if verdict == "failed":
        code, _, sentence = rest.partition(" ")
        telling = [line for line in _lines(stderr) if line.startswith(_TELLING_PREFIXES)]
        raise StartFailed(sentence + (f" ({telling[-1]})" if telling else ""), int(code))
    last = (_lines(stderr) or ["it said nothing."])[-1]
    raise StartFailed(f"the serving process ended early ({_ending(child)}): {last}")


def _lines(stderr: int) -> list[str]:
    # Not by read(), which would move the position that the child writes at.
    content = os.pread(stderr, os.fstat(stderr).st_size, 0)
    return [line for line in content.decode(errors="replace").splitlines() if line.strip()]


def _ending(child: subprocess.Popen[bytes]) -> str:
    try:
        code = child.wait(timeout=_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        return "without exiting"
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def _end(child: subprocess.Popen[bytes], mountpoint: Path) -> None:
    """End the child by asking, then by force, and take away what it leaves mounted."""
    child.terminate()
    try:
        child.wait(timeout=_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=_STOP_SECONDS)
    # Whatever went wrong before is what the user has to know.
    with contextlib.suppress(ConfigError):
        clear_dead_mounts(mountpoint)
