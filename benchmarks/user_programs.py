"""Programs as users write them: each reads a mount with the library that its users use.

Run as `user_programs.py FOLDER TASK` with the interpreter of `.venv-programs`, where
`scripts/bootstrap bench` installs numpy, h5py, pyarrow and safetensors. The time of a program
excludes the imports. A program counts the bytes that it uses, not the bytes that the kernel reads.
"""

from __future__ import annotations

import mmap
import os
import random
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
from pyarrow import parquet
from safetensors import safe_open

from benchmarks import user_objects as objects
from benchmarks.tasks import Outcome, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__: list[str] = []

_KIB = 1024
_MIB = 1024 * _KIB


def _in_order(folder: Path) -> int:
    """Read a model file from start to end, as `cat` does."""
    buffer = bytearray(_MIB)
    total = 0
    descriptor = os.open(folder / objects.MODEL, os.O_RDONLY)
    while count := os.readv(descriptor, [buffer]):
        total += count
    os.close(descriptor)
    return total


def _load(path: Path) -> int:
    """Copy all tensors of a file out of its mapping."""
    with safe_open(path, framework="numpy") as file:
        return sum(file.get_tensor(name).nbytes for name in file.keys())  # noqa: SIM118


def _safetensors(folder: Path) -> int:
    return _load(folder / objects.MODEL)


def _shards(folder: Path) -> int:
    """Load the shards of a model one after the other."""
    return sum(_load(folder / name) for name in objects.SHARDS)


def _random_rows(folder: Path) -> int:
    """Copy random rows of a mapped matrix, as a training loop over numpy.memmap does."""
    matrix = np.load(folder / objects.MATRIX, mmap_mode="r")
    rows = random.Random(1).sample(range(objects.MATRIX_ROWS), 600)
    return sum(np.array(matrix[row]).nbytes for row in rows)


def _slices(folder: Path) -> int:
    """Read slices that cross the chunks of a volume: two slices in each layer of chunks.

    HDF5 reads whole chunks, so the program uses the whole volume.
    """
    with h5py.File(folder / objects.VOLUME) as file:
        volume = file["volume"]
        for place in range(0, objects.VOLUME_SHAPE[2], objects.VOLUME_CHUNK[2] // 2):
            volume[:, :, place]
        return int(volume.nbytes)


def _columns(folder: Path) -> int:
    """Read 2 of 20 columns of a mapped Parquet file."""
    table = parquet.read_table(folder / objects.TABLE, columns=["c03", "c11"], memory_map=True)
    return int(table.nbytes)


def _preads(path: Path, offsets: Iterable[int], length: int) -> int:
    descriptor = os.open(path, os.O_RDONLY)
    total = sum(len(os.pread(descriptor, length, offset)) for offset in offsets)
    os.close(descriptor)
    return total


def _eight_threads(path: Path, offsets: list[int], length: int) -> int:
    """Read blocks by eight threads with a descriptor each; thread n reads each 8th block."""
    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(lambda n: _preads(path, offsets[n::8], length), range(8)))


def _interleaved(folder: Path) -> int:
    offsets = list(range(0, objects.RECORDS_BYTES, _MIB))
    return _eight_threads(folder / objects.RECORDS, offsets, _MIB)


def _shuffled_records(folder: Path) -> int:
    offsets = list(range(0, objects.RECORDS_BYTES, 256 * _KIB))
    random.Random(1).shuffle(offsets)
    return _eight_threads(folder / objects.RECORDS, offsets, 256 * _KIB)


def _mapped_backward(folder: Path) -> int:
    """Copy a mapping from its end to its start, as memmove copies a tensor backward."""
    values = np.memmap(folder / objects.BLOCK, dtype=np.uint64, mode="r")
    return int(values[::-1].copy().nbytes)


def _preads_backward(folder: Path) -> int:
    offsets = reversed(range(0, objects.BLOCK_BYTES, 64 * _KIB))
    return _preads(folder / objects.BLOCK, offsets, 64 * _KIB)


def _strides(folder: Path) -> int:
    return _preads(folder / objects.MODEL, (place * _MIB for place in range(600)), 64 * _KIB)


def _tar(folder: Path) -> int:
    total = 0
    with tarfile.open(folder / objects.ARCHIVE) as archive:
        for member in archive:
            file = archive.extractfile(member)
            total += len(file.read()) if file else 0
    return total


def _whole(path: str | Path) -> int:
    descriptor = os.open(path, os.O_RDONLY)
    total = 0
    while content := os.read(descriptor, _MIB):
        total += len(content)
    os.close(descriptor)
    return total


def _files_in_order(folder: Path) -> int:
    """List a folder, and read its files in the order of the listing."""
    with os.scandir(folder / objects.SMALL) as entries:
        paths = [entry.path for entry in entries]
    return sum(map(_whole, paths))


def _files_shuffled(folder: Path) -> int:
    """Read files whose names are known, in any order, by 16 threads, as a data loader does."""
    paths = [folder / name for name in objects.SMALL_NAMES]
    random.Random(1).shuffle(paths)
    with ThreadPoolExecutor(16) as pool:
        return sum(pool.map(_whole, paths))


def _single_pages(folder: Path) -> int:
    """Touch single pages of a mapped file, as lmdb and sqlite do."""
    with (folder / objects.PAGES).open("rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    places = random.Random(1).sample(range(objects.PAGES_BYTES // mmap.PAGESIZE), 200)
    with mapping:
        for place in places:
            mapping[place * mmap.PAGESIZE]
    return len(places) * mmap.PAGESIZE


def _heads(folder: Path, length: int) -> int:
    """List a folder, and read the first bytes of each file."""
    with os.scandir(folder) as entries:
        paths = [Path(entry.path) for entry in entries]
    return sum(_preads(path, (0,), length) for path in paths)


def _first_bytes(folder: Path) -> int:
    return _heads((folder / objects.HEAD_NAMES[0]).parent, 100)


def _media_heads(folder: Path) -> int:
    """Read the heads of large files, as `file *` does."""
    return _heads((folder / objects.MEDIA_NAMES[0]).parent, 256 * _KIB)


_PROGRAMS: dict[str, Callable[[Path], int]] = {
    "in-order": _in_order,
    "safetensors": _safetensors,
    "random-rows": _random_rows,
    "slices": _slices,
    "columns": _columns,
    "interleaved": _interleaved,
    "mapped-backward": _mapped_backward,
    "preads-backward": _preads_backward,
    "strides": _strides,
    "tar": _tar,
    "files-in-order": _files_in_order,
    "files-shuffled": _files_shuffled,
    "shuffled-records": _shuffled_records,
    "single-pages": _single_pages,
    "first-bytes": _first_bytes,
    "media-heads": _media_heads,
    "shards": _shards,
}


if __name__ == "__main__":
    the_task = Task.from_json(sys.argv[2])
    the_folder = Path(sys.argv[1])
    began = time.perf_counter()
    read_bytes = sum(_PROGRAMS[name](the_folder) for name in the_task.names)
    print(Outcome(time.perf_counter() - began, read_bytes, the_task.count).to_json())
