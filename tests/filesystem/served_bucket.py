"""A `BucketFilesystem` without a mount. Only the service is fake; all other parts are real."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio
import trio.testing

from gcsmux_fs.filesystem.bucket_filesystem import BucketFilesystem
from gcsmux_fs.filesystem.file_attributes import AbsentName, AttributePolicy, FileAttributes
from gcsmux_fs.metrics.registry import Registry
from gcsmux_fs.model.errors import GenerationGone
from gcsmux_fs.model.values import ObjectKey
from gcsmux_fs.namespace.inode_numbers import ROOT_INODE
from gcsmux_fs.namespace.tree import Tree
from gcsmux_fs.process.deferred_calls import DeferredCalls
from gcsmux_fs.reading.read_context import ReadContext
from tests.namespace.fake_store import FakeStore
from tests.reading.fakes import (
    TimedSource,
    content_of,
)
from tests.support.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LATENCY_SECONDS = 0.05
THREAD = 17


class ServedBucket:
    """A file system and the fake service that it uses."""

    def __init__(
        self,
        nursery: trio.Nursery,
        store: FakeStore,
        *,
        ttl_seconds: float,
        assume_directories: bool,
    ) -> None:
        self.nursery = nursery
        self.store = store
        self.source = TimedSource(nursery, LATENCY_SECONDS)
        #: Inodes that the namespace reported as invalid, in the order of the reports.
        self.gone: list[int] = []
        self.tree = Tree(
            store,
            nursery,
            ttl_seconds=ttl_seconds,
            negative_ttl_seconds=min(5.0, ttl_seconds),
            on_invalidated=self.gone.append,
            assume_directories=assume_directories,
        )
        self.context = ReadContext(self.source, budget_bytes=64 * MIB)
        self.policy = AttributePolicy(1000, 1001, 0o640, 0o750)
        deferred_calls = DeferredCalls()
        self.filesystem = BucketFilesystem(
            self.tree,
            self.context,
            self.policy,
            bucket="bucket",
            call_soon=deferred_calls,
            clock=trio.current_time,
        )
        self.registry = Registry()
        self.filesystem.declare_metrics(self.registry)
        nursery.start_soon(deferred_calls.run)
        nursery.start_soon(self.filesystem.run)

    @property
    def open_objects(self) -> int:
        """Number of open files, including files that were prefetched."""
        return self.context.resources.open_files

    async def look_up(self, path: str) -> FileAttributes:
        """Look an existing path up, and forget the lookup of each directory on the path."""
        parent = ROOT_INODE
        attributes: FileAttributes | None = None
        for name in path.split("/"):
            answer = await self.filesystem.lookup(parent, name.encode(), THREAD)
            assert not isinstance(answer, AbsentName)
            if parent != ROOT_INODE:
                self.filesystem.forget([(parent, 1)])
            attributes, parent = answer, answer.inode
        assert attributes is not None
        return attributes

    async def inode_of(self, path: str) -> int:
        return (await self.look_up(path)).inode

    async def open(self, path: str) -> int:
        """Look an existing file up, open it, and return the handle."""
        return (await self.filesystem.open(await self.inode_of(path), 0, THREAD)).handle

    async def read(self, handle: int, offset: int = 0, size: int = MIB) -> bytes:
        content = self.filesystem.read_cached(handle, offset, size)
        if content is None:
            content = await self.filesystem.read(handle, offset, size)
        return bytes(content)

    def content(self, name: str) -> bytes:
        """Return the content of the current generation of an object."""
        info = self.store[name]
        return content_of(ObjectKey("bucket", name, info.generation), 0, info.size)

    async def answer_gone(self) -> None:
        """Let all requested ranges fail with `GenerationGone`."""
        await trio.testing.wait_all_tasks_blocked()
        for request in self.source.pending:
            request.settle(GenerationGone("no such generation", subject=str(request.key)))

    def stall(self, name: str) -> None:
        """Leave all requests for the current generation of an object unanswered."""
        self.source.stalled.add(ObjectKey("bucket", name, self.store[name].generation))

    def holds(self, inode: int) -> bool:
        """Return whether the namespace still knows an inode."""
        try:
            self.tree.get(inode)
        except GenerationGone:
            return False
        return True


@asynccontextmanager
async def served(
    *names: str,
    size: int = 20_000,
    ttl_seconds: float = 60.0,
    assume_directories: bool = False,
) -> AsyncIterator[ServedBucket]:
    """Serve a bucket with these objects. At the end, check that `close` leaves no file open."""
    store = FakeStore()
    store.put(*names, size=size)
    async with trio.open_nursery() as nursery:
        bucket = ServedBucket(
            nursery, store, ttl_seconds=ttl_seconds, assume_directories=assume_directories
        )
        yield bucket
        bucket.filesystem.close()
        await trio.testing.wait_all_tasks_blocked()
        assert bucket.filesystem.open_handles == 0
        assert bucket.open_objects == 0
        nursery.cancel_scope.cancel()
