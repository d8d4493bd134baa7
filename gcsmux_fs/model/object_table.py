"""Many objects in little memory: each kind of value in an array of its own.

As a value with all its numbers and strings an object takes 340 bytes, in columns 48 and its name.
What objects of a bucket have in common, which is nearly all that is not a number, is one `Traits`
for all of them.
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

__all__ = ["NO_CHECKSUM", "ObjectColumns", "Row", "Traits", "shared_traits"]

# What stands for an unknown CRC32C, which is never negative.
NO_CHECKSUM = -1
# Combinations that are shared; a bucket has a handful for each kind of file in it.
_SHARED_TRAITS = 1024
_NO_METADATA: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Traits:
    """What many objects have in common (see `ObjectInfo`)."""

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
    """Return the traits of objects without custom metadata, the same ones for equal values."""
    return Traits(
        metageneration, content_type, content_encoding, storage_class, finalized, _NO_METADATA
    )


class ObjectColumns:
    """A table of objects; a table that others know of does not change."""

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
    def empty(cls) -> ObjectColumns:
        """Return a table to be appended to."""
        return cls([], array("q"), array("q"), array("q"), array("q"), [])

    @classmethod
    def of(cls, objects: Iterable[ObjectInfo]) -> ObjectColumns:
        """Return a table of these objects, which is `objects` itself if it is one."""
        if isinstance(objects, ObjectColumns):
            return objects
        made = cls.empty()
        for info in objects:
            made.names.append(info.name)
            made.generations.append(info.generation)
            made.sizes.append(info.size)
            made.mtimes_ns.append(info.mtime_ns)
            made.checksums.append(NO_CHECKSUM if info.crc32c is None else info.crc32c)
            made.traits.append(_traits_of(info))
        return made

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

    def append(self, row: Row) -> None:
        """Append a row of another table."""
        source, at = row
        self.names.append(source.names[at])
        self.generations.append(source.generations[at])
        self.sizes.append(source.sizes[at])
        self.mtimes_ns.append(source.mtimes_ns[at])
        self.checksums.append(source.checksums[at])
        self.traits.append(source.traits[at])

    def replace(self, index: int, row: Row) -> None:
        """Put a row of another table, with the same name, in the place of one."""
        source, at = row
        self.generations[index] = source.generations[at]
        self.sizes[index] = source.sizes[at]
        self.mtimes_ns[index] = source.mtimes_ns[at]
        self.checksums[index] = source.checksums[at]
        self.traits[index] = source.traits[at]

    def keep(self, chosen: Sequence[int]) -> None:
        """Drop every row whose place in `chosen` holds 0."""
        self.names = list(compress(self.names, chosen))
        self.generations = array("q", compress(self.generations, chosen))
        self.sizes = array("q", compress(self.sizes, chosen))
        self.mtimes_ns = array("q", compress(self.mtimes_ns, chosen))
        self.checksums = array("q", compress(self.checksums, chosen))
        self.traits = list(compress(self.traits, chosen))

    def in_order(self) -> ObjectColumns:
        """Return a table of the same objects, sorted by their names."""
        if self.names == sorted(self.names):
            return self
        return ObjectColumns.of(sorted(self, key=lambda info: info.name))


class Row(NamedTuple):
    """An object where it stands in a table."""

    objects: ObjectColumns
    at: int

    @classmethod
    def of(cls, info: ObjectInfo) -> Row:
        """Return the object as the only one of a table."""
        return cls(ObjectColumns.of((info,)), 0)

    @property
    def info(self) -> ObjectInfo:
        """The object as a value."""
        return self.objects[self.at]


def _traits_of(info: ObjectInfo) -> Traits:
    given = (
        info.metageneration,
        info.content_type,
        info.content_encoding,
        info.storage_class,
        info.finalized,
    )
    return Traits(*given, info.metadata) if info.metadata else shared_traits(*given)
