"""A bucket: its objects are written, changed and deleted here.

Each change is announced after it has been made, so that it can be published.
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.buckets.folders import Folders
from gcsmux_fs.emulator.buckets.generations import Identity
from gcsmux_fs.emulator.buckets.metadata_store import Record
from gcsmux_fs.emulator.buckets.object_attributes import default_attributes
from gcsmux_fs.emulator.buckets.object_events import (
    ObjectEvent,
    ObjectEventType,
    replacement_events,
)
from gcsmux_fs.emulator.buckets.object_names import file_can_be_named
from gcsmux_fs.emulator.buckets.readable_bucket import ReadableBucket, removed_during_write

if TYPE_CHECKING:
    from gcsmux_fs.emulator.buckets.object_attributes import ObjectAttributes
    from gcsmux_fs.emulator.buckets.object_events import Announce
    from gcsmux_fs.emulator.buckets.objects import StoredObject
    from gcsmux_fs.emulator.buckets.placement import Placement

__all__ = ["Bucket"]


class Bucket(ReadableBucket):
    """One bucket. `announce` is called with each change of an object."""

    def __init__(
        self,
        name: str,
        folder: Path,
        served: Path,
        placement: Placement,
        announce: Announce | None = None,
    ) -> None:
        super().__init__(name, folder, served, placement)
        self._announce = announce or (lambda _: None)
        self.folders = Folders(self._tree, self._metadata)

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
                raise removed_during_write(name)
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
