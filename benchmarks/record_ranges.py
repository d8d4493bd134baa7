"""Records traces of ranges: `python -m benchmarks.record_ranges PYTHON [PROGRAM...]`.

PYTHON is an interpreter with the libraries of `repeated_programs`. Each program reads an empty
mount (`recorded_mount`) with the smallest memory, 20 ms away from the emulator. The traces are
written to `benchmarks/traces/`. The script needs root, FUSE, 3 GB of disk space and 10 minutes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.range_trace import GRANULE_BYTES, RangeTrace, RequestedRange, write_trace
from benchmarks.repeated_programs import PROGRAMS
from benchmarks.running import Launch, mounted
from tests.support.emulator_process import BUCKET, EmulatorProcess

__all__ = ["TRACES", "trace_of"]

TRACES = Path(__file__).parent / "traces"
_ROOT = Path(__file__).parents[1]
_PROGRAM_SECONDS = 300


def trace_of(program: str, lines: list[str]) -> RangeTrace:
    """Return the trace of the requests that a mount has recorded."""
    numbers: dict[str, int] = {}
    sizes: list[int] = []
    requests: list[RequestedRange] = []
    records = [json.loads(line) for line in lines]
    for at, name, size, offset, length in records:
        if name not in numbers:
            numbers[name] = len(sizes)
            sizes.append(size)
        first, end = offset // GRANULE_BYTES, -(-(offset + length) // GRANULE_BYTES)
        number = numbers[name]
        requests.append(RequestedRange(number, first, end - first, at - records[0][0]))
    return RangeTrace(program, sizes, requests)


def _record(folder: Path, python: Path, program: str, emulator: EmulatorProcess) -> RangeTrace:
    record, mountpoint = folder / "record", folder / "mount"
    command = [sys.executable, "-m", "benchmarks.recorded_mount", record, BUCKET, mountpoint]
    command += ["-f", "--memory=16MiB"]
    launch = Launch(
        [*map(str, command)], environment={"STORAGE_EMULATOR_HOST_GRPC": emulator.endpoint}
    )
    with mounted(launch, mountpoint):
        script = str(_ROOT / "benchmarks" / "repeated_programs.py")
        subprocess.run([python, script, program, mountpoint], check=True, timeout=_PROGRAM_SECONDS)
    return trace_of(program, record.read_text().splitlines())


def main() -> None:
    python, *chosen = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = _ROOT / "benchmarks" / "repeated_programs.py"
        subprocess.run([python, script, "make", folder / "buckets" / BUCKET], check=True)
        emulator = EmulatorProcess(folder / "buckets", ["--latency=20ms"])
        emulator.start()
        try:
            for program in chosen or PROGRAMS:
                trace = _record(folder, Path(python), program, emulator)
                path = TRACES / f"{program}.ranges.xz"
                write_trace(path, trace)
                asked = sum(request.granules for request in trace.requests) * GRANULE_BYTES
                kept = path.stat().st_size
                print(f"{program}: {len(trace.requests)} requests, {asked:,} bytes, {kept} kept")
        finally:
            emulator.kill()


if __name__ == "__main__":
    main()
