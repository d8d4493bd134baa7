"""Pub/Sub and the notification configurations of buckets in memory."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import StatusCode, storage_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gcsmux_fs.storage.notification_configs import NotificationConfig
    from gcsmux_fs.storage.pubsub_admin import SubscriptionFacts

AGENT = "service-7@gs-project-accounts.iam.gserviceaccount.com"


@dataclass
class MemoryCloud:
    """Both protocols of `notifications.route_survey`, with the rules of the services.

    `hidden` has the names of methods that this caller may not use, and `failing` those that fail
    with a status.
    """

    topics: dict[str, dict[str, str]] = field(default_factory=dict)
    subscriptions: dict[str, SubscriptionFacts] = field(default_factory=dict)
    configs: dict[str, NotificationConfig] = field(default_factory=dict)
    grants: set[tuple[str, str, str]] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)
    failing: dict[str, StatusCode] = field(default_factory=dict)
    refusals: int = 0

    def _check(self, method: str) -> None:
        if method in self.hidden:
            raise storage_error(StatusCode.PERMISSION_DENIED, f"{method} is denied")
        if method in self.failing:
            raise storage_error(self.failing[method], f"{method} fails")

    def topic_labels(self, topic: str) -> dict[str, str] | None:
        self._check("topic_labels")
        return self.topics.get(topic)

    def create_topic(self, topic: str, labels: Mapping[str, str]) -> None:
        if topic in self.topics:
            raise storage_error(StatusCode.ALREADY_EXISTS, "the topic exists")
        self.topics[topic] = dict(labels)

    def delete_topic(self, topic: str) -> None:
        del self.topics[topic]

    def topic_subscriptions(self, topic: str) -> tuple[str, ...]:
        self._check("topic_subscriptions")
        return tuple(name for name, facts in self.subscriptions.items() if facts.topic == topic)

    def subscription(self, name: str) -> SubscriptionFacts | None:
        self._check("subscription")
        return self.subscriptions.get(name)

    def create_subscription(self, name: str, facts: SubscriptionFacts) -> None:
        assert facts.topic in self.topics
        self.subscriptions[name] = facts

    def delete_subscription(self, name: str) -> None:
        del self.subscriptions[name]

    def members(self, resource: str, roles: Iterable[str]) -> frozenset[str]:
        self._check("members")
        wanted = set(roles)
        return frozenset(
            m for where, role, m in self.grants if where == resource and role in wanted
        )

    def grant(self, resource: str, role: str, member: str) -> None:
        self.grants.add((resource, role, member))

    def allowed(self, resource: str, permissions: Iterable[str]) -> frozenset[str]:
        return frozenset(permissions) if resource in self.subscriptions else frozenset()

    def project_number(self, bucket: str) -> str:
        self._check("project_number")
        return "7"

    def service_agent(self, project: str) -> str:
        assert project == "7"
        return AGENT

    def configurations(self, bucket: str) -> tuple[NotificationConfig, ...]:
        self._check("configurations")
        return tuple(self.configs.values())

    def create(self, bucket: str, config: NotificationConfig) -> NotificationConfig:
        publishers = self.members(config.topic, ["roles/pubsub.publisher"])
        if f"serviceAccount:{AGENT}" not in publishers or self.refusals:
            self.refusals -= 1
            raise storage_error(StatusCode.INVALID_ARGUMENT, f"{AGENT} cannot publish")
        made = replace(config, config_id=str(len(self.configs) + 1))
        self.configs[made.config_id] = made
        return made

    def delete(self, bucket: str, config_id: str) -> None:
        del self.configs[config_id]
