"""Compares reads through gcsmux:// (fsspec) with gcsfs and with the mount, in seconds and ratios.

Run it as `python -m benchmarks.fsspec_reads MILLISECONDS`, after `scripts/bootstrap fsspec-tests`.
The argument is the latency of the servers.
gcsmux:// and the mount read from the emulator (Python, gRPC), gcsfs reads from fake-gcs-server (Go,
JSON over HTTP), because neither server speaks both protocols. So the ratios at 20 ms say more than
those at 0 ms, where the servers use the same processors as the clients.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.objects import KIB, MIB
from benchmarks.running import ROOT
from benchmarks.site import Site
from tests.support.harness import MountProcess

__all__ = ["main"]

_BUCKET = "bench-fsspec"
_FILE_BYTES = 64 * MIB
_WARM = "warm"  # read before the measurement, so that the connections are open
_RANGES = 200
_RANGE_BYTES = 64 * KIB
_ROUNDS = 3
_READERS = ("gcsmux", "gcsfs", "mount")
_CASES = ("ranges", "sequential")
_METADATA = json.dumps({"Metadata": {}}).encode()


def main() -> None:
    """Measure all cases in turns, and print one line for each."""
    # gRPC's own messages would stand between the lines of the results and of the mount's log.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("milliseconds", type=int)
    latency = parser.parse_args().milliseconds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _make_objects(folder / "buckets" / _BUCKET)
        with Site(folder, folder / "buckets") as site:
            _measure(site, latency, folder)


def _make_objects(bucket: Path) -> None:
    bucket.mkdir(parents=True)
    names = [f"file-{number}" for number in range(_ROUNDS * len(_CASES))]
    for name in (_WARM, *names):
        path = bucket / name
        path.write_bytes(random.Random(name).randbytes(MIB if name == _WARM else _FILE_BYTES))
        os.setxattr(path, "user.metadata", _METADATA)


def _measure(site: Site, latency: int, folder: Path) -> None:
    emulator = site.emulator(latency)
    mount_folder = folder / f"mount-{latency}"
    mount_folder.mkdir()
    with MountProcess(emulator, mount_folder, bucket=_BUCKET, log_level="info") as mount:
        sources = {
            "gcsmux": f"http://{emulator.endpoint}",
            "gcsfs": site.fake_url(latency),
            "mount": str(mount.path),
        }
        for position, case in enumerate(_CASES):
            seconds: dict[str, list[float]] = {reader: [] for reader in _READERS}
            cpu: dict[str, list[float]] = {reader: [] for reader in _READERS}
            for number in range(_ROUNDS):
                name = f"file-{position * _ROUNDS + number}"
                for reader in _READERS:
                    took, used = _run(reader, sources[reader], case, name)
                    seconds[reader].append(took)
                    cpu[reader].append(used)
            ours = statistics.median(seconds["gcsmux"])
            print(f"{case} at {latency} ms:")
            for reader in _READERS:
                middle = statistics.median(seconds[reader])
                print(
                    f"  {reader:7} {middle:.3f} s, {statistics.median(cpu[reader]):.3f} s of CPU in"
                    f" the reading process, {middle / ours:.2f} times gcsmux",
                    flush=True,
                )


def _run(reader: str, source: str, case: str, name: str) -> tuple[float, float]:
    done = subprocess.run(
        [sys.executable, "-c", _WORKER, reader, source, case, name],
        cwd=ROOT,
        env=os.environ | {"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"},
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    seconds, cpu = json.loads(done.stdout)
    return seconds, cpu


_WORKER = "from benchmarks import fsspec_reads; fsspec_reads.work()"


def work() -> None:
    """Read one object in this process, and print the seconds and the CPU seconds as JSON."""
    reader, source, case, name = sys.argv[1:]
    starts = [number * (_FILE_BYTES // _RANGES) for number in range(_RANGES)]
    if reader == "mount":
        path = f"{source}/{name}"
        Path(source, _WARM).read_bytes()
        Path(path).stat()
        measured = _measured(lambda: _read_mounted(path, case, starts))
    else:
        fs = _file_system(reader, source)
        path = f"{_BUCKET}/{name}"
        # Connect, and look the object up, before the measurement.
        fs.cat_file(f"{_BUCKET}/{_WARM}")
        fs.info(path)
        measured = _measured(lambda: _read(fs, path, case, starts))
    print(json.dumps(measured))


def _measured(call: Any) -> tuple[float, float]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    began, cpu_began = time.perf_counter(), usage.ru_utime + usage.ru_stime
    length = call()
    seconds = time.perf_counter() - began
    usage = resource.getrusage(resource.RUSAGE_SELF)
    assert length in (_FILE_BYTES, _RANGES * _RANGE_BYTES), length
    return seconds, usage.ru_utime + usage.ru_stime - cpu_began


def _file_system(reader: str, source: str) -> Any:
    import fsspec

    if reader == "gcsmux":
        endpoint = source.removeprefix("http://")
        return fsspec.filesystem("gcsmux", endpoint=endpoint, plaintext=True, token="anon")
    return fsspec.filesystem("gcs", endpoint_url=source, token="anon", project="p")


def _read(fs: Any, path: str, case: str, starts: list[int]) -> int:
    if case == "ranges":
        ends = [start + _RANGE_BYTES for start in starts]
        return sum(map(len, fs.cat_ranges([path] * _RANGES, starts, ends, on_error="raise")))
    length = 0
    with fs.open(path) as file:
        while content := file.read(MIB):
            length += len(content)
    return length


def _read_mounted(path: str, case: str, starts: list[int]) -> int:
    file = os.open(path, os.O_RDONLY)
    try:
        if case == "ranges":
            with ThreadPoolExecutor(32) as threads:
                parts = threads.map(lambda start: os.pread(file, _RANGE_BYTES, start), starts)
                return sum(map(len, parts))
        length = 0
        while content := os.read(file, MIB):
            length += len(content)
        return length
    finally:
        os.close(file)


if __name__ == "__main__":
    main()
