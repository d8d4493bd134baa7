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
    def trouble(self) -> str:
        """What went wrong last, if the range still waits because of that; else empty."""

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
        whole: bool = False,
        last: bool = False,
    ) -> RangeTicket:
        """Ask for `length` bytes (at least 1) at `offset`; `whole` says the object has no others.

        `last` says that none follow and none will: the object ends here, and does not grow.

        `done` is called exactly once, on trio's thread and never from inside this call, with a
        read-only view of exactly `length` bytes, or with the error that ended the range. The view
        is kept for as long as the block is cached, and with it whatever memory it looks into.
        """
