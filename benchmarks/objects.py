"""The objects that are read: folders that are buckets, made anew for each run.

fake-gcs-server keeps what it knows of an object in an extended attribute and shows no file
without one, so that what peers read through it is marked here.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from random import Random

__all__ = [
    "BIG",
    "BIG_BUCKET",
    "GIB",
    "KIB",
    "MIB",
    "QUARTERS",
    "SMALL_BUCKET",
    "SMALL_BYTES",
    "SMALL_COUNT",
    "WIDE",
    "WIDE_BYTES",
    "flat_bucket",
    "make",
    "tree_bucket",
]

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

BIG_BUCKET = "bench-big"
BIG = "big"  # 1 GiB, incompressible
QUARTERS = tuple(f"quarter-{number}" for number in range(4))  # 256 MiB each
# Random reads are to be cold, so that the file is larger than what any cache keeps. No room is
# taken on the disk.
WIDE, WIDE_BYTES = "wide", 64 * GIB

SMALL_BUCKET = "bench-small"
SMALL_BYTES = 64 * KIB
SMALL_COUNT = 2_000

_FOLDER_ENTRIES = 1_000
# Far below what any file system allows for one file.
_LINKS = 1_000
_MARK = json.dumps(
    {
        "ContentType": "application/octet-stream",
        "Created": "2026-01-01T00:00:00Z",
        "Updated": "2026-01-01T00:00:00Z",
        "Generation": 1,
    }
).encode()


@dataclass(frozen=True, slots=True)
class _Bucket:
    """A bucket in the making."""

    path: Path

    def folder(self, name: str, count: int, content: bytes, digits: int) -> None:
        """Make a folder of numbered objects, all of the same content.

        They are links to one file for each thousand: that is five times as fast as writing them.
        """
        folder = self.path / name
        folder.mkdir(parents=True)
        source = ""
        for number in range(count):
            target = f"{folder}/{number:0{digits}}"
            if number % _LINKS:
                os.link(source, target)
            else:
                source = target
                Path(source).write_bytes(content)
                os.setxattr(source, "user.metadata", _MARK)


def _make_big(root: Path) -> None:
    """Write the large objects."""
    bucket = root / BIG_BUCKET
    bucket.mkdir()
    source = Random(1)
    with (bucket / BIG).open("wb") as file:
        for _ in range(GIB // MIB):
            file.write(source.randbytes(MIB))
        file.flush()
        # Pages that are still to be written cannot be dropped from the cache.
        os.fsync(file.fileno())
    for name, size in [(WIDE, WIDE_BYTES), *((name, 256 * MIB) for name in QUARTERS)]:
        with (bucket / name).open("wb") as file:
            file.truncate(size)
    for path in bucket.iterdir():
        os.setxattr(path, "user.metadata", _MARK)


def _make_small(root: Path) -> None:
    """Write the small files."""
    content = Random(2).randbytes(SMALL_BYTES)
    _Bucket(root / SMALL_BUCKET).folder("files", SMALL_COUNT, content, digits=5)


def flat_bucket(count: int) -> str:
    """Return the bucket with so many objects in one folder `all`."""
    return f"bench-flat-{count}"


def _make_flat(root: Path, count: int) -> None:
    _Bucket(root / flat_bucket(count)).folder("all", count, b"flat", digits=7)


def tree_bucket(count: int) -> str:
    """Return the bucket with so many objects below a folder `all`, 1,000 in a folder.

    A file of 1 GiB beside that folder is for reads while many are open.
    """
    return f"bench-tree-{count}"


def _make_tree(root: Path, count: int) -> None:
    bucket = _Bucket(root / tree_bucket(count))
    for folder in range(-(-count // _FOLDER_ENTRIES)):
        entries = min(_FOLDER_ENTRIES, count - folder * _FOLDER_ENTRIES)
        bucket.folder(f"all/{folder:04}", entries, b"tree", digits=4)
    wide = bucket.path / WIDE
    with wide.open("wb") as file:
        file.truncate(GIB)
    os.setxattr(wide, "user.metadata", _MARK)


def make(root: Path, bucket: str) -> None:
    """Make a bucket with its objects, if it is not there."""
    if (root / bucket).exists():
        return
    if bucket == BIG_BUCKET:
        _make_big(root)
    elif bucket == SMALL_BUCKET:
        _make_small(root)
    else:
        *_, shape, count = bucket.split("-")
        {"flat": _make_flat, "tree": _make_tree}[shape](root, int(count))
