"""The state of one stored object, and its content opened for reading."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.buckets.generations import Identity
from gcsmux_fs.emulator.rpc_error import not_found

if TYPE_CHECKING:
    from gcsmux_fs.emulator.buckets.object_attributes import ObjectAttributes

__all__ = ["Content", "StoredObject"]


@dataclass(frozen=True, slots=True)
class StoredObject:
    """The state of one object at one moment.

    - `path`: the file that holds the content.
    - `identity`: the state of the file `path`; None if this file is in the metadata store. Files in
      the metadata store change only by appended bytes, so bytes that were read stay valid.
    - `updated_ns`: time of the last update of the attributes, in nanoseconds since 1970; 0: never.
    - `components`: number of objects from which ComposeObject made this object; 0: not composed.
    - `ended_ns`: when this generation was overwritten or deleted; 0: it is the live generation.
    - `soft_deleted_ns`, `hard_delete_ns`: when it was soft-deleted, and until when it is kept; 0:
      it is not soft-deleted.
    """

    bucket: str
    name: str
    generation: int
    size: int
    time_ns: int
    attributes: ObjectAttributes
    path: str
    identity: Identity | None
    finalized: bool = True
    metageneration: int = 1
    updated_ns: int = 0
    components: int = 0
    ended_ns: int = 0
    soft_deleted_ns: int = 0
    hard_delete_ns: int = 0

    def __str__(self) -> str:
        return f"gs://{self.bucket}/{self.name!r}#{self.generation}"


class Content:
    """The content of an object, opened for reading.

    If the object is replaced or deleted later, reads still return the old bytes. If the file is
    changed in place, all later reads fail. Each read checks at its end whether the file has
    changed, because the read could have returned a mix of old and new bytes. The content of an
    appendable object grows until it is finalized.
    """

    def __init__(self, opened: StoredObject, descriptor: int) -> None:
        self.object = opened
        self._descriptor = descriptor

    def __enter__(self) -> Content:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Further calls do nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def size(self) -> int:
        """Return the current size in bytes."""
        if self.object.finalized:
            return self.object.size
        return os.fstat(self._descriptor).st_size

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill `buffer` with the bytes at `offset`.

        Raises:
            RpcError: the file has changed since it was opened (NOT_FOUND).
        """
        done = 0
        while done < len(buffer):
            count = os.preadv(self._descriptor, [buffer[done:]], offset + done)
            if count == 0:
                raise not_found(f"{self.object} was truncated during the read.")
            done += count
        if self.object.identity is not None and self._changed(self.object.identity):
            raise not_found(f"{self.object} was changed during the read.")

    def _changed(self, identity: Identity) -> bool:
        status = os.fstat(self._descriptor)
        now = Identity.of(status)
        if status.st_nlink == 0 and stat.S_ISREG(status.st_mode):
            # Removing the last name of a file changes its ctime, but not its content. Therefore the
            # ctime is not compared here.
            return (now.size, now.mtime_ns) != (identity.size, identity.mtime_ns)
        return now != identity
