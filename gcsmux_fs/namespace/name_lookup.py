"""Finds out what a name leads to: from cached answers, or by asking the service."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gcsmux_fs.namespace.background_listings import BackgroundListings
from gcsmux_fs.namespace.child import Directory
from gcsmux_fs.namespace.deadline import bounded
from gcsmux_fs.namespace.directories import Directories
from gcsmux_fs.namespace.entry import NoSuchEntry
from gcsmux_fs.namespace.name_cache import NameCache
from gcsmux_fs.namespace.name_recall import NameRecall
from gcsmux_fs.namespace.name_validity import NameValidity
from gcsmux_fs.namespace.names import Form, step_from
from gcsmux_fs.namespace.resolver import Resolver

if TYPE_CHECKING:
    from collections.abc import Callable

    import trio

    from gcsmux_fs.metrics.registry import Registry
    from gcsmux_fs.model.values import ObjectInfo
    from gcsmux_fs.namespace.kept_names import NameKeeper
    from gcsmux_fs.namespace.name_cache import NameAnswer
    from gcsmux_fs.namespace.name_validity import NewsPromise
    from gcsmux_fs.namespace.names import Step
    from gcsmux_fs.namespace.service_outage import ServiceOutage
    from gcsmux_fs.storage.ports import ObjectStore

__all__ = ["NameLookup", "parse_name"]


def parse_name(location: str, name: bytes) -> Step:
    """Return what the file name `name` leads to in the directory `location`.

    Raises:
        NoSuchEntry: no object or directory can have this file name.
    """
    step = step_from(location, name)
    if step is None:
        raise NoSuchEntry(f"{name!r} in {location!r}", math.inf)
    return step


class NameLookup:
    """The cached answers of one tree, and the requests that fill them (see `Tree`)."""

    def __init__(
        self,
        store: ObjectStore,
        nursery: trio.Nursery,
        *,
        ttl_seconds: float,
        negative_ttl_seconds: float,
        page_size: int,
        max_listed_entries: int,
        clock: Callable[[], float],
        deadline_seconds: float,
        on_placeholder: Callable[[ObjectInfo], None],
        assume_directories: bool,
        keeper: NameKeeper | None = None,
        outage: ServiceOutage | None = None,
        news: NewsPromise | None = None,
        root: str = "",
        hierarchical: bool = False,
    ) -> None:
        self._clock = clock
        self._deadline = deadline_seconds
        self._outage = outage
        validity = NameValidity(ttl_seconds, negative_ttl_seconds, news)
        self.cache = NameCache(
            validity, max_listed_entries, keeper, root=root, hierarchical=hierarchical
        )
        self._recall: NameRecall | None = None
        if keeper is not None:
            self._recall = NameRecall(
                keeper,
                nursery,
                self.cache,
                # With an outage, names of any age may be needed.
                max_age_seconds=ttl_seconds if outage is None else math.inf,
                clock=clock,
                in_outage=lambda: outage is not None and outage.is_on,
            )
        self.resolver = Resolver(
            store,
            nursery,
            self.cache,
            clock=clock,
            deadline_seconds=deadline_seconds,
            assume_directories=assume_directories,
        )
        self.directories = Directories(
            store,
            nursery,
            self.cache,
            page_size=page_size,
            on_placeholder=on_placeholder,
            clock=clock,
            deadline_seconds=deadline_seconds,
            recall=self._recall,
            outage=outage,
        )
        self._background = BackgroundListings(
            self.directories,
            # A caller who may not list gets no page.
            ttl_seconds=0.0 if assume_directories else ttl_seconds,
            max_entries=max_listed_entries // 2,
            clock=clock,
        )

    def declare_metrics(self, registry: Registry) -> None:
        """Declare the metrics of cached answers and of requests."""
        listings, resolver, directories = self.cache.listings, self.resolver, self.directories
        registry.gauge("listings", "listings", "Cached listings.", lambda: len(listings))
        registry.gauge(
            "listed_entries",
            "entries",
            "Memory of the cached listings, in entries of the usual size.",
            lambda: listings.entries,
        )
        registry.gauge(
            "resolutions",
            "names",
            "Names with a cached answer of their own, outside of listings.",
            lambda: self.cache.resolutions,
        )
        registry.gauge(
            "name_requests_in_flight",
            "requests",
            "Requests in flight about names and for pages of listings.",
            lambda: resolver.in_flight + directories.in_flight,
        )
        registry.histogram(
            "listing_page_seconds",
            "Time from the request for a page of a listing until the page arrives.",
            directories.page_times,
        )
        self._background.declare_metrics(registry)
        if self._outage is not None:
            self._outage.declare_metrics(registry)

    def cached(self, location: str, name: bytes, step: Step) -> NameAnswer | None:
        """Return the newest cached answer about an entry; None if no answer is valid.

        `name` is the entry's file name in the directory `location`, which was parsed to `step`.
        While the service is away, each answer is valid.
        """
        answer = self.cache.newest(location, name, step)
        if answer is None:
            return None
        if answer.valid_until <= self._clock():
            if self._outage is None or not self._outage.is_on:
                return None
            self._outage.note_old_answer()
        if answer.listing is not None:
            self._background.note_answered(answer.listing)
        return answer

    async def ask(self, location: str, name: bytes, step: Step) -> NameAnswer:
        """Ask the service about an entry of the directory `location`.

        `name` is the entry's file name, which was parsed to `step`. After some names the directory
        is listed in the background. The service is not asked if a kept answer is valid.

        Raises:
            PermissionDenied: the service refuses to show what the name is.
            DeadlineExceeded: the service did not answer before the deadline.
            StorageError: the service failed.
        """
        if self._recall is None:
            return await self._ask_service(location, name, step)
        await self._recall.read(location)
        kept = self.cached(location, name, step)
        if kept is not None:
            return kept
        outage = self._outage
        old = self.cache.newest(location, name, step)
        if outage is None or old is None:
            return await self._ask_service(location, name, step)
        answer = await outage.answer(lambda: self._ask_service(location, name, step))
        if answer is not None:
            return answer
        # A listing that has begun meanwhile may have replaced the listing with the old answer.
        answer = self.cached(location, name, step)
        answer = answer or self.cache.answer(step.target, old.child, old.asked_at)
        return await self._ask_service(location, name, step) if answer.is_outdated else answer

    async def _ask_service(self, location: str, name: bytes, step: Step) -> NameAnswer:
        if step.form is Form.PART:
            return await bounded(self._deadline, location, lambda: self._ask_part(step))
        self._background.note_asked(location, name)
        return await bounded(self._deadline, location, lambda: self._ask_object(step))

    async def ask_object(
        self, location: str, name: bytes, step: Step
    ) -> tuple[ObjectInfo | None, float]:
        """Ask the service about an object only, not about a directory (see `newest_object`).

        `location`, `name` and `step` are as for `ask`. The raised errors are the same.
        """
        self._background.note_asked(location, name)
        return await bounded(
            self._deadline, location, lambda: self.resolver.newest_object(step.target)
        )

    async def _ask_part(self, step: Step) -> NameAnswer:
        listing = await self.directories.listing_to_read(step.target)
        exists = await self.directories.may_have_entries(listing)
        child = Directory(step.target) if exists else None
        return self.cache.answer(step.target, child, listing.begun_at)

    async def _ask_object(self, step: Step) -> NameAnswer:
        began = self._clock()
        answer = await self._resolve(step)
        expired = answer.valid_until <= began and answer.asked_at < began
        if expired or answer.is_outdated:
            # The second answer is used in any case, because its request was sent after this lookup
            # began. So a lookup ends even if the name is invalidated again and again.
            answer = await self._resolve(step)
        return answer

    async def _resolve(self, step: Step) -> NameAnswer:
        resolution = await self.resolver.resolve(step.target)
        return self.cache.answer(step.target, resolution.child(step), resolution.asked_at)
