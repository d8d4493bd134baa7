"""Reads an object as a mount does, to measure the round trip and the rate of one stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from gcsmux_fs.doctor.service_findings import RateSample
from gcsmux_fs.model.errors import StorageError

if TYPE_CHECKING:
    from gcsmux_fs.model.values import ObjectKey
    from gcsmux_fs.mux.stream_registry import StreamRegistry

__all__ = ["ReadProbe"]

_ROUND_TRIPS = 5
# The sample is large enough to measure 10 Gbit/s, and costs less than a US cent of data transfer.
_SAMPLE_BYTES = 64 << 20
# Small enough that a slow link completes a range within the time of the sample. A range counts as
# one request of class B.
_RANGE_BYTES = 512 << 10
# 32 MiB in flight keep 10 Gbit/s busy at a round trip of 25 ms.
_IN_FLIGHT = 64


class ReadProbe:
    """Reads ranges of the object `key`, which has `size` bytes (at least 1), over one stream."""

    def __init__(self, streams: StreamRegistry, key: ObjectKey, size: int) -> None:
        self._streams = streams
        self._key = key
        self._size = size

    async def first_byte(self) -> float:
        """Open the stream by reading one byte; return the seconds until the byte arrives.

        Raises:
            StorageError: the read failed.
        """
        begin = trio.current_time()
        await self._fetch(0, 1)
        return trio.current_time() - begin

    async def round_trips(self) -> list[float]:
        """Read single bytes, one after the other, and return the seconds that each took.

        Raises:
            StorageError: a read failed.
        """
        seconds = []
        for number in range(_ROUND_TRIPS):
            begin = trio.current_time()
            await self._fetch(number * (self._size - 1) // _ROUND_TRIPS, 1)
            seconds.append(trio.current_time() - begin)
        return seconds

    async def sample(self, seconds: float) -> RateSample:
        """Read up to 64 MiB of the object, for up to `seconds`.

        Raises:
            StorageError: a read failed.
        """
        length = min(self._size, _SAMPLE_BYTES)
        received = 0
        errors: list[StorageError] = []
        begin = trio.current_time()

        async def read_every(first: int) -> None:
            nonlocal received
            try:
                for offset in range(first * _RANGE_BYTES, length, _IN_FLIGHT * _RANGE_BYTES):
                    size = min(_RANGE_BYTES, length - offset)
                    await self._fetch(offset, size)
                    received += size
            except StorageError as error:
                errors.append(error)
                limit.cancel()

        with trio.move_on_after(seconds) as limit:
            async with trio.open_nursery() as tasks:
                for first in range(_IN_FLIGHT):
                    tasks.start_soon(read_every, first)
        if errors:
            raise errors[0]
        return RateSample(received, trio.current_time() - begin, received == length)

    async def _fetch(self, offset: int, length: int) -> None:
        arrived = trio.Event()
        answer: list[memoryview | StorageError] = []

        def done(outcome: memoryview | StorageError) -> None:
            answer.append(outcome)
            arrived.set()

        ticket = self._streams.request(self._key, offset, length, done)
        try:
            await arrived.wait()
        finally:
            ticket.cancel()
        if isinstance(answer[0], StorageError):
            raise answer[0]
