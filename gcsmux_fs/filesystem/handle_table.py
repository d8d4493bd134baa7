"""Tables of open files and directories. The key is the handle that the kernel uses; sans-IO."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["HandleTable"]

Item = TypeVar("Item")


class HandleTable(dict[int, Item]):
    """A table of open items by handle. `numbers` yields each handle once.

    Several tables share one iterator, so no handle occurs in two tables. The class is a dictionary,
    because every READ looks up a handle and a dictionary does this fast.
    """

    def __init__(self, numbers: Iterator[int]) -> None:
        super().__init__()
        self._numbers = numbers

    def add(self, item: Item) -> int:
        """Store an item under a new handle and return the handle."""
        handle = next(self._numbers)
        self[handle] = item
        return handle

    def pop_all(self) -> list[Item]:
        """Remove all items and return them."""
        items = list(self.values())
        self.clear()
        return items
