"""Records the READs of real programs: `python -m tests.support.trace_recorder OUTPUT [NAME...]`.

Run as root, because only root may mount without a helper and set the kernel's readahead window. The
programs (`traced_programs`) need libraries that this project does not use. `--python` names an
interpreter that has them. Each program reads its files through the file system of
`recording_filesystem`, once for each kernel window.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.traced_programs import PROGRAMS
from tests.traces.trace_file import Close, Event, Open, Read, Trace

_ROOT = Path(__file__).parents[2]
_PROGRAM_SECONDS = 60
_DELAY_SECONDS = 0.02


@dataclass(frozen=True)
class Recorder:
    """Records programs that run with the interpreter `python`, with files in `folder`."""

    python: Path
    folder: Path

    def record(self, name: str, kernel_window: int) -> Trace:
        """Run a program on the recording file system, and return its trace."""
        files = self.folder / name
        if not files.exists():
            files.mkdir()
            self._run("prepare", name, files)
        mount_point = self.folder / "mount"
        mount_point.mkdir(exist_ok=True)
        record = self.folder / "record.json"
        with subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.support.recording_filesystem"),
                *(files, mount_point, record, str(_DELAY_SECONDS)),
            ],
            cwd=_ROOT,
            stdout=subprocess.PIPE,
            text=True,
        ) as server:
            try:
                assert server.stdout is not None
                assert server.stdout.readline() == "ready\n"
                _set_kernel_window(mount_point, kernel_window)
                self._run("run", name, mount_point)
            finally:
                subprocess.run(["umount", "--lazy", mount_point], check=False)
                server.terminate()
        return trace_of(json.loads(record.read_text()), name, kernel_window)

    def _run(self, step: str, name: str, folder: Path) -> None:
        subprocess.run(
            [self.python, "-m", "tests.support.traced_programs", step, name, folder],
            check=True,
            cwd=_ROOT,
            timeout=_PROGRAM_SECONDS,
        )


def trace_of(record: list[dict[str, Any]], program: str, kernel_window: int) -> Trace:
    """Return the trace of a record, with small numbers for threads.

    An event waits for the answers to the events of its thread, and for the last answer to another
    thread if its own thread has got no answer shortly before.
    """
    threads: dict[int, int] = {}
    events: list[Event] = []
    objects: dict[str, int] = {}
    previously_sent: dict[int, float] = {}
    for index, entry in enumerate(record):
        if entry["kind"] == "close":
            events.append(Close(entry["file"]))
            continue
        thread = threads.setdefault(entry["thread"], len(threads) + 1)
        after = _answers_before(record[:index], entry, previously_sent.get(thread))
        previously_sent[thread] = entry["sent"]
        if entry["kind"] == "open":
            objects[entry["object"]] = entry["size"]
            events.append(Open(entry["file"], entry["object"], thread, after))
        else:
            events.append(Read(entry["file"], entry["offset"], entry["length"], thread, after))
    return Trace(program.replace("_", " "), kernel_window, objects, events)


def _answers_before(
    earlier: list[dict[str, Any]], entry: dict[str, Any], previously_sent: float | None
) -> tuple[int, ...]:
    """Return the indexes of the events for whose answers the thread of `entry` waited.

    `previously_sent` is the time of the previous event of the thread; None if there is none.
    """
    after: set[int] = set()
    if previously_sent is None:
        previously_sent = 0.0
        after = {
            index
            for index, each in enumerate(earlier)
            if each["kind"] == "open" and each["file"] == entry["file"]
        }
    answered = {
        index: each["answered"]
        for index, each in enumerate(earlier)
        if previously_sent <= each.get("answered", math.inf) < entry["sent"]
    }
    after.update(index for index in answered if earlier[index]["thread"] == entry["thread"])
    recently = entry["sent"] - _DELAY_SECONDS / 2
    if answered and not any(answered.get(index, 0.0) >= recently for index in after):
        latest = max(answered, key=lambda index: answered[index])
        if answered[latest] >= recently:
            after.add(latest)
    return tuple(sorted(after))


def _set_kernel_window(mount_point: Path, kernel_window: int) -> None:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[4] == str(mount_point):
            setting = Path(f"/sys/class/bdi/{fields[2]}/read_ahead_kb")
            setting.write_text(f"{kernel_window // 1024}\n")
            return
    raise AssertionError(f"{mount_point} is not mounted")


def main() -> None:
    """Record the named programs, or all programs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("programs", nargs="*", default=list(PROGRAMS), metavar="NAME")
    parser.add_argument("--python", type=Path, default=Path(sys.executable))
    parser.add_argument("--window", type=int, action="append", help="in KiB; 128, 1024 and 16384")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(arguments.python, Path(folder))
        for name in arguments.programs:
            for window in arguments.window or (128, 1024, 16384):
                trace = recorder.record(name, window * 1024)
                path = arguments.output / f"{name.replace('_', '-')}-{window}k.trace"
                trace.write(path)
                print(f"{path.name}: {len(trace.events)} events, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
