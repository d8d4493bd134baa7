"""Decodes the pages of a listing into columns, such as a column with the sizes of all objects.

A page holds up to a thousand objects. To decode the objects column by column takes less than half
of the time that it would take to create one ObjectInfo per object.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from gcsmux_fs.model.object_table import NO_CHECKSUM, ObjectTable, Traits, shared_traits
from gcsmux_fs.model.values import ListingPage
from gcsmux_fs.storage.codec import nanoseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcsmux_fs.storage.pb import storage_pb2 as pb

__all__ = ["decode_listing"]


def decode_listing(message: pb.ListObjectsResponse) -> ListingPage:
    """Return one page of a listing as columns."""
    # A list, because each access to an element of `message.objects` creates a new Python object.
    objects: Sequence[pb.Object] = list(message.objects)
    columns = ObjectTable(
        [entry.name for entry in objects],
        array("q", [entry.generation for entry in objects]),
        array("q", [entry.size for entry in objects]),
        array("q", [_time(entry) for entry in objects]),
        array("q", [_checksum(entry.checksums) for entry in objects]),
        [_traits(entry) for entry in objects],
    )
    return ListingPage(columns, tuple(message.prefixes), message.next_page_token)


def _time(entry: pb.Object) -> int:
    return nanoseconds(entry.update_time) or nanoseconds(entry.create_time)


def _checksum(checksums: pb.ObjectChecksums) -> int:
    return checksums.crc32c if checksums.HasField("crc32c") else NO_CHECKSUM


def _traits(entry: pb.Object) -> Traits:
    metadata = entry.metadata
    traits = (
        entry.metageneration,
        entry.content_type,
        entry.content_encoding,
        entry.storage_class,
        entry.HasField("finalize_time"),
    )
    return Traits(*traits, dict(metadata)) if metadata else shared_traits(*traits)
