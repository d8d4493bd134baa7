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

from gcsmux_fs.emulator.buckets.listing_pages import ListedName
from gcsmux_fs.emulator.buckets.object_names import file_can_be_named, is_object_name

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FileTree"]

# Ten times the coarsest clock tick of Linux: a folder this old has shown its last change.
_SETTLED_AFTER_NS = 100_000_000
# About 200 MB of names; a larger tree is still served, its folders are read more often.
_MAX_KEPT_ENTRIES = 2_000_000
# About 10 MB of names.
_MAX_KNOWN_FOLDERS = 50_000


class FileTree:
    """The folder of one bucket; `served` is the folder that links may not leave."""

    def __init__(self, root: Path, served: Path) -> None:
        self.root = os.path.realpath(root)
        self._served = os.path.realpath(served) + "/"
        self._kept: LRUCache[str, tuple[tuple[int, int, int], list[str]]] = LRUCache(
            _MAX_KEPT_ENTRIES, getsizeof=lambda kept: len(kept[1]) + 1
        )
        # Of a folder, the name of an object that was seen below it.
        self._inside: LRUCache[str, str] = LRUCache(_MAX_KNOWN_FOLDERS)

    def path_of(self, name: str) -> str:
        """Return where the file of that name is, or would be."""
        return f"{self.root}/{name}"

    def stat(self, name: str) -> os.stat_result | None:
        """Return the status of the regular file that `name` is, or None."""
        if not (is_object_name(name) and file_can_be_named(name)):
            return None
        folder = name[: name.rfind("/") + 1]
        return self.stat_listed(name) if not folder or self.has_folder(folder) else None

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

    def names_from(
        self, start: str, *, within: str = "", folders: bool = False, shallow: bool = False
    ) -> Iterator[ListedName]:
        """Yield the entries whose names are not before `start`, in order.

        With `folders`, each folder comes too, as an entry ending with `/`, before what is in it.
        Names that do not begin with `within` may be left out: a listing of a folder enters there,
        however deep it is, and not at the bucket's root. With `shallow`, one name stands for all
        the names below each folder in there: any of them, so that nothing is searched for the
        first one.
        """
        top = within[: within.rfind("/") + 1]
        start = max(start, top)
        if top and not (start.startswith(top) and self.has_folder(top)):
            return
        if folders and top and start == top:
            yield ListedName(top, folder=True)
        open_folders = [(top, self._keys_from(top, start[len(top) :]))]
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
                    yield ListedName(name)
                continue
            if folders and not rest:
                yield ListedName(name, folder=True)
            if shallow and not rest:
                if (inside := self._any_below(name)) is not None:
                    yield ListedName(inside)
            else:
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

    def _any_below(self, folder: str) -> str | None:
        """Return the name of any object below `folder`; None if there is none."""
        known = self._inside.get(folder)
        if known is not None and self.stat(known) is not None:
            return known
        waiting = [folder]
        while waiting:
            reached = waiting.pop()
            keys = self._keys(reached)
            for key in keys:
                if not key.endswith("/") and is_object_name(reached + key):
                    self._note_inside(folder, reached + key)
                    return reached + key
            waiting += [reached + key for key in reversed(keys) if key.endswith("/")]
        return None

    def _note_inside(self, folder: str, name: str) -> None:
        """Remember that the object `name` is below `folder` and the folders between the two."""
        end = len(folder)
        while end:
            self._inside[name[:end]] = name
            end = name.find("/", end) + 1

    def _keys(self, folder: str) -> list[str]:
        """Return the sorted names in `folder`, those of folders with a `/` at their end.

        That slash makes the order of the keys the order of all the names below them.
        """
        path = self.path_of(folder)
        now_ns = time.time_ns()
        try:
            status = os.lstat(path)
            if not stat.S_ISDIR(status.st_mode):
                return []
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

    def has_folder(self, folder: str) -> bool:
        """Tell whether `folder`, which ends with `/`, is there and no link leads to it."""
        if not (is_object_name(folder) and file_can_be_named(folder[:-1])):
            return False
        path = self.path_of(folder[:-1])
        try:
            descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            # The kernel's own name for the folder: one call, however many folders lead there.
            return os.readlink(f"/proc/self/fd/{descriptor}") == path  # noqa: PTH115
        finally:
            os.close(descriptor)

    def _stays_inside(self, link: str) -> bool:
        return os.path.realpath(link).startswith(self._served)
