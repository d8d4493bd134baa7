"""Converts the bytes of a fuzzer to a sequence of choices, so that one byte is one choice."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Source"]

_T = TypeVar("_T")


class Source:
    """Reads choices from `data`, from the start to the end.

    After the end of `data`, `number` returns 0, and `choice` returns the first element.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def __bool__(self) -> bool:
        """Return whether bytes are left."""
        return self._position < len(self._data)

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes, or fewer if `data` ends before."""
        start, self._position = self._position, self._position + count
        return self._data[start : start + count]

    def number(self, count: int = 1) -> int:
        """Return the next `count` bytes as an unsigned number, with the lowest byte first."""
        return int.from_bytes(self.take(count), "little")

    def flag(self) -> bool:
        """Return the lowest bit of the next byte."""
        return bool(self.number() & 1)

    def choice(self, of: Sequence[_T]) -> _T:
        """Return the element of `of` that the next byte selects."""
        return of[self.number() % len(of)]

    def text(self) -> str:
        """Return UTF-8 text, usually short and sometimes thousands of characters long."""
        size = self.number()
        repeated = 1 if size < 200 else size
        return self.take(size % 16).decode("utf-8", "replace") * repeated

    def rest(self) -> bytes:
        """Return the remaining bytes."""
        return self.take(len(self._data) - self._position)
