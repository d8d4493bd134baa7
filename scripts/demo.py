#!/usr/bin/env python3
"""Mount a bucket of sample files, read all files in several ways, and compare every byte.

`make demo` runs this script. It creates about 300 MiB of sample files, serves them with the
emulator, and mounts them with the installed `gcsmux-mount`. The exit code is 0 if all data
read through the mount equals the source, and 1 otherwise. In both cases the script stops its
processes and removes its files.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MIB = 1024 * 1024
BIG_FILE_BYTES = 256 * MIB
SMALL_FILES = 1000
PREADS = 500
BUCKET = "demo-bucket"
NEEDLE = b"needle"
# The time limit of one step. It is long enough for the slowest step on a busy machine.
STEP_TIMEOUT_SECONDS = 240

COMMANDS = Path(sys.executable).parent


class Difference(Exception):
    """Data read through the mount differs from its source, or the demo could not run."""


@dataclass
class Progress:
    """Prints one line for each step; on a terminal each line replaces the line before."""

    steps: int
    done: int = 0
    started: float = field(default_factory=time.monotonic)

    def say(self, what: str) -> None:
        """Print the number of the next step and the text `what`."""
        self.done += 1
        line = f"[{self.done}/{self.steps}] {what}"
        if sys.stdout.isatty():
            print(f"\r\x1b[K{line}", end="", flush=True)
        else:
            print(line, flush=True)

    def finish(self) -> float:
        """Clear the line on the terminal, and return how many seconds the steps took."""
        if sys.stdout.isatty():
            print("\r\x1b[K", end="")
        return time.monotonic() - self.started


def make_samples(folder: Path) -> None:
    """Write the sample files, with the same content in every run."""
    source = random.Random(20)
    words = [b"block", b"range", b"stream", b"window", b"bucket"]
    (folder / "models").mkdir(parents=True)
    with (folder / "models" / "weights.bin").open("wb") as big:
        for _ in range(BIG_FILE_BYTES // MIB):
            big.write(source.randbytes(MIB))
    for number in range(SMALL_FILES):
        path = folder / "logs" / f"day-{number % 25:02}" / f"hour-{number % 4}" / f"{number:04}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [b" ".join(source.choices(words, k=9)) for _ in range(source.randrange(1, 1500))]
        if number % 50 == 0:
            lines.insert(len(lines) // 2, NEEDLE)
        path.write_bytes(b"\n".join(lines))
    odd = folder / "odd names"
    odd.mkdir()
    (odd / "empty").touch()
    (odd / "with spaces in it.txt").write_bytes(b"spaces\n")
    (odd / "grüße, 世界 🌍.txt").write_bytes(b"unicode\n")
    (odd / "two\nlines.txt").write_bytes(b"a newline in the name\n")


@contextmanager
def emulator(folder: Path) -> Iterator[str]:
    """Run an emulator with the buckets in `folder`; yield the HOST:PORT of the emulator."""
    process = subprocess.Popen(
        [COMMANDS / "gcsmux-emulator", folder], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process, process.stdout:
        try:
            first = process.stdout.readline().split()
            if not first:
                raise Difference("the emulator ended before it was ready")
            yield first[-1]
        finally:
            process.terminate()
            process.wait(timeout=20)


@contextmanager
def mounted(endpoint: str, mountpoint: Path, log_file: Path) -> Iterator[None]:
    """Mount the sample bucket on `mountpoint`, and unmount it at the end."""
    subprocess.run(
        [COMMANDS / "gcsmux-mount", "--log-file", log_file, f"gs://{BUCKET}", mountpoint],
        env={**os.environ, "STORAGE_EMULATOR_HOST_GRPC": endpoint},
        check=True,
        timeout=30,
    )
    try:
        yield
    finally:
        unmount = ["umount"] if os.geteuid() == 0 else ["fusermount3", "-u"]
        subprocess.run([*unmount, mountpoint], check=True, timeout=20)
        wait_for(
            lambda: b"statistics" in log_file.read_bytes(), "the mount did not log its statistics"
        )


def wait_for(condition: Callable[[], bool], failure: str) -> None:
    """Wait until `condition` is true; after ten seconds raise Difference with `failure`."""
    end = time.monotonic() + 10
    while not condition():
        if time.monotonic() > end:
            raise Difference(failure)
        time.sleep(0.05)


def output_of(command: Sequence[str | Path], folder: Path) -> bytes:
    """Return what `command` prints when run in `folder`."""
    result = subprocess.run(
        command, cwd=folder, capture_output=True, timeout=STEP_TIMEOUT_SECONDS, check=False
    )
    if result.returncode or result.stderr:
        raise Difference(f"{command} in {folder}: {result.stderr.decode(errors='replace')}")
    return result.stdout


def compare_outputs(command: Sequence[str], source: Path, mount: Path) -> None:
    """Run `command` in both folders, and compare the outputs; the order of lines may differ."""
    if sorted(output_of(command, source).split(b"\0")) != sorted(
        output_of(command, mount).split(b"\0")
    ):
        raise Difference(f"{' '.join(command)} prints a different output on the mount")


def compare_copy(source: Path, mount: Path, copy: Path) -> None:
    """Copy the mount with `cp -a` and compare the copy with the source, byte by byte."""
    output_of(["cp", "-a", mount, copy], mount)
    output_of(["diff", "-r", source, copy], source)


def compare_preads(source: Path, mount: Path) -> None:
    """Read 1 to 200,000 bytes at random offsets of the big file, and compare with the source."""
    generator = random.Random(21)
    name = Path("models") / "weights.bin"
    with (source / name).open("rb") as original, (mount / name).open("rb") as mounted_file:
        for _ in range(PREADS):
            length = generator.choice([1, 512, 4096, 65536, 200_000])
            offset = generator.randrange(BIG_FILE_BYTES)
            expected = os.pread(original.fileno(), length, offset)
            if os.pread(mounted_file.fileno(), length, offset) != expected:
                raise Difference(f"pread of {length} bytes at offset {offset} differs")


def statistics(log_file: Path) -> dict[str, int]:
    """Return the statistics that the mount wrote to the log when the mount ended."""
    lines = [line for line in log_file.read_text().splitlines() if "statistics {" in line]
    values: dict[str, int] = json.loads(lines[-1].partition("statistics ")[2])
    return values


def print_table(rows: Sequence[tuple[str, str]]) -> None:
    """Print names and values in two columns."""
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"  {name:<{width}}  {value:>12}")


def run() -> None:
    """Run all steps; raise Difference if data read through the mount differs from the source."""
    with ExitStack() as stack:
        work = Path(tempfile.mkdtemp(prefix="gcsmux-demo-"))
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        source = work / "buckets" / BUCKET
        mount = work / "mount"
        mount.mkdir()
        log_file = work / "mount.log"
        progress = Progress(steps=8)

        progress.say("writing about 300 MiB of sample files")
        make_samples(source)
        files = [path for path in source.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        with emulator(work / "buckets") as endpoint:
            progress.say(f"mounting gs://{BUCKET} from {endpoint}")
            with mounted(endpoint, mount, log_file):
                progress.say("comparing listings")
                compare_outputs(["find", ".", "-type", "f", "-printf", "%p %s\\0"], source, mount)
                progress.say("comparing random reads")
                compare_preads(source, mount)
                progress.say("comparing the sha256sum of every file")
                hashes = ["find", ".", "-type", "f", "-exec", "sha256sum", "-z", "{}", "+"]
                compare_outputs(hashes, source, mount)
                progress.say("comparing the output of grep")
                compare_outputs(["grep", "-rlZ", NEEDLE.decode(), "logs"], source, mount)
                progress.say("copying all files and comparing every byte")
                compare_copy(source, mount, work / "copy")
            progress.say("unmounted")
        seconds = progress.finish()
        values = statistics(log_file)
        print_table(
            [
                ("files", f"{len(files):,}"),
                ("bytes", f"{size:,}"),
                ("seconds", f"{seconds:.1f}"),
                ("streams opened", f"{values['streams_opened']:,}"),
                ("ranges sent", f"{values['ranges_sent']:,}"),
                ("cache hits", f"{values['hits']:,}"),
            ]
        )
        print("every byte read through the mount equals the source")


def main() -> int:
    """Run the demo; return 0 if all data is equal, and 1 otherwise."""
    try:
        run()
    except (Difference, OSError, subprocess.SubprocessError) as error:
        print(f"\ndemo failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
