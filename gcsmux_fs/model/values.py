"""Value types that all packages use: objects, ranges, buckets, listings.

All types are immutable. Offsets and sizes are in bytes. Times are in nanoseconds since the Unix
epoch. Generations are 64-bit integers that the service assigns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["BucketInfo", "ByteRange", "FinalContent", "ListingPage", "ObjectInfo", "ObjectKey"]


@dataclass(frozen=True, slots=True, order=True)
class ObjectKey:
    """One generation of one object. Its bytes never change, but further bytes may be appended."""

    bucket: str
    name: str
    generation: int

    def __str__(self) -> str:
        return f"gs://{self.bucket}/{self.name!r}#{self.generation}"


@dataclass(frozen=True, slots=True)
class ByteRange:
    """A half-open range of bytes, `[offset, offset + length)`."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        """First offset after the range."""
        return self.offset + self.length


@dataclass(frozen=True, slots=True)
class FinalContent:
    """What is known of the whole content of an object generation that cannot grow.

    Attributes:
        size: length of the content in bytes.
        crc32c: CRC32C of the whole content; None if it is not known.
    """

    size: int
    crc32c: int | None = None


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """The metadata of one object generation.

    Attributes:
        name: the object's name within its bucket.
        generation: changes with every overwrite.
        size: length of the content in bytes.
        mtime_ns: modification time.
        metageneration: changes with every change of the metadata.
        crc32c: CRC32C of the whole content; None if the service has not reported it.
        content_type: a MIME type; may be empty.
        content_encoding: for example `gzip`; may be empty.
        storage_class: for example `STANDARD`; may be empty.
        metadata: custom key-value pairs.
        finalized: False while the object can still be appended to.
    """

    name: str
    generation: int
    size: int
    mtime_ns: int
    metageneration: int = 1
    crc32c: int | None = None
    content_type: str = ""
    content_encoding: str = ""
    storage_class: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    finalized: bool = True


@dataclass(frozen=True, slots=True)
class ListingPage:
    """One page of a listing.

    `objects` and `prefixes` are each in lexicographic order of their UTF-8 names. Every object name
    and prefix of a page sorts after all object names and prefixes of earlier pages. The last page
    has an empty `next_page_token`.
    """

    objects: Collection[ObjectInfo]
    prefixes: tuple[str, ...]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class BucketInfo:
    """A bucket.

    Attributes:
        name: the bucket's name.
        location_type: `region`, `dual-region`, `multi-region` or `zone`; empty if unknown.
        hierarchical: the bucket has a hierarchical namespace, with folders.
        listable: the caller may list the objects that the mount shows.
        location: where the service keeps the objects, such as `US-CENTRAL1`; empty if unknown.
    """

    name: str
    location_type: str = ""
    hierarchical: bool = False
    listable: bool = True
    location: str = ""
