"""Groups the paths of a command line by mount, and into requests that are short enough; sans-IO."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gcsmux_fs.fuse.mountinfo import MountEntry

__all__ = ["batches", "by_mount"]

# Maximum length of the paths of one request. JSON writes a byte of a path with at most six bytes,
# so the request stays below `protocol.MAX_REQUEST_BYTES`.
_MAX_BATCH_CHARACTERS = 128 * 1024
# Added for each path, for its quotation marks and its comma.
_PATH_OVERHEAD = 4


def by_mount(located: Iterable[tuple[MountEntry, str]]) -> dict[int, tuple[MountEntry, list[str]]]:
    """Return for each mounted file system, by its device: a mount of it, and its names in order."""
    groups: dict[int, tuple[MountEntry, list[str]]] = {}
    for entry, name in located:
        groups.setdefault(entry.device, (entry, []))[1].append(name)
    return groups


def batches(names: Iterable[str]) -> Iterator[list[str]]:
    """Yield the names in lists that fit into one request each."""
    batch: list[str] = []
    length = 0
    for name in names:
        needed = len(name) + _PATH_OVERHEAD
        if batch and length + needed > _MAX_BATCH_CHARACTERS:
            yield batch
            batch, length = [], 0
        batch.append(name)
        length += needed
    if batch:
        yield batch
