"""What exists already of the way of notifications."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from gcsmux_fs.model.errors import (
    ConfigError,
    GcsmuxError,
    NotFound,
    StorageError,
    Unavailable,
)
from gcsmux_fs.notifications.change_route import PUBLISHER_ROLES, SUBSCRIBER_ROLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gcsmux_fs.notifications.change_route import ChangeRoute
    from gcsmux_fs.storage.notification_configs import NotificationConfig
    from gcsmux_fs.storage.pubsub_admin import SubscriptionFacts

__all__ = [
    "BucketCalls",
    "PubsubCalls",
    "RouteSurvey",
    "check_bucket_exists",
    "check_services_answer",
    "outcome",
    "survey_route",
    "unknown_route",
]

_Result = TypeVar("_Result")


class PubsubCalls(Protocol):
    """The calls of Pub/Sub; `storage.pubsub_admin.PubsubAdmin` makes them."""

    def topic_labels(self, topic: str) -> dict[str, str] | None:
        """Return the labels of a topic; None if it does not exist."""

    def create_topic(self, topic: str, labels: Mapping[str, str]) -> None:
        """Create a topic."""

    def delete_topic(self, topic: str) -> None:
        """Delete a topic."""

    def topic_subscriptions(self, topic: str) -> tuple[str, ...]:
        """Return the names of all subscriptions of a topic."""

    def subscription(self, name: str) -> SubscriptionFacts | None:
        """Return the properties of a subscription; None if it does not exist."""

    def create_subscription(self, name: str, facts: SubscriptionFacts) -> None:
        """Create a subscription."""

    def delete_subscription(self, name: str) -> None:
        """Delete a subscription."""

    def members(self, resource: str, roles: Iterable[str]) -> frozenset[str]:
        """Return who has one of the roles on a topic or a subscription."""

    def grant(self, resource: str, role: str, member: str) -> None:
        """Give a role on a topic or a subscription to a member."""

    def allowed(self, resource: str, permissions: Iterable[str]) -> frozenset[str]:
        """Return which permissions the caller has on a topic or a subscription."""


class BucketCalls(Protocol):
    """The calls about a bucket; `storage.notification_configs.BucketNotifications` makes them."""

    def project_number(self, bucket: str) -> str:
        """Return the number of the project that owns the bucket."""

    def service_agent(self, project: str) -> str:
        """Return the account that publishes the events of the buckets of a project."""

    def configurations(self, bucket: str) -> tuple[NotificationConfig, ...]:
        """Return the notification configurations of a bucket."""

    def create(self, bucket: str, config: NotificationConfig) -> NotificationConfig:
        """Create a notification configuration."""

    def delete(self, bucket: str, config_id: str) -> None:
        """Delete a notification configuration."""


@dataclass(frozen=True, slots=True)
class RouteSurvey:
    """What exists. A StorageError says why something could not be read.

    Attributes:
        agent: the account that publishes the events of the bucket.
        topic: the labels of the topic; None if there is no topic.
        publishers: who may publish on the topic.
        configs: all notification configurations of the bucket.
        subscriptions: the wanted subscriptions; None for one that does not exist.
        subscribers: who may pull, by subscription; only for those that exist.
        topic_subscriptions: all subscriptions of the topic.
    """

    agent: str | StorageError
    topic: Mapping[str, str] | StorageError | None
    publishers: frozenset[str] | StorageError
    configs: tuple[NotificationConfig, ...] | StorageError
    subscriptions: Mapping[str, SubscriptionFacts | StorageError | None]
    subscribers: Mapping[str, frozenset[str] | StorageError]
    topic_subscriptions: tuple[str, ...] | StorageError


def survey_route(route: ChangeRoute, pubsub: PubsubCalls, buckets: BucketCalls) -> RouteSurvey:
    """Read what exists of a route."""
    topic_name = str(route.topic)
    topic = outcome(lambda: pubsub.topic_labels(topic_name))
    exists = isinstance(topic, dict)
    names = [str(name) for name in route.subscriptions]
    subscriptions = {name: outcome(partial(pubsub.subscription, name)) for name in names}
    subscribers: dict[str, frozenset[str] | StorageError] = {}
    if route.accounts:
        for name, facts in subscriptions.items():
            if facts is not None and not isinstance(facts, StorageError):
                subscribers[name] = outcome(partial(pubsub.members, name, SUBSCRIBER_ROLES))
    return RouteSurvey(
        agent=outcome(lambda: buckets.service_agent(buckets.project_number(route.bucket))),
        topic=topic,
        publishers=outcome(lambda: pubsub.members(topic_name, PUBLISHER_ROLES))
        if exists
        else frozenset(),
        configs=outcome(lambda: buckets.configurations(route.bucket)),
        subscriptions=subscriptions,
        subscribers=subscribers,
        topic_subscriptions=outcome(lambda: pubsub.topic_subscriptions(topic_name))
        if exists
        else (),
    )


def check_services_answer(survey: RouteSurvey) -> None:
    """Raise GcsmuxError if a service could not be reached, because its plan would be a guess."""
    for name, parts in (
        ("Pub/Sub", (survey.topic, *survey.subscriptions.values())),
        ("the JSON API of Cloud Storage", (survey.agent, survey.configs)),
    ):
        for part in parts:
            if isinstance(part, Unavailable):
                raise GcsmuxError(
                    f"{name} does not answer, so nothing was changed: {part.message}: check the"
                    " network and the address of the service, and run the command again."
                )


def check_bucket_exists(route: ChangeRoute, survey: RouteSurvey) -> None:
    """Raise ConfigError if the bucket of the route does not exist."""
    if isinstance(survey.configs, NotFound) and isinstance(survey.agent, NotFound):
        raise ConfigError(f"gs://{route.bucket} does not exist: check the name of the bucket.")


def unknown_route(route: ChangeRoute, error: StorageError) -> RouteSurvey:
    """Return the survey of a route of which nothing can be read."""
    names = [str(name) for name in route.subscriptions]
    return RouteSurvey(
        agent=error,
        topic=error,
        publishers=error,
        configs=error,
        subscriptions=dict.fromkeys(names, error),
        subscribers=dict.fromkeys(names, error),
        topic_subscriptions=error,
    )


def outcome(call: Callable[[], _Result]) -> _Result | StorageError:
    """Return the result of a call, or the StorageError that it raises."""
    try:
        return call()
    except StorageError as error:
        return error
