"""Real mounts for tests: the emulator and `gcsmux-mount`, each in a process of its own.

A mount that a test leaves behind would hang whatever touches it next, so everything here ends what
it began: unmount, then abort through fusectl, then SIGKILL. Whatever touches a mount has a
deadline.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["BUCKET", "EmulatorProcess", "MountProcess", "run_on_mount", "wait_until"]

BUCKET = "test-bucket"
COMMANDS = Path(sys.executable).parent
_START_SECONDS = 30
_END_SECONDS = 30


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    """Poll `condition` until it holds; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.02)


def run_on_mount(
    command: Sequence[str | Path], *, cwd: Path | None = None, timeout: float = 60
) -> subprocess.CompletedProcess[bytes]:
    """Run a program that touches a mount, in a process of its own, with a deadline."""
    return subprocess.run(command, cwd=cwd, capture_output=True, timeout=timeout, check=False)


@dataclass
class EmulatorProcess:
    """`gcsmux-emulator` over a folder; it can be stopped, killed and started again."""

    folder: Path
    options: Sequence[str] = ()
    port: int = 0
    _process: subprocess.Popen[str] | None = None

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def bucket(self) -> Path:
        return self.folder / BUCKET

    def start(self) -> None:
        """Start it, on the same port as before if it ran before."""
        self._process = subprocess.Popen(
            [COMMANDS / "gcsmux-emulator", self.folder, "--port", str(self.port), *self.options],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline().rpartition(":")[2])

    def kill(self) -> None:
        """End it without a word to anybody, as a crash would."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(_END_SECONDS)
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def __enter__(self) -> Self:
        self.bucket.mkdir(parents=True, exist_ok=True)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end(signal.SIGTERM)


@dataclass
class MountProcess:
    """`gcsmux-mount -f`, told to be ready by its own READY=1 to a notification socket."""

    emulator: EmulatorProcess
    folder: Path
    options: Sequence[str] = ()
    bucket: str = BUCKET
    expected_warnings: Sequence[str] = ()
    log_level: str = "debug"
    process: subprocess.Popen[str] = field(init=False)

    @property
    def path(self) -> Path:
        return self.folder / "mnt"

    @property
    def log_file(self) -> Path:
        return self.folder / "mount.log"

    @property
    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""

    def __enter__(self) -> Self:
        self.path.mkdir(parents=True, exist_ok=True)
        address = str(self.folder / "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(address)
            manager.settimeout(_START_SECONDS)
            command: list[str | Path] = [COMMANDS / "gcsmux-mount", "-f"]
            command += ["--log-file", self.log_file, "--log-level", self.log_level]
            command += [*self.options, self.bucket, self.path]
            self.process = subprocess.Popen(
                command,
                env={
                    **os.environ,
                    "STORAGE_EMULATOR_HOST_GRPC": self.emulator.endpoint,
                    "NOTIFY_SOCKET": address,
                },
                stderr=subprocess.PIPE,
                text=True,
            )
            try:
                while b"READY=1" not in manager.recv(4096).split(b"\n"):
                    pass
            except TimeoutError:
                self._kill()
                assert self.process.stderr is not None
                raise AssertionError(
                    f"the mount did not come up: {self.process.stderr.read()}\n{self.log}"
                ) from None
            finally:
                Path(address).unlink()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if self.process.poll() is None:
                run_on_mount(["umount", self.path], timeout=_END_SECONDS)
            code = self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill()
            if kind is None:
                raise AssertionError(f"the mount did not end\n{self.log}") from None
            return
        finally:
            assert self.process.stderr is not None
            stderr = self.process.stderr.read()
            self.process.stderr.close()
        if kind is None:
            assert (code, stderr) == (0, "")
            assert self.unexpected_warnings() == []
            self.check_at_rest()

    def _kill(self) -> None:
        """Clear a mount that does not answer: abort its connection, then kill the process."""
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            fields = line.split()
            if fields[4] == str(self.path):
                minor = fields[2].partition(":")[2]
                with contextlib.suppress(OSError):
                    Path(f"/sys/fs/fuse/connections/{minor}/abort").write_text("1")
        self.process.kill()
        self.process.wait(_END_SECONDS)
        subprocess.run(["umount", "-l", self.path], capture_output=True, check=False)

    def unexpected_warnings(self) -> list[str]:
        """Return the log lines of level WARNING or worse that the test did not announce."""
        return [
            line
            for line in self.log.splitlines()
            if any(level in line for level in (" WARNING ", " ERROR ", " CRITICAL "))
            and not any(part in line for part in self.expected_warnings)
        ]

    def statistics(self) -> dict[str, Any]:
        """Ask the running mount for its statistics (SIGUSR1 logs them)."""
        before = self.log.count("statistics {")
        self.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: self.log.count("statistics {") > before, "statistics")
        return self.last_statistics()

    def last_statistics(self) -> dict[str, Any]:
        """Return the statistics logged last."""
        lines = [line for line in self.log.splitlines() if "statistics {" in line]
        found: dict[str, Any] = json.loads(lines[-1].partition("statistics ")[2])
        return found

    def check_at_rest(self) -> None:
        """After the end nothing is left: no stream, no task, no waiting range, no open file."""
        found = self.last_statistics()
        gauges = ("streams_open", "ranges_waiting", "bytes_in_flight", "waiters", "open_handles")
        assert {name: found[name] for name in gauges} == dict.fromkeys(gauges, 0)
        assert found["tasks"] == 0
