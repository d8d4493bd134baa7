"""`gcsmux top` shows a real mount: on a terminal, as text, as JSON, and when the mount ends."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
from typing import TYPE_CHECKING

import pytest

from tests.support import programs
from tests.support.emulator_process import COMMANDS, END_SECONDS
from tests.support.harness import wait_until
from tests.support.sizes import MIB

if TYPE_CHECKING:
    from tests.support.harness import EmulatorProcess, NewMount

pytestmark = pytest.mark.mount


class Terminal:
    """A program that runs in a pseudo-terminal of 80 columns and 24 lines.

    A thread reads the output, because a program waits while its terminal is full.
    """

    def __init__(self, *command: str) -> None:
        self._master, self._slave = pty.openpty()
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self._before = termios.tcgetattr(self._slave)
        self._output: list[bytes] = []
        self.process = subprocess.Popen(
            command,
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            env={**os.environ, "TERM": "xterm-256color"},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        # When both ends of the slave are closed, the read fails with EIO.
        with contextlib.suppress(OSError):
            while received := os.read(self._master, 1 << 16):
                self._output.append(received)

    @property
    def text(self) -> str:
        """The output so far, without colours."""
        return re.sub(r"\x1b\[[0-9;]*m", "", b"".join(self._output).decode(errors="replace"))

    def wait_for(self, part: str) -> None:
        """Wait until the output contains `part`."""
        wait_until(lambda: part in self.text, f"{part!r} on the terminal")

    def press(self, key: str) -> None:
        os.write(self._master, key.encode())

    def end(self) -> int:
        """Wait for the end of the program, and check that it has restored the terminal."""
        code = self.process.wait(END_SECONDS)
        assert termios.tcgetattr(self._slave) == self._before
        return code

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._slave)
        self._reader.join()
        os.close(self._master)


def test_top_shows_a_mount_until_it_ends(emulator: EmulatorProcess, mount: NewMount) -> None:
    emulator.place("object", programs.tagged(1, 0, 4 * MIB))
    with mount() as mounted:
        path = str(mounted.path)
        command = (str(COMMANDS / "gcsmux"), "top", path)
        screen = Terminal(*command, "--interval=200ms")
        live = subprocess.Popen(
            [*command, "--json", "--interval=200ms"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        interrupted = Terminal(*command, "--interval=200ms")
        ending = Terminal(*command, "--interval=200ms")
        try:
            screen.wait_for(f"on {path}")
            assert live.stdout is not None
            first = json.loads(live.stdout.readline())
            assert first["mountpoint"] == path
            assert first["reader_bytes"] == 0
            with mounted.program() as program:
                program.call(programs.read_whole, f"{path}/object")
            figures = first
            while figures["reader_bytes"] < 4 * MIB:
                figures = json.loads(live.stdout.readline())
            assert figures["wire_bytes"] == 4 * MIB
            assert figures["healthy"]
            text = mounted.run_beside(*command, "--once", "--interval=200ms")
            assert text.returncode == 0
            assert b"4.00 MiB, free in the bucket's region" in text.stdout
            assert b"\x1b" not in text.stdout
            screen.wait_for("4.00 MiB, free in the bucket's region")
            screen.press("q")
            assert screen.end() == 0
            # The last escape sequence of the screen leaves the alternate screen.
            screen.wait_for("\x1b[?1049l")
            interrupted.wait_for(f"on {path}")
            interrupted.process.send_signal(signal.SIGINT)
            assert interrupted.end() == 0
            ending.wait_for(f"on {path}")
            unmounted = mounted.unmount()
            assert unmounted.returncode == 0, unmounted.stderr
            mounted.process.wait(END_SECONDS)
            assert ending.end() == 0
            ending.wait_for(f"gcsmux: the mount at {path} has ended.")
            _, errors = live.communicate(timeout=END_SECONDS)
            assert (live.returncode, errors) == (0, f"gcsmux: the mount at {path} has ended.\n")
        finally:
            live.kill()
            live.wait()
            for terminal in (screen, interrupted, ending):
                terminal.close()
