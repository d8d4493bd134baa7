"""Opens the objects of one bucket for reading."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.model.values import ObjectKey

if TYPE_CHECKING:
    from gcsmux_fs.model.values import ByteRange, ObjectInfo
    from gcsmux_fs.reading.open_file import OpenFile
    from gcsmux_fs.reading.read_context import ReadContext

__all__ = ["ObjectOpener"]


class ObjectOpener:
    """Opens objects of `bucket`. All opened objects share one `ReadContext`."""

    def __init__(self, context: ReadContext, bucket: str) -> None:
        self._context = context
        self._bucket = bucket

    @property
    def reads_ahead(self) -> bool:
        """Whether the mount fetches bytes before a program reads them."""
        return self._context.read_ahead_bytes > 0

    def key_of(self, info: ObjectInfo) -> ObjectKey:
        """Return the key of one generation of an object."""
        return ObjectKey(self._bucket, info.name, info.generation)

    def expected_parts(self, name: str, size: int) -> tuple[ByteRange, ...]:
        """Return what to fetch of an object before a program opens it (see `ReadContext`)."""
        return self._context.expected_parts(name, size)

    def open(self, info: ObjectInfo) -> OpenFile:
        """Open the generation that `info` describes; the caller closes the file.

        An object that is not finalized may grow beyond `info.size`.
        """
        return self._context.open(
            self.key_of(info), info.size, grows=not info.finalized, crc32c=info.crc32c
        )
