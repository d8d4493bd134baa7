"""What a notification of the bucket tells about one object; sans-IO."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from gcsmux_fs.namespace.foreign_metadata import read_foreign_metadata

if TYPE_CHECKING:
    from gcsmux_fs.model.object_table import Row
    from gcsmux_fs.model.values import ObjectInfo

__all__ = ["ObjectChange"]

# How long before a change a request may have been sent whose answer is still taken to be older than
# the change. Notifications usually arrive within this time, and the clocks of two machines differ
# by less.
_MARGIN_SECONDS = 2.0
_MAX_INT64 = (1 << 63) - 1
# More than the service allows: https://cloud.google.com/storage/quotas#objects says 8 KiB for all
# custom metadata of an object.
_MAX_TEXT_CHARACTERS = 16_384


class Described(Protocol):
    """A notification that may describe the object after the change."""

    @property
    def info(self) -> ObjectInfo | None:
        """The object; None if the notification does not describe it completely."""


class ObjectChange:
    """The newest state of an object, according to the notifications so far.

    A notification never makes a symbolic link, because its payload may be forged. The service is
    asked about an object that is one.

    Attributes:
        name: the name of the object.
        generation: its generation; if it does not exist, the generation that was removed.
        metageneration: its metageneration; 0 if unknown.
        exists: whether the object exists.
        happened_at: when the object changed, on the mount's clock. Minus infinity if a later
            notification may have been forgotten, so that the object may no longer exist.
    """

    __slots__ = (
        "_info",
        "_source",
        "exists",
        "generation",
        "happened_at",
        "metageneration",
        "name",
    )

    def __init__(
        self,
        name: str,
        generation: int,
        metageneration: int,
        exists: bool,
        source: Described | None,
        happened_at: float,
    ) -> None:
        self.name = name
        self.generation = generation
        self.metageneration = metageneration
        self.exists = exists
        self.happened_at = happened_at
        self._source = source
        self._info: ObjectInfo | None = None

    def __repr__(self) -> str:
        state = "exists" if self.exists else "removed"
        return f"<ObjectChange {self.name!r}#{self.generation}.{self.metageneration} {state}>"

    @property
    def info(self) -> ObjectInfo | None:
        """The object, if it exists and the notification describes it; None to ask the service.

        The notification is decoded when this is read, because most changes of a large bucket are
        about names that no program has used.
        """
        if self._source is not None:
            info, self._source = self._source.info, None
            if info is not None and info.finalized and _is_possible(info) and not _is_link(info):
                self._info = info
        return self._info

    @property
    def is_certain(self) -> bool:
        """Whether no later change of the object has been applied before."""
        return self.happened_at > -math.inf

    def outdates(self, known: ObjectInfo) -> bool:
        """Return whether the object has changed, or may have changed, since it was `known`."""
        if self._outdates(known.generation, known.metageneration):
            return True
        # An object that is being appended to grows within one generation.
        if known.finalized or not self.exists or known.generation != self.generation:
            return False
        return self.info is None or self.info.metageneration == known.metageneration

    def outdates_row(self, row: Row) -> bool:
        """Return the same as `outdates(row.info)`."""
        objects, index = row
        traits = objects.traits[index]
        if self._outdates(objects.generations[index], traits.metageneration):
            return True
        return not traits.finalized and self.outdates(row.info)

    def is_after(self, asked_at: float) -> bool:
        """Return whether the change is not older than a request that was sent at `asked_at`.

        Only then an object that the answer does not have is a new one. Otherwise it may have been
        deleted before the request, and that notification is late.
        """
        return self.happened_at >= asked_at - _MARGIN_SECONDS

    def _outdates(self, generation: int, metageneration: int) -> bool:
        if generation != self.generation:
            return generation < self.generation
        if not self.exists:
            return True
        return metageneration < self.metageneration or not self.metageneration


def _is_possible(info: ObjectInfo) -> bool:
    """Return whether an object can have these values; others are forged."""
    texts = (info.content_type, info.content_encoding, info.storage_class)
    pairs = sum(len(key) + len(value) for key, value in info.metadata.items())
    return (
        abs(info.mtime_ns) <= _MAX_INT64
        and 0 <= info.size <= _MAX_INT64
        and sum(map(len, texts)) <= _MAX_TEXT_CHARACTERS
        and pairs <= _MAX_TEXT_CHARACTERS
    )


def _is_link(info: ObjectInfo) -> bool:
    return bool(info.metadata) and read_foreign_metadata(info.metadata, info.size).link is not None
