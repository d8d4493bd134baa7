"""Content that is being received: uploads, and appendable objects.

Each message has the offset of its content in the object. Bytes that have already been received are
skipped. A gap between received and new bytes is an error. Only one stream at a time writes an
upload or an appendable object. A new stream takes over the writing, and the next message of the old
stream fails.
"""

from __future__ import annotations

import abc
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import crc32c

from gcsmux_fs.emulator.buckets.preconditions import check_preconditions
from gcsmux_fs.emulator.rpc_error import RpcError, invalid, not_found
from gcsmux_fs.emulator.service_limits import MAX_CHUNK_BYTES
from gcsmux_fs.model.errors import StatusCode

if TYPE_CHECKING:
    from gcsmux_fs.emulator.buckets.bucket import Bucket
    from gcsmux_fs.emulator.buckets.checksums import Checksums
    from gcsmux_fs.emulator.buckets.object_attributes import ObjectAttributes
    from gcsmux_fs.emulator.buckets.objects import StoredObject
    from gcsmux_fs.storage.pb import storage_pb2 as pb

__all__ = ["AppendableObject", "Incoming", "Upload"]

_READ_BYTES = 1024 * 1024


class Incoming(abc.ABC):
    """Content that is being received. New bytes are appended to the file `path`."""

    # The status that ends a stream after another stream has taken over the writing.
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
        """Make the caller the only writer. Return a ticket, which its later calls must pass."""
        self._ticket = next(self._tickets)
        return self._ticket

    def receive(self, ticket: int, offset: int, data: pb.ChecksummedData) -> None:
        """Append the bytes that have not been received before.

        Raises:
            RpcError: the content is too long or does not match its checksum (INVALID_ARGUMENT); or
                the offset leaves a gap (OUT_OF_RANGE); or the object is finalized
                (FAILED_PRECONDITION); or `check` fails.
        """
        self.check(ticket)
        content = data.content
        if len(content) > MAX_CHUNK_BYTES:
            raise invalid(
                f"The message has {len(content)} bytes of content; the maximum is"
                f" {MAX_CHUNK_BYTES}."
            )
        if data.HasField("crc32c") and data.crc32c != crc32c.crc32c(content):
            raise invalid("The content does not match its crc32c.")
        if content and offset > self.size:
            raise RpcError(
                StatusCode.OUT_OF_RANGE,
                f"The write_offset {offset} leaves a gap: {self.size} bytes have been received.",
            )
        new_content = content[self.size - offset :]
        if not new_content:
            return
        if self.finished is not None:
            raise RpcError(StatusCode.FAILED_PRECONDITION, f"{self.finished} is finalized.")
        with self.path.open("ab") as file:
            file.write(new_content)
        self.crc = crc32c.crc32c(new_content, self.crc)
        self.size += len(new_content)

    def check(self, ticket: int) -> None:
        """Check that the stream with this ticket may write.

        Raises:
            RpcError: another stream has taken over the writing (status `_taken_over`).
        """
        if ticket != self._ticket:
            raise RpcError(self._taken_over, f"Another stream now writes the object {self.name!r}.")

    def finish(self, ticket: int, checksums: pb.ObjectChecksums) -> StoredObject:
        """Publish the content as the object. `checksums` are the checksums from the writer.

        Raises:
            RpcError: the checksum of the object differs (INVALID_ARGUMENT); or `check` fails.
        """
        self.check(ticket)
        if self.finished is None:
            if checksums.HasField("crc32c") and checksums.crc32c != self.crc:
                raise invalid("The object does not match the crc32c in object_checksums.")
            self.finished = self._publish()
            self._checksums.note(self.finished, self.crc)
        return self.finished

    @abc.abstractmethod
    def _publish(self) -> StoredObject:
        """Publish the content as a finalized object."""


class Upload(Incoming):
    """An upload: the object exists only after the upload has finished."""

    def __init__(
        self,
        bucket: Bucket,
        spec: pb.WriteObjectSpec,
        attributes: ObjectAttributes,
        checksums: Checksums,
    ) -> None:
        super().__init__(bucket, spec.resource.name, bucket.incoming(), checksums)
        self._spec = spec
        self._attributes = attributes
        check_preconditions(bucket.find(self.name), spec)
        self.path.touch()

    def discard(self) -> None:
        """Delete the content if the upload has not finished."""
        if self.finished is None:
            self.path.unlink(missing_ok=True)

    def _publish(self) -> StoredObject:
        if self._spec.HasField("object_size") and self._spec.object_size != self.size:
            raise invalid(
                f"The object has {self.size} bytes, but object_size in the request is"
                f" {self._spec.object_size}."
            )
        check_preconditions(self.bucket.find(self.name), self._spec)
        return self.bucket.publish(self.name, self.path, self._attributes)


class AppendableObject(Incoming):
    """An appendable object: it exists from the start, and grows until it is finalized."""

    _taken_over = StatusCode.FAILED_PRECONDITION

    def __init__(self, bucket: Bucket, stored: StoredObject, checksums: Checksums) -> None:
        super().__init__(bucket, stored.name, Path(stored.path), checksums)
        self.generation = stored.generation
        self.size = stored.size
        with self.path.open("rb") as file:
            while part := file.read(_READ_BYTES):
                self.crc = crc32c.crc32c(part, self.crc)

    def check(self, ticket: int) -> None:
        """Check that the stream with this ticket may write, and that the object still exists.

        Raises:
            RpcError: another stream has taken over the writing (FAILED_PRECONDITION), or the object
                has been replaced or deleted (NOT_FOUND).
        """
        super().check(ticket)
        if self.finished is None:
            self.current()

    def current(self) -> StoredObject:
        """Return the current state of the object.

        Raises:
            RpcError: the object has been replaced or deleted (NOT_FOUND).
        """
        stored = self.bucket.find(self.name)
        if stored is None or stored.generation != self.generation:
            raise not_found(f"Generation {self.generation} of {self.name!r} no longer exists.")
        return stored

    def _publish(self) -> StoredObject:
        return self.bucket.finalize_appendable(self.current())
