"""The life of the cache on disk of one mount: opened by a thread, kept in order, closed.

Until the cache is open, and if it cannot be opened, the mount works without it. A disk that does
not answer at the start delays the mount by at most `_OPEN_SECONDS`. The cache is opened later.
"""

from __future__ import annotations

import functools
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.caching.cleaner import BUSY_PAUSE_SECONDS, IDLE_PAUSE_SECONDS
from gcsmux_fs.caching.disk_cache import Housekeeping, open_cache
from gcsmux_fs.model.errors import GcsmuxError, is_permanent
from gcsmux_fs.settings.units import rounded_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.caching.disk_cache import OpenedCache
    from gcsmux_fs.caching.disk_threads import DiskThreads
    from gcsmux_fs.caching.tier_counters import TierCounters
    from gcsmux_fs.settings.cache_options import CacheOptions

__all__ = ["CacheLifetime"]

log = logging.getLogger(__name__)

_OPEN_SECONDS = 5.0
_FIRST_REOPEN_SECONDS = 1.0
_LAST_REOPEN_SECONDS = 60.0
"""Shortest and longest pause between two attempts to open a cache whose disk fails."""

_QUIET_SECONDS = 10.0
"""Longest pause between two steps of housekeeping, while nothing uses the cache. Other programs may
fill the disk meanwhile, and the cache then gives space back."""


class CacheLifetime:
    """Opens the cache of one mount, and keeps it in order. Create this on trio's thread.

    Args:
        options: where the cache is, and how large it may become.
        threads: the threads of the mount.
        counters: what the metrics show.
        on_open: gets the cache when it is open.
    """

    def __init__(
        self,
        options: CacheOptions,
        threads: DiskThreads,
        counters: TierCounters,
        on_open: Callable[[OpenedCache], None],
    ) -> None:
        #: The cache; None until it is open.
        self.cache: OpenedCache | None = None
        self._options = options
        self._house = threads.new_lane("cache keeper", 1)
        self._counters = counters
        self._on_open = on_open
        self._opening: trio.Event | None = None
        self._error: Exception | None = None
        # Whether the mount has started without its cache.
        self._is_late = False
        # Set when bytes are queued, so that housekeeping does not sleep on.
        self._stirred = trio.Event()
        self._keeping = trio.CancelScope()

    @property
    def problem(self) -> str:
        """Why the cache is not open, as a sentence for the user."""
        return str(self._error or f"the disk of {self._options.directory} does not answer.")

    async def open(self) -> None:
        """Open the cache, or let `keep` open it later if the disk fails or does not answer.

        Raises:
            CacheDirectoryError: the directory cannot be used; the message is for the user.
        """
        has_ended = self._open_soon()
        with trio.move_on_after(_OPEN_SECONDS):
            await has_ended.wait()
        if self.cache is not None:
            return
        error = self._error
        if isinstance(error, GcsmuxError) and is_permanent(error):
            raise error
        self._is_late = True
        self._log_closed()

    async def keep(self) -> None:
        """Open the cache if it is not open, and keep it in order until `stop_keeping`."""
        with self._keeping:
            pause = _FIRST_REOPEN_SECONDS
            while self.cache is None:
                await trio.sleep(pause)
                pause = min(2 * pause, _LAST_REOPEN_SECONDS)
                self._open_soon()
            await self._keep_order(Housekeeping(self.cache))

    def stir(self) -> None:
        """Continue with housekeeping soon, because the cache is being used."""
        self._stirred.set()

    def stop_keeping(self) -> None:
        """Let `keep` return."""
        self._keeping.cancel()

    async def close(self, *, is_in_use: bool) -> None:
        """Write the last records, and close the cache, if it is open.

        `is_in_use` says that other threads hang in a call to the disk.
        """
        if self.cache is not None:
            close = functools.partial(self.cache.close, keeps_directory=is_in_use)
            # What is lost if this fails is repaired later.
            with suppress(Exception):
                await self._house.run(close)

    def _open_soon(self) -> trio.Event:
        """Open the cache in a thread, unless a thread does so already."""
        if self._opening is None or self._opening.is_set():
            self._opening = trio.Event()
            self._house.submit(
                functools.partial(open_cache, self._options),
                functools.partial(self._on_opened, self._opening),
            )
        return self._opening

    def _on_opened(self, opening: trio.Event, result: OpenedCache | Exception) -> None:
        opening.set()
        if isinstance(result, Exception):
            is_news = str(result) != str(self._error)
            self._error = result
            if self._is_late and is_news:
                self._log_closed()
            return
        log.info(
            "the cache on disk %s is in use, for at most %s of content",
            self._options.directory,
            rounded_size(result.capacity_bytes),
        )
        self.cache = result
        self._on_open(result)

    async def _keep_order(self, keeper: Housekeeping) -> None:
        pause = IDLE_PAUSE_SECONDS
        while True:
            self._stirred = trio.Event()
            uses = self._uses()
            try:
                has_more = await self._house.run(keeper.run_once)
            except Exception as error:
                # The thread has logged what is not an error of the disk. The mount goes on.
                self._counters.note_error("housekeeping", error)
                has_more, uses = False, self._uses()
            if has_more:
                pause = BUSY_PAUSE_SECONDS
            elif uses != self._uses():
                pause = IDLE_PAUSE_SECONDS
            else:
                pause = min(max(2 * pause, IDLE_PAUSE_SECONDS), _QUIET_SECONDS)
            await trio.sleep(min(pause, IDLE_PAUSE_SECONDS))
            with trio.move_on_after(max(0.0, pause - IDLE_PAUSE_SECONDS)):
                await self._stirred.wait()

    def _uses(self) -> int:
        """Return a number that changes while the cache is used."""
        return self._counters.disk_cache_hits + self._counters.disk_cache_misses

    def _log_closed(self) -> None:
        log.warning(
            "the mount has no cache on disk, and tries again every 1 to 60 s: %s", self.problem
        )
