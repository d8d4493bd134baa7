"""Value types that every room speaks: objects, ranges, buckets.

All are immutable. Offsets and sizes are in bytes, times in nanoseconds since
the epoch, generations and read ids are the service's 64-bit integers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["BucketInfo", "ByteRange", "ListingPage", "ObjectInfo", "ObjectKey"]


@dataclass(frozen=True, slots=True, order=True)
class ObjectKey:
    """One generation of one object: its bytes never change."""

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
class ObjectInfo:
    """What the service says of one object; `crc32c` is None where it is not (yet) known."""

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
    """One page of a listing; `objects` and `prefixes` are each in lexicographic (UTF-8) order.

    The two are one merged sequence cut into pages: every name of a later page sorts after every
    name of an earlier one, whichever of the two it is in. An empty `next_page_token` ends it.
    """

    objects: Collection[ObjectInfo]
    prefixes: tuple[str, ...]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class BucketInfo:
    """A bucket: `location_type` is `region`, `dual-region`, `multi-region` or `zone`.

    `listable` tells whether the caller may list what is to be mounted.
    """

    name: str
    location_type: str = ""
    hierarchical: bool = False
    listable: bool = True
