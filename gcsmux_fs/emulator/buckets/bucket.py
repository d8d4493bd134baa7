"""Buckets: the files of a folder and the records of its side store, seen as one set of objects.

Where both have content for a name, the file is the object: it was put there later, by somebody who
does not know of the record. A record describes a file only while the file is as it was then.
"""

from __future__ import annotations

import errno
import heapq
import mimetypes
import os
import shutil
import stat
import time
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.buckets.file_tree import FileTree
from gcsmux_fs.emulator.buckets.folders import Folders
from gcsmux_fs.emulator.buckets.generations import GenerationLedger, Identity
from gcsmux_fs.emulator.buckets.listing_pages import ListedName
from gcsmux_fs.emulator.buckets.metadata_store import SIDE_FOLDER, MetadataStore, Record
from gcsmux_fs.emulator.buckets.object_names import file_can_be_named
from gcsmux_fs.emulator.buckets.objects import Attributes, Content, StoredObject
from gcsmux_fs.emulator.rpc_error import RpcError, not_found
from gcsmux_fs.model.errors import StatusCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsmux_fs.emulator.buckets.placement import Placement

__all__ = ["Bucket", "attributes_of_file"]

_DEFAULT_CONTENT_TYPE = "application/octet-stream"
_DEFAULT_STORAGE_CLASS = "STANDARD"
# A folder is where the file should be, or the bucket's folder is on another file system.
_NO_PLACE = (errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.EXDEV, errno.ENAMETOOLONG)


