"""The programs that use a mount during a fault. They compare each byte with the expected byte.

These functions run in another process than the test (see `tests.support.programs`). No two rows
have files with the same content, so the programs detect bytes of another row's file.
"""

from __future__ import annotations

import concurrent.futures
import errno
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support.programs import tagged

__all__ = [
    "ENTRIES",
    "LARGE",
    "LARGE_BYTES",
    "SMALL",
    "SMALL_BYTES",
    "Seen",
    "Truth",
    "entry_names",
    "list_many",
    "look_up_list_and_read",
    "read_all",
    "read_at_random",
    "read_in_two_parts",
    "read_sequentially",
]

LARGE = "large"
LARGE_BYTES = 3 * 1024 * 1024 + 3
SMALL = ("small-0", "small-1", "small-2")
SMALL_BYTES = 5000
# The number of objects in the large folder. A page of a listing has 1,000 entries, so this listing
# takes two pages.
ENTRIES = 1005
_READ_BYTES = 256 * 1024
_THREADS = 4
_READS = 12
# Number of seconds for which a program pauses, so that its stream is idle. Rules for idle streams
# fire before the pause ends.
_PAUSE_SECONDS = 0.3
_ONE_MORE = bytes((value + 1) % 256 for value in range(256))


@dataclass(frozen=True)
class Truth:
    """The right content of a row's files: the content for `tag`, after `rewrites` overwrites.

    Each overwrite adds one to every byte and appends `grown_bytes` zeros. If `grown_bytes` is
    negative, the overwrite removes bytes at the end.
    """

    tag: int
    rewrites: int = 0
    grown_bytes: int = 0

    def content(self, size: int) -> bytes:
        """Return the right content of a file that had `size` bytes before the overwrites."""
        content = tagged(self.tag, 0, size)
        for _ in range(self.rewrites):
            kept = content[: max(0, len(content) + self.grown_bytes)].translate(_ONE_MORE)
            content = kept + bytes(max(0, len(content) + self.grown_bytes - len(kept)))
        return content


@dataclass(frozen=True)
class Seen:
    """What a program saw: the number of right and wrong answers, and the names of all errnos."""

    right: int = 0
    wrong: int = 0
    errors: tuple[str, ...] = ()

    def __add__(self, other: Seen) -> Seen:
        errors = tuple(sorted({*self.errors, *other.errors}))
        return Seen(self.right + other.right, self.wrong + other.wrong, errors)


def _judged(result: object, expected: object) -> Seen:
    return Seen(right=1) if result == expected else Seen(wrong=1)


def _failed(error: OSError) -> Seen:
    return Seen(errors=(errno.errorcode[error.errno or 0],))


def _open_cold(path: str) -> int:
    """Open a file and drop its pages from the kernel's cache."""
    descriptor = os.open(path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    return descriptor


def _read(descriptor: int, length: int, offset: int) -> bytes:
    """Read `length` bytes, or up to the end of the file. Raise an error even after some bytes."""
    content = b""
    while piece := os.pread(descriptor, length - len(content), offset + len(content)):
        content += piece
        if len(content) == length:
            break
    return content


def _read_in_order(descriptor: int, content: bytes, start: int, end: int) -> Seen:
    """Read from `start` to `end`. A read behind the end of the content must return no byte."""
    seen = Seen()
    for offset in range(start, end, _READ_BYTES):
        piece = _read(descriptor, min(_READ_BYTES, end - offset), offset)
        seen += _judged(piece, content[offset : min(offset + _READ_BYTES, end)])
    return seen


def read_sequentially(folder: str, truth: Truth) -> Seen:
    """Read the large file from start to end; stop at the first error."""
    seen = Seen()
    content = truth.content(LARGE_BYTES)
    try:
        descriptor = _open_cold(f"{folder}/{LARGE}")
    except OSError as error:
        return _failed(error)
    try:
        for offset in range(0, len(content) + 1, _READ_BYTES):
            seen += _read_in_order(descriptor, content, offset, offset + _READ_BYTES)
    except OSError as error:
        seen += _failed(error)
    finally:
        os.close(descriptor)
    return seen


def read_in_two_parts(folder: str, truth: Truth) -> Seen:
    """Read the start of the large file, pause, and read its end."""
    content = truth.content(LARGE_BYTES)
    seen = Seen()
    descriptor = -1
    try:
        descriptor = _open_cold(f"{folder}/{LARGE}")
        seen += _read_in_order(descriptor, content, 0, _READ_BYTES)
        time.sleep(_PAUSE_SECONDS)
        seen += _read_in_order(descriptor, content, LARGE_BYTES - _READ_BYTES, LARGE_BYTES)
    except OSError as error:
        seen += _failed(error)
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return seen


def read_at_random(folder: str, truth: Truth) -> Seen:
    """Read the large file at random offsets in four threads; continue after errors."""
    content = truth.content(LARGE_BYTES)
    try:
        descriptor = _open_cold(f"{folder}/{LARGE}")
    except OSError as error:
        return _failed(error)

    def read(thread: int) -> Seen:
        source = random.Random(thread)
        seen = Seen()
        for _ in range(_READS):
            # Offsets are multiples of 64 KiB, the unit of the mount's ranges, so that each read
            # requests another range.
            offset = source.randrange(len(content) // 65536) * 65536
            length = source.choice([4096, 65536])
            try:
                piece = _read(descriptor, length, offset)
            except OSError as error:
                seen += _failed(error)
            else:
                seen += _judged(piece, content[offset : offset + length])
        return seen

    try:
        with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
            return sum(pool.map(read, range(_THREADS)), Seen())
    finally:
        os.close(descriptor)


def look_up_list_and_read(folder: str, truth: Truth) -> Seen:
    """Look up one small file, list its folder, then stat and read all small files."""
    seen = Seen()
    content = truth.content(SMALL_BYTES)
    try:
        seen += _judged(Path(folder, SMALL[0]).stat().st_size, len(content))
        seen += _judged(_names(folder), sorted((*SMALL, "control")))
        for name in SMALL:
            seen += _judged(Path(folder, name).stat().st_size, len(content))
            descriptor = _open_cold(f"{folder}/{name}")
            try:
                seen += _read_in_order(descriptor, content, 0, len(content))
            finally:
                os.close(descriptor)
    except OSError as error:
        seen += _failed(error)
    return seen


def _names(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def list_many(folder: str, _truth: Truth) -> Seen:
    """List a folder whose listing takes two pages. Every name must occur once."""
    try:
        return _judged(_names(folder), ["control", *entry_names()])
    except OSError as error:
        return _failed(error)


def entry_names() -> list[str]:
    """Return the names of the objects in the large folder."""
    return [f"entry-{number:04}" for number in range(ENTRIES)]


def read_all(folder: str) -> dict[str, bytes]:
    """Return the content of each file in a folder."""
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}
