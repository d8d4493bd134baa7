"""A bucket: one set of objects, made of the files in a folder and records in the metadata store.

If a name has both a file and content in the metadata store, the file is the object, because another
program must have written the file later. A record describes a file only until the file changes (see
`Identity`).
"""

from __future__ import annotations

import heapq
import itertools
import os
import shutil
import stat
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.buckets.file_tree import FileTree
from gcsmux_fs.emulator.buckets.folders import Folders
from gcsmux_fs.emulator.buckets.generations import GenerationLedger, Identity
from gcsmux_fs.emulator.buckets.kept_versions import OldVersions
from gcsmux_fs.emulator.buckets.listing_pages import ListedName
from gcsmux_fs.emulator.buckets.metadata_store import METADATA_FOLDER, MetadataStore, Record
from gcsmux_fs.emulator.buckets.object_attributes import default_attributes
from gcsmux_fs.emulator.buckets.object_events import (
    ObjectEvent,
    ObjectEventType,
    replacement_events,
)
from gcsmux_fs.emulator.buckets.object_names import file_can_be_named
from gcsmux_fs.emulator.buckets.objects import Content, StoredObject
from gcsmux_fs.emulator.rpc_error import RpcError, not_found
from gcsmux_fs.model.errors import StatusCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsmux_fs.emulator.buckets.object_attributes import ObjectAttributes
    from gcsmux_fs.emulator.buckets.object_events import Announce
    from gcsmux_fs.emulator.buckets.placement import Placement

__all__ = ["Bucket"]


