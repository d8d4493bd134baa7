"""Reads the kept names of a directory into the cache when the directory is first used.

1. A directory is read once. It is read again if its listing was evicted from memory since, because
   the kept listing may still be valid.
2. A lookup waits for this read at most as long as the place that keeps names allows (see
   `NameKeeper.read`). If the place is slow or fails, the service is asked.
3. What was read has the age of its requests, so it is valid for no longer than if the mount had
   never been restarted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cachetools

from gcsmux_fs.namespace.single_flight import SingleFlight

if TYPE_CHECKING:
    from collections.abc import Callable

    import trio

    from gcsmux_fs.namespace.kept_names import NameKeeper
    from gcsmux_fs.namespace.name_cache import NameCache

__all__ = ["NameRecall"]

# Maximum number of directories that are remembered as read: 4 MB. Reading a directory again costs a
# fraction of a millisecond.
_MAX_DIRECTORIES = 16_384


class NameRecall:
    """Fills `cache` with the names that `keeper` has kept.

    Args:
        keeper: keeps the names.
        nursery: runs the reads.
        cache: gets the names.
        max_age_seconds: older listings are not read; 0 to read nothing.
        clock: returns the time in seconds.
        in_outage: returns whether the service is away.
    """

    def __init__(
        self,
        keeper: NameKeeper,
        nursery: trio.Nursery,
        cache: NameCache,
        *,
        max_age_seconds: float,
        clock: Callable[[], float],
        in_outage: Callable[[], bool] = lambda: False,
    ) -> None:
        self._keeper = keeper
        self._cache = cache
        self._max_age = max_age_seconds
        self._in_outage = in_outage
        self._clock = clock
        # Whether a listing of the directory is kept.
        self._read: cachetools.LRUCache[str, bool] = cachetools.LRUCache(_MAX_DIRECTORIES)
        self._reads: SingleFlight[str, None] = SingleFlight(nursery, clock)

    async def read(self, location: str) -> None:
        """Read the kept names of the directory `location`, unless that cannot help."""
        if self._may_help(location):
            await self._reads.ask(location, lambda: self._read_into_cache(location))

    def note_kept(self, location: str) -> None:
        """Record that a listing of the directory is being kept."""
        if location in self._read:
            self._read[location] = True

    def _may_help(self, location: str) -> bool:
        if self._max_age <= 0:
            return False
        has_listing = self._read.get(location)
        if has_listing is None:
            return True
        return has_listing and not self._cache.listings.has_pages(location)

    async def _read_into_cache(self, location: str) -> None:
        kept = await self._keeper.read(location, self._max_age)
        if kept is None:
            return
        self._read[location] = kept.listing is not None
        self._cache.adopt(kept, self._clock(), in_outage=self._in_outage())
