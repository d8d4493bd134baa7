"""Keeps names on disk: reads them for lookups, and writes answers behind the reader.

All work with files is done in threads. A lookup waits for the disk at most `READ_SECONDS`, and not
at all for a while after the disk has failed. Writes are collected and written about once a second.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol, TypeVar

import trio

from gcsmux_fs.caching.cache_folders import CacheDirectoryError
from gcsmux_fs.caching.name_ages import RequestMoments
from gcsmux_fs.caching.name_answers import KeptAnswer
from gcsmux_fs.caching.name_marks import Mark
from gcsmux_fs.caching.name_queue import KeptListing, NameQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gcsmux_fs.caching.fetched_names import FetchedNames
    from gcsmux_fs.caching.name_ages import Moment
    from gcsmux_fs.caching.name_counters import KeptNameCounters
    from gcsmux_fs.caching.name_shelf import NameShelf
    from gcsmux_fs.metrics.registry import Registry
    from gcsmux_fs.model.values import ListingPage
    from gcsmux_fs.namespace.kept_names import KeptNames
    from gcsmux_fs.namespace.resolution import Resolution

__all__ = ["READ_SECONDS", "DiskNames"]

log = logging.getLogger(__name__)

READ_SECONDS = 1.0
"""How long a lookup waits for the disk. A healthy disk reads the listing of 300,000 entries (20 MB)
within this time. The time to unpack it is not limited, because requests would take longer."""

# Files of up to this size are unpacked at once, in less than a millisecond.
_SHORT_BYTES = 8192
# Pause between an answer and its write, in which further answers are collected.
_COLLECT_SECONDS = 1.0
# Time limit of one batch. Afterwards its thread is left alone.
_WRITE_SECONDS = 30.0
# Time that the end of a mount waits for the last batch.
_LAST_WRITE_SECONDS = 2.0
# Number of threads that read at the same time. If all hang, the disk is left alone.
_READERS = 4
# Pauses after failures of the disk: the first, and the longest.
_FIRST_PAUSE_SECONDS = 5.0
_MAX_PAUSE_SECONDS = 300.0

Result = TypeVar("Result")


class InThread(Protocol):
    """Runs a function in a thread, within a limit of such threads.

    If the caller is cancelled, the thread is left alone.
    """

    async def __call__(
        self, function: Callable[[], Result], limiter: trio.CapacityLimiter, /
    ) -> Result: ...


class DiskNames:
    """Keeps names on disk (see `namespace.kept_names.NameKeeper`).

    Args:
        shelf: returns what reads and writes the files; called in threads.
        clock: returns the time on the mount's clock.
        moment: returns the moment now.
        counters: count what is kept.
        in_thread: runs a function in a thread.
    """

    def __init__(
        self,
        shelf: Callable[[], NameShelf],
        *,
        clock: Callable[[], float],
        moment: Callable[[], Moment],
        counters: KeptNameCounters,
        in_thread: InThread | None = None,
    ) -> None:
        self._counters = counters
        self._shelf = shelf
        self._clock = clock
        self._moment = moment
        self._moments = RequestMoments(clock(), moment())
        self._queue = NameQueue()
        self._arrived = trio.Event()
        self._in_thread = in_thread or _in_thread
        self._readers = trio.CapacityLimiter(_READERS)
        self._unpackers = trio.CapacityLimiter(_READERS)
        self._writer = trio.CapacityLimiter(1)
        self._pause = 0.0
        self._resume_at = 0.0

    def declare_metrics(self, registry: Registry) -> None:
        """Declare the metrics of kept names."""
        registry.fields(self._counters)
        registry.gauge(
            "kept_names_waiting",
            "entries",
            "Names that wait to be written to disk.",
            lambda: self._queue.entries,
        )

    # -- the interface of the namespace

    async def read(self, location: str, max_age_seconds: float) -> KeptNames | None:
        """Return what is kept about a directory (see `NameKeeper.read`)."""
        clock = self._clock()
        if clock < self._resume_at:
            return None
        now = self._moment()
        fetched: FetchedNames | None = None
        reason = f"no answer within {READ_SECONDS:g} s"
        with trio.move_on_after(READ_SECONDS):
            try:
                fetched = await self._in_thread(
                    lambda: self._shelf().fetch(location, max_age_seconds, now, clock),
                    self._readers,
                )
            except Exception as error:
                reason = _reason(error)
        if fetched is None:
            self._failed(reason)
            return None
        try:
            kept = await self._unpack(fetched)
        except Exception as error:
            self._failed(_reason(error))
            return None
        self._pause = 0.0
        self._counters.kept_listings_read += kept.listing is not None
        self._counters.kept_names_rejected += fetched.rejected
        return kept

    async def _unpack(self, fetched: FetchedNames) -> KeptNames:
        if fetched.bytes <= _SHORT_BYTES:
            return fetched.unpack()
        return await self._in_thread(fetched.unpack, self._unpackers)

    def note_listing(self, location: str, begun_at: float, pages: Sequence[ListingPage]) -> None:
        """Keep all pages of a directory."""
        self._note(self._queue.add_listing(KeptListing(location, self._asked(begun_at), pages)))

    def note_resolution(self, target: str, resolution: Resolution) -> None:
        """Keep the answer about one name."""
        asked = self._asked(resolution.asked_at)
        self._note(self._queue.add_answer(KeptAnswer(target, asked, resolution)))

    def note_invalidated(self, name: str, now: float) -> None:
        """Drop every earlier answer about the object `name`."""
        at = self._asked(now)
        self._note(self._queue.add_answer(KeptAnswer(name, at, invalidated=at)))

    def note_invalidated_below(self, prefix: str, now: float) -> None:
        """Drop every earlier answer about the directory `prefix` and everything below it."""
        self._queue.add_mark(Mark(prefix, self._asked(now)))
        self._note(is_kept=True)

    def _asked(self, asked_at: float) -> Moment:
        return self._moments.moment(asked_at, self._clock(), self._moment())

    def _note(self, is_kept: bool) -> None:
        if not is_kept:
            self._counters.kept_names_dropped += 1
        self._arrived.set()

    # -- writing

    async def run(self) -> None:
        """Write what is noted, for as long as the mount lives."""
        while True:
            await self._arrived.wait()
            await trio.sleep(max(_COLLECT_SECONDS, self._resume_at - self._clock()))
            self._arrived = trio.Event()
            await self._write(_WRITE_SECONDS)

    async def close(self) -> None:
        """Write what waits, as far as the disk takes it in a short time."""
        if self._queue and self._clock() >= self._resume_at:
            with trio.CancelScope(shield=True):
                await self._write(_LAST_WRITE_SECONDS)

    async def _write(self, seconds: float) -> None:
        batch = self._queue.take()
        reason = f"not written within {seconds:g} s"
        try:
            with trio.move_on_after(seconds):
                await self._in_thread(
                    lambda: self._shelf().write(batch, self._moment()), self._writer
                )
                self._pause, reason = 0.0, ""
        except trio.Cancelled:
            # `close` writes the batch again, because nobody knows whether the thread writes it.
            self._queue.put_back(batch)
            raise
        except Exception as error:
            reason = _reason(error)
        if reason:
            # Invalidations are tried again, so that outdated names do not come back.
            self._counters.kept_names_dropped += batch.drop_answers()
            self._queue.put_back(batch)
            if self._queue:
                self._arrived.set()
            self._failed(reason)

    def _failed(self, reason: str) -> None:
        self._counters.kept_names_failures += 1
        if not self._pause:
            log.warning("names cannot be kept on disk: %s. The mount asks the service.", reason)
        self._pause = min(max(2 * self._pause, _FIRST_PAUSE_SECONDS), _MAX_PAUSE_SECONDS)
        self._resume_at = self._clock() + self._pause


def _reason(error: Exception) -> str:
    """Return why the disk could not be used. After any other error, the mount goes on, too."""
    if not isinstance(error, (CacheDirectoryError, OSError)):
        log.error("kept names cannot be used, please report it as a bug", exc_info=error)
    return str(error) or repr(error)


async def _in_thread(function: Callable[[], Result], limiter: trio.CapacityLimiter) -> Result:
    return await trio.to_thread.run_sync(function, abandon_on_cancel=True, limiter=limiter)
