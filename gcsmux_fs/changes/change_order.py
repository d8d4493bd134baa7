"""Decides which changes are newer than those that were applied before; sans-IO.

Messages arrive at least once, in any order, and up to minutes late. The generations of an object
grow, also if it is deleted and created again, and the metagenerations of a generation grow. So the
newest change of an object is the one with the greatest generation, then the removal of this
generation, then the greatest metageneration.

1. A removal removes its own generation only. If another generation has replaced it, the removal
   shows that the object exists in the other generation, or in a later one.
2. Of the two messages of an overwrite, either may come first, and both lead to the same state.
3. The memory is bounded. A change of an object that was forgotten counts as uncertain if it is not
   newer than everything that was forgotten: the object may have changed again since.
4. A metadata update is uncertain unless the creation of its generation is known, because it may be
   of a noncurrent generation.
5. A creation with a smaller generation but a much later time than the known one contradicts it. One
   of the two is forged, or the bucket was created again. Then the service has to be asked.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from gcsmux_fs.changes.change_event import ChangeKind

if TYPE_CHECKING:
    from gcsmux_fs.changes.change_event import Change

__all__ = ["MAX_REMEMBERED_NAMES", "ChangeOrder", "Verdict"]

MAX_REMEMBERED_NAMES = 32_768
"""Maximum number of objects whose newest change is remembered: 10 MB with names of 60 characters.
At 1,000 changes a second, this is half a minute."""

_CONTRADICTION_SECONDS = 60.0


class Verdict(NamedTuple):
    """What a change tells about the newest state of its object.

    Attributes:
        generation: the newest generation, or the generation that was removed.
        metageneration: its metageneration, at least; 0 if it is unknown.
        exists: whether the object exists.
        happened_at: when the change happened, in seconds since 1970; minus infinity if a later
            change may have been forgotten.
        is_contradiction: whether the changes of the object contradict each other.
    """

    generation: int
    metageneration: int
    exists: bool
    happened_at: float
    is_contradiction: bool = False


class _Known(NamedTuple):
    """The newest change of an object. Its first three fields are in the order of changes."""

    generation: int
    is_removed: bool
    metageneration: int
    happened_at: float
    is_certain: bool


class ChangeOrder:
    """The newest change of each object, for as many objects as the memory has room for."""

    def __init__(self, limit: int = MAX_REMEMBERED_NAMES) -> None:
        self._limit = limit
        # The objects that have changed last come last.
        self._known: dict[str, _Known] = {}
        # The latest time of a change that was forgotten.
        self._forgotten_until = -math.inf

    def __len__(self) -> int:
        return len(self._known)

    def take(self, change: Change) -> Verdict | None:
        """Return what a change shows; None if it is older than what is known, or the same."""
        known = self._known.get(change.name)
        kind = change.kind
        # The service sets the publish time, so a forged event time cannot be later.
        happened_at = min(change.event_time or math.inf, change.publish_time)
        generation, is_removed, metageneration = change.generation, False, change.metageneration
        if change.overwritten_by:
            generation, metageneration = change.overwritten_by, 0
        elif kind is ChangeKind.DELETE or kind is ChangeKind.ARCHIVE:
            is_removed, metageneration = True, 0
        elif kind is ChangeKind.FINALIZE:
            metageneration = max(metageneration, 1)
        if known is not None and (generation, is_removed, metageneration) <= known[:3]:
            # Without its metageneration, nobody knows whether a metadata update is newer.
            is_unknown = kind is ChangeKind.METADATA_UPDATE and not metageneration
            if not is_unknown or (generation, is_removed) != known[:2]:
                return self._judge_old(change, known, happened_at)
            self._remember(change.name, known)
        else:
            is_certain = self._is_certain(kind, generation, known, happened_at)
            new = _Known(generation, is_removed, metageneration, happened_at, is_certain)
            self._remember(change.name, new)
            known = new
        return Verdict(
            generation,
            # An object that has replaced another one has at least the first metageneration.
            1 if change.overwritten_by else metageneration,
            not is_removed,
            happened_at if known.is_certain else -math.inf,
        )

    def _is_certain(
        self, kind: ChangeKind, generation: int, known: _Known | None, happened_at: float
    ) -> bool:
        if kind is ChangeKind.METADATA_UPDATE:
            return known is not None and known.is_certain and known.generation == generation
        if known is not None and known.is_certain:
            return True
        return happened_at > self._forgotten_until

    def _judge_old(self, change: Change, known: _Known, happened_at: float) -> Verdict | None:
        if (
            change.kind is not ChangeKind.FINALIZE
            or change.generation >= known.generation
            or happened_at <= known.happened_at + _CONTRADICTION_SECONDS
        ):
            return None
        self._remember(change.name, _Known(change.generation, False, 1, happened_at, False))
        return Verdict(change.generation, 0, True, -math.inf, is_contradiction=True)

    def _remember(self, name: str, new: _Known) -> None:
        self._known.pop(name, None)
        self._known[name] = new
        if len(self._known) > self._limit:
            forgotten = self._known.pop(next(iter(self._known)))
            self._forgotten_until = max(self._forgotten_until, forgotten.happened_at)
