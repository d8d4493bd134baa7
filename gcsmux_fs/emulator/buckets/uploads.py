"""Content on its way in: uploads that become an object when finished, and objects that grow.

Both take bytes at absolute offsets: those below the size are known and skipped, a gap is refused.
One stream at a time may write; whoever opens later takes over, and the earlier one is told so at
its next message.
"""

from __future__ import annotations

import abc
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import crc32c

from gcsmux_fs.emulator.buckets.objects import Attributes
from gcsmux_fs.emulator.rpc_error import RpcError, invalid, not_found
from gcsmux_fs.emulator.services.range_schedule import MAX_CHUNK_BYTES
from gcsmux_fs.emulator.services.resources import check_preconditions
from gcsmux_fs.model.errors import StatusCode

if TYPE_CHECKING:
    from gcsmux_fs.emulator.buckets.bucket import Bucket
    from gcsmux_fs.emulator.buckets.checksums import Checksums
    from gcsmux_fs.emulator.buckets.objects import StoredObject
    from gcsmux_fs.storage.pb import storage_pb2 as pb

__all__ = ["Appending", "Incoming", "Upload", "attributes_of"]

_READ_BYTES = 1024 * 1024


def attributes_of(resource: pb.Object, default: Attributes) -> Attributes:
    """Return what a writer says of its object, and the default where it says nothing."""
    return Attributes(
        content_type=resource.content_type or default.content_type,
        content_encoding=resource.content_encoding,
        content_disposition=resource.content_disposition,
        content_language=resource.content_language,
        cache_control=resource.cache_control,
        storage_class=resource.storage_class or default.storage_class,
        metadata=dict(resource.metadata),
    )


class Incoming(abc.ABC):
    """A file that takes content in, at its end only."""

    # How a stream ends whose place another one has taken.
    _taken_over = StatusCode.ABORTED

    def __init__(self, bucket: Bucket, name: str, path: Path, checksums: Checksums) -> None:
        self.bucket = bucket
        self.name = name
        self.path = path
        self.crc = 0
        self.size = 0
        self.finished: StoredObject | None = None
        self._checksums = checksums
        self._tickets = itertools.count(1)
        self._ticket = 0

    def claim(self) -> int:
        """Take over the writing; return the ticket to show with every call."""
        self._ticket = next(self._tickets)
        return self._ticket

    def receive(self, ticket: int, offset: int, data: pb.ChecksummedData) -> None:
        """Take in the bytes that are new.

        Raises:
            RpcError: damaged or too long (INVALID_ARGUMENT), or leaving a gap (OUT_OF_RANGE).
        """
        self.check(ticket)
        content = data.content
        if len(content) > MAX_CHUNK_BYTES:
            raise invalid(f"{len(content)} bytes in one message are more than {MAX_CHUNK_BYTES}")
        if data.HasField("crc32c") and data.crc32c != crc32c.crc32c(content):
            raise invalid("The content does not match its crc32c")
        if content and offset > self.size:
            raise RpcError(
                StatusCode.OUT_OF_RANGE, f"The offset {offset} is past the {self.size} bytes so far"
            )
        fresh = content[self.size - offset :]
        if not fresh:
            return
        if self.finished is not None:
            raise RpcError(StatusCode.FAILED_PRECONDITION, f"{self.finished} is finalized")
        with self.path.open("ab") as file:
            file.write(fresh)
        self.crc = crc32c.crc32c(fresh, self.crc)
        self.size += len(fresh)

    def check(self, ticket: int) -> None:
        """Refuse a stream that no longer writes here."""
        if ticket != self._ticket:
            raise RpcError(self._taken_over, f"Another stream writes {self.name!r} now")

    def finish(self, ticket: int, claimed: pb.ObjectChecksums) -> StoredObject:
        """Make the content the object.

        Raises:
            RpcError: the writer's checksum of it all is another (INVALID_ARGUMENT).
        """
        self.check(ticket)
        if self.finished is None:
            if claimed.HasField("crc32c") and claimed.crc32c != self.crc:
                raise invalid("The object does not match the crc32c given for it")
            self.finished = self._publish()
            self._checksums.note(self.finished, self.crc)
        return self.finished

    @abc.abstractmethod
    def _publish(self) -> StoredObject:
        """Make the content the object, or end its growth."""


class Upload(Incoming):
    """An object that is not there before it is whole."""

    def __init__(
        self, bucket: Bucket, spec: pb.WriteObjectSpec, attributes: Attributes, checksums: Checksums
    ) -> None:
        super().__init__(bucket, spec.resource.name, bucket.incoming(), checksums)
        self._spec = spec
        self._attributes = attributes
        check_preconditions(bucket.find(self.name), spec)
        self.path.touch()

    def discard(self) -> None:
        """Drop the content of an upload that was not finished."""
        if self.finished is None:
            self.path.unlink(missing_ok=True)

    def _publish(self) -> StoredObject:
        if self._spec.HasField("object_size") and self._spec.object_size != self.size:
            raise invalid(
                f"The object has {self.size} bytes, and was to have {self._spec.object_size}"
            )
        check_preconditions(self.bucket.find(self.name), self._spec)
        return self.bucket.publish(self.name, self.path, self._attributes)


class Appending(Incoming):
    """An appendable object: it is there while it grows, and ends growing when finished."""

    _taken_over = StatusCode.FAILED_PRECONDITION

    def __init__(self, bucket: Bucket, grown: StoredObject, checksums: Checksums) -> None:
        super().__init__(bucket, grown.name, Path(grown.path), checksums)
        self.generation = grown.generation
        self.size = grown.size
        with self.path.open("rb") as file:
            while part := file.read(_READ_BYTES):
                self.crc = crc32c.crc32c(part, self.crc)

    def check(self, ticket: int) -> None:
        """Refuse a stream that no longer writes here, or whose object is not there any more."""
        super().check(ticket)
        if self.finished is None:
            self.current()

    def current(self) -> StoredObject:
        """Return the object as it is now."""
        found = self.bucket.find(self.name)
        if found is None or found.generation != self.generation:
            raise not_found(f"{self.name!r} is no longer generation {self.generation}")
        return found

    def _publish(self) -> StoredObject:
        return self.bucket.finalize_appendable(self.current())
