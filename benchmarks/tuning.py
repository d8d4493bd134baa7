"""Measure what single options change; print the tables of docs/TUNING.md.

Run as `python -m benchmarks.tuning`, as root. It takes about three minutes. Each cell is a new
mount with cold caches; server, mount and readers share the machine.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.emulator_process import EmulatorProcess
from tests.support.harness import MountProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__: list[str] = []

_MIB = 1 << 20
_LARGE_BYTES = 400 * _MIB
_READERS = 8
_FILES = 500


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    print(f"\n{title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def _run(mounted: MountProcess, command: str) -> float:
    """Run a shell command in the mount; return the seconds that it took."""
    began = time.monotonic()
    subprocess.run(command, shell=True, cwd=mounted.path, check=True, timeout=120)
    return time.monotonic() - began


def _measure(
    folder: Path, latency: str, options: Sequence[str], use: Callable[[MountProcess], str]
) -> str:
    """Serve the bucket with a latency, mount it with options, and return the result of `use`."""
    emulator = EmulatorProcess(folder, options=("--latency", latency))
    emulator.start()
    try:
        with tempfile.TemporaryDirectory() as work:
            options = ("--metadata-ttl", "60s", *options)
            with MountProcess(emulator, Path(work), options, log_level="info") as mounted:
                return use(mounted)
    finally:
        emulator.kill()


def _in_order(mounted: MountProcess) -> str:
    return f"{_run(mounted, 'cat large > /dev/null'):.2f}"


def _readers(mounted: MountProcess) -> str:
    """Read eight files at the same time; return seconds, bytes asked per byte, peak memory."""
    with ThreadPoolExecutor(_READERS) as pool:
        began = time.monotonic()
        list(pool.map(lambda n: _run(mounted, f"cat part-{n} > /dev/null"), range(_READERS)))
        seconds = time.monotonic() - began
    asked = mounted.emulator.statistics().bytes_asked / (_READERS * _LARGE_BYTES // 8)
    return f"{seconds:.2f} | {asked:.2f} | {mounted.peak_memory_bytes() // _MIB} MiB"


def _second_walk(mounted: MountProcess) -> str:
    """Walk a tree twice with a pause; return the requests and the seconds of the second walk."""
    _run(mounted, "ls -lR small > /dev/null")
    time.sleep(2)
    before = sum(mounted.emulator.statistics().requests.values())
    seconds = _run(mounted, "ls -lR small > /dev/null")
    return f"{sum(mounted.emulator.statistics().requests.values()) - before} | {seconds:.2f}"


def _fill(bucket: Path) -> None:
    content = b"0123456789abcdef" * (_LARGE_BYTES // 16)
    (bucket / "large").write_bytes(content)
    for number in range(_READERS):
        (bucket / f"part-{number}").write_bytes(content[: _LARGE_BYTES // 8])
    for number in range(_FILES):
        path = bucket / "small" / f"{number // 100:02}" / f"{number:04}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def main() -> None:
    """Print all tables."""
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        (folder / "my-bucket").mkdir()
        _fill(folder / "my-bucket")
        latencies = ("5ms", "20ms", "60ms", "120ms")
        _table(
            "--read-ahead: seconds to read 400 MiB in order, by round trip",
            ["--read-ahead", *latencies],
            (
                [size, *(_measure(folder, latency, options, _in_order) for latency in latencies)]
                for size in ("4MiB", "16MiB", "64MiB", "128MiB")
                for options in [("--read-ahead", size, "--memory", "512MiB")]
            ),
        )
        _table(
            "--memory: eight readers of eight files of 50 MiB at 20 ms",
            ["--memory", "seconds", "bytes asked per byte", "memory of the process"],
            (
                [size, _measure(folder, "20ms", ("--memory", size), _readers)]
                for size in ("32MiB", "64MiB", "256MiB", "1GiB")
            ),
        )
        _table(
            "--metadata-ttl: second `ls -lR` of 500 files, after 2 s, at 20 ms",
            ["--metadata-ttl", "requests", "seconds"],
            (
                [ttl, _measure(folder, "20ms", ("--metadata-ttl", ttl), _second_walk)]
                for ttl in ("0s", "minimal", "60s", "indefinite")
            ),
        )


if __name__ == "__main__":
    main()
