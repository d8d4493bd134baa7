"""CRC32C checksums of objects and of their chunks, each computed once per generation.

The checksum of a small object is computed when a response first needs it. The checksum of a large
object is computed in a thread. Only GetObject and ReadObject wait for this thread; the responses of
other methods contain the checksum if it has already been computed. Objects above `MAX_WHOLE_BYTES`
have a checksum only if the emulator has received or copied their content since it started.
"""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import TYPE_CHECKING

import crc32c
from cachetools import LRUCache

from gcsmux_fs.emulator.rpc_error import RpcError
from gcsmux_fs.emulator.service_limits import MAX_CHUNK_BYTES
from gcsmux_fs.model.errors import StatusCode

if TYPE_CHECKING:
    from gcsmux_fs.emulator.buckets.bucket import Bucket
    from gcsmux_fs.emulator.buckets.objects import Content, StoredObject

__all__ = ["MAX_WHOLE_BYTES", "Checksums"]

# Maximum size, in bytes, of a small object, whose checksum is computed without a thread. To read
# 1,000 such objects for one page of a listing takes a few tens of milliseconds.
_SMALL_BYTES = 64 * 1024
# Maximum size, in bytes, of an object whose checksum is computed. One core reads this many bytes in
# a quarter of a second, and GetObject should not take longer than this time.
MAX_WHOLE_BYTES = 256 * 1024**2
_READ_BYTES = 4 * 1024 * 1024
# Maximum number of checksums in each cache. A full cache takes at most 20 MB of memory, and a full
# cache of chunk checksums covers 200 GB of content.
_MAX_CACHED_CHECKSUMS = 100_000

_Key = tuple[str, str, int]


def _key(stored: StoredObject) -> _Key:
    return stored.bucket, stored.name, stored.generation


class Checksums:
    """The checksums computed so far. An object that is not finalized has no checksum."""

    def __init__(self) -> None:
        self._whole: LRUCache[_Key, int] = LRUCache(_MAX_CACHED_CHECKSUMS)
        self._chunks: LRUCache[tuple[_Key, int], int] = LRUCache(_MAX_CACHED_CHECKSUMS)
        self._computing: dict[_Key, asyncio.Task[int]] = {}
        self._closed = threading.Event()

    def close(self) -> None:
        """Stop the threads that compute checksums. Each thread ends before its next block."""
        self._closed.set()

    def note(self, stored: StoredObject, crc: int) -> None:
        """Store the checksum of an object whose content has just been received."""
        self._whole[_key(stored)] = crc

    def cached(self, stored: StoredObject) -> int | None:
        """Return the object's checksum if it has been computed, otherwise None."""
        return self._whole.get(_key(stored)) if stored.finalized else None

    def cached_or_quick(self, stored: StoredObject, bucket: Bucket) -> int | None:
        """Return the object's checksum if it is cached or the object is small, else None."""
        crc = self.cached(stored)
        if crc is not None or not stored.finalized or stored.size > _SMALL_BYTES:
            return crc
        try:
            generation = stored.generation if stored.ended_ns else 0
            with bucket.open(stored.name, listed=True, generation=generation) as content:
                if _key(content.object) != _key(stored):
                    return None
                self.note(stored, self._compute(content))
        except RpcError:
            return None
        return self.cached(stored)

    async def whole(self, stored: StoredObject, bucket: Bucket) -> int | None:
        """Return the object's checksum. If necessary, compute the checksum in a thread.

        Return None if the object is too large, is not finalized, or changes during the computation.
        """
        crc = self.cached_or_quick(stored, bucket)
        if crc is not None or not stored.finalized or stored.size > MAX_WHOLE_BYTES:
            return crc
        key = _key(stored)
        task = self._computing.get(key)
        if task is None:
            content = bucket.open(stored.name, generation=stored.generation)
            if _key(content.object) != key:
                content.close()
                return None
            task = asyncio.create_task(asyncio.to_thread(self._compute_and_close, content))
            self._computing[key] = task
            task.add_done_callback(partial(self._computed, key))
        try:
            return await asyncio.shield(task)
        except RpcError:
            return None

    def _computed(self, key: _Key, task: asyncio.Task[int]) -> None:
        del self._computing[key]
        # The call of task.exception() also marks the exception as handled. Without this call,
        # asyncio would log the exception if the caller was cancelled.
        if not task.cancelled() and task.exception() is None:
            self._whole[key] = task.result()

    def _compute(self, content: Content) -> int:
        crc = 0
        size = content.object.size
        buffer = memoryview(bytearray(min(_READ_BYTES, size)))
        for offset in range(0, size, _READ_BYTES):
            if self._closed.is_set():
                raise RpcError(StatusCode.UNAVAILABLE, "The emulator is stopping.")
            part = buffer[: size - offset]
            content.read_into(part, offset)
            crc = crc32c.crc32c(part, crc)
        return crc

    def _compute_and_close(self, content: Content) -> int:
        with content:
            return self._compute(content)

    def chunk(self, stored: StoredObject, offset: int, content: memoryview) -> int:
        """Return the checksum of a chunk.

        Checksums of full, aligned chunks are cached, because readers of large objects request these
        chunks repeatedly.
        """
        if len(content) != MAX_CHUNK_BYTES or offset % MAX_CHUNK_BYTES:
            return crc32c.crc32c(content)
        key = (_key(stored), offset)
        crc = self._chunks.get(key)
        if crc is None:
            crc = self._chunks[key] = crc32c.crc32c(content)
        return crc
