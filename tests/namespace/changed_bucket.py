"""A bucket that writers change, the events of its changes, and what a mount may show meanwhile."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.changes.change_event import Change, ChangeKind

from .fake_store import FakeStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsmux_fs.model.values import ListingPage, ObjectInfo

# The time of day at the start of the virtual clock, and how far the clock of the service is ahead.
DAY = 1_700_000_000.0
SKEW_SECONDS = 0.3

# Generation and metageneration of an object; None if it does not exist.
State = tuple[int, int] | None


class Always:
    """News of all changes arrive, so answers are valid without end."""

    def valid_until(self, asked_at: float, ttl_seconds: float) -> float:
        return math.inf


class Interrupted(Always):
    """News that are interrupted: events are lost until the end of a gap."""

    trusted_after = -math.inf

    def valid_until(self, asked_at: float, ttl_seconds: float) -> float:
        return math.inf if asked_at > self.trusted_after else -math.inf


class MovingStore(FakeStore):
    """Some answers show the bucket when the request is sent, others when the answer is sent."""

    shows_end = False

    async def list_objects(
        self,
        prefix: str,
        *,
        delimiter: str = "",
        page_token: str = "",
        page_size: int = 1000,
        start_at: str = "",
        end_before: str = "",
    ) -> ListingPage:
        await self._wait_first()
        return await super().list_objects(
            prefix,
            delimiter=delimiter,
            page_token=page_token,
            page_size=page_size,
            start_at=start_at,
            end_before=end_before,
        )

    async def get_object(self, name: str, generation: int = 0) -> ObjectInfo:
        await self._wait_first()
        return await super().get_object(name, generation)

    async def _wait_first(self) -> None:
        if self.shows_end:
            await trio.sleep(self.delay_seconds)


@dataclass(frozen=True)
class Event:
    """An event, and the index of the state that it shows in the history of its object."""

    change: Change
    index: int


@dataclass
class ChangedBucket:
    """The writers of a bucket.

    `undelivered` and `delivered` are the events that the mount was not told, or was told.
    """

    store: MovingStore
    has_payload: bool = True
    history: dict[str, list[State]] = field(default_factory=dict)
    shown_index: dict[str, int] = field(default_factory=dict)
    undelivered: list[Event] = field(default_factory=list)
    delivered: list[Event] = field(default_factory=list)

    def put(self, name: str, size: int) -> None:
        """Write an object."""
        before = self.state(name)
        self.store.put(name, size=size)
        info = self.store[name]
        self._append(name, (info.generation, 1))
        overwrote = 0 if before is None else before[0]
        self._emit(name, ChangeKind.FINALIZE, info.generation, info, overwrote=overwrote)
        if before is not None:
            kind = ChangeKind.DELETE if info.generation % 2 else ChangeKind.ARCHIVE
            self._emit(name, kind, before[0], None, overwritten_by=info.generation)

    def delete(self, name: str) -> None:
        """Delete an object if it exists."""
        before = self.state(name)
        if before is None:
            return
        self.store.delete(name)
        self._append(name, None)
        self._emit(name, ChangeKind.DELETE, before[0], None)

    def touch(self, name: str) -> None:
        """Change the metadata of an object if it exists."""
        before = self.state(name)
        if before is None:
            return
        info = replace(self.store[name], metageneration=before[1] + 1)
        self.store.replace_info(info)
        self._append(name, (info.generation, info.metageneration))
        self._emit(name, ChangeKind.METADATA_UPDATE, info.generation, info)

    def take_event(self, number: int, *, again: bool) -> Change | None:
        """Return any undelivered event, or one that was delivered before."""
        events = self.delivered if again else self.undelivered
        if not events:
            return None
        event = events[number % len(events)]
        if not again:
            self.undelivered.remove(event)
            self.delivered.append(event)
        name = event.change.name
        self.shown_index[name] = max(self.shown_index.get(name, 0), event.index)
        return event.change

    def lose_events(self) -> None:
        """Lose all events that were not delivered."""
        self.undelivered.clear()

    # -- what the mount may show

    def state(self, name: str) -> State:
        """Return the state of an object now."""
        return self.history.get(name, [None])[-1]

    def may_show(self, name: str, state: State) -> bool:
        """Return whether the mount may show a state: it is not older than what events have shown.

        The mount may show a newer metageneration than it has to, but not an older one.
        """
        return state in self._recent(name)

    def may_be_directory(self, location: str) -> bool:
        """Return whether the mount may show that there is an object below `location`."""
        return any(any(self._recent(name)) for name in self._below(location))

    def may_be_no_directory(self, location: str) -> bool:
        """Return whether the mount may show that there is no object below `location`."""
        return all(None in self._recent(name) for name in self._below(location))

    def _recent(self, name: str) -> list[State]:
        return self.history.get(name, [None])[self.shown_index.get(name, 0) :]

    def _below(self, location: str) -> Iterator[str]:
        return (name for name in self.history if name.startswith(location))

    def _append(self, name: str, state: State) -> None:
        self.history.setdefault(name, [None]).append(state)

    def _emit(
        self,
        name: str,
        kind: ChangeKind,
        generation: int,
        info: ObjectInfo | None,
        *,
        overwrote: int = 0,
        overwritten_by: int = 0,
    ) -> None:
        at = DAY + trio.current_time() + SKEW_SECONDS
        has_info = info is not None and self.has_payload
        change = Change(
            kind,
            name,
            generation,
            metageneration=info.metageneration if info is not None and has_info else 0,
            event_time=at,
            publish_time=at,
            overwrote=overwrote,
            overwritten_by=overwritten_by,
            info=info if has_info else None,
        )
        self.undelivered.append(Event(change, len(self.history[name]) - 1))
