"""The commands of gcloud with which a person creates or removes the parts of a route."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.notifications.change_route import MARK, PUBLISHER_ROLE, SUBSCRIBER_ROLE
from gcsmux_fs.process.shell_commands import command_line

if TYPE_CHECKING:
    from gcsmux_fs.settings.subscription_name import SubscriptionName, TopicName
    from gcsmux_fs.storage.notification_configs import NotificationConfig
    from gcsmux_fs.storage.pubsub_admin import SubscriptionFacts

__all__ = [
    "create_config",
    "create_subscription",
    "create_topic",
    "delete_config",
    "delete_subscription",
    "delete_topic",
    "grant_publisher",
    "grant_subscriber",
]

_LABELS = f"--labels={MARK[0]}={MARK[1]}"


def create_topic(topic: TopicName) -> str:
    """Return the command that creates a topic."""
    return command_line(
        "gcloud", "pubsub", "topics", "create", topic.topic, _project(topic), _LABELS
    )


def delete_topic(topic: TopicName) -> str:
    """Return the command that deletes a topic."""
    return command_line("gcloud", "pubsub", "topics", "delete", topic.topic, _project(topic))


def grant_publisher(topic: TopicName, agent: str | None) -> str:
    """Return the command that lets Cloud Storage publish; None if its account is unknown."""
    words = ("gcloud", "pubsub", "topics", "add-iam-policy-binding", topic.topic, _project(topic))
    role = f"--role={PUBLISHER_ROLE}"
    if agent is not None:
        return command_line(*words, f"--member=serviceAccount:{agent}", role)
    # The project of the bucket may be another one than that of the topic.
    found = f'"$(gcloud storage service-agent {_project(topic)})"'
    return f"{command_line(*words)} --member=serviceAccount:{found} {command_line(role)}"


def create_config(bucket: str, config: NotificationConfig) -> str:
    """Return the command that creates a notification configuration."""
    return command_line(
        *("gcloud", "storage", "buckets", "notifications", "create", f"gs://{bucket}"),
        f"--topic={config.topic}",
        "--payload-format=json",
        f"--event-types={','.join(config.event_types)}",
        *((f"--object-prefix={config.prefix}",) if config.prefix else ()),
        f"--custom-attributes={MARK[0]}={MARK[1]}",
        "--skip-topic-setup",
    )


def delete_config(bucket: str, config_id: str) -> str:
    """Return the command that deletes a notification configuration."""
    name = f"projects/_/buckets/{bucket}/notificationConfigs/{config_id}"
    return command_line("gcloud", "storage", "buckets", "notifications", "delete", name)


def create_subscription(name: SubscriptionName, facts: SubscriptionFacts) -> str:
    """Return the command that creates a subscription."""
    return command_line(
        *("gcloud", "pubsub", "subscriptions", "create", name.subscription, _project(name)),
        f"--topic={facts.topic}",
        f"--ack-deadline={facts.ack_deadline_seconds}",
        f"--message-retention-duration={facts.retention_seconds}s",
        f"--expiration-period={facts.expiration_seconds}s",
        _LABELS,
    )


def delete_subscription(name: SubscriptionName) -> str:
    """Return the command that deletes a subscription."""
    words = ("gcloud", "pubsub", "subscriptions", "delete", name.subscription)
    return command_line(*words, _project(name))


def grant_subscriber(name: SubscriptionName, member: str) -> str:
    """Return the command that lets the account of a mount pull messages."""
    return command_line(
        *("gcloud", "pubsub", "subscriptions", "add-iam-policy-binding", name.subscription),
        _project(name),
        f"--member={member}",
        f"--role={SUBSCRIBER_ROLE}",
    )


def _project(name: SubscriptionName | TopicName) -> str:
    return f"--project={name.project}"
