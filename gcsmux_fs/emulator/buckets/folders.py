"""Folders of a hierarchical bucket.

A folder exists as a folder of the file system, or because the name of an object in the metadata
store begins with the path of the folder (an implied folder). The path of a folder is relative to
its bucket and ends with `/`.
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
    """The state of one folder at one moment."""

    path: str
    time_ns: int
    metageneration: int = 1


@dataclass(frozen=True, slots=True)
class FolderPage:
    """One page of a sorted listing of folders. `following`: start of the next page, if any."""

    folders: list[StoredFolder]
    following: Position | None = None


class Folders:
    """The folders of one bucket."""

    def __init__(self, tree: FileTree, metadata: MetadataStore) -> None:
        self._tree = tree
        self._metadata = metadata

    def find(self, path: str) -> StoredFolder | None:
        """Return the state of a folder; None if the folder does not exist."""
        if self._tree.has_folder(path):
            return StoredFolder(path, os.lstat(self._tree.path_of(path)).st_mtime_ns)
        implied = next(self._metadata.data_names_from(path), "")
        record = self._metadata.get(implied) if implied.startswith(path) else None
        return None if record is None else StoredFolder(path, record.time_ns)

    def get(self, path: str) -> StoredFolder:
        """Return the state of a folder.

        Raises:
            RpcError: the folder does not exist (NOT_FOUND).
        """
        folder = self.find(path)
        if folder is None:
            raise not_found(f"No such folder: {path!r}.")
        return folder

    def page(self, query: Query, position: Position, max_entries: int) -> FolderPage:
        """Return at most `max_entries` folders whose paths begin with the prefix of the query.

        With a delimiter, return only the folder whose path is the prefix, and the folders directly
        in this folder.
        """
        folders: list[StoredFolder] = []
        paths = self._paths_from(max(query.prefix, query.start, position.name), query)
        for path in paths:
            if query.end and path >= query.end:
                break
            if len(folders) == max_entries:
                return FolderPage(folders, Position(path))
            if (folder := self.find(path)) is not None:
                folders.append(folder)
        return FolderPage(folders)

    def create(self, path: str, *, recursive: bool) -> StoredFolder:
        """Create a folder. With `recursive`, also create missing parent folders.

        Raises:
            RpcError: the folder exists (ALREADY_EXISTS); or the parent folder is missing, or a part
                of the path is the name of an object (FAILED_PRECONDITION).
        """
        _check_new(path)
        if self.find(path) is not None:
            raise RpcError(StatusCode.ALREADY_EXISTS, f"The folder already exists: {path!r}.")
        if not recursive:
            self._check_parent(path)
        try:
            Path(self._tree.path_of(path)).mkdir(parents=True)
        except (FileExistsError, NotADirectoryError):
            raise _object_has_name(path) from None
        return self.get(path)

    def delete(self, path: str) -> None:
        """Remove an empty folder.

        Raises:
            RpcError: the folder is not empty (FAILED_PRECONDITION).
        """
        if not next(self._metadata.data_names_from(path), "").startswith(path):
            with suppress(OSError):
                Path(self._tree.path_of(path)).rmdir()
                return
        raise RpcError(StatusCode.FAILED_PRECONDITION, f"The folder is not empty: {path!r}.")

    def delete_all(self, path: str) -> None:
        """Remove a folder, and all objects and folders in it."""
        if self._tree.has_folder(path):
            shutil.rmtree(self._tree.path_of(path))
        for name in self._metadata.names_below(path):
            self._metadata.remove(name)

    def rename(self, path: str, destination: str) -> StoredFolder:
        """Rename a folder and all names in it. Objects keep their generations.

        Raises:
            RpcError: the destination exists (ALREADY_EXISTS) or is in the folder itself
                (INVALID_ARGUMENT); or the destination's parent folder is missing, or a part of the
                destination's path is the name of an object (FAILED_PRECONDITION).
        """
        _check_new(destination)
        if destination.startswith(path):
            raise invalid(f"The folder {path!r} cannot be moved into itself: {destination!r}.")
        if self.find(destination) is not None:
            raise RpcError(
                StatusCode.ALREADY_EXISTS, f"The folder already exists: {destination!r}."
            )
        self._check_parent(destination)
        # Create the parent folder in the file system, where an implied folder does not exist yet.
        target = Path(self._tree.path_of(destination))
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if self._tree.has_folder(path):
                Path(self._tree.path_of(path)).rename(target)
            else:
                target.mkdir()
        except (FileExistsError, NotADirectoryError):
            raise _object_has_name(destination) from None
        for name in self._metadata.names_below(path):
            self._metadata.rename(name, destination + name.removeprefix(path))
        return self.get(destination)

    def _check_parent(self, path: str) -> None:
        parent = path[: path.rfind("/", 0, -1) + 1]
        if parent and self.find(parent) is None:
            raise RpcError(
                StatusCode.FAILED_PRECONDITION, f"The parent folder does not exist: {parent!r}."
            )

    def _paths_from(self, start: str, query: Query) -> Iterator[str]:
        """Yield the folder paths from `start` on that a query selects, in order."""
        following: str | None = start
        while following is not None:
            path = self._first_from(following, query.prefix)
            if path is None:
                return
            if query.delimiter:
                # Replace the path of a deeper folder by the path of the folder directly in the
                # prefix.
                end = path.find("/", len(query.prefix)) + 1
                path = path[:end] if end else path
            if path >= start:
                yield path
            # Continue with the first folder in this folder, or skip all folders in this folder.
            deeper = not query.delimiter or path == query.prefix
            following = path + "\0" if deeper else after_prefix(path)

    def _first_from(self, start: str, prefix: str) -> str | None:
        """Return the first folder path from `start` on that begins with `prefix`."""
        entries = self._tree.names_from(start, within=prefix, folders=True)
        first = next((entry.name for entry in entries if entry.folder), None)
        if first is not None and not first.startswith(prefix):
            first = None
        implied = self._first_implied(start, prefix)
        return min((path for path in (first, implied) if path is not None), default=None)

    def _first_implied(self, start: str, prefix: str) -> str | None:
        """Return the first implied folder path from `start` on that begins with `prefix`."""
        for name in self._metadata.data_names_from(prefix):
            if not name.startswith(prefix):
                break
            end = name.find("/") + 1
            while end:
                if name[:end] >= start and name[:end].startswith(prefix):
                    return name[:end]
                end = name.find("/", end) + 1
        return None


def check_folder_path(path: str) -> None:
    """Check the path of a folder.

    Raises:
        RpcError: the path is not valid, or does not end with `/` (INVALID_ARGUMENT).
    """
    if not (is_object_name(path) and path.endswith("/")):
        raise invalid(f"{path!r} is not a valid folder path. A folder path must end with '/'.")


def _check_new(path: str) -> None:
    check_folder_path(path)
    if not file_can_be_named(path[:-1]):
        raise invalid(f"The emulator cannot create a folder with this path: {path!r}.")


def _object_has_name(path: str) -> RpcError:
    return RpcError(
        StatusCode.FAILED_PRECONDITION,
        f"The emulator cannot create the folder {path!r}, because a part of this path is the name"
        " of an object.",
    )
