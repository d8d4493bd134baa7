"""Fake range sources of generated objects. The test answers, or a timer in virtual time does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trio

from gcsmux_fs.metrics.registry import Registry
from gcsmux_fs.model.values import FinalContent, ObjectKey

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.model.errors import StorageError
    from gcsmux_fs.reading.read_context import ReadContext


def key_of(name: str, generation: int = 1) -> ObjectKey:
    return ObjectKey("bucket", name, generation)


def metrics_of(context: ReadContext) -> dict[str, Any]:
    """Return the current values of all metrics of the read path by name."""
    registry = Registry()
    context.declare_metrics(registry)
    return registry.snapshot()


_PATTERN = bytes((i * 7 + (i >> 8) * 13) & 0xFF for i in range(65_521)) * 34


def content_of(key: ObjectKey, offset: int, length: int) -> bytes:
    """Return bytes of a generated object. Other objects and other offsets have other bytes."""
    shift = (offset + sum(key.name.encode()) * 251 + key.generation * 17) % 65_521
    content = bytearray()
    while len(content) < length:
        content += _PATTERN[shift : shift + length - len(content)]
        shift = 0
    return bytes(content)


@dataclass(eq=False)
class RequestedRange:
    """One range that was requested from a fake source. `settle` answers the range."""

    key: ObjectKey
    offset: int
    length: int
    done: Callable[[memoryview | StorageError], None] = field(repr=False)
    final: FinalContent | None = None
    last_error: str = ""
    is_open: bool = True
    is_cancelled: bool = False

    @property
    def span(self) -> tuple[int, int]:
        """Start and end offset of the range."""
        return self.offset, self.offset + self.length

    def cancel(self) -> None:
        self.is_cancelled = self.is_cancelled or self.is_open
        self.is_open = False

    def settle(self, error: StorageError | None = None) -> None:
        """Answer the range with its bytes, or with an error."""
        assert self.is_open
        self.is_open = False
        if error is None:
            self.done(memoryview(content_of(self.key, self.offset, self.length)))
        else:
            self.done(error)


class ManualSource:
    """A fake range source. The test answers the requested ranges, in any order."""

    def __init__(self) -> None:
        #: All ranges requested so far, in order.
        self.requests: list[RequestedRange] = []

    def request(
        self,
        key: ObjectKey,
        offset: int,
        length: int,
        done: Callable[[memoryview | StorageError], None],
        *,
        final: FinalContent | None = None,
    ) -> RequestedRange:
        request = RequestedRange(key, offset, length, done, final)
        self.requests.append(request)
        return request

    @property
    def pending(self) -> list[RequestedRange]:
        """The ranges that are neither answered nor cancelled."""
        return [request for request in self.requests if request.is_open]

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Start and end offset of each range requested so far, in order."""
        return [request.span for request in self.requests]

    @property
    def total(self) -> int:
        """The number of bytes requested so far."""
        return sum(request.length for request in self.requests)

    def settle_all(self) -> None:
        """Answer all pending ranges, and all ranges that are requested meanwhile."""
        while pending := self.pending:
            for request in pending:
                if request.is_open:
                    request.settle()


class TimedSource(ManualSource):
    """Answers each range after `latency` seconds, but no range of an object in `stalled`."""

    def __init__(self, nursery: trio.Nursery, latency: float) -> None:
        super().__init__()
        self._nursery = nursery
        self._latency = latency
        self.stalled: set[ObjectKey] = set()

    def request(
        self,
        key: ObjectKey,
        offset: int,
        length: int,
        done: Callable[[memoryview | StorageError], None],
        *,
        final: FinalContent | None = None,
    ) -> RequestedRange:
        request = super().request(key, offset, length, done, final=final)
        if key not in self.stalled:
            self._nursery.start_soon(self._answer, request)
        return request

    async def _answer(self, request: RequestedRange) -> None:
        await trio.sleep(self._latency)
        if request.is_open:
            request.settle()
