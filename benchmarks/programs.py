"""Programs that read a mount, for workloads that fio does not support.

Run as `programs.py FOLDER TASK` in a separate process. It makes the same system calls as an
ordinary program. It imports only the standard library, so that it starts fast.
"""

from __future__ import annotations

import os
import random
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from benchmarks.tasks import Kind, Outcome, Task, percentiles

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["tensor_plan"]

_MIB = 1024 * 1024
# The number of first bytes that `steady_bytes_per_second` excludes, because readahead windows grow
# while these bytes are read.
_START_BYTES = 64 * _MIB
_HEADER_BYTES = 128 * 1024


def tensor_plan(size: int, seed: int) -> list[tuple[int, int]]:
    """Return offset and length of each tensor of a model file, in the order of the reads."""
    source = random.Random(seed)
    pieces: list[tuple[int, int]] = []
    offset = _HEADER_BYTES
    while offset < size:
        length = min(size - offset, source.randrange(_MIB, 64 * _MIB))
        pieces.append((offset, length))
        offset += length
    source.shuffle(pieces)
    return [(0, _HEADER_BYTES), *pieces]


def _sequential(folder: str, task: Task) -> Outcome:
    buffer = bytearray(task.block_bytes)
    total = 0
    most = task.count * task.block_bytes or sys.maxsize
    at_start = began = time.perf_counter()
    descriptor = os.open(f"{folder}/{task.names[0]}", os.O_RDONLY)
    while total < most and (count := os.readv(descriptor, [buffer])):
        total += count
        if total <= _START_BYTES:
            at_start = time.perf_counter()
    ended = time.perf_counter()
    os.close(descriptor)
    steady = (total - _START_BYTES) / (ended - at_start)
    return Outcome(ended - began, total, figures={"steady_bytes_per_second": steady})


def _digest(folder: str, task: Task) -> Outcome:
    total = crc = 0
    began = time.perf_counter()
    descriptor = os.open(f"{folder}/{task.names[0]}", os.O_RDONLY)
    while content := os.read(descriptor, task.block_bytes):
        total += len(content)
        crc = zlib.crc32(content, crc)
    os.close(descriptor)
    return Outcome(time.perf_counter() - began, total, figures={"crc32": crc})


def _tensors(folder: str, task: Task) -> Outcome:
    buffer = bytearray(64 * _MIB)
    total = 0
    began = time.perf_counter()
    descriptor = os.open(f"{folder}/{task.names[0]}", os.O_RDONLY)
    for offset, length in tensor_plan(task.size_bytes, task.seed):
        done = 0
        with memoryview(buffer) as view:
            while done < length:
                done += os.preadv(descriptor, [view[done:length]], offset + done)
        total += done
    os.close(descriptor)
    return Outcome(time.perf_counter() - began, total, 1)


def _timed(operation: Callable[[str], int], paths: list[str], threads: int) -> Outcome:
    """Call `operation` for each path; return an outcome with the latencies of the calls."""

    def run(path: str) -> tuple[float, int]:
        began = time.perf_counter()
        count = operation(path)
        return time.perf_counter() - began, count

    began = time.perf_counter()
    if threads == 1:
        found = [run(path) for path in paths]
    else:
        with ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(run, paths))
    seconds = time.perf_counter() - began
    return Outcome(
        seconds,
        sum(count for _, count in found),
        len(found),
        percentiles([each for each, _ in found]),
    )


def _read_whole(path: str) -> int:
    descriptor = os.open(path, os.O_RDONLY)
    total = 0
    while content := os.read(descriptor, _MIB):
        total += len(content)
    os.close(descriptor)
    return total


def _read_byte(path: str) -> int:
    descriptor = os.open(path, os.O_RDONLY)
    count = len(os.read(descriptor, 1))
    os.close(descriptor)
    return count


def _chosen(paths: list[str], task: Task) -> list[str]:
    if task.shuffled:
        random.Random(task.seed).shuffle(paths)
    return paths[: task.count or None]


def _files(folder: str, task: Task) -> Outcome:
    began = time.perf_counter()
    paths = [f"{folder}/{task.names[0]}/{name}" for name in os.listdir(f"{folder}/{task.names[0]}")]
    listed = time.perf_counter() - began
    found = _timed(_read_whole, _chosen(paths, task), task.threads)
    found.figures["listing_seconds"] = listed
    return found


def _first_byte(folder: str, task: Task) -> Outcome:
    return _timed(_read_byte, [f"{folder}/{name}" for name in task.names], task.threads)


def _list(folder: str, task: Task) -> Outcome:
    began = time.perf_counter()
    first = 0.0
    count = 0
    with os.scandir(f"{folder}/{task.names[0]}") as entries:
        for entry in entries:
            first = first or time.perf_counter() - began
            entry.stat(follow_symlinks=False)
            count += 1
    seconds = time.perf_counter() - began
    return Outcome(seconds, operations=count, figures={"first_entry_seconds": first})


def _tree(folder: str) -> list[str]:
    paths: list[str] = []
    folders = [folder]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                entry.stat(follow_symlinks=False)
                (folders if entry.is_dir(follow_symlinks=False) else paths).append(entry.path)
    return paths


def _walk(folder: str, task: Task) -> Outcome:
    began = time.perf_counter()
    count = len(_tree(f"{folder}/{task.names[0]}"))
    return Outcome(time.perf_counter() - began, operations=count)


def _repeat(folder: str, task: Task) -> Outcome:
    path = f"{folder}/{task.names[0]}"
    _read_whole(path)
    return _timed(_read_whole, [path], 1)


def _touch(folder: str, task: Task) -> Outcome:
    paths = sorted(_tree(f"{folder}/{task.names[0]}"))
    # Wait until all requests of the listing have ended, so that the measurement excludes them.
    time.sleep(0.5)
    _mark()
    return _timed(_read_byte, _chosen(paths, task), task.threads)


def _hold(folder: str, task: Task) -> Outcome:
    names, target = task.names[:-1], f"{folder}/{task.names[-1]}"
    paths = [path for name in names for path in sorted(_tree(f"{folder}/{name}"))][: task.hold]
    held = [os.open(path, os.O_RDONLY) for path in paths]
    for descriptor in held:
        os.read(descriptor, 1)
    source = random.Random(task.seed)
    places = range(task.size_bytes // task.block_bytes)
    descriptor = os.open(target, os.O_RDONLY)
    os.pread(descriptor, 1, 0)
    time.sleep(0.5)
    _mark()

    def read(place: str) -> int:
        return len(os.pread(descriptor, task.block_bytes, int(place) * task.block_bytes))

    return _timed(read, [str(place) for place in source.sample(places, task.count)], task.threads)


def _mark() -> None:
    """Tell the parent process that the measurement starts, and wait for its answer."""
    print("mark", flush=True)
    sys.stdin.readline()


_PROGRAMS: dict[Kind, Callable[[str, Task], Outcome]] = {
    Kind.SEQUENTIAL: _sequential,
    Kind.DIGEST: _digest,
    Kind.TENSORS: _tensors,
    Kind.FILES: _files,
    Kind.FIRST_BYTE: _first_byte,
    Kind.LIST: _list,
    Kind.WALK: _walk,
    Kind.REPEAT: _repeat,
    Kind.TOUCH: _touch,
    Kind.HOLD: _hold,
}


if __name__ == "__main__":
    the_task = Task.from_json(sys.argv[2])
    print(_PROGRAMS[the_task.kind](sys.argv[1], the_task).to_json())
