"""Watches the freshness of the names: runs its timer, logs its state, and tells the kernel.

The feed calls the methods whose names begin with `on_` (see `FeedWatcher` in `change_feed`).
"""

from __future__ import annotations

import functools
import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import trio

from gcsmux_fs.changes.freshness import FreshnessState
from gcsmux_fs.changes.unannounced_changes import UnannouncedChanges
from gcsmux_fs.metrics.registry import counter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gcsmux_fs.changes.freshness import Freshness, StateChange
    from gcsmux_fs.metrics.registry import Registry

__all__ = ["FreshnessWatch"]

log = logging.getLogger(__name__)

_WITHOUT_NEWS = "names are at most as old as --metadata-ttl"
_EFFECTS = {
    FreshnessState.HEALTHY: "names are valid until they change",
    FreshnessState.CATCHING_UP: f"{_WITHOUT_NEWS} until all changes have arrived",
    FreshnessState.INTERRUPTED: f"{_WITHOUT_NEWS} until the feed is open again",
    FreshnessState.LOST: _WITHOUT_NEWS,
}
_HEALTHY_WITH_FOLDERS = (
    "changes of objects show at once; names are at most as old as --metadata-ttl, because no"
    " notification is sent for the folders of this bucket"
)


@dataclass(slots=True)
class FreshnessCounters:
    """Counters of the feed's states."""

    changes_interruptions: int = counter(
        "interruptions", "Times in which the feed of changes was not healthy after it had been."
    )


class FreshnessWatch:
    """Watches `freshness`.

    Args:
        freshness: the state of the feed.
        drop_kernel_names: called when the kernel may hold names for longer than they are valid.
        ttl_seconds: how long an answer is valid without the feed.
    """

    def __init__(
        self,
        freshness: Freshness,
        drop_kernel_names: Callable[[], None],
        ttl_seconds: float = math.inf,
    ) -> None:
        self._freshness = freshness
        self._ttl = ttl_seconds
        self._unannounced = UnannouncedChanges()
        self._drop_kernel_names = drop_kernel_names
        self._counters = FreshnessCounters()
        self._timer_at = math.inf
        self._moved = trio.Event()

    @property
    def freshness(self) -> Freshness:
        """The state that is watched."""
        return self._freshness

    def declare_metrics(self, registry: Registry) -> None:
        """Declare the metrics of the feed's state."""
        freshness = self._freshness
        registry.fields(self._counters)
        for state in FreshnessState:
            registry.gauge(
                "changes_state",
                "mounts",
                "1 for the state of the feed of changes, otherwise 0.",
                functools.partial(self._is_in, state),
                {"state": state.value.replace(" ", "_")},
            )
        registry.gauge(
            "changes_lag_seconds",
            "seconds",
            "Age of the oldest of the changes that arrived last; 0 if all changes have arrived.",
            lambda: freshness.lag_seconds,
        )

    def _is_in(self, state: FreshnessState) -> int:
        return int(self._freshness.state is state)

    # -- events of the feed

    def on_open(self, now: float) -> None:
        """See `FeedWatcher`."""
        self._freshness.on_open(now)
        self._settle()

    def on_messages(self, oldest: float, now: float, wall: float) -> None:
        """See `FeedWatcher`."""
        self._freshness.on_messages(oldest, now, wall)
        self._settle()

    def on_quiet(self, now: float) -> None:
        """See `FeedWatcher`."""
        self._freshness.on_quiet(now)
        self._settle()

    def on_interrupted(self, now: float, why: str) -> None:
        """See `FeedWatcher`."""
        self._freshness.on_interrupted(now, why)
        self._settle()

    def on_lost(self, now: float, why: str) -> None:
        """See `FeedWatcher`."""
        self._freshness.on_lost(now, why)
        self._settle()

    def on_gap(self, now: float) -> None:
        """See `FeedWatcher`."""
        self._freshness.on_gap(now)
        self._settle()

    def on_shared(self, subscription: str, *, is_shared: bool) -> None:
        """Record whether another mount of this machine has the subscription, too."""
        why = (
            f"another mount of this machine uses {subscription}, and each message reaches only one"
            " mount: create a subscription for each with `gcsmux changes setup`"
        )
        self._freshness.on_shared(trio.current_time(), why if is_shared else "")
        self._settle()

    # -- changes

    def note_found(self, name: str) -> None:
        """Record that a generation of the object `name` was found to be gone."""
        now = trio.current_time()
        if self._freshness.covers_all(now, self._ttl):
            self._unannounced.note_found(name, now)
            self._settle()

    def note_announced(self, names: Iterable[str]) -> None:
        """Record that changes of these objects were announced."""
        self._unannounced.note_announced(names)

    # -- time

    async def run(self) -> NoReturn:
        """Change the state when its time is over. Runs until cancelled; idle while healthy."""
        while True:
            self._timer_at = self._deadline
            with trio.move_on_at(self._timer_at):
                await self._moved.wait()
            self._moved = trio.Event()
            now = trio.current_time()
            self._freshness.on_timer(now)
            name = self._unannounced.overdue(now)
            if name:
                why = f"a change of {name!r} was not announced: run `gcsmux doctor --changes`"
                self._freshness.on_unannounced(now, why)
            self._settle()

    @property
    def _deadline(self) -> float:
        return min(self._freshness.deadline, self._unannounced.deadline)

    def _settle(self) -> None:
        for change in self._freshness.take_changes():
            self._report(change)
        # A later deadline needs no wake-up: the timer finds it when the earlier one is over.
        if self._deadline < self._timer_at:
            self._moved.set()

    def _report(self, change: StateChange) -> None:
        if change.ends_promise:
            self._unannounced.forget()
            self._drop_kernel_names()
        if change.is_gap:
            log.warning("changes of the bucket were missed: all names are asked for again")
            return
        self._counters.changes_interruptions += change.ends_promise
        effect = _EFFECTS[change.state]
        if change.state is FreshnessState.HEALTHY and not self._freshness.is_complete:
            effect = _HEALTHY_WITH_FOLDERS
        is_bad = change.state in (FreshnessState.INTERRUPTED, FreshnessState.LOST)
        log.log(
            logging.WARNING if is_bad else logging.INFO,
            "feed of changes: %s%s: %s",
            change.state.value,
            f" ({change.why})" if change.why else "",
            effect,
        )
