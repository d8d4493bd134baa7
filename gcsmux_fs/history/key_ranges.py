"""Ranges of keys in a directory; sans-IO.

A key is the name of an object or a prefix, as a listing with the delimiter `/` shows it. A range
contains its first key, but not its end.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["END", "KeyRange", "KeyRanges", "after_prefix", "directory_of", "next_key"]

END = "\U0010ffff" * 257
"""A key after all others: the name of an object has at most 1,024 bytes, which are 256 of these
characters."""

_LAST_CHARACTER = "\U0010ffff"
_BEFORE_SURROGATES, _AFTER_SURROGATES = "\ud7ff", "\ue000"


class KeyRange(NamedTuple):
    """The keys from `low` on and before `high`."""

    low: str
    high: str


def directory_of(name: str) -> str:
    """Return the directory in which a name or a prefix of a name is listed, with its slash."""
    return name[: name.rfind("/") + 1]


def after_prefix(prefix: str) -> str:
    """Return the first key after all keys that begin with `prefix`."""
    stem = prefix.rstrip(_LAST_CHARACTER)
    if not stem:
        return END
    last = stem[-1]
    following = _AFTER_SURROGATES if last == _BEFORE_SURROGATES else chr(ord(last) + 1)
    return stem[:-1] + following


def next_key(key: str) -> str:
    """Return the key that follows `key` directly."""
    return key + "\0"


class KeyRanges:
    """A set of keys, as ranges that neither overlap nor touch."""

    def __init__(self) -> None:
        self._lows: list[str] = []
        self._highs: list[str] = []

    def __iter__(self) -> Iterator[KeyRange]:
        return map(KeyRange, self._lows, self._highs)

    def __len__(self) -> int:
        return len(self._lows)

    def copy(self) -> KeyRanges:
        """Return a set that does not change with this one."""
        copied = KeyRanges()
        copied._lows, copied._highs = self._lows.copy(), self._highs.copy()
        return copied

    def add(self, low: str, high: str) -> None:
        """Add a range."""
        if low >= high:
            return
        first = bisect_left(self._highs, low)
        last = bisect_right(self._lows, high)
        if first < last:
            low, high = min(low, self._lows[first]), max(high, self._highs[last - 1])
        self._lows[first:last] = [low]
        self._highs[first:last] = [high]

    def __contains__(self, key: str) -> bool:
        return self.end_of(key) > key

    def end_of(self, key: str) -> str:
        """Return the end of the range that contains `key`; `key` itself if no range contains it."""
        index = bisect_right(self._lows, key) - 1
        return max(key, self._highs[index]) if index >= 0 else key

    def gaps(self, low: str, high: str) -> list[KeyRange]:
        """Return the ranges between `low` and `high` whose keys are not in the set."""
        gaps: list[KeyRange] = []
        index = bisect_right(self._highs, low)
        while low < high:
            start = self._lows[index] if index < len(self._lows) else END
            if low < start:
                gaps.append(KeyRange(low, min(start, high)))
            low = max(low, self._highs[index]) if index < len(self._highs) else high
            index += 1
        return gaps
