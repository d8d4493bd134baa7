"""What a READ that failed late leaves for the READs that repeat it.

A program that reads one page makes the kernel ask for many in one READ. When that fails, the kernel
asks for the program's page alone before it tells of the error. Were that READ to wait as long
again, the program would be told after twice the deadline. So the pages of a READ that failed late
are refused once more, with the same error, if they are asked for at once; after that they are
asked for anew.

Invariants:
1. A page is refused at most once for each READ of it that failed.
2. Nothing is refused later than `REPEAT_SECONDS` after the failure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gcsmux_fs.errors import StorageError

__all__ = ["REPEAT_SECONDS", "LateFailures"]

# The kernel repeats within microseconds, unless the machine is busy; a program that tries again by
# itself mostly waits longer.
REPEAT_SECONDS = 0.25

_PAGE_BYTES = 4096


class LateFailures:
    """Those of one open file."""

    __slots__ = ("_errors", "_until")

    def __init__(self) -> None:
        self._errors: dict[int, StorageError] = {}
        self._until = 0.0

    def __bool__(self) -> bool:
        return bool(self._errors)

    def note(self, offset: int, end: int, error: StorageError, now: float) -> None:
        """Take note of a READ of `[offset, end)` that failed now."""
        if now >= self._until:
            self._errors.clear()
        self._until = now + REPEAT_SECONDS
        self._errors.update(dict.fromkeys(range(offset, end, _PAGE_BYTES), error))

    def repeated(self, offset: int, end: int, now: float) -> StorageError | None:
        """Return the error of a READ that repeats one that failed; None: it is to be begun."""
        if now >= self._until:
            self._errors.clear()
            return None
        found = [self._errors.pop(page, None) for page in range(offset, end, _PAGE_BYTES)]
        return next((error for error in found if error is not None), None)
