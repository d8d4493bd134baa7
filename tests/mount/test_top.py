"""`gcsmux top` shows a real mount: on a terminal, as text, as JSON, and when the mount ends."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING

import pytest

from tests.support import programs
from tests.support.emulator_process import COMMANDS, END_SECONDS
from tests.support.sizes import MIB

if TYPE_CHECKING:
    from tests.support.harness import EmulatorProcess, NewMount

pytestmark = pytest.mark.mount


class Terminal:
    """A program that runs in a pseudo-terminal of 80 columns and 24 lines."""

    def __init__(self, *command: str) -> None:
        master, self._slave = pty.openpty()
        self._master = master
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self._before = termios.tcgetattr(self._slave)
        self.text = ""
        self.process = subprocess.Popen(
            command,
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            env={**os.environ, "TERM": "xterm-256color"},
        )

    def wait_for(self, part: str) -> None:
        """Read the output until it contains `part`."""
        end = time.monotonic() + END_SECONDS
        while part not in self.text:
            assert time.monotonic() < end, f"{part!r} is not in {self.text[-3000:]!r}"
            if select.select([self._master], [], [], 0.2)[0]:
                received = os.read(self._master, 1 << 16).decode(errors="replace")
                self.text += re.sub(r"\x1b\[[0-9;]*m", "", received)

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
        os.close(self._master)
        os.close(self._slave)


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
            mounted.unmount()
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
