"""Plans what `gcsmux changes teardown` deletes: only what setup has made; sans-IO."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import NotFound, StorageError
from gcsmux_fs.notifications import gcloud_commands
from gcsmux_fs.notifications.change_route import MARK
from gcsmux_fs.notifications.route_steps import RouteStep, StepKind, unknown_step

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gcsmux_fs.notifications.change_route import ChangeRoute
    from gcsmux_fs.notifications.route_survey import BucketCalls, PubsubCalls, RouteSurvey
    from gcsmux_fs.settings.subscription_name import SubscriptionName

__all__ = ["plan_teardown"]

_NOT_OURS = "gcsmux changes setup has not made it"


def plan_teardown(route: ChangeRoute, survey: RouteSurvey) -> list[RouteStep]:
    """Return the steps in their order.

    The topic and the notification configuration stay while other subscriptions use the topic.
    """
    found = (_subscription_step(name, survey) for name in route.subscriptions)
    steps = [step for step in found if step is not None]
    rest = survey.topic_subscriptions
    if isinstance(rest, StorageError):
        what = f"topic {route.topic}"
        return [*steps, unknown_step(what, rest)]
    deleted = {str(name) for name in route.subscriptions} - {
        step.what.rpartition(" ")[2] for step in steps if step.kind is not StepKind.DELETE
    }
    others = [name for name in rest if name not in deleted]
    return [*steps, *_config_steps(route, survey, others), *_topic_steps(route, survey, others)]


def _is_ours(labels: Mapping[str, str]) -> bool:
    return labels.get(MARK[0]) == MARK[1]


def _subscription_step(name: SubscriptionName, survey: RouteSurvey) -> RouteStep | None:
    full_name = str(name)
    what = f"subscription {full_name}"
    facts = survey.subscriptions[full_name]
    if facts is None:
        return None
    if isinstance(facts, StorageError):
        return unknown_step(what, facts)
    if not _is_ours(facts.labels):
        return RouteStep(StepKind.KEEP, what, _NOT_OURS)

    def delete(pubsub: PubsubCalls, _: BucketCalls) -> None:
        pubsub.delete_subscription(full_name)

    command = gcloud_commands.delete_subscription(name)
    return RouteStep(StepKind.DELETE, what, command=command, action=delete)


def _used_by(others: list[str]) -> str:
    return f"used by {others[0]}" + (f" and {len(others) - 1} more" if len(others) > 1 else "")


def _config_steps(
    route: ChangeRoute, survey: RouteSurvey, others: list[str]
) -> Iterator[RouteStep]:
    if isinstance(survey.configs, NotFound):
        return  # They were deleted with the bucket.
    if isinstance(survey.configs, StorageError):
        what = f"notification configuration of {route.address} for {route.topic}"
        yield unknown_step(what, survey.configs)
        return
    for config in survey.configs:
        if config.topic != str(route.topic):
            continue
        what = f"notification configuration {config.config_id} of gs://{route.bucket}"
        if not _is_ours(config.attributes):
            yield RouteStep(StepKind.KEEP, what, _NOT_OURS)
        elif others:
            yield RouteStep(StepKind.KEEP, what, _used_by(others))
        else:
            yield _delete_config(route.bucket, config.config_id, what)


def _foreign_configs(route: ChangeRoute, survey: RouteSurvey) -> list[str]:
    """Return the notification configurations that publish on the topic and are not ours."""
    if isinstance(survey.configs, NotFound):
        return []
    if isinstance(survey.configs, StorageError):
        return [f"notification configurations of gs://{route.bucket} that cannot be read"]
    return [
        f"notification configuration {config.config_id} of gs://{route.bucket}"
        for config in survey.configs
        if config.topic == str(route.topic) and not _is_ours(config.attributes)
    ]


def _delete_config(bucket: str, config_id: str, what: str) -> RouteStep:
    def delete(_: PubsubCalls, buckets: BucketCalls) -> None:
        buckets.delete(bucket, config_id)

    command = gcloud_commands.delete_config(bucket, config_id)
    return RouteStep(StepKind.DELETE, what, command=command, action=delete)


def _topic_steps(route: ChangeRoute, survey: RouteSurvey, others: list[str]) -> Iterator[RouteStep]:
    topic = str(route.topic)
    what = f"topic {topic}"

    def delete(pubsub: PubsubCalls, _: BucketCalls) -> None:
        pubsub.delete_topic(topic)

    if survey.topic is None:
        return
    if isinstance(survey.topic, StorageError):
        yield unknown_step(what, survey.topic)
    elif not _is_ours(survey.topic):
        detail = f"{_NOT_OURS}; so the permission of Cloud Storage to publish on it stays, too"
        yield RouteStep(StepKind.KEEP, what, detail)
    elif users := [*others, *_foreign_configs(route, survey)]:
        yield RouteStep(StepKind.KEEP, what, _used_by(users))
    else:
        command = gcloud_commands.delete_topic(route.topic)
        yield RouteStep(StepKind.DELETE, what, command=command, action=delete)
