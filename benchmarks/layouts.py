"""Compare layouts of a disk cache: chunk files, one sparse file per object, and slabs.

Run as `layouts.py FOLDER [ROUNDS]`; it prints a table. Each round runs all layouts in turns on
FOLDER. The layouts store the same bytes and the same index entries: 8 bytes for each 16 KiB.

- Chunk files: a file of 2, 4 or 8 MiB for each piece of an object, with a header of 4 KiB.
- Sparse file: a file for each object, with a table of entries before the content.
- Slabs: files of 64 MiB to which extents are appended, and an index in memory that is also appended
  to a file. To evict half of the extents, the other half is copied to new slabs.

The eviction removes half of the pieces of 4 MiB of the large object and half of the small objects,
chosen at random, because that is what a policy better than FIFO does.
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import statistics
import struct
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from benchmarks.objects import GIB, KIB, MIB
from benchmarks.report import table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["LAYOUTS", "Layout", "measure"]

_GRANULE_BYTES = 16 * KIB
_ENTRY_BYTES = 8
_HEADER_BYTES = 4 * KIB
_EVICTED_BYTES = 4 * MIB  # the piece of an object that the eviction removes
_SLAB_BYTES = 64 * MIB
_RECORD = struct.Struct("=QQQQ")  # object, offset, slab and place of an extent in a slab's index
# <linux/falloc.h>: FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
_PUNCH = 0x02 | 0x01

EXTENT_BYTES = 2 * MIB
SMALL_BYTES = 20 * KIB
READS = 5_000


class Layout(Protocol):
    """Stores extents of objects in files below a folder."""

    def write(self, number: int, offset: int, content: memoryview) -> None:
        """Store an extent of the object with this number."""

    def read(self, number: int, offset: int, length: int) -> bytes:
        """Return bytes of an extent."""

    def evict(self, pieces: Iterable[tuple[int, int]]) -> None:
        """Remove the pieces that start at these offsets of these objects."""

    def reopen(self) -> None:
        """Forget everything in memory, as after a restart."""


def _entries(length: int) -> bytes:
    return bytes(_ENTRY_BYTES * -(-length // _GRANULE_BYTES))


class _Descriptors:
    """Keeps the most recently opened files of a folder open."""

    def __init__(self, folder: Path, limit: int = 512) -> None:
        self._folder = folder
        self._limit = limit
        self._open: dict[str, int] = {}

    def get(self, name: str, flags: int = os.O_RDWR) -> int:
        descriptor = self._open.get(name)
        if descriptor is None:
            if len(self._open) >= self._limit:
                os.close(self._open.pop(next(iter(self._open))))
            path = self._folder / name[:2] / name
            try:
                descriptor = os.open(path, flags)
            except FileNotFoundError:
                path.parent.mkdir(parents=True, exist_ok=True)
                descriptor = os.open(path, flags | os.O_CREAT, 0o600)
            self._open[name] = descriptor
        return descriptor

    def remove(self, name: str) -> None:
        if name in self._open:
            os.close(self._open.pop(name))
        (self._folder / name[:2] / name).unlink(missing_ok=True)

    def close(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1])


class Chunks:
    """A file for each piece of `chunk_bytes` of an object."""

    def __init__(self, folder: Path, chunk_bytes: int) -> None:
        self._files = _Descriptors(folder)
        self._chunk_bytes = chunk_bytes

    def _name(self, number: int, chunk: int) -> str:
        return f"{(number * 7919 + chunk) % 256:02x}-{number}-{chunk}"

    def write(self, number: int, offset: int, content: memoryview) -> None:
        chunk, start = divmod(offset, self._chunk_bytes)
        descriptor = self._files.get(self._name(number, chunk))
        os.pwrite(descriptor, content, _HEADER_BYTES + start)
        os.pwrite(descriptor, _entries(len(content)), start // _GRANULE_BYTES * _ENTRY_BYTES)

    def read(self, number: int, offset: int, length: int) -> bytes:
        chunk, start = divmod(offset, self._chunk_bytes)
        descriptor = self._files.get(self._name(number, chunk))
        return os.pread(descriptor, length, _HEADER_BYTES + start)

    def evict(self, pieces: Iterable[tuple[int, int]]) -> None:
        for number, offset in pieces:
            # Files of 8 MiB can be removed only whole: the second half finds its file gone.
            first = offset // self._chunk_bytes
            for chunk in range(first, first + max(1, _EVICTED_BYTES // self._chunk_bytes)):
                self._files.remove(self._name(number, chunk))

    def reopen(self) -> None:
        self._files.close()


class SparseFiles:
    """A sparse file for each object. The table of entries has a place for 1 GiB."""

    _TABLE_BYTES = GIB // _GRANULE_BYTES * _ENTRY_BYTES

    def __init__(self, folder: Path) -> None:
        self._files = _Descriptors(folder)
        self._fallocate = ctypes.CDLL(None, use_errno=True).fallocate
        self._fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)

    def _name(self, number: int) -> str:
        return f"{number % 256:02x}-{number}"

    def write(self, number: int, offset: int, content: memoryview) -> None:
        descriptor = self._files.get(self._name(number))
        os.pwrite(descriptor, content, self._TABLE_BYTES + offset)
        os.pwrite(descriptor, _entries(len(content)), offset // _GRANULE_BYTES * _ENTRY_BYTES)

    def read(self, number: int, offset: int, length: int) -> bytes:
        return os.pread(self._files.get(self._name(number)), length, self._TABLE_BYTES + offset)

    def evict(self, pieces: Iterable[tuple[int, int]]) -> None:
        for number, offset in pieces:
            if number:
                self._files.remove(self._name(number))
                continue
            descriptor = self._files.get(self._name(number))
            place = self._TABLE_BYTES + offset
            if self._fallocate(descriptor, _PUNCH, place, _EVICTED_BYTES):
                raise OSError(ctypes.get_errno(), "fallocate failed")

    def reopen(self) -> None:
        self._files.close()


class Slabs:
    """Extents appended to files of 64 MiB, and an index."""

    def __init__(self, folder: Path) -> None:
        self._files = _Descriptors(folder)
        self._index: dict[tuple[int, int], tuple[int, int]] = {}
        self._slab = self._end = 0

    def write(self, number: int, offset: int, content: memoryview) -> None:
        if self._end + len(content) > _SLAB_BYTES:
            self._slab, self._end = self._slab + 1, 0
        os.pwrite(self._files.get(f"slab-{self._slab}"), content, self._end)
        record = _RECORD.pack(number, offset, self._slab, self._end) + _entries(len(content))
        os.write(self._files.get("index", os.O_RDWR | os.O_APPEND), record)
        self._index[number, offset] = self._slab, self._end
        self._end += len(content)

    def read(self, number: int, offset: int, length: int) -> bytes:
        start = offset - offset % EXTENT_BYTES
        slab, place = self._index[number, start]
        return os.pread(self._files.get(f"slab-{slab}"), length, place + offset - start)

    def evict(self, pieces: Iterable[tuple[int, int]]) -> None:
        for number, offset in pieces:
            for start in range(offset, offset + _EVICTED_BYTES, EXTENT_BYTES):
                self._index.pop((number, start), None)
        old, last = self._index, self._slab
        self._files.remove("index")
        self._index, self._slab, self._end = {}, last + 1, 0
        for (number, offset), _ in sorted(old.items(), key=lambda item: item[1]):
            slab, place = old[number, offset]
            length = SMALL_BYTES if number else EXTENT_BYTES
            content = os.pread(self._files.get(f"slab-{slab}"), length, place)
            self.write(number, offset, memoryview(content))
        for slab in range(last + 1):
            self._files.remove(f"slab-{slab}")

    def reopen(self) -> None:
        self._files.close()
        self._index.clear()
        content = os.pread(index := self._files.get("index"), os.fstat(index).st_size, 0)
        place = 0
        while place < len(content):
            number, offset, slab, start = _RECORD.unpack_from(content, place)
            self._index[number, offset] = slab, start
            place += _RECORD.size + len(_entries(SMALL_BYTES if number else EXTENT_BYTES))


LAYOUTS: dict[str, Callable[[Path], Layout]] = {
    "chunks of 2 MiB": lambda folder: Chunks(folder, 2 * MIB),
    "chunks of 4 MiB": lambda folder: Chunks(folder, 4 * MIB),
    "chunks of 8 MiB": lambda folder: Chunks(folder, 8 * MIB),
    "sparse files": SparseFiles,
    "slabs": Slabs,
}


def _allocated_mib(folder: Path) -> float:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*")) / MIB


def _drop_pages(folder: Path) -> None:
    """Write all pages to the disk and drop them. A single sync is faster than 5,000 fsyncs."""
    os.sync()
    for path in folder.rglob("*-*"):
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def measure(
    make: Callable[[Path], Layout], folder: Path, large_bytes: int, small_count: int
) -> Iterator[tuple[str, float]]:
    """Yield the name and the figure of each step: milliseconds, or MiB on the disk.

    Object 0 is the large object; the small objects have the numbers from 1.
    """
    source = random.Random(1)
    content = memoryview(source.randbytes(EXTENT_BYTES))
    layout = make(folder)
    extents = range(0, large_bytes, EXTENT_BYTES)
    shuffled = source.sample(range(1, small_count + 1), small_count)
    places = [source.randrange(large_bytes // _GRANULE_BYTES) for _ in range(READS)]

    def timed(step: Callable[[], object]) -> float:
        began = time.perf_counter()
        step()
        return (time.perf_counter() - began) * 1000

    def write_large() -> None:
        for offset in extents:
            layout.write(0, offset, content)

    def read_large() -> None:
        for offset in extents:
            assert len(layout.read(0, offset, EXTENT_BYTES)) == EXTENT_BYTES

    def write_small() -> None:
        for number in range(1, small_count + 1):
            layout.write(number, 0, content[:SMALL_BYTES])

    def read_small() -> None:
        for number in shuffled:
            assert len(layout.read(number, 0, SMALL_BYTES)) == SMALL_BYTES

    def read_random() -> None:
        for place in places:
            layout.read(0, place * _GRANULE_BYTES, _GRANULE_BYTES)

    yield "write large", timed(write_large)
    yield "write small", timed(write_small)
    yield "flush", timed(lambda: _drop_pages(folder))
    yield "MiB on the disk", _allocated_mib(folder)
    yield "restart", timed(layout.reopen)
    yield "read large, disk", timed(read_large)
    yield "read small, disk", timed(read_small)
    layout.reopen()
    yield "read large, page cache", timed(read_large)
    yield "read small, page cache", timed(read_small)
    yield "read 16 KiB at random, page cache", timed(read_random)
    pieces = [(0, offset) for offset in range(0, large_bytes, _EVICTED_BYTES)]
    pieces = source.sample(pieces, len(pieces) // 2)
    pieces += [(number, 0) for number in shuffled[: small_count // 2]]
    yield "evict half", timed(lambda: layout.evict(pieces))
    yield "MiB after the eviction", _allocated_mib(folder)


def main() -> None:
    """Measure all layouts in turns; print the median of each step."""
    folder = Path(sys.argv[1]) / "layouts"
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    found: dict[str, dict[str, list[float]]] = {}
    order = list(LAYOUTS.items())
    for _ in range(rounds):
        random.shuffle(order)
        for name, make in order:
            folder.mkdir()
            try:
                for step, figure in measure(make, folder, GIB, small_count=5_000):
                    found.setdefault(step, {}).setdefault(name, []).append(figure)
            finally:
                shutil.rmtree(folder)
    rows = [
        [step, *(f"{statistics.median(each[name]):.0f}" for name in LAYOUTS)]
        for step, each in found.items()
    ]
    print(table(["milliseconds", *LAYOUTS], rows))


if __name__ == "__main__":
    main()
