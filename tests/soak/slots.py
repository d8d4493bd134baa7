"""What each worker is doing at the moment, where the conductor sees it though the worker hangs.

A worker that waits for a page fault cannot say so: it holds its interpreter's lock. So before each
operation it writes what it begins into memory that it shares with the conductor.
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

__all__ = ["Slot", "Slots", "UnderWay"]

_TEXT_BYTES = 112
_SLOT = struct.Struct(f"<dd{_TEXT_BYTES}s")


@dataclass(frozen=True, slots=True)
class UnderWay:
    """An operation that has begun and not ended; instants are of the monotonic clock."""

    begun: float
    #: When the file was looked up that it uses.
    since: float
    what: str


class Slots:
    """The shared memory: a flag that asks all workers to stop, then a slot for each."""

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
        """Whether they have been asked."""
        return self._memory[0] != 0

    def slot(self, number: int) -> Slot:
        """Return one worker's slot."""
        return Slot(self._memory, _SLOT.size * (number + 1))


class Slot:
    """One worker's place in the shared memory."""

    def __init__(self, memory: mmap.mmap, at: int) -> None:
        self._memory = memory
        self._at = at

    @contextmanager
    def doing(self, what: str, since: float | None) -> Iterator[float]:
        """Show that an operation is under way; gives the instant at which it began.

        `since` is when the file was looked up that it uses; None: it is looked up now.
        """
        begun = time.monotonic()
        text = what.encode()[:_TEXT_BYTES]
        _SLOT.pack_into(self._memory, self._at, begun, begun if since is None else since, text)
        try:
            yield begun
        finally:
            struct.pack_into("<d", self._memory, self._at, 0.0)

    def under_way(self) -> UnderWay | None:
        """Return what is being done now."""
        begun, since, text = _SLOT.unpack_from(self._memory, self._at)
        what = text.rstrip(b"\0").decode(errors="replace")
        return UnderWay(begun, since, what) if begun else None

    def clear(self) -> None:
        """Forget what a worker was doing that is gone."""
        struct.pack_into("<d", self._memory, self._at, 0.0)
