"""The interfaces by which the block cache gets ranges of objects.

The stream registry is a `RangeSource`. The cache on disk is a `RangeSource`, too: it stands between
the block cache and the stream registry (see `measured_source`), and is the `LowerTier` of the block
cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.model.errors import StorageError
    from gcsmux_fs.model.values import FinalContent, ObjectKey

__all__ = ["LowerTier", "RangeSource", "RangeTicket"]


class RangeTicket(Protocol):
    """A range in flight, which the caller may cancel."""

    @property
    def last_error(self) -> str:
        """The last error, if the range is being retried because of this error; otherwise empty."""

    def cancel(self) -> None:
        """Cancel the range: no callback follows. After the answer, this has no effect."""


class RangeSource(Protocol):
    """Fetches ranges. Ranges requested within one scheduler tick travel in one message."""

    def request(
        self,
        key: ObjectKey,
        offset: int,
        length: int,
        done: Callable[[memoryview | StorageError], None],
        *,
        final: FinalContent | None = None,
    ) -> RangeTicket:
        """Request `length` bytes (at least 1) at `offset`.

        `done` is called exactly once, on trio's thread and never during this call, with a read-only
        view of exactly `length` bytes, or with an error if the range could not be fetched. The
        block cache keeps the view, so the memory that the view refers to stays in use.

        Args:
            key: The object generation.
            offset: First byte.
            length: Number of bytes.
            done: Receives the answer.
            final: The whole content of the object; None while the object may grow.
        """


class LowerTier(Protocol):
    """A larger and slower cache below the block cache."""

    @property
    def capacity_bytes(self) -> int:
        """How many bytes of objects the tier can hold; 0 if it is not in use."""

    def has_room(self, length: int) -> bool:
        """Return whether the tier can keep `length` more bytes that arrive now."""

    def forget(self, matches: Callable[[str], bool]) -> None:
        """Drop the objects whose names match."""

    def forget_generation(self, key: ObjectKey, size: Callable[[], int | None]) -> None:
        """Drop a generation that no longer exists; `size` returns its size, or None if unknown."""

    def read_now(
        self, key: ObjectKey, offset: int, length: int, final: FinalContent | None
    ) -> memoryview | None:
        """Return a read-only view of exactly `length` bytes at `offset`, if they are at hand.

        None means that the bytes have to be requested. The call never blocks. `final` is the whole
        content of the object; None while the object may grow.
        """