class Bucket:
    """One bucket. `folder` holds its files. `served` holds the folders of all buckets.

    `announce` is told of each change of an object.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        served: Path,
        placement: Placement,
        announce: Announce | None = None,
    ) -> None:
        self.name = name
        self.folder = folder
        self.placement = placement
        # For each name: the object that the last look-up of its file has found. None, to save
        # memory, if no watch needs it.
        self.seen: dict[str, StoredObject] | None = None
        self._announce = announce or (lambda _: None)
        self._tree = FileTree(folder, served)
        self._metadata = MetadataStore(served / METADATA_FOLDER / name)
        self._ledger = GenerationLedger()
        self.old_versions = OldVersions(
            served / METADATA_FOLDER / name, placement, self._metadata.incoming
        )
        self.folders = Folders(self._tree, self._metadata)

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

    def publish(
        self,
        name: str,
        incoming: Path,
        attributes: ObjectAttributes,
        generation: int = 0,
        *,
        metageneration: int = 1,
        components: int = 0,
    ) -> StoredObject:
        """Make the file `incoming` the object `name`. An older object of this name is replaced.

        If `generation` is 0, the object gets a new generation. An appendable object keeps its
        generation, which the caller passes.
        """
        old = self.find(name)
        replaced = None if old is None or old.generation == generation else old
        copy = self.old_versions.copy_of(replaced)
        record = Record(
            name,
            generation,
            attributes=attributes,
            metageneration=metageneration,
            components=components,
        )
        if file_can_be_named(name) and self._tree.move_in(incoming, name):
            status = self._tree.stat(name)
            if status is None:
                raise _removed_during_write(name)
            identity = Identity.of(status)
            if generation:
                self._ledger.note(name, identity, generation)
            else:
                generation, _ = self._ledger.of_file(name, identity, None)
            self._put_or_remove(replace(record, generation=generation, identity=identity))
        else:
            now_ns = time.time_ns()
            generation = generation or self._ledger.fresh(name, now_ns)
            data = self._metadata.adopt(incoming, name, generation)
            self._metadata.put(replace(record, generation=generation, time_ns=now_ns, data=data))
        return self._replaced(replaced, self._get(name), copy)

    def update(self, stored: StoredObject, attributes: ObjectAttributes) -> StoredObject:
        """Replace the attributes of an object, and increase its metageneration by one."""
        record = self._metadata.get(stored.name)
        if record is None or stored.identity is not None:
            record = Record(
                stored.name,
                stored.generation,
                identity=stored.identity,
                components=stored.components,
            )
        self._metadata.put(
            replace(
                record,
                attributes=attributes,
                metageneration=stored.metageneration + 1,
                updated_ns=time.time_ns(),
            )
        )
        updated = self._get(stored.name)
        self._announce(ObjectEvent(ObjectEventType.METADATA_UPDATE, updated))
        return updated

    def move(self, source: StoredObject, name: str) -> StoredObject:
        """Rename an object. An object that already has the new name is replaced.

        Streams that read the renamed object end with NOT_FOUND, as if its file had been changed in
        place.
        """
        copy = self.old_versions.copy_of(source)
        incoming = self._metadata.incoming()
        if Path(source.path).is_symlink():
            shutil.copyfile(source.path, incoming)
            Path(source.path).unlink()
        else:
            shutil.move(source.path, incoming)
        self._metadata.remove(source.name)
        if source.finalized:
            moved = self.publish(name, incoming, source.attributes, components=source.components)
        else:
            moved = self.begin_appendable(name, incoming, source.attributes)
        self.old_versions.retire(source, copy, moved.time_ns)
        self._announce(ObjectEvent(self.old_versions.event_type, source))
        return moved

    def begin_appendable(
        self, name: str, incoming: Path, attributes: ObjectAttributes
    ) -> StoredObject:
        """Create an appendable object, not finalized, with the content of the file `incoming`."""
        now_ns = time.time_ns()
        old = self.find(name)
        copy = self.old_versions.copy_of(old)
        generation = self._ledger.fresh(name, now_ns)
        self._tree.remove(name)
        data = self._metadata.adopt(incoming, name, generation)
        self._metadata.put(Record(name, generation, now_ns, attributes, data=data, finalized=False))
        return self._replaced(old, self._get(name), copy)

    def finalize_appendable(self, stored: StoredObject) -> StoredObject:
        """Finalize an appendable object. The object keeps its generation."""
        incoming = Path(stored.path).replace(self._metadata.incoming())
        return self.publish(
            stored.name,
            incoming,
            stored.attributes,
            stored.generation,
            metageneration=stored.metageneration,
        )

    def incoming(self) -> Path:
        """Return an unused path for content that is being received."""
        return self._metadata.incoming()

    def delete(self, name: str, generation: int = 0) -> None:
        """Delete an object, if it exists.

        A call that names the generation deletes it also in a bucket with versioning. It may be a
        noncurrent generation.
        """
        noncurrent = self.old_versions.find(name, generation)
        if noncurrent is not None:
            self.old_versions.remove(noncurrent, time.time_ns())
            self._announce(ObjectEvent(ObjectEventType.DELETE, noncurrent))
            return
        old = self.find(name)
        copy = self.old_versions.copy_of(old)
        self._tree.remove(name)
        self._metadata.remove(name)
        if old is not None:
            self.old_versions.retire(old, copy, time.time_ns(), keeps_version=not generation)
            event_type = ObjectEventType.DELETE if generation else self.old_versions.event_type
            self._announce(ObjectEvent(event_type, old))

    def restore(self, name: str, generation: int) -> StoredObject | None:
        """Make a copy of a soft-deleted generation the live object; None if it is not kept."""
        stored = self.old_versions.find(name, generation, soft_deleted=True)
        if stored is None:
            return None
        incoming = self._metadata.incoming()
        shutil.copyfile(stored.path, incoming)
        return self.publish(name, incoming, stored.attributes, components=stored.components)

    def delete_folder(self, path: str) -> None:
        """Remove a folder, and all objects and folders in it."""
        inside = [self.find(name) for name in self.names_below(path)]
        copies = [self.old_versions.copy_of(old) for old in inside]
        self.folders.delete_all(path)
        for old, copy in zip(inside, copies, strict=True):
            if old is not None:
                self.old_versions.retire(old, copy, time.time_ns())
                self._announce(ObjectEvent(self.old_versions.event_type, old))

    def names_below(self, path: str) -> list[str]:
        """Return the names of all objects in a folder."""
        names = itertools.takewhile(
            lambda name: name.startswith(path),
            (entry.name for entry in self.names_from(path, within=path)),
        )
        return list(names)

    def announce_change(self, old: StoredObject) -> None:
        """Announce that the file of the object `old` has been changed in place."""
        new = self.find(old.name)
        if new is not None:
            self._replaced(old, new)

    def remove_folders(self) -> None:
        """Remove the empty folders and the metadata folder of a bucket without objects."""
        for folder, _, _ in os.walk(self.folder, topdown=False):
            Path(folder).rmdir()
        self._metadata.clear()

    def _replaced(
        self, old: StoredObject | None, new: StoredObject, copy: Path | None = None
    ) -> StoredObject:
        """Announce that `new` has been written and may have replaced `old`. Return `new`.

        `copy` is a copy of the content of `old`, which the bucket keeps if it keeps generations.
        """
        if old is not None:
            self.old_versions.retire(old, copy, new.time_ns)
        for event in replacement_events(old, new, self.old_versions.event_type):
            self._announce(event)
        return new

    def _get(self, name: str) -> StoredObject:
        stored = self.find(name)
        if stored is None:
            raise _removed_during_write(name)
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

    def _put_or_remove(self, record: Record) -> None:
        """Write the record of a file, or remove it if the file alone gives the same values."""
        if record.identity is not None and record == Record(
            record.name,
            record.identity.ctime_ns // 1000,
            attributes=default_attributes(record.name),
            identity=record.identity,
        ):
            self._metadata.remove(record.name)
        else:
            self._metadata.put(record)


def _removed_during_write(name: str) -> RpcError:
    return RpcError(StatusCode.ABORTED, f"{name!r} was removed during the write.")
