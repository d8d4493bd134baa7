"""A machine with a disk, clocks and a bucket, on which mounts start and end, for tests of names."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import trio

from gcsmux_fs.caching.cache_directory import open_cache_directory
from gcsmux_fs.caching.disk_names import DiskNames
from gcsmux_fs.caching.name_ages import Moment
from gcsmux_fs.caching.name_counters import KeptNameCounters
from gcsmux_fs.caching.name_files import NameFiles, NameFilesPolicy
from gcsmux_fs.caching.name_records import view_of
from gcsmux_fs.caching.name_shelf import NameShelf
from gcsmux_fs.namespace.service_outage import ServiceOutage
from gcsmux_fs.namespace.tree import Tree
from tests.namespace.fake_store import FakeStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from gcsmux_fs.namespace.name_validity import NewsPromise

_DAY_NS = 1_800_000_000_000_000_000
_NS = 1_000_000_000

Result = TypeVar("Result")


@dataclass
class Machine:
    """A machine in trio's virtual time. `day_ns` and `boot` change its clocks."""

    folder: Path
    store: FakeStore = field(default_factory=FakeStore)
    boot: bytes = b"first boot......"
    #: By how much the clock for the time of day is wrong.
    day_error_ns: int = 0
    is_synchronised: bool = True
    booted_at: float = 0.0
    view: bytes = field(default_factory=lambda: view_of("bucket"))
    policy: NameFilesPolicy = field(default_factory=lambda: NameFilesPolicy(100_000_000))
    disk_seconds: float = 0.0
    disk_error: OSError | None = None

    def moment(self) -> Moment:
        now = trio.current_time()
        return Moment(
            self.boot,
            round((now - self.booted_at) * _NS) + _NS,
            _DAY_NS + round(now * _NS) + self.day_error_ns,
            self.is_synchronised,
        )

    def signs(self) -> int:
        """Return the number of answers that the service has sent."""
        return 0

    def reboot(self) -> None:
        """Start the machine again; the caller has ended all mounts."""
        self.boot = os.urandom(16)
        self.booted_at = trio.current_time()

    async def in_thread(
        self, function: Callable[[], Result], limiter: trio.CapacityLimiter
    ) -> Result:
        """Call the function in this thread, because virtual time does not wait for threads."""
        async with limiter:
            await trio.sleep(self.disk_seconds)
            if self.disk_error is not None:
                raise self.disk_error
            return function()

    @asynccontextmanager
    async def mount(
        self,
        *,
        prefix: str = "",
        ttl_seconds: float = 60.0,
        negative_ttl_seconds: float = 5.0,
        max_listed_entries: int = 1_000_000,
        offline: bool = False,
        starts_offline: bool = False,
        assume_directories: bool = False,
        ends_cleanly: Callable[[], bool] = lambda: True,
        news: NewsPromise | None = None,
    ) -> AsyncIterator[Tree]:
        """Yield the tree of a mount, which keeps its names in `folder`."""
        directory = open_cache_directory(str(self.folder))
        counters = KeptNameCounters()
        files = NameFiles(
            directory.files, self.policy, lambda: self.moment().day_ns / _NS, counters
        )
        shelf = NameShelf(files, self.view, counters)
        names = DiskNames(
            lambda: shelf,
            counters=counters,
            clock=trio.current_time,
            moment=self.moment,
            in_thread=self.in_thread,
        )
        outage = None
        if offline:
            outage = ServiceOutage(
                self.signs,
                lambda: self.store.list_objects(prefix, page_size=1),
                is_on=starts_offline,
            )
        try:
            async with trio.open_nursery() as nursery:
                tree = Tree(
                    self.store,
                    nursery,
                    prefix=prefix,
                    ttl_seconds=ttl_seconds,
                    negative_ttl_seconds=negative_ttl_seconds,
                    max_listed_entries=max_listed_entries,
                    assume_directories=assume_directories,
                    keeper=names,
                    outage=outage,
                    news=news,
                )
                nursery.start_soon(names.run)
                if outage is not None:
                    nursery.start_soon(outage.run)
                yield tree
                nursery.cancel_scope.cancel()
            if ends_cleanly():
                await names.close()
        finally:
            directory.close()
