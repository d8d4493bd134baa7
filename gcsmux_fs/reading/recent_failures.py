"""Lets a READ fail at once if the kernel repeats a READ that has failed after a long wait.

If a program reads one page, the kernel reads many pages in one READ. When this READ fails, the
kernel sends a second READ, of the first page only, before it returns the error to the program. If
the second READ waited as long as the first READ, the program would get its error after twice the
timeout. So the second READ fails at once with the same error, if it follows within
`repeat_seconds`. The kernel reads the other pages only when the program tries again. Those READs
wait as usual.

Invariants:
1. For each failed READ, at most one READ of its first page fails at once.
2. No READ fails at once later than `repeat_seconds` after the last failure of the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gcsmux_fs.model.errors import StorageError

__all__ = ["RecentFailures", "repeat_seconds"]

# Upper limit of `repeat_seconds`. The kernel repeats a READ within microseconds, but a machine on
# which 600 READs fail at the same time may need a second. A READ by a program that tries again
# usually comes later than this, because most programs pause before they try again.
_MAX_REPEAT_SECONDS = 2.0

_PAGE_BYTES = 4096


def repeat_seconds(read_timeout: float) -> float:
    """Return how long after a failure the kernel may repeat a READ, in seconds.

    A program must get its error within 1.5 times `read_timeout`. After the timeout, a quarter of
    `read_timeout` is for the repeated READ, and a quarter is for other delays.
    """
    return min(_MAX_REPEAT_SECONDS, read_timeout / 4)


class RecentFailures:
    """The errors of failed READs of one open file. Each error ends at most one repeated READ."""

    __slots__ = ("_errors", "_repeat_seconds", "_until")

    def __init__(self, repeat_seconds: float) -> None:
        self._repeat_seconds = repeat_seconds
        self._errors: dict[int, StorageError] = {}
        self._until = 0.0

    def __bool__(self) -> bool:
        return bool(self._errors)

    def note(self, offset: int, error: StorageError, now: float) -> None:
        """Record that a READ at `offset` fails now with `error`."""
        if now >= self._until:
            self._errors.clear()
        self._until = now + self._repeat_seconds
        self._errors[offset] = error

    def pop_repeated(self, offset: int, end: int, now: float) -> StorageError | None:
        """Return the error with which a repeated READ must fail; None if the READ may begin."""
        if now >= self._until:
            self._errors.clear()
        error = self._errors.pop(offset, None)
        return error if end - offset <= _PAGE_BYTES else None
