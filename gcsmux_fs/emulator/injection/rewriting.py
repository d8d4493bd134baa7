"""The other writer that faults bring: it changes an object while somebody reads it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.faults.catalogue import Delete, Overwrite

if TYPE_CHECKING:
    from typing import BinaryIO

    from gcsmux_fs.emulator.buckets.bucket import Bucket
    from gcsmux_fs.emulator.buckets.objects import StoredObject

__all__ = ["rewrite"]

_READ_BYTES = 4 * 1024 * 1024
_ONE_MORE = bytes((value + 1) % 256 for value in range(256))


def rewrite(bucket: Bucket, name: str, fault: Overwrite | Delete) -> None:
    """Change or delete an object; one that is not there stays so."""
    found = bucket.find(name)
    if found is None:
        return
    if isinstance(fault, Delete):
        bucket.delete(name)
        return
    size = max(0, found.size + fault.grow_bytes)
    if fault.in_place:
        _rewrite_in_place(found, size)
        return
    incoming = bucket.incoming()
    with Path(found.path).open("rb") as old, incoming.open("wb") as new:
        _copy(old, new, min(found.size, size))
        new.truncate(size)
    bucket.publish(name, incoming, found.attributes)


def _rewrite_in_place(found: StoredObject, size: int) -> None:
    with Path(found.path).open("r+b") as old, Path(found.path).open("r+b") as new:
        _copy(old, new, min(found.size, size))
        new.truncate(size)
        new.flush()
        status = os.fstat(new.fileno())
        # The clock of file times may not have ticked since the object was opened.
        os.utime(new.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def _copy(old: BinaryIO, new: BinaryIO, size: int) -> None:
    while size and (part := old.read(min(size, _READ_BYTES))):
        new.write(part.translate(_ONE_MORE))
        size -= len(part)
