"""The files below a bucket's folder, as a sorted sequence of object names.

The sorted entries of a folder are cached while the folder's modification time stays the same. The
clock of the kernel is coarse, so a folder that has just changed could change again and keep the
same time. The entries of a folder that has just changed are therefore not cached.

A symbolic link to a regular file inside the served folder stands for this file. All other links are
ignored. Links to folders are ignored because these links could lead out of the served folder or
form a loop.
"""

from __future__ import annotations

import errno
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

# Minimum age of a folder's last change, in nanoseconds, at which the entries of the folder are
# cached: ten times the coarsest clock tick of Linux. The next change of the folder is then sure to
# set a different modification time.
_SETTLED_AFTER_NS = 100_000_000
# Maximum number of cached entries, whose names take about 200 MB. In a tree with more entries,
# folders are read again more often.
_MAX_CACHED_ENTRIES = 2_000_000
# Maximum number of folders in the cache `_inside`. This cache has the name of one object per
# folder, and its names take about 10 MB.
_MAX_CACHED_FOLDERS = 50_000
# Errors which mean that no file can be created at the path: a folder has this path, or the bucket's
# folder is on another file system than the metadata folder, or the path is too long.
_CANNOT_CREATE = (
    errno.EISDIR,
    errno.EEXIST,
    errno.ENOTEMPTY,
    errno.EXDEV,
    errno.ENAMETOOLONG,
)


class FileTree:
    """The files in the folder `root` of a bucket. Links out of the folder `served` are ignored."""

    def __init__(self, root: Path, served: Path) -> None:
        self.root = os.path.realpath(root)
        self._served = os.path.realpath(served) + "/"
        # Key: the path of a folder. Value: the folder's inode number, modification time and change
        # time when the folder was read, and its sorted entries.
        self._cache: LRUCache[str, tuple[tuple[int, int, int], list[str]]] = LRUCache(
            _MAX_CACHED_ENTRIES, getsizeof=lambda cached: len(cached[1]) + 1
        )
        # Key: the path of a folder. Value: the name of one object below this folder.
        self._inside: LRUCache[str, str] = LRUCache(_MAX_CACHED_FOLDERS)

    def path_of(self, name: str) -> str:
        """Return the path of the file `name`, whether it exists or not."""
        return f"{self.root}/{name}"

    def stat(self, name: str) -> os.stat_result | None:
        """Return the status of the regular file `name`; None if there is no such file."""
        if not (is_object_name(name) and file_can_be_named(name)):
            return None
        folder = name[: name.rfind("/") + 1]
        return self.stat_listed(name) if not folder or self.has_folder(folder) else None

    def stat_listed(self, name: str) -> os.stat_result | None:
        """Return the same as `stat`, but faster.

        Pass only a name that `names_from` has yielded, because `names_from` has already checked
        that no folder in the name is a link.
        """
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
        """Yield the objects (and folders) from the name `start` on, sorted by name.

        - `within`: a prefix. Names without this prefix may be left out, so that the listing of a
          folder starts at this folder instead of the root of the bucket.
        - `folders`: also yield each folder, with a `/` at the end of its name, before the entries
          in this folder.
        - `shallow`: yield only one name below each folder in `within`. This may be any name below
          the folder, because a search for the first name would take longer.
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
            key_and_start = next(keys, None)
            if key_and_start is None:
                open_folders.pop()
                continue
            key, rest = key_and_start
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
        """Yield the entries of `folder` from `start` on.

        With each entry, also yield the start name for the listing below this entry.
        """
        keys = self._keys(folder)
        head, slash, rest = start.partition("/")
        index = bisect_left(keys, head + slash)
        if slash and index < len(keys) and keys[index] == head + slash:
            yield keys[index], rest
            index += 1
        for later in range(index, len(keys)):
            yield keys[later], ""

    def _any_below(self, folder: str) -> str | None:
        """Return the name of any object below `folder`; None if there is no object."""
        cached = self._inside.get(folder)
        if cached is not None and self.stat(cached) is not None:
            return cached
        unread = [folder]
        while unread:
            current = unread.pop()
            keys = self._keys(current)
            for key in keys:
                if not key.endswith("/") and is_object_name(current + key):
                    self._note_inside(folder, current + key)
                    return current + key
            unread += [current + key for key in reversed(keys) if key.endswith("/")]
        return None

    def _note_inside(self, folder: str, name: str) -> None:
        """Store in `_inside` that `name` is below `folder` and each folder between the two."""
        end = len(folder)
        while end:
            self._inside[name[:end]] = name
            end = name.find("/", end) + 1

    def _keys(self, folder: str) -> list[str]:
        """Return the sorted names of the entries of `folder`. Names of folders end with `/`.

        Because of this slash, the order of the entries is also the order of the object names below
        these entries.
        """
        path = self.path_of(folder)
        now_ns = time.time_ns()
        try:
            status = os.lstat(path)
            if not stat.S_ISDIR(status.st_mode):
                return []
            stamp = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
            cached = self._cache.get(folder)
            if cached is not None and cached[0] == stamp:
                return cached[1]
            with os.scandir(path) as entries:
                keys = sorted(key for entry in entries if (key := self._key(entry)) is not None)
        except OSError:
            return []
        if now_ns - max(status.st_mtime_ns, status.st_ctime_ns) > _SETTLED_AFTER_NS:
            with suppress(ValueError):
                self._cache[folder] = (stamp, keys)
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
        """Return whether `folder` (with a final `/`) exists and no part of its path is a link."""
        if not (is_object_name(folder) and file_can_be_named(folder[:-1])):
            return False
        path = self.path_of(folder[:-1])
        try:
            descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            # The kernel resolves the whole path, so one call checks all folders in the path for
            # links.
            return os.readlink(f"/proc/self/fd/{descriptor}") == path  # noqa: PTH115
        finally:
            os.close(descriptor)

    def _stays_inside(self, link: str) -> bool:
        return os.path.realpath(link).startswith(self._served)

    def move_in(self, incoming: Path, name: str) -> bool:
        """Rename `incoming` to the path of `name`. Return False if no file can have this path."""
        target = self._make_folders(name)
        if target is None:
            return False
        try:
            incoming.replace(target)
        except OSError as error:
            if error.errno not in _CANNOT_CREATE:
                raise
            self.remove(name)
            return False
        return True

    def remove(self, name: str) -> None:
        """Delete the file `name`, if it exists."""
        if self.stat(name) is not None:
            Path(self.path_of(name)).unlink()

    def _make_folders(self, name: str) -> Path | None:
        """Create the folders of the file `name`. Return the path of this file.

        Return None if a file or a link already has the path of one of the folders.
        """
        *folders, last = name.split("/")
        path = Path(self.root)
        for folder in folders:
            path /= folder
            try:
                path.mkdir()
            except FileExistsError:
                if path.is_symlink() or not path.is_dir():
                    return None
        return path / last
