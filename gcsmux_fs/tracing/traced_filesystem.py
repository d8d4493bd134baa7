"""A file system whose lookups, OPENs and READs have spans.

This class replaces `BucketFilesystem` only in a mount that sends traces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from gcsmux_fs.filesystem.bucket_filesystem import BucketFilesystem
from gcsmux_fs.filesystem.file_attributes import AbsentName
from gcsmux_fs.process.logs import printable
from gcsmux_fs.tracing.traced_ranges import (
    RequestedBytes,
    object_attributes,
    requested_bytes,
)

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer
    from opentelemetry.util.types import AttributeValue

    from gcsmux_fs.filesystem.file_attributes import FileAttributes
    from gcsmux_fs.filesystem.open_policy import OpenedFile

__all__ = ["TracedFilesystem"]


class TracedFilesystem(BucketFilesystem):
    """A `BucketFilesystem` that creates spans with `tracer`."""

    def __init__(self, *args: Any, tracer: Tracer, **options: Any) -> None:
        super().__init__(*args, **options)
        self._tracer = tracer

    async def lookup(self, parent: int, name: bytes, thread: int) -> FileAttributes | AbsentName:
        """Find a name (see `BucketFilesystem.lookup`)."""
        shown = printable(name.decode(errors="surrogateescape"))
        with self._tracer.start_as_current_span(
            "lookup", attributes={"gcsmux.name": shown, "gcsmux.found": False}
        ) as span:
            answer = await super().lookup(parent, name, thread)
            span.set_attribute("gcsmux.found", not isinstance(answer, AbsentName))
            return answer

    async def open(self, inode: int, flags: int, thread: int) -> OpenedFile:
        """Open a file (see `BucketFilesystem.open`)."""
        with self._tracer.start_as_current_span("open") as span:
            opened = await super().open(inode, flags, thread)
            if span.is_recording():
                _, file = self._files[opened.handle]
                span.set_attributes(object_attributes(file.key) | {"gcsmux.size": file.size})
            return opened

    def read_cached(self, handle: int, offset: int, size: int) -> memoryview | bytes | None:
        """Return the bytes of a READ if all are cached (see `BucketFilesystem.read_cached`)."""
        span = self._tracer.start_span("read")
        with trace.use_span(span):
            content = super().read_cached(handle, offset, size)
        # A span that is not ended is not exported. `read` creates another one.
        if content is not None:
            if span.is_recording():
                span.set_attributes(self._read_attributes(handle, offset, size))
                span.set_attribute("gcsmux.cache", "hit")
            span.end()
        return content

    async def read(self, handle: int, offset: int, size: int) -> memoryview | bytes:
        """Return the bytes of a READ that are not cached (see `BucketFilesystem.read`)."""
        attributes = self._read_attributes(handle, offset, size)
        with self._tracer.start_as_current_span("read", attributes=attributes) as span:
            needed = RequestedBytes(offset, offset + size)
            token = requested_bytes.set(needed)
            try:
                return await super().read(handle, offset, size)
            finally:
                requested_bytes.reset(token)
                span.set_attribute("gcsmux.cache", "miss" if needed.is_miss else "wait")

    def _read_attributes(self, handle: int, offset: int, size: int) -> dict[str, AttributeValue]:
        _, file = self._files[handle]
        return {
            **object_attributes(file.key),
            "gcsmux.offset": offset,
            "gcsmux.length": size,
        }
