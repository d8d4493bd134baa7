"""What a notification of the bucket tells about one object; sans-IO."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gcsmux_fs.model.object_table import Row
    from gcsmux_fs.model.values import ObjectInfo

__all__ = ["ObjectChange"]

# How long before a change a request may have been sent whose answer is still taken to be older than
# the change. Notifications usually arrive within this time, and the clocks of two machines differ
# by less.
_MARGIN_SECONDS = 2.0


class ObjectChange(NamedTuple):
    """The newest state of an object, according to the notifications so far.

    Attributes:
        name: the name of the object.
        generation: its generation; if it does not exist, the generation that was removed.
        metageneration: its metageneration; 0 if unknown.
        exists: whether the object exists.
        info: the object, if it exists and the notification has all that a listing has.
        happened_at: when the object changed, on the mount's clock. Minus infinity if a later
            notification may have been forgotten, so that the object may no longer exist.
    """

    name: str
    generation: int
    metageneration: int
    exists: bool
    info: ObjectInfo | None
    happened_at: float

    @property
    def is_certain(self) -> bool:
        """Whether no later change of the object has been applied before."""
        return self.happened_at > -math.inf

    def outdates(self, known: ObjectInfo) -> bool:
        """Return whether the object has changed, or may have changed, since it was `known`."""
        return self._outdates(known.generation, known.metageneration) or (
            self.info is not None
            and (self.info.generation, self.info.metageneration)
            == (known.generation, known.metageneration)
            and (self.info.size, self.info.finalized) > (known.size, known.finalized)
        )

    def outdates_row(self, row: Row) -> bool:
        """Return the same as `outdates(row.info)`."""
        objects, index = row
        if self._outdates(objects.generations[index], objects.traits[index].metageneration):
            return True
        return objects.generations[index] == self.generation and self.outdates(row.info)

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
