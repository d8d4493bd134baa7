"""Connects a mount with the changes of its bucket (`--changes`).

The mount never waits for Pub/Sub: it starts, and works, with the ordinary TTL until the feed is
open. The parts, from the network to the kernel: transport, feed, applier, names, notifier.
"""

from __future__ import annotations

import functools
import os
import random
import time
from typing import TYPE_CHECKING, NoReturn

import trio

from gcsmux_fs.changes.change_applier import ChangeApplier
from gcsmux_fs.changes.change_feed import ChangeFeed
from gcsmux_fs.changes.freshness import Freshness
from gcsmux_fs.changes.freshness_watch import FreshnessWatch
from gcsmux_fs.changes.subscription_claim import SubscriptionClaim
from gcsmux_fs.fuse.epoch_notifier import EpochNotifier
from gcsmux_fs.fuse.submount_search import SubmountSearch
from gcsmux_fs.model.errors import CredentialsError
from gcsmux_fs.storage.channels import ChannelSettings
from gcsmux_fs.storage.streaming_pull import open_pull_transport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcsmux_fs.changes.change_event import Change
    from gcsmux_fs.fuse.name_pruning import NamePruner
    from gcsmux_fs.metrics.registry import Registry
    from gcsmux_fs.namespace.tree import Tree
    from gcsmux_fs.reading.read_context import ReadContext
    from gcsmux_fs.settings.settings import Settings

__all__ = ["METRICS_SECTION", "ConnectedChanges"]

METRICS_SECTION = "changes of the bucket"
"""The heading of the metrics of changes."""

# Pause before another look for credentials. They seldom appear while a mount runs.
_CREDENTIALS_PAUSE_SECONDS = 60.0


class ConnectedChanges:
    """The changes of the bucket of one mount: what receives them, and what they change.

    Args:
        settings: the settings of the mount, with a subscription.
        names: writes notifications to the kernel.
        hierarchical: whether the bucket has folders.
    """

    def __init__(self, settings: Settings, names: NamePruner, *, hierarchical: bool) -> None:
        self._settings = settings
        #: The full name of the subscription.
        self.subscription = str(settings.changes)
        #: How long answers about names are valid.
        self.freshness = Freshness(trio.current_time(), is_complete=not hierarchical)
        #: Makes the kernel look names up again.
        self.notifier = EpochNotifier(names, on_dropped=self._note_dropped)
        self._watch = FreshnessWatch(
            self.freshness, self.notifier.note, settings.metadata_ttl_seconds
        )

        self._claim = SubscriptionClaim(
            self.subscription,
            settings.pubsub.endpoint,
            lambda is_shared: self._watch.on_shared(self.subscription, is_shared=is_shared),
        )

    @classmethod
    def of(
        cls, settings: Settings, names: NamePruner, *, hierarchical: bool
    ) -> ConnectedChanges | None:
        """Return the changes of a mount; None without --changes."""
        if settings.changes is None:
            return None
        return cls(settings, names, hierarchical=hierarchical)

    def on_invalidated(self, inode: int) -> None:
        """Make the kernel look up the names of an inode again, as after a change."""
        self.notifier.note()

    def on_found_gone(self, name: str) -> None:
        """Expect that a change of the object `name` is announced."""
        self._watch.note_found(name)

    def on_mounted(self, device: tuple[int, int]) -> None:
        """Begin to notify the kernel; the mount has this device number (major, minor)."""
        self.notifier.start(SubmountSearch(os.makedev(*device)).found)

    def connect(self, tree: Tree, context: ReadContext) -> None:
        """Apply the changes to these names, and to this cached content."""
        self._tree = tree
        self._applier = ChangeApplier(
            tree.changes,
            self._settings.bucket,
            invalidate=tree.invalidate,
            release=context.forget_generation,
            note_names=self.notifier.note,
            clock=trio.current_time,
            wall=time.time,
        )

    def declare_metrics(self, registry: Registry) -> None:
        """Declare the metrics of the changes. The feed declares its own when it is created."""
        self._registry = registry
        self._watch.declare_metrics(registry)
        self._applier.declare_metrics(registry)
        self.notifier.declare_metrics(registry)

    async def run(self) -> NoReturn:
        """Receive and apply the changes. Runs until cancelled."""
        async with trio.open_nursery() as tasks:
            tasks.start_soon(self._watch.run)
            tasks.start_soon(self.notifier.run)
            tasks.start_soon(self._claim.run)
            await self._feed()
        raise AssertionError("the feed does not end")

    async def _feed(self) -> NoReturn:
        settings, randomness = self._settings, random.Random()
        channel = ChannelSettings.of(functools.partial(getattr, settings))
        while True:
            try:
                async with open_pull_transport(
                    channel.for_pubsub(settings.pubsub), self.subscription, randomness
                ) as transport:
                    feed = ChangeFeed(
                        transport,
                        self.subscription,
                        settings.bucket,
                        apply=self._apply,
                        watcher=self._watch,
                        random=randomness,
                        # Names that were kept on disk have their ordinary TTL, so the changes from
                        # before the start do not matter.
                        is_cold=True,
                    )
                    self._registry.section = METRICS_SECTION
                    feed.declare_metrics(self._registry)
                    await feed.run()
            except CredentialsError as error:
                self._watch.on_lost(trio.current_time(), str(error))
                await trio.sleep(_CREDENTIALS_PAUSE_SECONDS)

    def _apply(self, changes: Sequence[Change]) -> Sequence[Change]:
        self._watch.note_announced(change.name for change in changes)
        return self._applier.apply(changes)

    def _note_dropped(self) -> None:
        self._tree.changes.note_names_dropped()
