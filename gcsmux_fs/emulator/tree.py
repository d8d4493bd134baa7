"""The files below a bucket's folder, as a sequence of object names that can be entered anywhere.

A folder is read and sorted once, and kept while its modification time stays the same. That time
has the grain of the kernel's clock, so that a folder changed a moment ago might change again
without showing it: such a reading is used but not kept.

Links: a symbolic link to a regular file inside the served folder is that file. All other links,
links to folders among them, are not there: they could lead out of the served folder or in circles.
"""

from __future__ import annotations

import os
import stat
import time
from bisect import bisect_left
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cachetools import LRUCache

from gcsmux_fs.emulator.listing import Entry
from gcsmux_fs.emulator.names import file_can_be_named, is_object_name

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Tree"]

# Ten times the coarsest clock tick of Linux: a folder this old has shown its last change.
_SETTLED_AFTER_NS = 100_000_000
# About 200 MB of names; a larger tree is still served, its folders are read more often.
_MAX_KEPT_ENTRIES = 2_000_000


class Tree:
    """The folder of one bucket; `served` is the folder that links may not leave."""

    def __init__(self, root: Path, served: Path) -> None:
        self.root = str(root)
        self._served = os.path.realpath(served) + "/"
        self._kept: LRUCache[str, tuple[tuple[int, int, int], list[str]]] = LRUCache(
            _MAX_KEPT_ENTRIES, getsizeof=lambda kept: len(kept[1]) + 1
        )

    def path_of(self, name: str) -> str:
        """Return where the file of that name is, or would be."""
        return f"{self.root}/{name}"

    def stat(self, name: str) -> os.stat_result | None:
        """Return the status of the regular file that `name` is, or None."""
        if not (is_object_name(name) and file_can_be_named(name)):
            return None
        return None if self._goes_through_link(name) else self.stat_listed(name)

    def stat_listed(self, name: str) -> os.stat_result | None:
        """Return what `stat` does, for a name that `names_from` gave: its folders are real."""
        path = self.path_of(name)
        try:
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                if not self._stays_inside(path):
                    return None
                status = Path(path).stat()
        except OSError:
            return None
        return status if stat.S_ISREG(status.st_mode) else None

    def names_from(self, start: str, *, folders: bool = False) -> Iterator[Entry]:
        """Yield the entries whose names are not before `start`, in order.

        With `folders`, each folder comes too, as an entry ending with `/`, before what is in it.
        """
        open_folders = [("", self._keys_from("", start))]
        while open_folders:
            prefix, keys = open_folders[-1]
            step = next(keys, None)
            if step is None:
                open_folders.pop()
                continue
            key, rest = step
            name = prefix + key
            if not key.endswith("/"):
                if is_object_name(name):
                    yield Entry(name)
                continue
            if folders and not rest:
                yield Entry(name, folder=True)
            open_folders.append((name, self._keys_from(name, rest)))

    def _keys_from(self, folder: str, start: str) -> Iterator[tuple[str, str]]:
        """Yield the folder's keys, each with the part of `start` that applies inside of it."""
        keys = self._keys(folder)
        head, slash, rest = start.partition("/")
        index = bisect_left(keys, head + slash)
        if slash and index < len(keys) and keys[index] == head + slash:
            yield keys[index], rest
            index += 1
        for following in range(index, len(keys)):
            yield keys[following], ""

    def _keys(self, folder: str) -> list[str]:
        """Return the sorted names in `folder`, those of folders with a `/` at their end.

        That slash makes the order of the keys the order of all the names below them.
        """
        path = self.path_of(folder)
        now_ns = time.time_ns()
        try:
            status = Path(path).stat()
            stamp = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
            kept = self._kept.get(folder)
            if kept is not None and kept[0] == stamp:
                return kept[1]
            with os.scandir(path) as entries:
                keys = sorted(key for entry in entries if (key := self._key(entry)) is not None)
        except OSError:
            return []
        if now_ns - max(status.st_mtime_ns, status.st_ctime_ns) > _SETTLED_AFTER_NS:
            with suppress(ValueError):
                self._kept[folder] = (stamp, keys)
        return keys

    def _key(self, entry: os.DirEntry[str]) -> str | None:
        if entry.is_dir(follow_symlinks=False):
            return entry.name + "/"
        if entry.is_file(follow_symlinks=False):
            return entry.name
        if entry.is_symlink() and entry.is_file() and self._stays_inside(entry.path):
            return entry.name
        return None

    def _goes_through_link(self, name: str) -> bool:
        """Tell whether a folder on the way to the file is a link, or is not there."""
        path = self.root
        try:
            for folder in name.split("/")[:-1]:
                path = f"{path}/{folder}"
                if stat.S_ISLNK(os.lstat(path).st_mode):
                    return True
        except OSError:
            return True
        return False

    def _stays_inside(self, link: str) -> bool:
        return os.path.realpath(link).startswith(self._served)
