"""The noncurrent and the soft-deleted generations of a bucket.

A bucket with versioning keeps each generation that is overwritten or deleted as noncurrent. A
bucket with a soft delete policy keeps each generation that would be lost as soft-deleted, for the
time of its policy. The content is copied when a generation ends, because streams that read it must
not notice. Each generation has a record, which is a JSON file, and a data file. Old generations
come only from calls: a file that another program overwrites is lost.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from bisect import bisect_left, insort
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.buckets.object_attributes import ObjectAttributes
from gcsmux_fs.emulator.buckets.object_events import ObjectEventType
from gcsmux_fs.emulator.buckets.objects import StoredObject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gcsmux_fs.emulator.buckets.placement import Placement

__all__ = ["OldVersions"]

_NS_PER_SECOND = 1_000_000_000
_FOLDER_NAME = "versions"


class OldVersions:
    """The old generations of one bucket, in a folder of its metadata folder.

    `incoming` returns an unused path for content.
    """

    def __init__(self, folder: Path, placement: Placement, incoming: Callable[[], Path]) -> None:
        self._folder = folder / _FOLDER_NAME
        self._placement = placement
        self._incoming = incoming
        # The generations of each name, and the sorted names: noncurrent, and soft-deleted.
        self._kept: tuple[dict[str, dict[int, StoredObject]], ...] = ({}, {})
        self._names: tuple[list[str], ...] = ([], [])
        for path in self._folder.glob("*.json"):
            with suppress(ValueError, KeyError, TypeError, OSError):
                self._index(_from_json(path))

    @property
    def event_type(self) -> ObjectEventType:
        """The event when a generation is overwritten or deleted."""
        return ObjectEventType.ARCHIVE if self._placement.versioning else ObjectEventType.DELETE

    # -- ends of generations

    def copy_of(self, stored: StoredObject | None) -> Path | None:
        """Return a copy of the content of a generation that is about to end; None to keep none."""
        placement = self._placement
        if stored is None or not (placement.versioning or placement.soft_delete_seconds):
            return None
        copy = self._incoming()
        shutil.copyfile(stored.path, copy)
        return copy

    def retire(
        self,
        stored: StoredObject,
        copy: Path | None,
        ended_ns: int,
        *,
        keeps_version: bool = True,
    ) -> None:
        """Keep a generation that has ended at a time. `copy` is the result of `copy_of`.

        Without `keeps_version`, the generation does not become noncurrent, as if a call had deleted
        exactly this generation.
        """
        if copy is None:
            return
        ended = replace(
            stored,
            path=str(self._folder / f"{_stem(stored)}.data"),
            identity=None,
            size=copy.stat().st_size,
            ended_ns=stored.ended_ns or ended_ns,
        )
        if not (self._placement.versioning and keeps_version):
            retention_ns = int(self._placement.soft_delete_seconds * _NS_PER_SECOND)
            if not retention_ns:
                copy.unlink()
                return
            ended = replace(ended, soft_deleted_ns=ended_ns, hard_delete_ns=ended_ns + retention_ns)
        self._folder.mkdir(parents=True, exist_ok=True)
        copy.replace(ended.path)
        self._write(ended)
        self._index(ended)

    def remove(self, stored: StoredObject, now_ns: int) -> None:
        """Delete a noncurrent generation. With a policy, it is then soft-deleted."""
        copy = self.copy_of(stored)
        self._forget(stored)
        self.retire(stored, copy, now_ns, keeps_version=False)

    def expire(self, now_ns: int) -> None:
        """Remove the soft-deleted generations whose time is over."""
        over = [
            stored
            for generations in self._kept[True].values()
            for stored in generations.values()
            if stored.hard_delete_ns <= now_ns
        ]
        for stored in over:
            self._forget(stored)

    # -- kept generations

    def find(
        self, name: str, generation: int, *, soft_deleted: bool = False
    ) -> StoredObject | None:
        """Return an old generation; None if it is not kept."""
        return self._kept[soft_deleted].get(name, {}).get(generation)

    def of_name(self, name: str, *, soft_deleted: bool) -> list[StoredObject]:
        """Return the old generations of a name, in ascending order."""
        generations = self._kept[soft_deleted].get(name, {})
        return [generations[generation] for generation in sorted(generations)]

    def names_from(self, start: str, *, soft_deleted: bool) -> Iterator[str]:
        """Yield the names, from `start` on, that have old generations, in order."""
        names = self._names[soft_deleted]
        return iter(names[bisect_left(names, start) :])

    def _index(self, stored: StoredObject) -> None:
        kind = bool(stored.soft_deleted_ns)
        generations = self._kept[kind].setdefault(stored.name, {})
        if not generations:
            insort(self._names[kind], stored.name)
        generations[stored.generation] = stored

    def _forget(self, stored: StoredObject) -> None:
        kind = bool(stored.soft_deleted_ns)
        generations = self._kept[kind][stored.name]
        del generations[stored.generation]
        if not generations:
            del self._kept[kind][stored.name]
            names = self._names[kind]
            del names[bisect_left(names, stored.name)]
        for suffix in (".json", ".data"):
            Path(stored.path).with_suffix(suffix).unlink(missing_ok=True)

    def _write(self, stored: StoredObject) -> None:
        written = self._incoming()
        written.write_text(json.dumps(asdict(stored)))
        written.replace(Path(stored.path).with_suffix(".json"))


def _from_json(path: Path) -> StoredObject:
    fields = json.loads(path.read_text())
    fields["attributes"] = ObjectAttributes(**fields["attributes"])
    fields["path"] = str(path.with_suffix(".data"))
    return StoredObject(**fields)


def _stem(stored: StoredObject) -> str:
    digest = hashlib.blake2b(stored.name.encode(), digest_size=16).hexdigest()
    return f"{digest}-{stored.generation}"
