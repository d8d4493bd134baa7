"""The bytes of a fuzzer as a sequence of choices: a mutated byte changes one choice."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Source"]

_T = TypeVar("_T")


class Source:
    """Takes choices from the start of `data`; after its end every choice is the first."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def __bool__(self) -> bool:
        """Return whether bytes are left."""
        return self._position < len(self._data)

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes, or fewer at the end."""
        start, self._position = self._position, self._position + count
        return self._data[start : start + count]

    def number(self, count: int = 1) -> int:
        """Return the next `count` bytes as an unsigned number."""
        return int.from_bytes(self.take(count), "little")

    def flag(self) -> bool:
        """Return true or false."""
        return bool(self.number() & 1)

    def choice(self, of: Sequence[_T]) -> _T:
        """Return one element of `of`."""
        return of[self.number() % len(of)]

    def text(self) -> str:
        """Return UTF-8 text, usually short and sometimes thousands of characters long."""
        size = self.number()
        repeated = 1 if size < 200 else size
        return self.take(size % 16).decode("utf-8", "replace") * repeated

    def rest(self) -> bytes:
        """Return the remaining bytes."""
        return self.take(len(self._data) - self._position)
