"""Groups the ranges of `cat_ranges` by object, so that each object is found once; sans-IO."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from gcsmux_fs.fsspec_access.object_details import os_error, split_path
from gcsmux_fs.model.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["RangeBatch", "RangesOfObject"]


class RangesOfObject(NamedTuple):
    """Ranges of one object, with ends as in a slice; generation 0 means the newest."""

    bucket: str
    name: str
    ranges: Sequence[tuple[int | None, int | None]]
    generation: int = 0


class RangeBatch:
    """The ranges of a `cat_ranges` call, grouped by object.

    `starts` and `ends` are as in fsspec: one value for all paths, or one value for each path.

    Raises:
        TypeError: `paths` is not a list.
        ValueError: the lists differ in length.
    """

    def __init__(
        self,
        paths: list[str],
        starts: int | Sequence[int | None] | None,
        ends: int | Sequence[int | None] | None,
    ) -> None:
        first = list(starts) if isinstance(starts, Iterable) else [starts] * len(paths)
        last = list(ends) if isinstance(ends, Iterable) else [ends] * len(paths)
        if len(first) != len(paths) or len(last) != len(paths):
            raise ValueError("cat_ranges needs as many starts and ends as paths")
        self._paths = paths
        self._slots: dict[str, list[int]] = {}
        for slot, path in enumerate(paths):
            self._slots.setdefault(path, []).append(slot)
        self.objects = [
            RangesOfObject(*split_path(path), [(first[slot], last[slot]) for slot in slots])
            for path, slots in self._slots.items()
        ]

    def in_order(self, results: Sequence[list[bytes] | StorageError]) -> list[bytes | Exception]:
        """Return the results of `objects` as one content or error for each path of the call."""
        ordered: list[bytes | Exception] = [b""] * len(self._paths)
        for (path, slots), result in zip(self._slots.items(), results, strict=True):
            for position, slot in enumerate(slots):
                if isinstance(result, StorageError):
                    ordered[slot] = os_error(result, path)
                else:
                    ordered[slot] = result[position]
        return ordered
