"""`make bench`: the mount beside our client without FUSE, same server, in turns, in one run.

Prints a table of medians with their spread and their ratio to the client, then what a re-read, a
re-open and 32 sequential readers cost. Figures of one run compare with each other and with nothing
else: the server shares the machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.mount.harness import BUCKET, EmulatorProcess, MountProcess

MIB = 1024 * 1024
GIB = 1024 * MIB
OBJECT = "big"
READERS = 32
BUDGET_BYTES = 256 * MIB
ALLOWANCE_BYTES = 150 * MIB
TIMEOUT_SECONDS = 600

# A program that reads a file from start to end, in a process of its own, as users' programs do.
READ_FILE = """
import json, os, sys, time
buffer = bytearray(1 << 20)
began = time.perf_counter()
descriptor = os.open(sys.argv[1], os.O_RDONLY)
total = 0
while count := os.readv(descriptor, [buffer]):
    total += count
print(json.dumps({"bytes": total, "seconds": time.perf_counter() - began}))
"""


@dataclass
class Series:
    """The rates of one contender, in bytes a second, and its processor seconds per GB."""

    name: str
    rates: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def add(self, count: int, seconds: float, cpu_seconds: float) -> None:
        """Note one run."""
        self.rates.append(count / seconds)
        self.processor.append(cpu_seconds / (count / 1e9))

    def row(self, limit: Series) -> str:
        """Return the line of the table."""
        median = statistics.median(self.rates)
        figures = [median / 1e9, min(self.rates) / 1e9, max(self.rates) / 1e9]
        ratio = median / statistics.median(limit.rates)
        rates = " ".join(f"{figure:>6.2f}" for figure in figures)
        return f"{self.name:<34} {rates} {ratio:>7.2f} {statistics.median(self.processor):>9.2f}"


def cpu_seconds(pid: int) -> float:
    """Return the processor time a process has taken so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def peak_bytes(pid: int) -> int:
    """Return the largest resident size a process has had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


def read_through(path: Path) -> dict[str, float]:
    """Read a file of a mount once, in another process."""
    result = subprocess.run(
        [sys.executable, "-S", "-c", READ_FILE, path],
        capture_output=True,
        check=True,
        timeout=TIMEOUT_SECONDS,
    )
    found: dict[str, float] = json.loads(result.stdout)
    return found


def run_client(series: Series, emulator: EmulatorProcess) -> None:
    """Time our client without FUSE."""
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.client", emulator.endpoint, BUCKET, OBJECT],
        capture_output=True,
        check=True,
        timeout=TIMEOUT_SECONDS,
    )
    found = json.loads(result.stdout)
    series.add(found["bytes"], found["seconds"], found["cpu_seconds"])


def run_mount(
    series: Series, emulator: EmulatorProcess, work: Path, options: list[str]
) -> dict[str, float]:
    """Time a sequential cold read through a fresh mount; return what a re-read cost."""
    with (
        tempfile.TemporaryDirectory(dir=work) as folder,
        _mount(emulator, folder, options) as mount,
    ):
        before = cpu_seconds(mount.process.pid)
        found = read_through(mount.path / OBJECT)
        series.add(int(found["bytes"]), found["seconds"], cpu_seconds(mount.process.pid) - before)
        cold = mount.statistics()
        again = read_through(mount.path / OBJECT)
        warm = mount.statistics()
    return {
        "again_rate": again["bytes"] / again["seconds"],
        "again_reads": sum(warm[name] - cold[name] for name in ("hits", "waits", "misses")),
        "again_requests": sum(
            warm[name] - cold[name] for name in ("unary_requests", "messages_sent")
        ),
    }


def _mount(emulator: EmulatorProcess, folder: str, options: list[str]) -> MountProcess:
    size = f"{BUDGET_BYTES // MIB}MiB"
    return MountProcess(emulator, Path(folder), ["--memory", size, *options], log_level="info")


def run_many_readers(emulator: EmulatorProcess, work: Path) -> tuple[int, float]:
    """Read 32 files of 1 GiB at once; return the peak memory of the mount, and the rate."""
    with tempfile.TemporaryDirectory(dir=work) as folder, _mount(emulator, folder, []) as mount:
        readers = [
            subprocess.Popen(
                [sys.executable, "-S", "-c", READ_FILE, mount.path / f"sparse-{number:02}"],
                stdout=subprocess.PIPE,
            )
            for number in range(READERS)
        ]
        found = [json.loads(reader.communicate(timeout=TIMEOUT_SECONDS)[0]) for reader in readers]
        peak = peak_bytes(mount.process.pid)
    slowest = max(result["seconds"] for result in found)
    return peak, sum(result["bytes"] for result in found) / slowest


def make_objects(bucket: Path) -> None:
    """Write the objects: one of 1 GiB, and 32 more that take no room on the disk."""
    bucket.mkdir(parents=True)
    source = Random(1)
    with (bucket / OBJECT).open("wb") as file:
        for _ in range(GIB // MIB):
            file.write(source.randbytes(MIB))
    for number in range(READERS):
        with (bucket / f"sparse-{number:02}").open("wb") as file:
            file.truncate(GIB)


def main() -> None:
    """Run every contender in turns and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    client = Series("our client without FUSE")
    plain = Series("mount, 128 KiB READs")
    tuned = Series("mount, kernel read-ahead 16 MiB")
    with tempfile.TemporaryDirectory(prefix="gcsmux-bench-") as name:
        work = Path(name)
        make_objects(work / "buckets" / BUCKET)
        with EmulatorProcess(work / "buckets") as emulator:
            for number in range(rounds):
                print(f"round {number + 1} of {rounds}", file=sys.stderr)
                run_client(client, emulator)
                reread = run_mount(plain, emulator, work, [])
                run_mount(tuned, emulator, work, ["--kernel-read-ahead", "16MiB"])
            print(f"{READERS} readers", file=sys.stderr)
            peak, rate = run_many_readers(emulator, work)
    print(f"\n{'sequential cold read of 1 GiB':<34} median    min    max   ratio  CPU-s/GB  (GB/s)")
    for series in (client, plain, tuned):
        print(series.row(client))
    print(
        f"\nread again at {reread['again_rate'] / 1e9:.2f} GB/s:"
        f" {reread['again_reads']:.0f} READs, {reread['again_requests']:.0f} requests to the server"
    )
    limit = BUDGET_BYTES + ALLOWANCE_BYTES
    print(
        f"{READERS} readers of 1 GiB files: {rate / 1e9:.2f} GB/s in total, peak memory"
        f" {peak / MIB:.0f} MiB of {limit / MIB:.0f} MiB (budget {BUDGET_BYTES // MIB} MiB + 150)"
    )


if __name__ == "__main__":
    main()
