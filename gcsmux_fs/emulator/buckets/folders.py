"""Folders of a hierarchical bucket: those of its file system, and those that kept names imply.

A path is that of a folder within its bucket and ends with `/`.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.buckets.listing_pages import Position
from gcsmux_fs.emulator.buckets.object_names import after_prefix, file_can_be_named, is_object_name
from gcsmux_fs.emulator.rpc_error import RpcError, invalid, not_found
from gcsmux_fs.model.errors import StatusCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsmux_fs.emulator.buckets.file_tree import FileTree
    from gcsmux_fs.emulator.buckets.listing_pages import Query
    from gcsmux_fs.emulator.buckets.metadata_store import MetadataStore

__all__ = ["FolderPage", "Folders", "StoredFolder", "check_folder_path"]


@dataclass(frozen=True, slots=True)
class StoredFolder:
    """One folder as it is now."""

    path: str
    time_ns: int
    metageneration: int = 1


@dataclass(frozen=True, slots=True)
class FolderPage:
    """Folders in order, and where the next page begins."""

    folders: list[StoredFolder]
    following: Position | None = None


class Folders:
    """The folders of one bucket."""

    def __init__(self, tree: FileTree, side: MetadataStore) -> None:
        self._tree = tree
        self._side = side

    def find(self, path: str) -> StoredFolder | None:
        """Return a folder as it is now, or None."""
        if self._tree.has_folder(path):
            return StoredFolder(path, os.lstat(self._tree.path_of(path)).st_mtime_ns)
        implied = next(self._side.data_names_from(path), "")
        record = self._side.get(implied) if implied.startswith(path) else None
        return None if record is None else StoredFolder(path, record.time_ns)

    def get(self, path: str) -> StoredFolder:
        """Return a folder that is there.

        Raises:
            RpcError: it is not (NOT_FOUND).
        """
        found = self.find(path)
        if found is None:
            raise not_found(f"No such folder: {path!r}")
        return found

    def page(self, query: Query, position: Position, max_entries: int) -> FolderPage:
        """Return the folders that begin with the query's prefix, `max_entries` at most.

        With a delimiter, only the folder that is the prefix and those directly in it.
        """
        shown: list[StoredFolder] = []
        paths = self._paths_from(max(query.prefix, query.start, position.name), query)
        for path in paths:
            if query.end and path >= query.end:
                break
            if len(shown) == max_entries:
                return FolderPage(shown, Position(path))
            if (found := self.find(path)) is not None:
                shown.append(found)
        return FolderPage(shown)

    def create(self, path: str, *, recursive: bool) -> StoredFolder:
        """Make a folder; `recursive` makes those that it is in as well.

        Raises:
            RpcError: it is there (ALREADY_EXISTS), or the one that it is in is not, or a file is
                in the way (FAILED_PRECONDITION).
        """
        _check_new(path)
        if self.find(path) is not None:
            raise RpcError(StatusCode.ALREADY_EXISTS, f"The folder exists: {path!r}")
        if not recursive:
            self._check_parent(path)
        try:
            Path(self._tree.path_of(path)).mkdir(parents=True)
        except (FileExistsError, NotADirectoryError):
            raise _in_the_way(path) from None
        return self.get(path)

    def delete(self, path: str) -> None:
        """Remove an empty folder.

        Raises:
            RpcError: something is in it (FAILED_PRECONDITION).
        """
        if not next(self._side.data_names_from(path), "").startswith(path):
            with suppress(OSError):
                Path(self._tree.path_of(path)).rmdir()
                return
        raise RpcError(StatusCode.FAILED_PRECONDITION, f"The folder is not empty: {path!r}")

    def delete_all(self, path: str) -> None:
        """Remove a folder with all that is in it."""
        if self._tree.has_folder(path):
            shutil.rmtree(self._tree.path_of(path))
        for name in self._side.names_below(path):
            self._side.remove(name)

    def rename(self, path: str, destination: str) -> StoredFolder:
        """Give a folder, and all that is in it, another path; objects keep their generations.

        Raises:
            RpcError: the new path is taken (ALREADY_EXISTS), within the folder (INVALID_ARGUMENT),
                or in no folder (FAILED_PRECONDITION).
        """
        _check_new(destination)
        if destination.startswith(path):
            raise invalid(f"The folder {path!r} cannot become a part of itself: {destination!r}")
        if self.find(destination) is not None:
            raise RpcError(StatusCode.ALREADY_EXISTS, f"The folder exists: {destination!r}")
        self._check_parent(destination)
        # A parent that only kept names imply has no folder yet.
        target = Path(self._tree.path_of(destination))
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if self._tree.has_folder(path):
                Path(self._tree.path_of(path)).rename(target)
            else:
                target.mkdir()
        except (FileExistsError, NotADirectoryError):
            raise _in_the_way(destination) from None
        for name in self._side.names_below(path):
            self._side.rename(name, destination + name.removeprefix(path))
        return self.get(destination)

    def _check_parent(self, path: str) -> None:
        parent = path[: path.rfind("/", 0, -1) + 1]
        if parent and self.find(parent) is None:
            raise RpcError(
                StatusCode.FAILED_PRECONDITION, f"The folder that it is in is missing: {parent!r}"
            )

    def _paths_from(self, start: str, query: Query) -> Iterator[str]:
        """Yield in order the paths, not before `start`, that a query shows."""
        following: str | None = start
        while following is not None:
            path = self._first_from(following, query.prefix)
            if path is None:
                return
            if query.delimiter:
                # What is deeper stands for the folder directly in the prefix.
                end = path.find("/", len(query.prefix)) + 1
                path = path[:end] if end else path
            if path >= start:
                yield path
            # The first name that is not before this folder and is not the folder itself.
            deeper = not query.delimiter or path == query.prefix
            following = path + "\0" if deeper else after_prefix(path)

    def _first_from(self, start: str, prefix: str) -> str | None:
        """Return the first path, not before `start`, that begins with `prefix`."""
        entries = self._tree.names_from(start, within=prefix, folders=True)
        first = next((entry.name for entry in entries if entry.folder), None)
        if first is not None and not first.startswith(prefix):
            first = None
        implied = self._first_implied(start, prefix)
        return min((path for path in (first, implied) if path is not None), default=None)

    def _first_implied(self, start: str, prefix: str) -> str | None:
        """Return the same of the paths that kept names imply."""
        for name in self._side.data_names_from(prefix):
            if not name.startswith(prefix):
                break
            end = name.find("/") + 1
            while end:
                if name[:end] >= start and name[:end].startswith(prefix):
                    return name[:end]
                end = name.find("/", end) + 1
        return None


def check_folder_path(path: str) -> None:
    """Refuse what cannot be the path of a folder.

    Raises:
        RpcError: it is none (INVALID_ARGUMENT).
    """
    if not (is_object_name(path) and path.endswith("/")):
        raise invalid(f"Not the path of a folder, which ends with '/': {path!r}")


def _check_new(path: str) -> None:
    check_folder_path(path)
    if not file_can_be_named(path[:-1]):
        raise invalid(f"Not the path of a folder that can be made: {path!r}")


def _in_the_way(path: str) -> RpcError:
    return RpcError(
        StatusCode.FAILED_PRECONDITION,
        f"The emulator can have no folder {path!r}: an object has the name of a part of it",
    )
