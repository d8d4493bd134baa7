"""Walks over all chunk files of a cache: verifies, counts and removes them, in bounded memory.

Mounts may use the cache meanwhile. A file that a mount removes during a walk is left out.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from gcsmux_fs.caching.chunk_format import (
    HEADER_BYTES,
    SHARDS,
    ChunkHeader,
    chunk_of_name,
    chunk_of_prefix,
    encode_absent,
)
from gcsmux_fs.caching.granule_ranges import dependent_slots, differing_granules, present_ranges

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsmux_fs.caching.cache_files import CacheFiles

__all__ = [
    "ChunkDamage",
    "ChunkTotals",
    "chunk_paths",
    "count_files",
    "remove_files",
    "verify_chunks",
]


@dataclass(slots=True)
class ChunkTotals:
    """Totals of a walk.

    Attributes:
        files: number of files.
        allocated_bytes: disk space of the files.
        verified_bytes: bytes that agreed with their CRC32C.
        bad_granules: granules (16 KiB) that did not agree.
        bad_files: files that were not valid chunk files.
    """

    files: int = 0
    allocated_bytes: int = 0
    verified_bytes: int = 0
    bad_granules: int = 0
    bad_files: int = 0


class ChunkDamage(NamedTuple):
    """A damage that a walk found and removed.

    Attributes:
        path: the file, relative to the directory of the cache.
        problem: what was wrong, as the rest of a sentence that starts with the path.
        removed: whether the whole file was removed, and not only the damaged granules.
    """

    path: str
    problem: str
    removed: bool


def chunk_paths(files: CacheFiles, first_shard: int = 0, end_shard: int = SHARDS) -> Iterator[str]:
    """Yield the paths of all files in the directories of some shards, also of foreign files."""
    for shard in range(first_shard, end_shard):
        folder = f"chunks/{shard:02x}"
        for name in files.names(folder):
            yield f"{folder}/{name}"


def count_files(files: CacheFiles) -> ChunkTotals:
    """Return the number of files and their disk space, without reading them."""
    totals = ChunkTotals()
    for path in chunk_paths(files):
        _count(files, path, totals)
    return totals


def remove_files(files: CacheFiles, folder: str) -> ChunkTotals:
    """Remove all files in a folder and its subfolders; return how many there were.

    The folders remain, because mounts may use them.
    """
    totals = ChunkTotals()
    for name in files.names(folder):
        path = f"{folder}/{name}"
        status = files.path_status(path)
        if status is not None and status.is_directory:
            inner = remove_files(files, path)
            totals.files += inner.files
            totals.allocated_bytes += inner.allocated_bytes
        elif _count(files, path, totals):
            files.remove(path)
    return totals


def verify_chunks(files: CacheFiles, totals: ChunkTotals) -> Iterator[ChunkDamage]:
    """Verify every byte of all chunk files; remove and yield what is bad, and count in `totals`.

    Raises:
        OSError: a directory cannot be read. A file that cannot be read is removed.
    """
    for path in chunk_paths(files):
        if not _count(files, path, totals):
            continue
        try:
            damage = _examine(files, path, totals)
        except FileNotFoundError:
            continue
        except OSError as error:
            damage = ChunkDamage(path, f"cannot be read ({error.strerror})", removed=True)
        if damage is None:
            continue
        if damage.removed:
            totals.bad_files += 1
            with contextlib.suppress(OSError):
                _remove(files, path)
        yield damage


def _remove(files: CacheFiles, path: str) -> None:
    try:
        files.remove(path)
    except IsADirectoryError:
        files.remove_directory(path)


def _count(files: CacheFiles, path: str, totals: ChunkTotals) -> bool:
    status = files.path_status(path)
    if status is None:
        return False
    totals.files += 1
    totals.allocated_bytes += status.allocated_bytes
    return True


def _examine(files: CacheFiles, path: str, totals: ChunkTotals) -> ChunkDamage | None:
    """Verify a file, and drop the granules that differ."""
    status = files.path_status(path)
    if status is None:
        return None
    if not status.is_regular:
        return ChunkDamage(path, "is not a regular file", removed=True)
    chunk = chunk_of_name(path.rpartition("/")[2])
    if chunk is None or chunk.path != path:
        return ChunkDamage(path, "has a name that no chunk has", removed=True)
    descriptor = files.open(path, os.O_RDWR)
    try:
        data = files.read(descriptor, HEADER_BYTES, 0)
        if not any(data):
            return None  # A mount has just created the file.
        found = chunk_of_prefix(data)
        if found is None:
            return ChunkDamage(path, "has a damaged header", removed=True)
        if found[0] != chunk:
            return ChunkDamage(path, "has the header of another chunk", removed=True)
        header = ChunkHeader(*found)
        header.data = bytearray(data).ljust(HEADER_BYTES, b"\0")
        bad = _verify_content(files, descriptor, header, totals)
    finally:
        files.close(descriptor)
    if not bad:
        return None
    problem = f"has {bad} granules of 16 KiB that do not agree with their CRC32C"
    return ChunkDamage(path, problem, removed=False)


def _verify_content(
    files: CacheFiles, descriptor: int, header: ChunkHeader, totals: ChunkTotals
) -> int:
    """Drop the granules that differ, and return their number."""
    bad = []
    for start, end in present_ranges(header, 0, header.length):
        content = files.read(descriptor, end - start, HEADER_BYTES + start)
        differing = differing_granules(header, start, end, content)
        totals.verified_bytes += end - start - sum(map(header.granule_bytes, differing))
        bad += differing
    if bad:
        totals.bad_granules += len(bad)
        for slot in dependent_slots(bad):
            files.write(descriptor, encode_absent(1), header.offset_of(slot))
    return len(bad)
