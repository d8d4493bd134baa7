"""CRC32C of objects and of their chunks, each computed once per generation.

A small object's checksum is computed when it is first shown. A large one's takes a thread and is
waited for only where one object is asked for (GetObject): listings and streams show what is known
by then. Above `MAX_WHOLE_BYTES` only the writer's own word is known.
"""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import TYPE_CHECKING

import crc32c
from cachetools import LRUCache

from gcsmux_fs.emulator.rpc_error import RpcError
from gcsmux_fs.emulator.services.range_schedule import MAX_CHUNK_BYTES
from gcsmux_fs.model.errors import StatusCode

if TYPE_CHECKING:
    from gcsmux_fs.emulator.buckets.bucket import Bucket
    from gcsmux_fs.emulator.buckets.objects import Content, StoredObject

__all__ = ["MAX_WHOLE_BYTES", "Checksums"]

# A listing page of 1,000 such objects is read in some tens of milliseconds.
_SMALL_BYTES = 64 * 1024
# A quarter of a second at what one core reads; a stat should not take longer.
MAX_WHOLE_BYTES = 256 * 1024**2
_READ_BYTES = 4 * 1024 * 1024
# 20 MB of memory at most; in chunks, 200 GB of content.
_MAX_KEPT = 100_000

_Key = tuple[str, str, int]


def _key(of: StoredObject) -> _Key:
    return of.bucket, of.name, of.generation


class Checksums:
    """The checksums known so far. An object that may still grow has none."""

    def __init__(self) -> None:
        self._whole: LRUCache[_Key, int] = LRUCache(_MAX_KEPT)
        self._chunks: LRUCache[tuple[_Key, int], int] = LRUCache(_MAX_KEPT)
        self._computing: dict[_Key, asyncio.Task[int]] = {}
        self._closed = threading.Event()

    def close(self) -> None:
        """Give up what is being computed: its threads end soon."""
        self._closed.set()

    def note(self, of: StoredObject, crc: int) -> None:
        """Remember the checksum of content that has just been received."""
        self._whole[_key(of)] = crc

    def known(self, of: StoredObject) -> int | None:
        """Return the object's checksum if it has been computed."""
        return self._whole.get(_key(of)) if of.finalized else None

    def cheap(self, of: StoredObject, bucket: Bucket) -> int | None:
        """Return the checksum of a listed object, if it is known or quickly computed."""
        known = self.known(of)
        if known is not None or not of.finalized or of.size > _SMALL_BYTES:
            return known
        try:
            with bucket.open(of.name, listed=True) as content:
                if _key(content.object) != _key(of):
                    return None
                self.note(of, self._compute(content))
        except RpcError:
            return None
        return self.known(of)

    async def whole(self, of: StoredObject, bucket: Bucket) -> int | None:
        """Return the object's checksum, computing it in a thread if need be."""
        known = self.cheap(of, bucket)
        if known is not None or not of.finalized or of.size > MAX_WHOLE_BYTES:
            return known
        key = _key(of)
        task = self._computing.get(key)
        if task is None:
            content = bucket.open(of.name)
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
        # The error is looked at here, in case that nobody waits for the result any more.
        if not task.cancelled() and task.exception() is None:
            self._whole[key] = task.result()

    def _compute(self, content: Content) -> int:
        crc = 0
        size = content.object.size
        buffer = memoryview(bytearray(min(_READ_BYTES, size)))
        for offset in range(0, size, _READ_BYTES):
            if self._closed.is_set():
                raise RpcError(StatusCode.UNAVAILABLE, "The emulator ends")
            part = buffer[: size - offset]
            content.read_into(part, offset)
            crc = crc32c.crc32c(part, crc)
        return crc

    def _compute_and_close(self, content: Content) -> int:
        with content:
            return self._compute(content)

    def chunk(self, of: StoredObject, offset: int, content: memoryview) -> int:
        """Return the checksum of a chunk, remembering those of whole, aligned chunks.

        They are what readers of large objects ask for again, and few enough to be kept.
        """
        if len(content) != MAX_CHUNK_BYTES or offset % MAX_CHUNK_BYTES:
            return crc32c.crc32c(content)
        key = (_key(of), offset)
        known = self._chunks.get(key)
        if known is None:
            known = self._chunks[key] = crc32c.crc32c(content)
        return known