class Bucket:
    """One folder as a bucket."""

    def __init__(self, name: str, folder: Path, served: Path, placement: Placement) -> None:
        self.name = name
        self.folder = folder
        self.placement = placement
        self._tree = FileTree(folder, served)
        self._side = MetadataStore(served / SIDE_FOLDER / name)
        self._ledger = GenerationLedger()
        self.folders = Folders(self._tree, self._side)

    def names_from(
        self, start: str, *, within: str = "", folders: bool = False, shallow: bool = False
    ) -> Iterator[ListedName]:
        """Yield objects, and folders if asked for, that are not before `start`, in order.

        `within` and `shallow` leave names out, as in `Tree.names_from`.
        """
        kept = (ListedName(name) for name in self._side.data_names_from(start))
        files = self._tree.names_from(start, within=within, folders=folders, shallow=shallow)
        last: ListedName | None = None
        for entry in heapq.merge(kept, files, key=lambda entry: (entry.name, entry.folder)):
            if entry != last:
                yield entry
            last = entry

    def find(self, name: str, *, listed: bool = False) -> StoredObject | None:
        """Return the object as it is now; `listed` says that the name came from `names_from`."""
        record = self._side.get(name)
        kept = record if record is not None and record.data else None
        # A kept name never went through the tree, so that nobody has looked at its folders.
        quick = listed and kept is None
        status = self._tree.stat_listed(name) if quick else self._tree.stat(name)
        if status is not None:
            return self._of_file(name, status)
        return None if kept is None else self._of_record(kept)

    def open(self, name: str, *, listed: bool = False) -> Content:
        """Return the object's content, opened; `listed` as in `find`.

        Raises:
            RpcError: there is no such object (NOT_FOUND), or it cannot be read (PERMISSION_DENIED).
        """
        found = self.find(name, listed=listed)
        if found is None:
            raise not_found(f"No such object: gs://{self.name}/{name!r}")
        try:
            descriptor = os.open(found.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise not_found(f"No such object: gs://{self.name}/{name!r}") from None
        except OSError as error:
            raise RpcError(
                StatusCode.PERMISSION_DENIED, f"Cannot read {found}: {error.strerror}"
            ) from None
        try:
            status = os.fstat(descriptor)
            if found.identity is not None:
                # The file may have been replaced between the look at its name and the open.
                if not stat.S_ISREG(status.st_mode):
                    raise not_found(f"No such object: gs://{self.name}/{name!r}")
                found = self._of_file(name, status)
        except BaseException:
            os.close(descriptor)
            raise
        return Content(found, descriptor)

    def publish(
        self,
        name: str,
        incoming: Path,
        attributes: Attributes,
        generation: int = 0,
        *,
        metageneration: int = 1,
        components: int = 0,
    ) -> StoredObject:
        """Make received content the object `name`, in place of what is there.

        A `generation` other than 0 is kept: it was given when an appendable object was begun.
        """
        record = Record(
            name,
            generation,
            attributes=attributes,
            metageneration=metageneration,
            components=components,
        )
        if file_can_be_named(name) and self._move_into_place(incoming, name):
            status = self._tree.stat(name)
            if status is None:
                raise RpcError(StatusCode.ABORTED, f"{name!r} was removed while it was written")
            identity = Identity.of(status)
            if generation:
                self._ledger.note(name, identity, generation)
            else:
                generation, _ = self._ledger.of_file(name, identity, None)
            self._describe(replace(record, generation=generation, identity=identity))
        else:
            now_ns = time.time_ns()
            generation = generation or self._ledger.fresh(name, now_ns)
            data = self._side.adopt(incoming, name, generation)
            self._side.put(replace(record, generation=generation, time_ns=now_ns, data=data))
        return self._get(name)

    def update(self, found: StoredObject, attributes: Attributes) -> StoredObject:
        """Replace an object's attributes; its metageneration grows by one."""
        record = self._side.get(found.name)
        if record is None or found.identity is not None:
            record = Record(
                found.name,
                found.generation,
                identity=found.identity,
                components=found.components,
            )
        self._side.put(
            replace(
                record,
                attributes=attributes,
                metageneration=found.metageneration + 1,
                updated_ns=time.time_ns(),
            )
        )
        return self._get(found.name)

    def move(self, source: StoredObject, name: str) -> StoredObject:
        """Give an object another name, and replace the object that has it.

        A stream that has the moved object open ends, as if the file had been changed in place.
        """
        incoming = self._side.incoming()
        if Path(source.path).is_symlink():
            shutil.copyfile(source.path, incoming)
            Path(source.path).unlink()
        else:
            shutil.move(source.path, incoming)
        self._side.remove(source.name)
        if not source.finalized:
            return self.begin_appendable(name, incoming, source.attributes)
        return self.publish(name, incoming, source.attributes, components=source.components)

    def begin_appendable(self, name: str, incoming: Path, attributes: Attributes) -> StoredObject:
        """Make a file the content so far of an object that grows until it is finalized."""
        now_ns = time.time_ns()
        generation = self._ledger.fresh(name, now_ns)
        self._remove_file(name)
        data = self._side.adopt(incoming, name, generation)
        self._side.put(Record(name, generation, now_ns, attributes, data=data, finalized=False))
        return self._get(name)

    def finalize_appendable(self, grown: StoredObject) -> StoredObject:
        """End the growth of an appendable object; it keeps its generation."""
        incoming = Path(grown.path).replace(self._side.incoming())
        return self.publish(
            grown.name,
            incoming,
            grown.attributes,
            grown.generation,
            metageneration=grown.metageneration,
        )

    def incoming(self) -> Path:
        """Return the path for content to be received."""
        return self._side.incoming()

    def delete(self, name: str) -> None:
        """Remove an object that is there."""
        self._remove_file(name)
        self._side.remove(name)

    def remove_folders(self) -> None:
        """Remove all that is left of a bucket without objects."""
        for folder, _, _ in os.walk(self.folder, topdown=False):
            Path(folder).rmdir()
        self._side.clear()

    def _get(self, name: str) -> StoredObject:
        found = self.find(name)
        if found is None:
            raise RpcError(StatusCode.ABORTED, f"{name!r} was removed while it was written")
        return found

    def _of_file(self, name: str, status: os.stat_result) -> StoredObject:
        identity = Identity.of(status)
        record = self._side.get(name)
        if record is not None and record.identity != identity:
            record = None
        generation, settled = self._ledger.of_file(
            name, identity, None if record is None else record.generation
        )
        if record is None:
            record = Record(
                name, generation, attributes=attributes_of_file(name), identity=identity
            )
        if not settled:
            self._side.put(replace(record, generation=generation))
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
        path = self._side.data_path(record)
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

    def _describe(self, record: Record) -> None:
        """Record what a file cannot say of itself, and only that."""
        if record.identity is not None and record == Record(
            record.name,
            record.identity.ctime_ns // 1000,
            attributes=attributes_of_file(record.name),
            identity=record.identity,
        ):
            self._side.remove(record.name)
        else:
            self._side.put(record)

    def _move_into_place(self, incoming: Path, name: str) -> bool:
        """Rename received content to its object's path; False if no file can be there."""
        target = self._make_folders(name)
        if target is None:
            return False
        try:
            incoming.replace(target)
        except OSError as error:
            if error.errno not in _NO_PLACE:
                raise
            self._remove_file(name)
            return False
        return True

    def _make_folders(self, name: str) -> Path | None:
        """Make the folders that the object's file is in; None if a file or a link is in the way."""
        *folders, last = name.split("/")
        path = self.folder
        for folder in folders:
            path /= folder
            try:
                path.mkdir()
            except FileExistsError:
                if path.is_symlink() or not path.is_dir():
                    return None
        return path / last

    def _remove_file(self, name: str) -> None:
        if self._tree.stat(name) is not None:
            Path(self._tree.path_of(name)).unlink()


def attributes_of_file(name: str) -> Attributes:
    """Return what is assumed of a file that somebody just put there."""
    stem, _, extension = name.rpartition("/")[2].rpartition(".")
    return _attributes_of_extension(extension if stem else "")


@lru_cache
def _attributes_of_extension(extension: str) -> Attributes:
    guessed, encoding = mimetypes.guess_type("x." + extension)
    # Packed content has the type of its packing, so that nobody unpacks it on the way.
    content_type = _DEFAULT_CONTENT_TYPE if guessed is None or encoding else guessed
    return Attributes(content_type=content_type, storage_class=_DEFAULT_STORAGE_CLASS)
