"""The metadata store, which keeps what the files of a bucket cannot hold.

The store keeps attributes that clients have set, objects whose names no file can have, and
appendable objects that are not finalized. A hidden folder in the served folder contains one
metadata folder per bucket. Each record is one JSON file. The name of this file is a hash of the
object's name. The file is replaced atomically. If a file of the bucket does not hold the object's
content, a data file holds it, and the record has the name of the data file. All records of a bucket
are read when the bucket is first used. Only the emulator writes to the hidden folder.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from bisect import bisect_left, insort
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.buckets.generations import Identity
from gcsmux_fs.emulator.buckets.object_attributes import ObjectAttributes

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["METADATA_FOLDER", "MetadataStore", "Record"]

METADATA_FOLDER = ".gcsmux-emulator"
_DATA_SUFFIX = ".data"
_RECORD_SUFFIX = ".json"
_INCOMING_PREFIX = "incoming-"


@dataclass(frozen=True, slots=True)
class Record:
    """The record of one object.

    - `identity`: the state of the object's file for which the record is valid; None if the object
      has a data file.
    - `data`: the name of the data file; empty if a file of the bucket holds the content.
    - `updated_ns`: time of the last update of the attributes, in nanoseconds since 1970; 0: never.
    - `components`: number of objects from which ComposeObject made this object; 0: not composed.
    """

    name: str
    generation: int
    time_ns: int = 0
    attributes: ObjectAttributes = field(default_factory=ObjectAttributes)
    identity: Identity | None = None
    data: str = ""
    finalized: bool = True
    metageneration: int = 1
    updated_ns: int = 0
    components: int = 0

    def to_json(self) -> str:
        """Return the record as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Return the record in `text`, the content of a record file.

        Raises:
            ValueError, KeyError, TypeError: the text is not a record.
        """
        fields = json.loads(text)
        fields["attributes"] = ObjectAttributes(**fields["attributes"])
        if fields["identity"] is not None:
            fields["identity"] = Identity(**fields["identity"])
        return cls(**fields)


class MetadataStore:
    """The records of one bucket."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._records: dict[str, Record] = {}
        for path in folder.glob("*" + _RECORD_SUFFIX):
            with suppress(ValueError, KeyError, TypeError, OSError):
                record = Record.from_json(path.read_text())
                self._records[record.name] = record
        self._data_names = sorted(name for name, record in self._records.items() if record.data)
        self._sweep()

    def _sweep(self) -> None:
        """Remove files of content that have no record. A crash may have left such files."""
        data_files = {record.data for record in self._records.values()}
        for path in self._folder.glob("*"):
            if path.name.startswith(_INCOMING_PREFIX) or (
                path.suffix == _DATA_SUFFIX and path.name not in data_files
            ):
                path.unlink(missing_ok=True)

    def get(self, name: str) -> Record | None:
        """Return the record of an object. The record may describe an older state of its file."""
        return self._records.get(name)

    def data_names_from(self, start: str) -> Iterator[str]:
        """Yield the names, from `start` on, of the objects that have a data file, in order."""
        for position in range(bisect_left(self._data_names, start), len(self._data_names)):
            yield self._data_names[position]

    def names_below(self, prefix: str) -> list[str]:
        """Return the object names that have a record and begin with `prefix`."""
        return [name for name in self._records if name.startswith(prefix)]

    def data_path(self, record: Record) -> str:
        """Return the path of the record's data file."""
        return str(self._folder / record.data)

    def incoming(self) -> Path:
        """Return an unused path for content that is being received."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder / f"{_INCOMING_PREFIX}{uuid.uuid4().hex}"

    def adopt(self, incoming: Path, name: str, generation: int) -> str:
        """Rename a file of received content to a data file. Return the name of the data file."""
        data = f"{_stem(name)}.{generation}{_DATA_SUFFIX}"
        incoming.rename(self._folder / data)
        return data

    def put(self, record: Record) -> None:
        """Write a record. Replace the object's old record, and delete its old data file."""
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self.incoming()
        temporary.write_text(record.to_json())
        temporary.replace(self._folder / (_stem(record.name) + _RECORD_SUFFIX))
        old = self._records.get(record.name)
        self._records[record.name] = record
        self._index(record.name, old, record)

    def remove(self, name: str) -> None:
        """Delete an object's record and data file, if they exist."""
        old = self._records.pop(name, None)
        if old is not None:
            (self._folder / (_stem(name) + _RECORD_SUFFIX)).unlink(missing_ok=True)
            self._index(name, old, None)

    def rename(self, old: str, new: str) -> None:
        """Change the object name of a record and its data file from `old` to `new`."""
        record = self._records[old]
        data = record.data
        if data:
            data = self.adopt(Path(self.data_path(record)), new, record.generation)
        self.put(replace(record, name=new, data=data))
        self.remove(old)

    def clear(self) -> None:
        """Delete all records and data files."""
        self._records.clear()
        self._data_names.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _index(self, name: str, old: Record | None, new: Record | None) -> None:
        had_data = old is not None and bool(old.data)
        has_data = new is not None and bool(new.data)
        if has_data and not had_data:
            insort(self._data_names, name)
        elif had_data and not has_data:
            del self._data_names[bisect_left(self._data_names, name)]
        if old is not None and had_data and (new is None or new.data != old.data):
            Path(self.data_path(old)).unlink(missing_ok=True)


def _stem(name: str) -> str:
    return hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
