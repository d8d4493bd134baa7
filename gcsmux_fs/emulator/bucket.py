"""Buckets: the files of a folder and the records of its side store, seen as one set of objects.

Where both have content for a name, the file is the object: it was put there later, by somebody who
does not know of the record. A record describes a file only while the file is as it was then.
"""

from __future__ import annotations

import errno
import heapq
import mimetypes
import os
import stat
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.generations import GenerationLedger, Identity
from gcsmux_fs.emulator.listing import Entry
from gcsmux_fs.emulator.names import file_can_be_named
from gcsmux_fs.emulator.objects import Attributes, Content, StoredObject
from gcsmux_fs.emulator.refusal import Refusal, not_found
from gcsmux_fs.emulator.sidestore import SIDE_FOLDER, Record, SideStore
from gcsmux_fs.emulator.tree import Tree
from gcsmux_fs.errors import StatusCode

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Bucket", "Store", "attributes_of_file"]

_DEFAULT_CONTENT_TYPE = "application/octet-stream"
_DEFAULT_STORAGE_CLASS = "STANDARD"
# A folder is where the file should be, or the bucket's folder is on another file system.
_NO_PLACE = (errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.EXDEV, errno.ENAMETOOLONG)


class Bucket:
    """One folder as a bucket."""

    def __init__(self, name: str, folder: Path, served: Path) -> None:
        self.name = name
        self.folder = folder
        self._tree = Tree(folder, served)
        self._side = SideStore(served / SIDE_FOLDER / name)
        self._ledger = GenerationLedger()

    def names_from(self, start: str, *, folders: bool = False) -> Iterator[Entry]:
        """Yield objects, and folders if asked for, that are not before `start`, in order."""
        kept = (Entry(name) for name in self._side.data_names_from(start))
        files = self._tree.names_from(start, folders=folders)
        last: Entry | None = None
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
            Refusal: there is no such object (NOT_FOUND), or it cannot be read (PERMISSION_DENIED).
        """
        found = self.find(name, listed=listed)
        if found is None:
            raise not_found(f"No such object: gs://{self.name}/{name!r}")
        try:
            descriptor = os.open(found.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise not_found(f"No such object: gs://{self.name}/{name!r}") from None
        except OSError as error:
            raise Refusal(
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
        self, name: str, incoming: Path, attributes: Attributes, generation: int = 0
    ) -> StoredObject:
        """Make received content the object `name`, in place of what is there.

        A `generation` other than 0 is kept: it was given when an appendable object was begun.
        """
        if file_can_be_named(name) and self._move_into_place(incoming, name):
            status = self._tree.stat(name)
            if status is None:
                raise Refusal(StatusCode.ABORTED, f"{name!r} was removed while it was written")
            identity = Identity.of(status)
            if generation:
                self._ledger.note(name, identity, generation)
            else:
                generation, _ = self._ledger.of_file(name, identity, None)
            self._describe(Record(name, generation, attributes=attributes, identity=identity))
        else:
            now_ns = time.time_ns()
            generation = generation or self._ledger.fresh(name, now_ns)
            data = self._side.adopt(incoming, name, generation)
            self._side.put(Record(name, generation, now_ns, attributes, data=data))
        return self._get(name)

    def begin_appendable(self, name: str, incoming: Path, attributes: Attributes) -> StoredObject:
        """Make a still empty file the content of an object that grows until it is finalized."""
        now_ns = time.time_ns()
        generation = self._ledger.fresh(name, now_ns)
        self._remove_file(name)
        data = self._side.adopt(incoming, name, generation)
        self._side.put(Record(name, generation, now_ns, attributes, data=data, finalized=False))
        return self._get(name)

    def finalize_appendable(self, grown: StoredObject) -> StoredObject:
        """End the growth of an appendable object; it keeps its generation."""
        incoming = Path(grown.path).replace(self._side.incoming())
        return self.publish(grown.name, incoming, grown.attributes, grown.generation)

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
            raise Refusal(StatusCode.ABORTED, f"{name!r} was removed while it was written")
        return found

    def _of_file(self, name: str, status: os.stat_result) -> StoredObject:
        identity = Identity.of(status)
        record = self._side.get(name)
        if record is not None and record.identity != identity:
            record = None
        generation, settled = self._ledger.of_file(
            name, identity, None if record is None else record.generation
        )
        if not settled:
            self._side.put(
                Record(
                    name,
                    generation,
                    attributes=attributes_of_file(name) if record is None else record.attributes,
                    identity=identity,
                )
            )
        return StoredObject(
            bucket=self.name,
            name=name,
            generation=generation,
            size=status.st_size,
            time_ns=status.st_mtime_ns,
            attributes=attributes_of_file(name) if record is None else record.attributes,
            path=self._tree.path_of(name),
            identity=identity,
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
        )

    def _describe(self, record: Record) -> None:
        """Record what a file cannot say of itself, and only that."""
        plain = attributes_of_file(record.name)
        own = record.identity is not None and record.identity.ctime_ns // 1000
        if record.attributes == plain and record.generation == own:
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


class Store:
    """All buckets below the served folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._buckets: dict[str, Bucket] = {}

    def names(self) -> list[str]:
        """Return the buckets that are there, in order."""
        return sorted(
            path.name
            for path in self.folder.iterdir()
            if not path.name.startswith(".") and path.is_dir() and not path.is_symlink()
        )

    def bucket(self, name: str) -> Bucket:
        """Return a bucket that is there.

        Raises:
            Refusal: there is none (NOT_FOUND).
        """
        folder = self.folder / name
        if name.startswith(".") or folder.is_symlink() or not folder.is_dir():
            self._buckets.pop(name, None)
            raise not_found(f"The specified bucket does not exist: {name!r}")
        known = self._buckets.get(name)
        if known is None:
            known = self._buckets[name] = Bucket(name, folder, self.folder)
        return known

    def create(self, name: str) -> Bucket:
        """Make a new, empty bucket."""
        try:
            (self.folder / name).mkdir()
        except FileExistsError:
            raise Refusal(StatusCode.ALREADY_EXISTS, f"The bucket exists: {name!r}") from None
        return self.bucket(name)

    def delete(self, name: str) -> None:
        """Remove a bucket that holds no object; empty folders in it go with it."""
        bucket = self.bucket(name)
        if next(bucket.names_from(""), None) is not None:
            raise Refusal(StatusCode.FAILED_PRECONDITION, f"The bucket is not empty: {name!r}")
        bucket.remove_folders()
        del self._buckets[name]


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
