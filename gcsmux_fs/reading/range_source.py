"""The interface by which the block cache requests ranges of objects; a callback gets the answer.

The stream registry implements this interface. A tier that keeps ranges on disk would implement the
interface too, and stand between the block cache and the stream registry (see `measured_source`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.model.errors import StorageError
    from gcsmux_fs.model.values import ObjectKey

__all__ = ["RangeSource", "RangeTicket"]


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
        covers_object: bool = False,
        reaches_end: bool = False,
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
            covers_object: Whether the range is the whole object.
            reaches_end: Whether the object ends with this range and does not grow.
        """
