"""Changes of objects, which the notifications of a bucket report."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gcsmux_fs.emulator.buckets.objects import StoredObject

__all__ = ["Announce", "ObjectEvent", "ObjectEventType", "replacement_events"]


class ObjectEventType(enum.StrEnum):
    """The kinds of changes. The values are those of the attribute `eventType` of messages."""

    FINALIZE = "OBJECT_FINALIZE"
    METADATA_UPDATE = "OBJECT_METADATA_UPDATE"
    DELETE = "OBJECT_DELETE"
    ARCHIVE = "OBJECT_ARCHIVE"


@dataclass(frozen=True, slots=True)
class ObjectEvent:
    """A change of one object.

    - `stored`: the object after the change. For DELETE and ARCHIVE, the object before the change.
    - `overwrote`: for FINALIZE, the generation that the object replaces; 0: none.
    - `overwritten_by`: for DELETE and ARCHIVE, the generation that replaces the object; 0: none.
    """

    type: ObjectEventType
    stored: StoredObject
    overwrote: int = 0
    overwritten_by: int = 0


# A function that is called with each change of an object.
Announce = Callable[[ObjectEvent], None]


def replacement_events(
    old: StoredObject | None,
    new: StoredObject,
    old_type: ObjectEventType = ObjectEventType.DELETE,
) -> list[ObjectEvent]:
    """Return the events of an object that has been written, and that may replace an older one.

    An object that is not finalized has no event of its own.
    """
    events = []
    if old is not None and old.generation == new.generation:
        old = None
    if new.finalized:
        overwrote = 0 if old is None else old.generation
        events.append(ObjectEvent(ObjectEventType.FINALIZE, new, overwrote=overwrote))
    if old is not None:
        events.append(ObjectEvent(old_type, old, overwritten_by=new.generation))
    return events
