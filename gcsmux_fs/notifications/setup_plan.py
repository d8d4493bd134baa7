"""Plans what `gcsmux changes setup` creates, from what is wanted and what exists; sans-IO."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import StorageError
from gcsmux_fs.notifications import gcloud_commands
from gcsmux_fs.notifications.change_route import MARK, PUBLISHER_ROLE, SUBSCRIBER_ROLE
from gcsmux_fs.notifications.route_steps import RouteStep, StepKind, unknown_step
from gcsmux_fs.notifications.route_survey import check_bucket_exists
from gcsmux_fs.storage.notification_configs import EVENT_TYPES, JSON_PAYLOAD, NotificationConfig
from gcsmux_fs.storage.pubsub_admin import SubscriptionFacts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsmux_fs.notifications.change_route import ChangeRoute
    from gcsmux_fs.notifications.route_steps import RouteAction
    from gcsmux_fs.notifications.route_survey import BucketCalls, PubsubCalls, RouteSurvey
    from gcsmux_fs.settings.subscription_name import SubscriptionName

__all__ = ["config_fault", "plan_setup", "subscription_fault", "wanted_subscription"]

# How long a delivered message may stay unacknowledged, the minimum of Pub/Sub. A mount acknowledges
# within milliseconds. Messages of a broken stream are delivered again after this time.
_ACK_DEADLINE_SECONDS = 10
# How long messages wait for a mount that is away. A mount that was cut off for 10 minutes asks for
# everything again, so older messages only have to be skipped at its next start.
_RETENTION_SECONDS = 3600
# The subscription of a mount that never comes back is deleted after this time, the default of
# Pub/Sub.
_EXPIRATION_SECONDS = 31 * 86400


def wanted_subscription(route: ChangeRoute) -> SubscriptionFacts:
    """Return the properties with which a subscription is created."""
    return SubscriptionFacts(
        topic=str(route.topic),
        ack_deadline_seconds=_ACK_DEADLINE_SECONDS,
        retention_seconds=_RETENTION_SECONDS,
        expiration_seconds=_EXPIRATION_SECONDS,
        labels=dict([MARK]),
    )


def plan_setup(route: ChangeRoute, survey: RouteSurvey) -> list[RouteStep]:
    """Return the steps in the order in which they must be done.

    Raises:
        ConfigError: the bucket does not exist.
    """
    check_bucket_exists(route, survey)
    return [
        _topic_step(route, survey),
        _publisher_step(route, survey),
        _config_step(route, survey),
        *_subscription_steps(route, survey),
    ]


def subscription_fault(facts: SubscriptionFacts, topic: str | None) -> str:
    """Return why a mount cannot use a subscription; empty if it can. `topic`: the wanted topic."""
    if facts.detached:
        return "it is detached from its topic, so it gets no messages"
    if facts.topic == "_deleted-topic_":
        return "its topic was deleted, so it gets no messages"
    if topic is not None and facts.topic != topic:
        return f"it belongs to {facts.topic}"
    if facts.push_endpoint:
        return f"it pushes its messages to {facts.push_endpoint}"
    if facts.filter:
        return f"its filter drops messages: {facts.filter}"
    if facts.dead_letter_topic:
        return f"it gives messages that are delivered again to {facts.dead_letter_topic}"
    if facts.failed:
        return "Pub/Sub reports that it cannot deliver (RESOURCE_ERROR)"
    return ""


def config_fault(config: NotificationConfig, prefix: str) -> str:
    """Return why a notification configuration does not tell all changes below a prefix."""
    missing = [each for each in EVENT_TYPES if each not in config.event_types]
    if config.event_types and missing:
        return f"it does not send {', '.join(missing)}"
    if config.payload_format != JSON_PAYLOAD:
        return f"its payload is {config.payload_format} instead of {JSON_PAYLOAD}"
    if not prefix.startswith(config.prefix):
        return f"it sends only events of objects below {config.prefix!r}"
    return ""


def _unseen(
    survey: RouteSurvey, what: str, error: StorageError, command: str, action: RouteAction
) -> RouteStep:
    """Return the step for an unknown part that probably exists, because its topic exists.

    So an account that may create only subscriptions can add one to a topic.
    """
    if survey.topic is None or isinstance(survey.topic, StorageError):
        return unknown_step(what, error, command=command, action=action)
    return unknown_step(what, error, command=command, is_vital=False)


def _topic_step(route: ChangeRoute, survey: RouteSurvey) -> RouteStep:
    name = str(route.topic)
    what = f"topic {name}"
    command = gcloud_commands.create_topic(route.topic)

    def create(pubsub: PubsubCalls, _: BucketCalls) -> None:
        pubsub.create_topic(name, dict([MARK]))

    if isinstance(survey.topic, StorageError):
        return unknown_step(what, survey.topic, command=command, action=create)
    if survey.topic is not None:
        return RouteStep(StepKind.KEEP, what)
    return RouteStep(StepKind.CREATE, what, command=command, action=create)


def _publisher_step(route: ChangeRoute, survey: RouteSurvey) -> RouteStep:
    topic, agent = str(route.topic), survey.agent
    if isinstance(agent, StorageError):
        what = f"permission of Cloud Storage to publish on {topic}"
        command = gcloud_commands.grant_publisher(route.topic, None)

        def grant_later(pubsub: PubsubCalls, buckets: BucketCalls) -> None:
            found = buckets.service_agent(buckets.project_number(route.bucket))
            pubsub.grant(topic, PUBLISHER_ROLE, f"serviceAccount:{found}")

        return _unseen(survey, what, agent, command, grant_later)
    what = f"permission of {agent} to publish on {topic}"
    command = gcloud_commands.grant_publisher(route.topic, agent)
    member = f"serviceAccount:{agent}"

    def grant(pubsub: PubsubCalls, _: BucketCalls) -> None:
        pubsub.grant(topic, PUBLISHER_ROLE, member)

    if isinstance(survey.publishers, StorageError):
        return _unseen(survey, what, survey.publishers, command, grant)
    if member in survey.publishers:
        return RouteStep(StepKind.KEEP, what)
    return RouteStep(StepKind.CREATE, what, command=command, action=grant)


def _config_step(route: ChangeRoute, survey: RouteSurvey) -> RouteStep:
    topic = str(route.topic)
    config = NotificationConfig(topic, prefix=route.prefix, attributes=dict([MARK]))
    what = f"notification configuration of {route.address} for {topic}"
    command = gcloud_commands.create_config(route.bucket, config)

    def create(_: PubsubCalls, buckets: BucketCalls) -> None:
        buckets.create(route.bucket, config)

    if isinstance(survey.configs, StorageError):
        return _unseen(survey, what, survey.configs, command, create)
    # A configuration for another folder may share the topic.
    own = [
        each
        for each in survey.configs
        if each.topic == topic and route.prefix.startswith(each.prefix)
    ]
    faults = {each.config_id: config_fault(each, route.prefix) for each in own}
    if "" in faults.values():
        return RouteStep(StepKind.KEEP, what)
    if own:
        first = own[0].config_id
        return RouteStep(
            StepKind.WRONG,
            f"notification configuration {first} of gs://{route.bucket} for {topic}",
            faults[first],
            remedy="choose another topic with --topic, or delete it:"
            f" `{gcloud_commands.delete_config(route.bucket, first)}`",
        )
    return RouteStep(StepKind.CREATE, what, command=command, action=create)


def _subscription_steps(route: ChangeRoute, survey: RouteSurvey) -> Iterator[RouteStep]:
    facts = wanted_subscription(route)
    for name in route.subscriptions:
        yield _subscription_step(name, facts, survey)
        for account in route.accounts:
            yield _subscriber_step(name, f"serviceAccount:{account}", survey)


def _subscription_step(
    name: SubscriptionName, wanted: SubscriptionFacts, survey: RouteSurvey
) -> RouteStep:
    full_name = str(name)
    what = f"subscription {full_name}"
    command = gcloud_commands.create_subscription(name, wanted)
    existing = survey.subscriptions[full_name]

    def create(pubsub: PubsubCalls, _: BucketCalls) -> None:
        pubsub.create_subscription(full_name, wanted)

    if isinstance(existing, StorageError):
        return unknown_step(what, existing, command=command, action=create)
    if existing is None:
        return RouteStep(StepKind.CREATE, what, command=command, action=create)
    if fault := subscription_fault(existing, wanted.topic):
        remedy = "choose another one with --subscription, or delete it:"
        other = existing.topic.removeprefix(f"projects/{name.project}/topics/")
        if existing.topic not in (wanted.topic, other):
            remedy = f"name its topic with --topic={other}, {remedy}"
        remedy += f" `{gcloud_commands.delete_subscription(name)}`"
        return RouteStep(StepKind.WRONG, what, fault, remedy=remedy)
    return RouteStep(StepKind.KEEP, what)


def _subscriber_step(name: SubscriptionName, member: str, survey: RouteSurvey) -> RouteStep:
    full_name = str(name)
    what = f"permission of {member.partition(':')[2]} to pull from {full_name}"
    command = gcloud_commands.grant_subscriber(name, member)
    present = survey.subscribers.get(full_name, frozenset())

    def grant(pubsub: PubsubCalls, _: BucketCalls) -> None:
        pubsub.grant(full_name, SUBSCRIBER_ROLE, member)

    if isinstance(present, StorageError):
        return unknown_step(what, present, command=command, action=grant)
    if member in present:
        return RouteStep(StepKind.KEEP, what)
    return RouteStep(StepKind.CREATE, what, command=command, action=grant)
