"""Runs the command of --token-command, with limits for its time and its output.

The command runs without a shell, in a process group of its own, without standard input. When the
command has ended, or a limit is exceeded, the whole process group is killed, so that no part of the
command is left. Nothing that the command prints to stdout is logged.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import CredentialsError
from gcsmux_fs.storage.token_text import MAX_TOKEN_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import IO

__all__ = ["COMMAND_SECONDS", "run_token_command"]

COMMAND_SECONDS = 30.0
"""Time limit of one run, the same as google-auth's default for the executables of external
accounts. `gcloud auth print-access-token` takes one to three seconds."""

# Only the end of stderr is kept, for its last line.
_STDERR_BYTES = 4096
_MAX_LINE_CHARACTERS = 200
_READ_BYTES = 16 * 1024

# Variables that belong to this process: the command must not report readiness to systemd.
_OWN_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID")


def run_token_command(words: Sequence[str], seconds: float = COMMAND_SECONDS) -> str:
    """Run a command and return what it prints to stdout. Block for at most `seconds`.

    Raises:
        CredentialsError: the command cannot be run, fails, hangs, or prints too much.
    """
    name = f"the token command {words[0]!r}"
    environment = {key: text for key, text in os.environ.items() if key not in _OWN_VARIABLES}
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise CredentialsError(f"{name} cannot be run: {error.strerror}", permanent=True) from None
    with process:
        try:
            output, errors, ended = _outputs(process, time.monotonic() + seconds)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if len(output) > MAX_TOKEN_BYTES:
        raise CredentialsError(f"{name} prints more than {MAX_TOKEN_BYTES} bytes", permanent=True)
    if not ended:
        raise CredentialsError(f"{name} did not end within {seconds:g} s{_last_line(errors)}")
    if process.returncode:
        code = process.returncode
        how = f"ended by signal {-code}" if code < 0 else f"failed with exit code {code}"
        raise CredentialsError(f"{name} {how}{_last_line(errors)}")
    return output.decode(errors="replace")


def _outputs(process: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, bytes, bool]:
    """Return stdout, the end of stderr, and whether the command has ended before the deadline."""
    output, errors = bytearray(), bytearray()
    assert process.stdout is not None
    assert process.stderr is not None
    with selectors.DefaultSelector() as selector:
        for pipe in (process.stdout, process.stderr):
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(deadline - time.monotonic())
            if not ready and time.monotonic() >= deadline:
                return bytes(output), bytes(errors), False
            for key, _ in ready:
                pipe_in: IO[bytes] = key.fileobj  # type: ignore[assignment]
                data = os.read(pipe_in.fileno(), _READ_BYTES)
                if not data:
                    selector.unregister(pipe_in)
                elif pipe_in is process.stdout:
                    output += data
                else:
                    errors += data
                    del errors[:-_STDERR_BYTES]
            if len(output) > MAX_TOKEN_BYTES:
                return bytes(output), bytes(errors), False
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return bytes(output), bytes(errors), False
    return bytes(output), bytes(errors), True


def _last_line(errors: bytes) -> str:
    """Return the last line of stderr as the end of a message; "" if stderr is empty."""
    lines = errors.decode(errors="replace").strip().splitlines()
    return f": {lines[-1].strip()[:_MAX_LINE_CHARACTERS].rstrip('.')}" if lines else ""
