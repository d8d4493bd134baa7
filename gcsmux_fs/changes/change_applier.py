"""Applies the changes of a bucket to the mount: to its names and inodes, and to cached content.

An event has no other effect than this: it changes which generation a name leads to, and what its
attributes are. Each read asks for exactly one generation, so no forged event leads to other
bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from gcsmux_fs.changes.change_event import ChangeKind
from gcsmux_fs.changes.change_order import ChangeOrder
from gcsmux_fs.metrics.registry import counter
from gcsmux_fs.model.values import ObjectKey
from gcsmux_fs.namespace.names import MAX_OBJECT_NAME_BYTES, encoded_length
from gcsmux_fs.namespace.object_change import ObjectChange

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gcsmux_fs.changes.change_event import Change
    from gcsmux_fs.metrics.registry import Registry
    from gcsmux_fs.namespace.tree_changes import TreeChanges

__all__ = ["ChangeApplier"]


@dataclass(slots=True)
class _ApplyCounters:
    changes_applied: int = counter(
        "changes", "Changes of the bucket that were applied to cached names."
    )
    changes_old: int = counter(
        "changes", "Changes of the bucket that were known already, or older than what was known."
    )
    changes_elsewhere: int = counter(
        "changes", "Changes of objects that are not in the directory that is mounted."
    )
    changes_contradicting: int = counter(
        "changes", "Changes that contradict earlier ones, so that the service has to be asked."
    )


class ChangeApplier:
    """Applies the changes of one bucket to one mount.

    Args:
        names: the names and inodes of the mount.
        bucket: the name of the bucket.
        invalidate: drops everything that is known about an object, by its name.
        release: drops the cached content of a generation; its second argument returns the size of
            the generation, or None if it is unknown.
        note_names: called if the kernel may hold names that have changed.
        clock: returns the time on the mount's clock.
        wall: returns the seconds since 1970.
    """

    def __init__(
        self,
        names: TreeChanges,
        bucket: str,
        *,
        invalidate: Callable[[str], object],
        release: Callable[[ObjectKey, Callable[[], int | None]], None],
        note_names: Callable[[], None],
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._names = names
        self._bucket = bucket
        self._invalidate = invalidate
        self._release = release
        self._note_names = note_names
        self._clock = clock
        self._wall = wall
        self._order = ChangeOrder()
        self._counters = _ApplyCounters()

    def declare_metrics(self, registry: Registry) -> None:
        """Declare the metrics of applied changes."""
        registry.fields(self._counters)

    def apply(self, changes: Sequence[Change]) -> Sequence[Change]:
        """Apply changes in any order, also repeatedly. Nothing waits.

        Return the changes below the root of the mount that were not known before.
        """
        offset = self._clock() - self._wall()
        newest: list[ObjectChange] = []
        news: list[Change] = []
        is_held = False
        root = self._names.root
        for change in changes:
            name = change.name
            if not name.startswith(root) or encoded_length(name) > MAX_OBJECT_NAME_BYTES:
                self._counters.changes_elsewhere += 1
                continue
            self._release_dead(change)
            verdict = self._order.take(change)
            if verdict is None:
                self._counters.changes_old += 1
                continue
            news.append(change)
            if verdict.is_contradiction:
                self._counters.changes_contradicting += 1
                self._invalidate(name)
                is_held = True
            else:
                generation, metageneration, exists, happened_at, _ = verdict
                # A change describes the object only if it shows its own generation.
                source = change if exists and generation == change.generation else None
                newest.append(
                    ObjectChange(
                        name,
                        generation,
                        metageneration,
                        exists,
                        source,
                        happened_at + offset,
                    )
                )
        self._counters.changes_applied += len(newest)
        if self._names.apply(newest) or is_held:
            self._note_names()
        return news

    def _release_dead(self, change: Change) -> None:
        """Release the cached content of the generation that a change has removed."""
        generation = change.overwrote
        if change.kind is ChangeKind.DELETE or change.kind is ChangeKind.ARCHIVE:
            generation = change.generation
        if generation:
            key = ObjectKey(self._bucket, change.name, generation)
            self._release(key, partial(self._names.known_size, change.name, generation))
