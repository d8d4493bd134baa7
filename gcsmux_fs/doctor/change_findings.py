"""Judges whether a mount would see the changes of its bucket by --changes; sans-IO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsmux_fs.control.status_lines import shown_duration
from gcsmux_fs.doctor.checklist import Finding, failure, healthy, skipped, warning
from gcsmux_fs.model.errors import NotFound, PermissionDenied, StorageError
from gcsmux_fs.notifications.setup_plan import config_fault, subscription_fault
from gcsmux_fs.settings.bucket_address import bucket_address
from gcsmux_fs.settings.units import rounded_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcsmux_fs.storage.notification_configs import NotificationConfig
    from gcsmux_fs.storage.pubsub_admin import SubscriptionFacts

__all__ = [
    "NO_CHANGES",
    "ListeningMount",
    "lag_finding",
    "notifications_finding",
    "subscription_finding",
]

NO_CHANGES = "names are asked for again after --metadata-ttl: add --changes to receive changes"
"""Why there is nothing to check without --changes."""

# A message that waits for longer shows that no mount receives. Pub/Sub delivers within a second.
_LATE_SECONDS = 10.0
_HEALTHY_STATE = "healthy"


@dataclass(frozen=True, slots=True)
class ListeningMount:
    """A mount of this machine that uses the subscription; None for what it does not tell."""

    mountpoint: str
    state: str | None = None
    lag_seconds: float | None = None


def subscription_finding(
    name: str,
    facts: SubscriptionFacts | StorageError | None,
    *,
    may_pull: bool | StorageError,
    mounts: Sequence[ListeningMount],
    mountpoint: str | None,
) -> Finding:
    """Judge the subscription: whether it exists, and whether this mount gets all its messages.

    `facts` is None if the subscription does not exist. `mountpoint` is where the bucket would be
    mounted; None if this is not known.
    """
    if facts is None or isinstance(may_pull, NotFound):
        return failure(
            f"{name} does not exist; Pub/Sub deletes a subscription that no mount uses for a month",
            "create it with `gcsmux changes setup`",
        )
    for error in (facts, may_pull):
        if isinstance(error, StorageError) and not isinstance(error, PermissionDenied):
            return failure(f"Pub/Sub does not answer ({error})", "check --pubsub-endpoint")
    if may_pull is not True:
        return failure(
            f"{name} does not exist, or this account may not pull from it",
            "grant roles/pubsub.subscriber on it with the option --account of `gcsmux changes"
            " setup`",
        )
    others = [mount.mountpoint for mount in mounts if mount.mountpoint != mountpoint]
    if others and (mountpoint is not None or len(others) > 1):
        return failure(
            f"{name} is used by the mount at {others[0]}, and each message reaches only one mount",
            "create a subscription for each mount with `gcsmux changes setup`",
        )
    if isinstance(facts, StorageError):
        return healthy(
            f"{name} exists; its settings cannot be read without pubsub.subscriptions.get"
        )
    return _settings_finding(name, facts)


def _settings_finding(name: str, facts: SubscriptionFacts) -> Finding:
    if fault := subscription_fault(facts, None):
        return failure(f"{name}: {fault}", "create another one with `gcsmux changes setup`")
    if facts.exactly_once:
        return warning(
            f"{name} delivers exactly once, which is slow, and which a mount does not need",
            "create another one with `gcsmux changes setup`",
        )
    retention = shown_duration(facts.retention_seconds)
    detail = f"{name} exists and keeps messages for {retention}"
    expiration = facts.expiration_seconds
    if expiration:
        detail += f"; it is deleted after {shown_duration(expiration)} without a mount"
    return healthy(detail)


def notifications_finding(
    bucket: str,
    prefix: str,
    topic: str | None,
    configs: Sequence[NotificationConfig] | StorageError,
) -> Finding:
    """Judge whether Cloud Storage publishes all changes of the bucket on the topic.

    `topic` is None if the account may not see the topic of the subscription.
    """
    address = bucket_address(bucket, prefix)
    if topic is None:
        return skipped("the topic is not known without the permission pubsub.subscriptions.get")
    if isinstance(configs, PermissionDenied):
        return skipped(
            f"the notifications of gs://{bucket} cannot be read without storage.buckets.get"
        )
    if isinstance(configs, StorageError):
        return warning(f"the notifications of gs://{bucket} cannot be read ({configs})", "")
    own = [config for config in configs if config.topic == topic]
    remedy = "create the notification configuration with `gcsmux changes setup`"
    if not own:
        return failure(f"gs://{bucket} publishes nothing on {topic}", remedy)
    faults = [config_fault(config, prefix) for config in own]
    if "" not in faults:
        return failure(f"configuration {own[0].config_id} of gs://{bucket}: {faults[0]}", remedy)
    good = [config for config, fault in zip(own, faults, strict=True) if not fault]
    detail = f"{address} publishes all changes on {topic}"
    if len(good) > 1:
        return warning(
            f"{detail} {len(good)} times, and each message costs",
            f"delete all but one of the configurations {', '.join(c.config_id for c in good)}",
        )
    return healthy(detail)


def lag_finding(
    waiting_seconds: float | StorageError | None, mounts: Sequence[ListeningMount]
) -> Finding:
    """Judge whether messages arrive in time.

    `waiting_seconds` is the age of a message that waits in the subscription; None if none waits.
    """
    for mount in mounts:
        if mount.state is None:
            continue
        late = "it has all changes"
        if mount.lag_seconds:
            late = f"its last changes were {rounded_duration(mount.lag_seconds)} late"
        detail = f"the mount at {mount.mountpoint} is {mount.state}, {late}"
        if mount.state == _HEALTHY_STATE:
            return healthy(detail)
        return warning(detail, "look into its log, which names the reason")
    if isinstance(waiting_seconds, StorageError):
        return warning(f"a message cannot be pulled ({waiting_seconds})", "")
    if waiting_seconds is None or waiting_seconds < _LATE_SECONDS:
        return healthy("no message waits")
    return healthy(
        f"a message has waited for {shown_duration(waiting_seconds)}; a mount skips old messages at"
        " its start"
    )
