"""The objects of the benchmarks. Each run creates folders, which the servers use as buckets.

fake-gcs-server stores the metadata of an object in an extended attribute and hides files without
this attribute. So this module sets the attribute on all files that rclone reads.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from random import Random

from benchmarks import user_objects
from benchmarks.running import PROGRAMS_PYTHON, ROOT

__all__ = [
    "BIG",
    "BIG_BUCKET",
    "GIB",
    "KIB",
    "MIB",
    "NO_BUCKET",
    "QUARTERS",
    "SMALL_BUCKET",
    "SMALL_BYTES",
    "SMALL_COUNT",
    "WIDE",
    "WIDE_BYTES",
    "flat_bucket",
    "make",
    "told_bucket",
    "tree_bucket",
]

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

NO_BUCKET = ""  # the bucket of a case that needs no server
BIG_BUCKET = "bench-big"
BIG = "big"  # 1 GiB of random bytes
QUARTERS = tuple(f"quarter-{number}" for number in range(4))  # 256 MiB each
# The file for random reads is larger than any cache. It is sparse, so it takes no disk space.
WIDE, WIDE_BYTES = "wide", 64 * GIB

SMALL_BUCKET = "bench-small"
SMALL_BYTES = 64 * KIB
SMALL_COUNT = 2_000

_FOLDER_ENTRIES = 1_000
# The number of hard links to each file. File systems allow more (ext4: 65,000).
_LINKS = 1_000
_METADATA = json.dumps(
    {
        "ContentType": "application/octet-stream",
        "Created": "2026-01-01T00:00:00Z",
        "Updated": "2026-01-01T00:00:00Z",
        "Generation": 1,
    }
).encode()


@dataclass(frozen=True, slots=True)
class _Bucket:
    """A folder of the disk, which a server shows as a bucket."""

    path: Path

    def folder(self, name: str, count: int, content: bytes, digits: int) -> None:
        """Create a folder of numbered objects with the same content.

        1,000 objects are hard links to one file, which is five times as fast as separate files.
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
                os.setxattr(source, "user.metadata", _METADATA)


def _make_big(root: Path) -> None:
    """Write the large objects."""
    bucket = root / BIG_BUCKET
    bucket.mkdir()
    source = Random(1)
    with (bucket / BIG).open("wb") as file:
        for _ in range(GIB // MIB):
            file.write(source.randbytes(MIB))
        file.flush()
        # Write all pages to the disk, because dirty pages cannot be dropped from the page cache.
        os.fsync(file.fileno())
    for name, size in [(WIDE, WIDE_BYTES), *((name, 256 * MIB) for name in QUARTERS)]:
        with (bucket / name).open("wb") as file:
            file.truncate(size)
    for path in bucket.iterdir():
        os.setxattr(path, "user.metadata", _METADATA)


def _make_small(root: Path) -> None:
    """Write the small files."""
    content = Random(2).randbytes(SMALL_BYTES)
    _Bucket(root / SMALL_BUCKET).folder("files", SMALL_COUNT, content, digits=5)


def flat_bucket(count: int) -> str:
    """Return the name of the bucket with `count` objects in one folder `all`."""
    return f"bench-flat-{count}"


def _make_flat(root: Path, count: int) -> None:
    _Bucket(root / flat_bucket(count)).folder("all", count, b"flat", digits=7)


def tree_bucket(count: int) -> str:
    """Return the name of the bucket with `count` objects below `all`, 1,000 per folder.

    The file `wide` of 1 GiB is beside the folder `all`.
    """
    return f"bench-tree-{count}"


def _make_tree(root: Path, count: int) -> None:
    bucket = _Bucket(root / tree_bucket(count))
    _make_tree_folders(bucket, count)
    wide = bucket.path / WIDE
    with wide.open("wb") as file:
        file.truncate(GIB)
    os.setxattr(wide, "user.metadata", _METADATA)


def _make_tree_folders(bucket: _Bucket, count: int) -> None:
    for folder in range(-(-count // _FOLDER_ENTRIES)):
        entries = min(_FOLDER_ENTRIES, count - folder * _FOLDER_ENTRIES)
        bucket.folder(f"all/{folder:04}", entries, b"tree", digits=4)


def told_bucket(count: int) -> str:
    """Return the name of the bucket of the cases of changes: a tree of `count` objects.

    The file `hot` of 16 MiB is beside the folder `all`.
    """
    return f"bench-told-{count}"


def _make_told(root: Path, count: int) -> None:
    _make_tree_folders(_Bucket(root / told_bucket(count)), count)
    (root / told_bucket(count) / "hot").write_bytes(Random(3).randbytes(16 * MIB))


def _make_for_programs(root: Path) -> None:
    """Write the objects of the user programs with the libraries of the programs."""
    bucket = str(root / user_objects.BUCKET)
    command = [str(PROGRAMS_PYTHON), "-m", "benchmarks.user_objects", bucket]
    subprocess.run(command, cwd=ROOT, check=True)


def make(root: Path, bucket: str) -> None:
    """Create a bucket with its objects, unless it exists or is `NO_BUCKET`."""
    if bucket == NO_BUCKET or (root / bucket).exists():
        return
    if bucket == BIG_BUCKET:
        _make_big(root)
    elif bucket == SMALL_BUCKET:
        _make_small(root)
    elif bucket == user_objects.BUCKET:
        _make_for_programs(root)
    else:
        *_, shape, count = bucket.split("-")
        {"flat": _make_flat, "tree": _make_tree, "told": _make_told}[shape](root, int(count))
