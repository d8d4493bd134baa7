"""What a READ that failed late leaves for the READs that repeat it.

A program that reads one page makes the kernel ask for many in one READ. When that fails, the kernel
asks for the page that the program waits for, the first one, alone before it tells of the error.
Were that READ to wait as long again, the program would be told after twice the deadline. So the
first page of a READ that failed late is refused once more, with the same error, if it is asked for
at once. The other pages the kernel asks for only when the program tries again: they begin anew.

Invariants:
1. A page is refused at most once for each READ that failed and began with it.
2. Nothing is refused later than `repeat_seconds` after the last failure of the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gcsmux_fs.model.errors import StorageError

__all__ = ["RecentFailures", "repeat_seconds"]

# The kernel repeats within microseconds, but a machine on which 600 READs fail at once may take a
# second for it. A program that tries again by itself after so long a wait mostly pauses before.
_MAX_REPEAT_SECONDS = 2.0

_PAGE_BYTES = 4096


def repeat_seconds(read_timeout: float) -> float:
    """Return for how long the kernel may repeat a READ that waited for `read_timeout` seconds.

    A program is told within 1.5 times the timeout: a quarter of it is left to other delays.
    """
    return min(_MAX_REPEAT_SECONDS, read_timeout / 4)


class RecentFailures:
    """Those of one open file, to be repeated within `repeat_seconds`."""

    __slots__ = ("_errors", "_repeat_seconds", "_until")

    def __init__(self, repeat_seconds: float) -> None:
        self._repeat_seconds = repeat_seconds
        self._errors: dict[int, StorageError] = {}
        self._until = 0.0

    def __bool__(self) -> bool:
        return bool(self._errors)

    def note(self, offset: int, error: StorageError, now: float) -> None:
        """Take note of a READ at `offset` that failed now."""
        if now >= self._until:
            self._errors.clear()
        self._until = now + self._repeat_seconds
        self._errors[offset] = error

    def repeated(self, offset: int, end: int, now: float) -> StorageError | None:
        """Return the error of a READ that repeats one that failed; None: it is to be begun."""
        if now >= self._until:
            self._errors.clear()
        error = self._errors.pop(offset, None)
        return error if end - offset <= _PAGE_BYTES else None
