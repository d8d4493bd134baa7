"""Bytes of a fuzzer read as choices: any bytes make choices, and a mutated byte changes one."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Source"]

_T = TypeVar("_T")


class Source:
    """Takes choices from the front of `data`; where it is used up, each choice is the first."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def __bool__(self) -> bool:
        """Tell whether there is more."""
        return self._position < len(self._data)

    def take(self, count: int) -> bytes:
        """Return the next bytes, fewer at the end."""
        start, self._position = self._position, self._position + count
        return self._data[start : start + count]

    def number(self, count: int = 1) -> int:
        """Return the next `count` bytes as a number."""
        return int.from_bytes(self.take(count), "little")

    def flag(self) -> bool:
        """Return yes or no."""
        return bool(self.number() & 1)

    def choice(self, of: Sequence[_T]) -> _T:
        """Return one of a few."""
        return of[self.number() % len(of)]

    def text(self) -> str:
        """Return a short text, sometimes a long one, as a server may send: any UTF-8."""
        size = self.number()
        repeated = 1 if size < 200 else size
        return self.take(size % 16).decode("utf-8", "replace") * repeated

    def rest(self) -> bytes:
        """Return all that is left."""
        return self.take(len(self._data) - self._position)
