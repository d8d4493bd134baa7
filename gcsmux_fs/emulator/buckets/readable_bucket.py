"""The objects of a bucket as its readers see them: files of a folder, and records beside them.

If a name has both a file and content in the metadata store, the file is the object, because another
program must have written the file later. A record describes a file only until the file changes (see
`Identity`).
"""

from __future__ import annotations

import heapq
import itertools
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.buckets.file_tree import FileTree
from gcsmux_fs.emulator.buckets.generations import GenerationLedger, Identity
from gcsmux_fs.emulator.buckets.kept_versions import OldVersions
from gcsmux_fs.emulator.buckets.listing_pages import ListedName
from gcsmux_fs.emulator.buckets.metadata_store import METADATA_FOLDER, MetadataStore, Record
from gcsmux_fs.emulator.buckets.object_attributes import default_attributes
from gcsmux_fs.emulator.buckets.objects import Content, StoredObject
from gcsmux_fs.emulator.rpc_error import RpcError, not_found
from gcsmux_fs.model.errors import StatusCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsmux_fs.emulator.buckets.placement import Placement

__all__ = ["ReadableBucket", "removed_during_write"]


class ReadableBucket:
    """Finds and opens the objects of one bucket.

    `folder` holds its files. `served` holds the folders of all buckets.
    """

    def __init__(self, name: str, folder: Path, served: Path, placement: Placement) -> None:
        self.name = name
        self.folder = folder
        self.placement = placement
        # For each name: the object that the last look-up of its file has found. None, to save
        # memory, if no watch needs it.
        self.seen: dict[str, StoredObject] | None = None
        self._tree = FileTree(folder, served)
        self._metadata = MetadataStore(served / METADATA_FOLDER / name)
        self._ledger = GenerationLedger()
        self.old_versions = OldVersions(
            served / METADATA_FOLDER / name, placement, self._metadata.incoming
        )

    def names_from(
        self, start: str, *, within: str = "", folders: bool = False, shallow: bool = False
    ) -> Iterator[ListedName]:
        """Yield objects and, with `folders`, folders from the name `start` on, sorted by name.

        With `within` and `shallow`, some names are left out, as in `FileTree.names_from`.
        """
        stored = (ListedName(name) for name in self._metadata.data_names_from(start))
        files = self._tree.names_from(start, within=within, folders=folders, shallow=shallow)
        last: ListedName | None = None
        for entry in heapq.merge(stored, files, key=lambda entry: (entry.name, entry.folder)):
            if entry != last:
                yield entry
            last = entry

    def find(self, name: str, *, listed: bool = False) -> StoredObject | None:
        """Return the state of an object; None if the object does not exist.

        `listed`: true if `names_from` has yielded the name; the look-up is then faster.
        """
        record = self._metadata.get(name)
        data_record = record if record is not None and record.data else None
        # For names of files, `names_from` has checked that no folder in the name is a link. It has
        # not checked names from the metadata store, so such a name is checked here.
        checked = listed and data_record is None
        status = self._tree.stat_listed(name) if checked else self._tree.stat(name)
        if status is not None:
            stored = self._of_file(name, status)
            if self.seen is not None:
                self.seen[name] = stored
            return stored
        return None if data_record is None else self._of_record(data_record)

    def find_generation(self, name: str, generation: int) -> StoredObject | None:
        """Return a noncurrent generation; the live one if there is no such noncurrent one."""
        return self.old_versions.find(name, generation) or self.find(name)

    def open(self, name: str, *, listed: bool = False, generation: int = 0) -> Content:
        """Open the content of an object. `listed` has the same meaning as in `find`.

        If `generation` is noncurrent, open this generation, otherwise the live one.

        Raises:
            RpcError: the object does not exist (NOT_FOUND), or its file cannot be opened
                (PERMISSION_DENIED).
        """
        stored = self.old_versions.find(name, generation) or self.find(name, listed=listed)
        if stored is None:
            raise self.no_such_object(name)
        try:
            descriptor = os.open(stored.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise self.no_such_object(name) from None
        except OSError as error:
            raise RpcError(
                StatusCode.PERMISSION_DENIED, f"Cannot open {stored}: {error.strerror}."
            ) from None
        try:
            status = os.fstat(descriptor)
            if stored.identity is not None:
                # Another program may have replaced the file between stat and open.
                if not stat.S_ISREG(status.st_mode):
                    raise self.no_such_object(name)
                stored = self._of_file(name, status)
        except BaseException:
            os.close(descriptor)
            raise
        return Content(stored, descriptor)

    def no_such_object(self, name: str) -> RpcError:
        """Return the error for an object that does not exist (NOT_FOUND)."""
        return not_found(f"No such object: gs://{self.name}/{name!r}.")

    def names_below(self, path: str) -> list[str]:
        """Return the names of all objects in a folder."""
        names = itertools.takewhile(
            lambda name: name.startswith(path),
            (entry.name for entry in self.names_from(path, within=path)),
        )
        return list(names)

    def _get(self, name: str) -> StoredObject:
        stored = self.find(name)
        if stored is None:
            raise removed_during_write(name)
        return stored

    def _of_file(self, name: str, status: os.stat_result) -> StoredObject:
        identity = Identity.of(status)
        record = self._metadata.get(name)
        if record is not None and record.identity != identity:
            record = None
        generation, survives_restart = self._ledger.of_file(
            name, identity, None if record is None else record.generation
        )
        if record is None:
            record = Record(
                name, generation, attributes=default_attributes(name), identity=identity
            )
        if not survives_restart:
            self._metadata.put(replace(record, generation=generation))
        return StoredObject(
            bucket=self.name,
            name=name,
            generation=generation,
            size=status.st_size,
            time_ns=status.st_mtime_ns,
            attributes=record.attributes,
            path=self._tree.path_of(name),
            identity=identity,
            metageneration=record.metageneration,
            updated_ns=record.updated_ns,
            components=record.components,
        )

    def _of_record(self, record: Record) -> StoredObject | None:
        path = self._metadata.data_path(record)
        try:
            status = Path(path).stat()
        except OSError:
            return None
        return StoredObject(
            bucket=self.name,
            name=record.name,
            generation=record.generation,
            size=status.st_size,
            time_ns=record.time_ns if record.finalized else status.st_mtime_ns,
            attributes=record.attributes,
            path=path,
            identity=None,
            finalized=record.finalized,
            metageneration=record.metageneration,
            updated_ns=record.updated_ns,
            components=record.components,
        )


def removed_during_write(name: str) -> RpcError:
    """Return the error for an object that has disappeared while it was written (ABORTED)."""
    return RpcError(StatusCode.ABORTED, f"{name!r} was removed during the write.")
