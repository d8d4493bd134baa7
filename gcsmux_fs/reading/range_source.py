"""What a read asks of the room below: ranges of one object generation, answered by callback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.model.errors import StorageError
    from gcsmux_fs.model.values import ObjectKey

__all__ = ["RangeSource", "RangeTicket"]


class RangeTicket(Protocol):
    """One range that has been asked for and not yet been answered."""

    @property
    def last_error(self) -> str:
        """How the last attempt failed, if no bytes have arrived since; else empty."""

    def cancel(self) -> None:
        """Give the range up: no callback follows. Idempotent, and harmless after the answer."""


class RangeSource(Protocol):
    """Fetches ranges; those asked for within one scheduler tick travel together."""

    def request(
        self,
        key: ObjectKey,
        offset: int,
        length: int,
        done: Callable[[memoryview | StorageError], None],
        *,
        covers_object: bool = False,
        reaches_end: bool = False,
    ) -> RangeTicket:
        """Request `length` bytes (at least 1) at `offset`.

        `covers_object`: the range is all of the object. `reaches_end`: the range ends where the
        object ends, and the object does not grow.

        `done` is called exactly once, on trio's thread and never during this call, with a read-only
        view of exactly `length` bytes, or with the error that ended the range. The cache keeps the
        view, and with it the memory that the view refers to, as long as it keeps the block.
        """
