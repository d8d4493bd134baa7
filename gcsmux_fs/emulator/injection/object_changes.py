"""Faults that change an object while a client reads it, as another writer could do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.faults import Delete, Overwrite

if TYPE_CHECKING:
    from typing import BinaryIO

    from gcsmux_fs.emulator.buckets.bucket import Bucket
    from gcsmux_fs.emulator.buckets.objects import StoredObject

__all__ = ["change_object"]

_READ_BYTES = 4 * 1024 * 1024
_PLUS_ONE = bytes((value + 1) % 256 for value in range(256))


def change_object(bucket: Bucket, name: str, fault: Overwrite | Delete) -> None:
    """Overwrite or delete an object. Do nothing if there is no such object."""
    old = bucket.find(name)
    if old is None:
        return
    if isinstance(fault, Delete):
        bucket.delete(name)
        return
    size = max(0, old.size + fault.grow_bytes)
    if fault.in_place:
        _overwrite_in_place(old, size)
        bucket.announce_change(old)
        return
    incoming = bucket.incoming()
    with Path(old.path).open("rb") as source, incoming.open("wb") as target:
        _copy_plus_one(source, target, min(old.size, size))
        target.truncate(size)
    bucket.publish(name, incoming, old.attributes)


def _overwrite_in_place(old: StoredObject, size: int) -> None:
    with Path(old.path).open("r+b") as source, Path(old.path).open("r+b") as target:
        _copy_plus_one(source, target, min(old.size, size))
        target.truncate(size)
        target.flush()
        status = os.fstat(target.fileno())
        # The kernel's clock for file times is coarse, so the file may still have the modification
        # time with which it was opened for reading. One nanosecond more makes the change visible.
        os.utime(target.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def _copy_plus_one(source: BinaryIO, target: BinaryIO, size: int) -> None:
    while size and (part := source.read(min(size, _READ_BYTES))):
        target.write(part.translate(_PLUS_ONE))
        size -= len(part)
