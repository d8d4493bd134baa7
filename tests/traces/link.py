"""A fake range source: a network link with a round trip and a bandwidth, in virtual time."""

from __future__ import annotations

import collections
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.model.errors import StorageError
    from gcsmux_fs.model.values import FinalContent, ObjectKey

__all__ = ["Link", "LinkSource", "content_at"]

# The content of an object at offset X is the byte at X modulo this prime number, so that bytes of
# another offset are different. The longest range must fit in the buffer.
_PERIOD = 1_048_573
_CONTENT = memoryview(random.Random(0).randbytes(_PERIOD) * 32)


def content_at(offset: int, length: int) -> memoryview:
    """Return bytes of an object of a `LinkSource`."""
    return _CONTENT[offset % _PERIOD :][:length]


@dataclass(frozen=True)
class Link:
    """The properties of a network link."""

    round_trip_seconds: float = 0.020
    bytes_per_second: float = 600e6


@dataclass(eq=False)
class Transfer:
    """A range in flight; its bytes use the link from `begin` to `end` (virtual seconds)."""

    key: ObjectKey
    offset: int
    length: int
    done: Callable[[memoryview | StorageError], None]
    begin: float
    end: float
    last_error: str = ""
    is_cancelled: bool = False

    def cancel(self) -> None:
        """Call no callback. The bytes are transferred anyway, as from a real server."""
        self.is_cancelled = True


class LinkSource:
    """Answers each range after a round trip, one range after the other (see `content_at`).

    `on_change` is called after each request and after each answer.
    """

    def __init__(self, link: Link, on_change: Callable[[], None]) -> None:
        self._link = link
        self._on_change = on_change
        self._queue: collections.deque[Transfer] = collections.deque()
        self._more = trio.Event()
        #: All ranges requested so far, in order.
        self.transfers: list[Transfer] = []

    def request(
        self,
        key: ObjectKey,
        offset: int,
        length: int,
        done: Callable[[memoryview | StorageError], None],
        *,
        final: FinalContent | None = None,
    ) -> Transfer:
        """Request a range; see `RangeSource.request`."""
        begin = trio.current_time() + self._link.round_trip_seconds
        if self.transfers:
            begin = max(begin, self.transfers[-1].end)
        end = begin + length / self._link.bytes_per_second
        transfer = Transfer(key, offset, length, done, begin, end)
        self.transfers.append(transfer)
        self._queue.append(transfer)
        self._more.set()
        return transfer

    async def run(self) -> NoReturn:
        """Answer the requested ranges until cancelled."""
        while True:
            while not self._queue:
                self._on_change()
                self._more = trio.Event()
                await self._more.wait()
            self._on_change()
            transfer = self._queue.popleft()
            await trio.sleep_until(transfer.end)
            if not transfer.is_cancelled:
                transfer.done(content_at(transfer.offset, transfer.length))
