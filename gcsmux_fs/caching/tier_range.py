"""One range that the disk tier fetches, from the disk, from the service, or a part from each."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gcsmux_fs.model.errors import StorageError
    from gcsmux_fs.model.values import FinalContent, ObjectKey
    from gcsmux_fs.reading.range_source import RangeTicket

__all__ = ["TierRange", "missing_parts"]


class TierRange:
    """A range in flight, and the ticket of its caller.

    `on_cancel` is called when the caller cancels the range before its answer.
    """

    __slots__ = (
        "_buffer",
        "_done",
        "_missing",
        "_on_cancel",
        "final",
        "identity",
        "is_over",
        "key",
        "length",
        "offset",
        "requested_at",
        "tickets",
    )

    def __init__(
        self,
        key: ObjectKey,
        identity: bytes,
        offset: int,
        length: int,
        final: FinalContent,
        done: Callable[[memoryview | StorageError], None],
        on_cancel: Callable[[TierRange], None],
    ) -> None:
        self.key = key
        self.identity = identity
        self.offset = offset
        self.length = length
        self.final = final
        #: Whether the range was answered or cancelled.
        self.is_over = False
        #: When the disk was asked.
        self.requested_at = 0.0
        #: The requests to the service.
        self.tickets: list[RangeTicket] = []
        self._done = done
        self._on_cancel = on_cancel
        self._buffer: memoryview | None = None
        self._missing = 0

    def __repr__(self) -> str:
        return f"<TierRange {self.key} [{self.offset}, {self.offset + self.length})>"

    @property
    def last_error(self) -> str:
        """The last error of a part that is being retried; empty if there is none."""
        return next((ticket.last_error for ticket in self.tickets if ticket.last_error), "")

    def cancel(self) -> None:
        """Cancel the range: no callback follows. After the answer, this has no effect."""
        if not self.is_over:
            self.is_over = True
            self._cancel_tickets()
            self._on_cancel(self)

    def finish(self, result: memoryview | StorageError) -> None:
        """Answer the range, unless it is over."""
        if not self.is_over:
            self.is_over = True
            self._cancel_tickets()
            self._done(result)

    def begin_join(self, parts: Sequence[tuple[int, memoryview]], missing: int) -> None:
        """Copy the parts that are there; `missing` further parts follow by `add`."""
        self._buffer = memoryview(bytearray(self.length))
        self._missing = missing
        for offset, content in parts:
            self._copy(offset, content)

    def add(self, offset: int, content: memoryview) -> None:
        """Copy a part that was missing. The last one completes the answer."""
        self._copy(offset, content)
        self._missing -= 1
        if not self._missing:
            assert self._buffer is not None
            self.finish(self._buffer.toreadonly())

    def _copy(self, offset: int, content: memoryview) -> None:
        assert self._buffer is not None
        start = offset - self.offset
        self._buffer[start : start + len(content)] = content

    def _cancel_tickets(self) -> None:
        tickets, self.tickets = self.tickets, []
        for ticket in tickets:
            ticket.cancel()


def missing_parts(
    offset: int, length: int, parts: Sequence[tuple[int, memoryview]]
) -> list[tuple[int, int]]:
    """Return the start and end offsets that `parts`, in order, do not cover."""
    missing: list[tuple[int, int]] = []
    position = offset
    for start, content in parts:
        if position < start:
            missing.append((position, start))
        position = start + len(content)
    if position < offset + length:
        missing.append((position, offset + length))
    return missing
