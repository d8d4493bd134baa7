"""Shared memory that shows the operation in flight of each worker, even if the worker hangs.

A worker that waits in a page fault holds its interpreter lock, so the worker cannot report
anything. Therefore each worker writes an operation into shared memory before it starts the
operation.
"""

from __future__ import annotations

import mmap
import struct
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["OperationInFlight", "Slot", "Slots"]

_TEXT_BYTES = 112
_SLOT = struct.Struct(f"<dd{_TEXT_BYTES}s")


@dataclass(frozen=True, slots=True)
class OperationInFlight:
    """An operation that a worker has started but not finished.

    `since` is the time at which the file of the operation was looked up. Both times are times of
    the monotonic clock.
    """

    started_at: float
    since: float
    what: str


class Slots:
    """The shared memory: a flag that asks all workers to stop, and a slot for each worker."""

    def __init__(self, path: Path, count: int) -> None:
        if not path.exists():
            path.write_bytes(bytes(_SLOT.size * (count + 1)))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)

    def stop(self) -> None:
        """Ask all workers to stop."""
        self._memory[0] = 1

    @property
    def stopping(self) -> bool:
        """Whether the workers have been asked to stop."""
        return self._memory[0] != 0

    def slot(self, number: int) -> Slot:
        """Return the slot of one worker."""
        return Slot(self._memory, _SLOT.size * (number + 1))


class Slot:
    """The slot of one worker in the shared memory."""

    def __init__(self, memory: mmap.mmap, at: int) -> None:
        self._memory = memory
        self._at = at

    @contextmanager
    def doing(self, what: str, since: float | None) -> Iterator[float]:
        """Show the operation `what` in the slot while the block runs; yield its start time.

        `since` is the time at which the file of the operation was looked up; None stands for the
        start time.
        """
        started_at = time.monotonic()
        text = what.encode()[:_TEXT_BYTES]
        _SLOT.pack_into(
            self._memory, self._at, started_at, started_at if since is None else since, text
        )
        try:
            yield started_at
        finally:
            struct.pack_into("<d", self._memory, self._at, 0.0)

    def operation_in_flight(self) -> OperationInFlight | None:
        """Return the operation that the slot shows, or None."""
        started_at, since, text = _SLOT.unpack_from(self._memory, self._at)
        what = text.rstrip(b"\0").decode(errors="replace")
        return OperationInFlight(started_at, since, what) if started_at else None

    def clear(self) -> None:
        """Remove from the slot the operation of a worker that has died."""
        struct.pack_into("<d", self._memory, self._at, 0.0)
