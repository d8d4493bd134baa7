"""Programs that read a mount while other writers change its bucket.

Run as `change_programs.py FOLDER TASK` in a separate process. It imports only the standard library,
so that it starts fast.
"""

from __future__ import annotations

import mmap
import os
import random
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.tasks import Kind, Outcome, Task, percentiles

if TYPE_CHECKING:
    from collections.abc import Callable

__all__: list[str] = []

# The pause between two looks at a file. The resolution of the measurement is this and the look.
_LOOK_SECONDS = 0.0005
# One of so many look-ups is of a name that does not exist.
_ABSENT_SHARE = 10


def _stat(path: str) -> bool:
    return os.stat(path).st_size > 0


def _open(path: str) -> bool:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.fstat(descriptor).st_size > 0
    finally:
        os.close(descriptor)


def _ls(path: str) -> bool:
    return os.path.basename(path) in os.listdir(os.path.dirname(path))


_LOOKS: dict[str, Callable[[str], bool]] = {"stat": _stat, "open": _open, "ls": _ls}


def _watch(folder: str, task: Task) -> Outcome:
    """Look at one file after the other until it has changed.

    Return, as `figures`, at which time (`time.time()`) the change of each file has shown. For `ls`
    the files are new, for `stat` and `open` they were empty before.
    """
    command, changed, other = task.names
    look = _LOOKS[command]
    # The kernel and the mount know the names of the other changes, too.
    _tree(f"{folder}/{other}")
    _tree(f"{folder}/{changed}")
    _mark()
    began = time.perf_counter()
    seen: dict[str, float] = {}
    for number in range(task.count):
        while not look(f"{folder}/{changed}/{number}"):
            time.sleep(_LOOK_SECONDS)
        seen[str(number)] = time.time()
    return Outcome(time.perf_counter() - began, operations=task.count, figures=seen)


def _look_up(folder: str, task: Task) -> Outcome:
    """Look up the names of a tree for `seconds`, in a random order; some names are absent."""
    paths = _tree(f"{folder}/{task.names[0]}")
    absent = [f"{path}.absent" for path in paths[:: len(paths) // 100]]
    for path in absent:
        _is_there(path)
    _mark()
    source = random.Random(task.seed)
    samples: list[float] = []
    began = time.perf_counter()
    for number in range(task.count):
        due = began + number * task.seconds / task.count
        time.sleep(max(0.0, due - time.perf_counter()))
        path = source.choice(paths if number % _ABSENT_SHARE else absent)
        looked = time.perf_counter()
        is_there = _is_there(path)
        samples.append(time.perf_counter() - looked)
        assert is_there == (path not in absent), path
    seconds = time.perf_counter() - began
    return Outcome(seconds, operations=len(samples), latencies=percentiles(samples))


def _hits(folder: str, task: Task) -> Outcome:
    """Read random blocks for `seconds`. Each is a READ, because the file is opened O_DIRECT."""
    path = f"{folder}/{task.names[0]}"
    _tree(f"{folder}/{task.names[1]}")
    with open(path, "rb", buffering=0) as file:
        while file.read(task.size_bytes):
            pass
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    buffer = mmap.mmap(-1, task.block_bytes)
    places = task.size_bytes // task.block_bytes
    source = random.Random(task.seed)
    for place in range(places):
        os.preadv(descriptor, [buffer], place * task.block_bytes)
    _mark()
    samples: list[float] = []
    began = time.perf_counter()
    end = began + task.seconds
    while (now := time.perf_counter()) < end:
        os.preadv(descriptor, [buffer], source.randrange(places) * task.block_bytes)
        samples.append(time.perf_counter() - now)
    seconds = time.perf_counter() - began
    os.close(descriptor)
    count = len(samples)
    return Outcome(seconds, count * task.block_bytes, count, percentiles(samples))


def _is_there(path: str) -> bool:
    try:
        os.stat(path)
    except FileNotFoundError:
        return False
    return True


def _tree(folder: str) -> list[str]:
    """Look up all names below a folder; return the paths of its files."""
    paths: list[str] = []
    folders = [folder]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                os.stat(entry.path)
                (folders if entry.is_dir(follow_symlinks=False) else paths).append(entry.path)
    return sorted(paths)


def _mark() -> None:
    """Tell the parent process that the measurement starts, and wait for its answer."""
    print("mark", flush=True)
    sys.stdin.readline()


_PROGRAMS: dict[Kind, Callable[[str, Task], Outcome]] = {
    Kind.WATCH: _watch,
    Kind.LOOK_UP: _look_up,
    Kind.HITS: _hits,
}


if __name__ == "__main__":
    the_task = Task.from_json(sys.argv[2])
    print(_PROGRAMS[the_task.kind](sys.argv[1], the_task).to_json())
