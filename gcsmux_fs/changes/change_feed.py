"""Receives the changes of a bucket from a Pub/Sub subscription, and has them applied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from gcsmux_fs.changes.change_event import Change
    from gcsmux_fs.metrics.registry import Registry
    from gcsmux_fs.storage.ports import PullTransport

__all__ = ["ChangeFeed", "FeedWatcher"]


class FeedWatcher(Protocol):
    """Is told how the feed fares. `now` is the time of trio's clock."""

    def on_open(self, now: float) -> None:
        """The service has answered on a new stream. Delayed messages may still follow."""

    def on_messages(self, oldest: float, newest: float, now: float, wall: float) -> None:
        """Messages have been applied.

        `oldest` and `newest` are the earliest and the latest publish time among the messages, and
        `wall` is the time now, in seconds since 1970.
        """

    def on_quiet(self, now: float) -> None:
        """The service has answered a keep-alive, and all received messages have been applied."""

    def on_interrupted(self, now: float, why: str) -> None:
        """The stream has ended, and another one is being opened. No message is lost."""

    def on_lost(self, now: float, why: str) -> None:
        """The service refuses the stream. The stream is tried again every minute.

        `why` is one sentence for the user.
        """

    def on_gap(self, now: float) -> None:
        """Messages may be missing: what was asked before now may be outdated."""


class ChangeFeed:
    """Receives messages, and hands them to `apply` as changes.

    Args:
        transport: opens the calls on the subscription.
        subscription: the full name of the subscription, for the log.
        bucket: the bucket whose changes are applied.
        apply: applies changes, in the order of their arrival; called in the trio thread.
        watcher: is told how the feed fares.
        random: source of jitter.
        is_cold: whether no name is known from before the start, so that older changes do not
            matter.
    """

    def __init__(
        self,
        transport: PullTransport,
        subscription: str,
        bucket: str,
        *,
        apply: Callable[[Sequence[Change]], None],
        watcher: FeedWatcher,
        random: Random,
        is_cold: bool,
    ) -> None:
        self._transport = transport
        self._subscription = subscription
        self._bucket = bucket
        self._apply = apply
        self._watcher = watcher
        self._random = random
        self._is_cold = is_cold

    async def run(self) -> None:
        """Receive changes until cancelled. No failure of the feed ends this method."""
        await trio.sleep_forever()

    def declare_metrics(self, registry: Registry) -> None:
        """Declare the metrics of the feed."""
