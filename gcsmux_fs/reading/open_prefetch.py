"""Fetches the bytes that one OPEN requests for the first READ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from gcsmux_fs.model.errors import GenerationGone, StorageError
from gcsmux_fs.reading.file_forecasts import UNKNOWN
from gcsmux_fs.reading.read_request import ReadRequest
from gcsmux_fs.reading.read_waiting import wait_until_done, wake_current_task
from gcsmux_fs.reading.sequential_run import FIRST_WINDOW_BYTES

if TYPE_CHECKING:
    from gcsmux_fs.reading.block_index import BlockIndex
    from gcsmux_fs.reading.open_planner import Opening
    from gcsmux_fs.reading.read_resources import ReadResources

__all__ = ["OpenPrefetch"]


class OpenPrefetch:
    """Carries out the plan of one OPEN."""

    __slots__ = ("_index", "_opening", "_resources")

    def __init__(self, resources: ReadResources, index: BlockIndex, opening: Opening) -> None:
        self._resources = resources
        self._index = index
        self._opening = opening

    async def fetch(self, limit: int) -> None:
        """Request the planned ranges, and wait for the first one.

        Besides the first range, at most `limit` bytes are requested. This method returns normally
        if the request fails with another error than `GenerationGone`, or if no answer comes within
        `ReadResources.open_wait_seconds`. The first READ then reports the error.

        Raises:
            GenerationGone: the object generation no longer exists.
        """
        resources, awaited = self._resources, self._opening.awaited
        if not self._request(limit) or awaited is None:
            return
        # Wait for the first byte only, because a READ of the last byte would end the protection of
        # the block.
        first_byte = awaited.offset, awaited.offset + 1
        request = ReadRequest(self._index, *first_byte, first_byte, wake_current_task())
        resources.fetcher.begin(request)
        with trio.move_on_after(resources.open_wait_seconds):
            await wait_until_done(resources, request)
            try:
                request.result()
            except GenerationGone:
                resources.counters.opens_found_gone += 1
                resources.open_planner.note_failed_open(self._opening)
                raise
            except StorageError:
                return

    def note_first_read(self, offset: int, end: int) -> None:
        """Record the first READ. Release all ranges if the READ is not as expected.

        A READ is as expected if it covers the awaited range. If there is a forecast of the file, a
        READ of the first byte of the awaited range is enough.
        """
        opening = self._opening
        self._resources.open_planner.note_first_read(opening, offset, end)
        awaited = opening.awaited
        if awaited is not None and (
            offset > awaited.offset or (end < awaited.end and opening.forecast == UNKNOWN)
        ):
            self.release()

    def release(self) -> None:
        """End the protection of the requested ranges, because no READ of them is expected."""
        for each in self._opening.ranges:
            self._resources.fetcher.release(self._index, each)

    def _request(self, limit: int) -> bool:
        """Request the ranges. Return False if memory is short or READs queue for memory."""
        fetcher, awaited = self._resources.fetcher, self._opening.awaited
        if fetcher.queued:
            return False
        if awaited is not None:
            if not fetcher.read_ahead(self._index, awaited, first_window=True):
                return False
            self._resources.counters.opens_prefetched += 1
        requested_bytes = 0
        for piece in self._opening.ahead:
            requested_bytes += piece.length
            first_window = requested_bytes <= FIRST_WINDOW_BYTES
            if requested_bytes > limit or not fetcher.read_ahead(
                self._index, piece, first_window=first_window
            ):
                break
        return True
