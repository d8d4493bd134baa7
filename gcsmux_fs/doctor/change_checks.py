"""The checks of the notifications about changes of the bucket."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from gcsmux_fs.control.client import ControlError, control_client
from gcsmux_fs.control.mounts import own_mounts
from gcsmux_fs.control.protocol import CommandFailed
from gcsmux_fs.doctor.change_findings import (
    NO_CHANGES,
    ListeningMount,
    lag_finding,
    notifications_finding,
    subscription_finding,
)
from gcsmux_fs.doctor.checklist import Finding, failure, skipped
from gcsmux_fs.doctor.local_checks import in_thread
from gcsmux_fs.fuse.mountinfo import MountEntry, mount_table
from gcsmux_fs.model.errors import CredentialsError, StorageError
from gcsmux_fs.notifications.route_survey import outcome
from gcsmux_fs.settings.json_address import JSON_EMULATOR_VARIABLE
from gcsmux_fs.settings.pubsub_address import pubsub_address
from gcsmux_fs.storage.blocking_token import fetch_headers
from gcsmux_fs.storage.credentials import PUBSUB_SCOPE, READ_SCOPE
from gcsmux_fs.storage.notification_configs import BucketNotifications
from gcsmux_fs.storage.pubsub_admin import PubsubAdmin, SubscriptionFacts

if TYPE_CHECKING:
    from gcsmux_fs.control.protocol import Json
    from gcsmux_fs.doctor.subject import Subject
    from gcsmux_fs.settings.service_address import ServiceAddress

__all__ = ["ChangeChecks", "listening_mount"]

_CONSUME = "pubsub.subscriptions.consume"
# How long a mount of this machine may take to answer, in seconds.
_ANSWER_SECONDS = 2.0
_STATE_METRIC = "changes_state"
_LAG_METRIC = "changes_lag_seconds"


class ChangeChecks:
    """The checks of the notifications. Each method makes the check of the same name."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._headers: tuple[tuple[str, str], ...] = ()
        self._pubsub: PubsubAdmin | None = None
        self._facts: SubscriptionFacts | StorageError | None = None
        self._mounts: list[ListeningMount] = []

    async def subscription(self) -> Finding:
        """Check the subscription, the permission to pull, and who else pulls."""
        if self._subject.changes is None:
            return skipped(NO_CHANGES)
        try:
            return await in_thread(self._subscription)
        except CredentialsError as error:
            return failure(f"there is no access token for Pub/Sub: {error}", "")

    async def notifications(self) -> Finding:
        """Check whether the bucket publishes its changes on the topic of the subscription."""
        if not self._subject.json_address:
            return skipped(f"{JSON_EMULATOR_VARIABLE} does not name the emulator's HTTP address")
        return await in_thread(self._notifications)

    async def lag(self) -> Finding:
        """Check whether messages arrive in time."""
        return await in_thread(self._lag)

    def _subscription(self) -> Finding:
        subject = self._subject
        settings = replace(subject.settings, scopes=(PUBSUB_SCOPE, READ_SCOPE))
        self._headers = fetch_headers(settings)
        self._pubsub = pubsub = PubsubAdmin(
            settings.for_pubsub(subject.pubsub),
            () if subject.pubsub.plaintext else self._headers,
            seconds=subject.call_seconds,
        )
        name = str(subject.changes)
        self._mounts = _listening_mounts(name, subject.pubsub)
        allowed = outcome(partial(pubsub.allowed, name, [_CONSUME]))
        self._facts = outcome(partial(pubsub.subscription, name))
        return subscription_finding(
            name,
            self._facts,
            may_pull=allowed if isinstance(allowed, StorageError) else _CONSUME in allowed,
            mounts=self._mounts,
            mountpoint=None if subject.mountpoint is None else os.fspath(subject.mountpoint),
        )

    def _notifications(self) -> Finding:
        subject = self._subject
        buckets = BucketNotifications(subject.json_address, self._headers, subject.settings.ca_file)
        try:
            configs = outcome(partial(buckets.configurations, subject.bucket))
        finally:
            buckets.close()
        topic = self._facts.topic if isinstance(self._facts, SubscriptionFacts) else None
        return notifications_finding(subject.bucket, subject.prefix, topic, configs)

    def _lag(self) -> Finding:
        assert self._pubsub is not None
        published: float | StorageError | None = None
        if not self._mounts:
            # A mount would receive the message in any case, so nothing is pulled beside one.
            name = str(self._subject.changes)
            published = outcome(partial(self._pubsub.oldest_message_time, name))
        if isinstance(published, float):
            published = max(0.0, time.time() - published)
        return lag_finding(published, self._mounts)


def _listening_mounts(subscription: str, pubsub: ServiceAddress) -> list[ListeningMount]:
    """Return the mounts of this machine that use a subscription, as far as they answer."""
    found = []
    for entry in own_mounts(mount_table()):
        try:
            config, stats = _ask(entry, "config"), _ask(entry, "stats")
        except (ControlError, CommandFailed):
            continue
        mount = listening_mount(entry.path, subscription, pubsub, config, stats)
        if mount is not None:
            found.append(mount)
    return found


def _ask(entry: MountEntry, command: str) -> Json:
    with control_client(entry, _ANSWER_SECONDS) as client:
        return client.ask(command)


def listening_mount(
    mountpoint: str, subscription: str, pubsub: ServiceAddress, config: Json, stats: Json
) -> ListeningMount | None:
    """Return what a mount tells about its subscription; None if it uses another one or none."""
    try:
        rows = {row["name"]: row["value"] for row in config["settings"]}
        # Two emulators may have subscriptions of the same name.
        address = pubsub_address(str(rows["pubsub_endpoint"]), anonymous=pubsub.anonymous)
        if rows.get("changes") != subscription or address.endpoint != pubsub.endpoint:
            return None
        metrics = {metric["name"]: metric["values"] for metric in stats["metrics"]}
        states = metrics.get(_STATE_METRIC, ())
        state = next((str(each["labels"]["state"]) for each in states if each["value"]), None)
        lag = next((float(each["value"]) for each in metrics.get(_LAG_METRIC, ())), None)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return ListeningMount(mountpoint, state and state.replace("_", " "), lag)
