"""What files cannot say: objects of impossible names, and attributes that clients have written.

Beside the buckets lies one hidden folder, with a folder per bucket. Each record is one small JSON
file named by a hash of the object's name, replaced atomically; content that cannot be a file of
its own name is in a data file that the record points to. All records of a bucket are read when the
bucket is first used; the emulator is the only one who writes here.
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
from gcsmux_fs.emulator.buckets.objects import Attributes

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SIDE_FOLDER", "MetadataStore", "Record"]

SIDE_FOLDER = ".gcsmux-emulator"
_DATA_SUFFIX = ".data"
_RECORD_SUFFIX = ".json"
_INCOMING_PREFIX = "incoming-"


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one object: of the file with this identity, or of a data file."""

    name: str
    generation: int
    time_ns: int = 0
    attributes: Attributes = field(default_factory=Attributes)
    identity: Identity | None = None
    data: str = ""
    finalized: bool = True
    metageneration: int = 1
    # When the object was last updated without a new generation; 0: never.
    updated_ns: int = 0
    components: int = 0

    def to_json(self) -> str:
        """Return the record as the text of its file."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Return the record that a file holds.

        Raises:
            ValueError, KeyError, TypeError: it holds no record.
        """
        fields = json.loads(text)
        fields["attributes"] = Attributes(**fields["attributes"])
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
        """Remove what a run that did not end well has left: content of no record."""
        kept = {record.data for record in self._records.values()}
        for path in self._folder.glob("*"):
            if path.name.startswith(_INCOMING_PREFIX) or (
                path.suffix == _DATA_SUFFIX and path.name not in kept
            ):
                path.unlink(missing_ok=True)

    def get(self, name: str) -> Record | None:
        """Return the record of that object, which may describe an older state of its file."""
        return self._records.get(name)

    def data_names_from(self, start: str) -> Iterator[str]:
        """Yield in order the names, not before `start`, of objects whose content is kept here."""
        for at in range(bisect_left(self._data_names, start), len(self._data_names)):
            yield self._data_names[at]

    def names_below(self, prefix: str) -> list[str]:
        """Return the names with a record that begin with `prefix`."""
        return [name for name in self._records if name.startswith(prefix)]

    def data_path(self, record: Record) -> str:
        """Return where the content of that record is."""
        return str(self._folder / record.data)

    def incoming(self) -> Path:
        """Return the path of a new file for content that is being received."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder / f"{_INCOMING_PREFIX}{uuid.uuid4().hex}"

    def adopt(self, incoming: Path, name: str, generation: int) -> str:
        """Make received content a data file; return its name for the record."""
        data = f"{_stem(name)}.{generation}{_DATA_SUFFIX}"
        incoming.rename(self._folder / data)
        return data

    def put(self, record: Record) -> None:
        """Keep a record, in place of an older one and of its data."""
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self.incoming()
        temporary.write_text(record.to_json())
        temporary.replace(self._folder / (_stem(record.name) + _RECORD_SUFFIX))
        old = self._records.get(record.name)
        self._records[record.name] = record
        self._index(record.name, old, record)

    def remove(self, name: str) -> None:
        """Forget an object's record and data, if there are any."""
        old = self._records.pop(name, None)
        if old is not None:
            (self._folder / (_stem(name) + _RECORD_SUFFIX)).unlink(missing_ok=True)
            self._index(name, old, None)

    def rename(self, old: str, new: str) -> None:
        """Make the record of one object, and its data, those of another name."""
        record = self._records[old]
        data = record.data
        if data:
            data = self.adopt(Path(self.data_path(record)), new, record.generation)
        self.put(replace(record, name=new, data=data))
        self.remove(old)

    def clear(self) -> None:
        """Forget everything."""
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
