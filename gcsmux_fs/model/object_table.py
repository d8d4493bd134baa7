"""Keeps the metadata of many objects in little memory, in one array for each kind of value.

An object takes 340 bytes as an `ObjectInfo` with all its numbers and strings. As a row of an
`ObjectTable`, it takes 48 bytes plus its name. The values that most objects of a bucket have in
common are kept once, in one `Traits` for all these objects.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from functools import lru_cache
from itertools import compress
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from gcsmux_fs.model.values import ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["NO_CHECKSUM", "ObjectTable", "Row", "Traits", "shared_traits"]

NO_CHECKSUM = -1
"""The value of an unknown CRC32C in the column of checksums. A CRC32C is never negative."""

# Maximum number of `Traits` in the cache of `shared_traits`. The objects of a bucket need only a
# few different `Traits` for each kind of file.
_SHARED_TRAITS = 1024
_NO_METADATA: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Traits:
    """The values that many objects have in common (see `ObjectInfo`)."""

    metageneration: int
    content_type: str
    content_encoding: str
    storage_class: str
    finalized: bool
    metadata: Mapping[str, str]


@lru_cache(_SHARED_TRAITS)
def shared_traits(
    metageneration: int,
    content_type: str,
    content_encoding: str,
    storage_class: str,
    finalized: bool,
) -> Traits:
    """Return the traits of objects without custom metadata.

    Calls with equal arguments return the same instance, as long as the cache holds this instance.
    """
    return Traits(
        metageneration, content_type, content_encoding, storage_class, finalized, _NO_METADATA
    )


class ObjectTable:
    """A table of objects, one list or array for each column.

    A table is changed only while a single part of the program uses it. A table that several parts
    share is never changed.
    """

    __slots__ = ("checksums", "generations", "mtimes_ns", "names", "sizes", "traits")

    def __init__(
        self,
        names: list[str],
        generations: array[int],
        sizes: array[int],
        mtimes_ns: array[int],
        checksums: array[int],
        traits: list[Traits],
    ) -> None:
        self.names = names
        self.generations = generations
        self.sizes = sizes
        self.mtimes_ns = mtimes_ns
        self.checksums = checksums
        self.traits = traits

    @classmethod
    def empty(cls) -> ObjectTable:
        """Return a table without rows."""
        return cls([], array("q"), array("q"), array("q"), array("q"), [])

    @classmethod
    def of(cls, objects: Iterable[ObjectInfo]) -> ObjectTable:
        """Return a table of these objects; if `objects` is a table, return it unchanged."""
        if isinstance(objects, ObjectTable):
            return objects
        table = cls.empty()
        for info in objects:
            table.append_info(info)
        return table

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> ObjectInfo:
        checksum = self.checksums[index]
        traits = self.traits[index]
        return ObjectInfo(
            self.names[index],
            self.generations[index],
            self.sizes[index],
            self.mtimes_ns[index],
            traits.metageneration,
            None if checksum == NO_CHECKSUM else checksum,
            traits.content_type,
            traits.content_encoding,
            traits.storage_class,
            traits.metadata,
            traits.finalized,
        )

    def __iter__(self) -> Iterator[ObjectInfo]:
        return (self[index] for index in range(len(self)))

    def __contains__(self, info: object) -> bool:
        return any(info == each for each in self)

    def append_info(self, info: ObjectInfo) -> None:
        """Append an object."""
        self.names.append(info.name)
        self.generations.append(info.generation)
        self.sizes.append(info.size)
        self.mtimes_ns.append(info.mtime_ns)
        self.checksums.append(NO_CHECKSUM if info.crc32c is None else info.crc32c)
        self.traits.append(_traits_of(info))

    def set_info(self, index: int, info: ObjectInfo) -> None:
        """Replace the row at `index` by an object that has the same name."""
        self.generations[index] = info.generation
        self.sizes[index] = info.size
        self.mtimes_ns[index] = info.mtime_ns
        self.checksums[index] = NO_CHECKSUM if info.crc32c is None else info.crc32c
        self.traits[index] = _traits_of(info)

    def append(self, row: Row) -> None:
        """Append a row of another table."""
        source, source_index = row
        self.names.append(source.names[source_index])
        self.generations.append(source.generations[source_index])
        self.sizes.append(source.sizes[source_index])
        self.mtimes_ns.append(source.mtimes_ns[source_index])
        self.checksums.append(source.checksums[source_index])
        self.traits.append(source.traits[source_index])

    def replace(self, index: int, row: Row) -> None:
        """Replace the row at `index` by a row of another table that has the same name."""
        source, source_index = row
        self.generations[index] = source.generations[source_index]
        self.sizes[index] = source.sizes[source_index]
        self.mtimes_ns[index] = source.mtimes_ns[source_index]
        self.checksums[index] = source.checksums[source_index]
        self.traits[index] = source.traits[source_index]

    def keep(self, kept: Sequence[int]) -> None:
        """Drop each row whose element of `kept` is 0; `kept` has one element for each row."""
        self.names = list(compress(self.names, kept))
        self.generations = array("q", compress(self.generations, kept))
        self.sizes = array("q", compress(self.sizes, kept))
        self.mtimes_ns = array("q", compress(self.mtimes_ns, kept))
        self.checksums = array("q", compress(self.checksums, kept))
        self.traits = list(compress(self.traits, kept))

    def in_order(self) -> ObjectTable:
        """Return a table of the same objects, sorted by name; the table itself if it is sorted."""
        if self.names == sorted(self.names):
            return self
        return ObjectTable.of(sorted(self, key=lambda info: info.name))


class Row(NamedTuple):
    """Refers to one object of a table, without a copy of its values."""

    objects: ObjectTable
    row_index: int

    @classmethod
    def of(cls, info: ObjectInfo) -> Row:
        """Return the row of a new table that has only this object."""
        return cls(ObjectTable.of((info,)), 0)

    @property
    def info(self) -> ObjectInfo:
        """The object as an `ObjectInfo`."""
        return self.objects[self.row_index]


def _traits_of(info: ObjectInfo) -> Traits:
    shared = (
        info.metageneration,
        info.content_type,
        info.content_encoding,
        info.storage_class,
        info.finalized,
    )
    return Traits(*shared, info.metadata) if info.metadata else shared_traits(*shared)
