"""Answers the requests of file systems in the trio thread: names, listings, ranges, open files.

All methods run in the trio thread of one engine. Bytes are copied in this thread, so that the
memory of a block is in use only while the budget counts it.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, NamedTuple

import trio

from gcsmux_fs.connected_service import LOOKUP_EXTRA_SECONDS
from gcsmux_fs.fsspec_access.bucket_names import BucketNames
from gcsmux_fs.fsspec_access.collected_ranges import CollectedRanges, range_within
from gcsmux_fs.fsspec_access.pinned_object import PinnedObject
from gcsmux_fs.model.errors import GenerationGone, StorageError
from gcsmux_fs.model.values import ObjectKey
from gcsmux_fs.namespace.single_flight import SingleFlight
from gcsmux_fs.reading.exact_plan import DEFAULT_GAP_BYTES
from gcsmux_fs.reading.exact_reads import ExactReads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcsmux_fs.connected_service import ConnectedService
    from gcsmux_fs.fsspec_access.access_settings import AccessSettings
    from gcsmux_fs.fsspec_access.bucket_names import FoundNames
    from gcsmux_fs.fsspec_access.range_batch import RangesOfObject
    from gcsmux_fs.model.values import ObjectInfo
    from gcsmux_fs.namespace.child import Directory
    from gcsmux_fs.reading.open_file import OpenFile
    from gcsmux_fs.reading.read_context import ReadContext
    from gcsmux_fs.storage.object_store import GrpcObjectStore

__all__ = ["ServiceReader"]


# Maximum number of objects that one batch reads at the same time. Each has a stream of its own, and
# the service allows about 100 streams on a connection.
_MAX_OBJECTS = 256


class _Bucket(NamedTuple):
    store: GrpcObjectStore
    names: BucketNames


class ServiceReader:
    """Reads all buckets through one connected service; the requests run in `nursery`."""

    def __init__(
        self,
        service: ConnectedService,
        context: ReadContext,
        settings: AccessSettings,
        nursery: trio.Nursery,
    ) -> None:
        self._service = service
        self._context = context
        self._settings = settings
        self._nursery = nursery
        self._exact = ExactReads(context.resources)
        self._open: set[PinnedObject] = set()
        self._buckets: dict[str, _Bucket] = {}
        self._new_buckets: SingleFlight[str, _Bucket] = SingleFlight(nursery, trio.current_time)

    # -- names

    async def find(self, bucket: str, name: str, generation: int = 0) -> ObjectInfo | Directory:
        """Return what a name is (see `BucketNames.find`), or a given generation of an object.

        Raises:
            NotFound: there is no such object or folder.
        """
        known = await self._bucket(bucket)
        if generation:
            return await known.store.get_object(name, generation)
        return await known.names.find(name)

    async def list_folder(self, bucket: str, name: str) -> FoundNames:
        """Return the objects and folders directly in a folder (see `BucketNames`)."""
        return await (await self._bucket(bucket)).names.list_folder(name)

    async def list_names(self, bucket: str, prefix: str, delimiter: str) -> FoundNames:
        """Return all names that begin with `prefix` (see `BucketNames`)."""
        return await (await self._bucket(bucket)).names.list_names(prefix, delimiter=delimiter)

    async def invalidate(self, bucket: str, name: str) -> None:
        """Drop cached answers about a name and all names below it; "" stands for all names."""
        buckets = [self._buckets.get(bucket)] if bucket else list(self._buckets.values())
        for known in buckets:
            if known is not None:
                known.names.invalidate(name)

    # -- ranges

    async def read_ranges(
        self, wanted: Sequence[RangesOfObject], max_gap: int | None = None
    ) -> list[list[bytes] | StorageError]:
        """Read ranges of many objects at the same time.

        The result has, for each item of `wanted`, the content of its ranges, or the error of the
        first range that could not be read. All ranges of an item come from one generation. Ranges
        with at most `max_gap` bytes between them are fetched together.
        """
        gap = DEFAULT_GAP_BYTES if max_gap is None else max_gap
        limit = trio.CapacityLimiter(_MAX_OBJECTS)
        results: list[list[bytes] | StorageError] = [[] for _ in wanted]

        async def read(slot: int) -> None:
            async with limit:
                try:
                    results[slot] = await self._read_object(wanted[slot], gap)
                except StorageError as error:
                    # A copy has no traceback, which would refer to objects of gRPC.
                    results[slot] = copy.copy(error)

        if len(wanted) == 1:
            await read(0)
            return results
        async with trio.open_nursery() as reads:
            for slot in range(len(wanted)):
                reads.start_soon(read, slot)
        return results

    async def _read_object(self, wanted: RangesOfObject, max_gap: int) -> list[bytes]:
        try:
            return await self._read_newest(wanted, max_gap)
        except GenerationGone:
            if wanted.generation:
                raise
        # The object was overwritten after its name was cached, or between the two requests.
        (await self._bucket(wanted.bucket)).names.invalidate(wanted.name)
        return await self._read_newest(wanted, max_gap)

    async def _read_newest(self, wanted: RangesOfObject, max_gap: int) -> list[bytes]:
        info = await self._find_object(wanted.bucket, wanted.name, wanted.generation)
        ranges = [range_within(info.size, start, end) for start, end in wanted.ranges]
        collected = CollectedRanges([end - start for start, end in ranges])
        await self._exact.fetch(
            ObjectKey(wanted.bucket, info.name, info.generation),
            info.size,
            ranges,
            collected.take,
            grows=not info.finalized,
            crc32c=info.crc32c,
            max_gap=max_gap,
        )
        return collected.results()

    # -- open files

    async def open(self, bucket: str, name: str, generation: int, opener: int) -> PinnedObject:
        """Open an object, and request what the first read is expected to need.

        `generation` 0 means the newest generation. `opener` is the number of the thread that opens
        the object; the expectations are learned for each thread.

        Raises:
            NotFound: there is no such object.
        """
        for is_last in (False, True):
            info = await self._find_object(bucket, name, generation)
            pinned = PinnedObject(ObjectKey(bucket, info.name, info.generation), info)
            try:
                await self._file_of(pinned).ask_first(opener)
            except GenerationGone:
                # The cached answer about the name was outdated. Ask again, but only once.
                await self.close(pinned)
                if is_last or generation:
                    raise
                (await self._bucket(bucket)).names.invalidate(name)
                continue
            return pinned
        raise AssertionError("unreachable")

    async def read(self, pinned: PinnedObject, offset: int, length: int) -> bytes:
        """Return `length` bytes of an open object, fewer at its end.

        Raises:
            GenerationGone: the generation was overwritten or deleted.
            StorageError: some bytes could not be fetched in time.
        """
        end = min(offset + length, pinned.size)
        if offset >= end:
            return b""
        file = self._file_of(pinned)
        pinned.reads += 1
        try:
            if end - offset > self._context.resources.budget.largest_read:
                collected = CollectedRanges([end - offset])
                await self._exact.fetch(
                    pinned.key,
                    pinned.size,
                    [(offset, end)],
                    collected.take,
                    grows=not pinned.info.finalized,
                    crc32c=pinned.info.crc32c,
                )
                return collected.results()[0]
            content = file.read_cached(offset, end - offset)
            return bytes(content if content is not None else await file.read(offset, end - offset))
        except GenerationGone:
            if known := self._buckets.get(pinned.key.bucket):
                known.names.invalidate(pinned.key.name)
            raise
        finally:
            pinned.reads -= 1
            if pinned.is_closed:
                await self.close(pinned)

    async def close(self, pinned: PinnedObject) -> None:
        """Close an open object as soon as no read of it is in progress. Idempotent."""
        pinned.is_closed = True
        if pinned.reader is self and pinned.file is not None and not pinned.reads:
            pinned.file.close()
            pinned.file = pinned.reader = None
            self._open.discard(pinned)

    def close_all(self) -> None:
        """Close all open objects, so that nothing outside of the engine refers to its parts.

        A file whose object was closed opens the object again when it is read.
        """
        for pinned in self._open:
            assert pinned.file is not None
            pinned.file.close()
            pinned.file = pinned.reader = None
        self._open.clear()

    def _file_of(self, pinned: PinnedObject) -> OpenFile:
        if pinned.reader is not self or pinned.file is None:
            # This is the first use, or the first use after a fork or a restart of the engine.
            pinned.reader = self
            pinned.reads = 0
            self._open.add(pinned)
            pinned.file = self._context.open(
                pinned.key,
                pinned.size,
                grows=not pinned.info.finalized,
                crc32c=pinned.info.crc32c,
            )
        return pinned.file

    async def _find_object(self, bucket: str, name: str, generation: int) -> ObjectInfo:
        known = await self._bucket(bucket)
        if generation:
            return await known.store.get_object(name, generation)
        return await known.names.find_object(name)

    # -- buckets

    async def _bucket(self, bucket: str) -> _Bucket:
        known = self._buckets.get(bucket)
        if known is None:
            known = await self._new_buckets.ask(bucket, lambda: self._ask_bucket(bucket))
        return known

    async def _ask_bucket(self, bucket: str) -> _Bucket:
        info = await self._service.new_store(bucket).get_bucket()
        store = self._service.new_store(bucket, hierarchical=info.hierarchical)
        settings = self._settings
        names = BucketNames(
            store,
            self._nursery,
            bucket,
            ttl_seconds=settings.metadata_ttl_seconds,
            negative_ttl_seconds=settings.negative_ttl_seconds,
            deadline_seconds=settings.read_timeout_seconds + LOOKUP_EXTRA_SECONDS,
        )
        known = self._buckets[bucket] = _Bucket(store, names)
        return known
