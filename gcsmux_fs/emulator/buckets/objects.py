"""What the emulator knows of an object, and its content opened for reading."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.buckets.generations import Identity
from gcsmux_fs.emulator.rpc_error import not_found

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Attributes", "Content", "StoredObject"]


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a writer says about an object besides its name and content."""

    content_type: str = ""
    content_encoding: str = ""
    content_disposition: str = ""
    content_language: str = ""
    cache_control: str = ""
    storage_class: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object as it is now.

    `identity` is that of the file which is the object; None for content kept in the side store,
    which is only ever appended to, so that bytes once read stay valid.
    """

    bucket: str
    name: str
    generation: int
    size: int
    time_ns: int
    attributes: Attributes
    path: str
    identity: Identity | None
    finalized: bool = True
    metageneration: int = 1
    # When it was last updated without a new generation, since 1970; 0: never.
    updated_ns: int = 0
    # Of how many objects it was composed; 0: of none.
    components: int = 0

    def __str__(self) -> str:
        return f"gs://{self.bucket}/{self.name!r}#{self.generation}"


class Content:
    """An object's bytes, held open: replacing or deleting the object does not change them.

    A file that is changed in place is noticed after each read, and the generation is then gone:
    what was read might be of either state. An appendable object that is not finalized grows.
    """

    def __init__(self, opened: StoredObject, descriptor: int) -> None:
        self.object = opened
        self._descriptor = descriptor

    def __enter__(self) -> Content:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def size(self) -> int:
        """Return how many bytes there are now."""
        if self.object.finalized:
            return self.object.size
        return os.fstat(self._descriptor).st_size

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill `buffer` with the bytes at `offset`.

        Raises:
            RpcError: the file was changed since it was opened (NOT_FOUND).
        """
        done = 0
        while done < len(buffer):
            count = os.preadv(self._descriptor, [buffer[done:]], offset + done)
            if count == 0:
                raise not_found(f"{self.object} was truncated while it was read")
            done += count
        if self.object.identity is not None and self._changed(self.object.identity):
            raise not_found(f"{self.object} was changed while it was read")

    def _changed(self, identity: Identity) -> bool:
        status = os.fstat(self._descriptor)
        now = Identity.of(status)
        if status.st_nlink == 0 and stat.S_ISREG(status.st_mode):
            # Losing its last name changes the ctime of a file, and none of its bytes.
            return (now.size, now.mtime_ns) != (identity.size, identity.mtime_ns)
        return now != identity
