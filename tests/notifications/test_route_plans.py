"""Tests of the plans of `gcsmux changes setup` and `gcsmux changes teardown`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from gcsmux_fs.model.errors import ConfigError, GcsmuxError, StatusCode, StorageError
from gcsmux_fs.notifications.change_route import ChangeRoute, new_route
from gcsmux_fs.notifications.route_services import carry_out
from gcsmux_fs.notifications.route_steps import RouteStep, StepKind
from gcsmux_fs.notifications.route_survey import check_services_answer, survey_route, unknown_route
from gcsmux_fs.notifications.setup_plan import plan_setup, wanted_subscription
from gcsmux_fs.notifications.teardown_plan import plan_teardown
from gcsmux_fs.storage.notification_configs import NotificationConfig
from tests.notifications.memory_cloud import AGENT, MemoryCloud

if TYPE_CHECKING:
    from collections.abc import Callable

TOPIC = "projects/my-project/topics/gcsmux-data"
SUBSCRIPTION = "projects/my-project/subscriptions/gcsmux-data-host"


def route_to(
    *names: str, prefix: str = "", topic: str | None = None, accounts: tuple[str, ...] = ()
) -> ChangeRoute:
    return new_route(
        *("data", prefix, "my-project"),
        topic=topic,
        subscriptions=names,
        accounts=accounts,
        machine="host",
    )


def planned(
    plan: Callable[..., list[RouteStep]], route: ChangeRoute, cloud: MemoryCloud
) -> list[RouteStep]:
    return plan(route, survey_route(route, cloud, cloud))


def kinds(steps: list[RouteStep]) -> list[str]:
    return [str(step.kind) for step in steps]


def apply(
    plan: Callable[..., list[RouteStep]], route: ChangeRoute, cloud: MemoryCloud
) -> list[RouteStep]:
    steps = planned(plan, route, cloud)
    for step in steps:
        if step.action is not None:
            carry_out(step, cloud, cloud, sleep=lambda _: None)
    return steps


def test_setup_makes_the_whole_way_once_and_teardown_takes_it_back() -> None:
    cloud = MemoryCloud()
    route = route_to(accounts=("reader@p.iam.gserviceaccount.com",))
    assert kinds(planned(plan_setup, route, cloud)) == ["create"] * 5
    assert not cloud.topics
    apply(plan_setup, route, cloud)
    assert cloud.subscriptions[SUBSCRIPTION] == wanted_subscription(route)
    (config,) = cloud.configs.values()
    assert (config.topic, len(config.event_types)) == (TOPIC, 4)
    assert (TOPIC, "roles/pubsub.publisher", f"serviceAccount:{AGENT}") in cloud.grants
    assert kinds(planned(plan_setup, route, cloud)) == ["keep"] * 5
    assert kinds(apply(plan_teardown, route, cloud)) == ["delete"] * 3
    assert not cloud.topics
    assert not cloud.subscriptions
    assert not cloud.configs
    assert planned(plan_teardown, route, cloud) == []


def test_setup_of_a_missing_bucket_is_refused_and_teardown_deletes_what_is_left() -> None:
    cloud = MemoryCloud()
    apply(plan_setup, route_to(), cloud)
    cloud.failing = dict.fromkeys(("project_number", "configurations"), StatusCode.NOT_FOUND)
    with pytest.raises(ConfigError, match="gs://data does not exist: check the name"):
        planned(plan_setup, route_to(), cloud)
    assert kinds(apply(plan_teardown, route_to(), cloud)) == ["delete"] * 2
    assert not cloud.topics
    assert not cloud.subscriptions


@pytest.mark.parametrize(
    ("method", "service"), [("subscription", "Pub/Sub"), ("configurations", "the JSON API")]
)
def test_a_service_that_does_not_answer_is_named_instead_of_a_plan(
    method: str, service: str
) -> None:
    cloud = MemoryCloud(failing={method: StatusCode.UNAVAILABLE})
    with pytest.raises(GcsmuxError, match=f"^{service}.* does not answer.*: {method} fails: check"):
        check_services_answer(survey_route(route_to(), cloud, cloud))
    cloud = MemoryCloud(failing={method: StatusCode.PERMISSION_DENIED})
    check_services_answer(survey_route(route_to(), cloud, cloud))


def test_a_second_mount_needs_only_a_subscription_and_keeps_the_rest_alive() -> None:
    cloud = MemoryCloud()
    apply(plan_setup, route_to("first"), cloud)
    assert kinds(apply(plan_setup, route_to("second"), cloud)) == ["keep"] * 3 + ["create"]
    steps = apply(plan_teardown, route_to("first"), cloud)
    assert kinds(steps) == ["delete", "keep", "keep"]
    assert "used by projects/my-project/subscriptions/second" in steps[-1].detail
    assert cloud.topics


def test_a_folder_has_a_topic_of_its_own_with_only_its_events() -> None:
    cloud = MemoryCloud()
    apply(plan_setup, route_to(prefix="logs/ä/"), cloud)
    (config,) = cloud.configs.values()
    assert config.prefix == "logs/ä/"
    assert route_to(prefix="logs/ä/").topic != route_to(prefix="logs/ö/").topic


def test_what_somebody_else_has_made_stays() -> None:
    cloud = MemoryCloud(topics={TOPIC: {}})
    route = route_to()
    apply(plan_setup, route, cloud)
    foreign = NotificationConfig(TOPIC, prefix="other/", config_id="9")
    cloud.configs["9"] = foreign
    assert kinds(apply(plan_teardown, route, cloud)) == ["delete", "delete", "keep", "keep"]
    assert list(cloud.configs) == ["9"]
    assert TOPIC in cloud.topics


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"topic": "projects/p/topics/other"}, "it belongs to projects/p/topics/other"),
        ({"topic": "_deleted-topic_"}, "its topic was deleted"),
        ({"detached": True}, "it is detached"),
        ({"push_endpoint": "https://a"}, "it pushes its messages to https://a"),
        ({"filter": "attributes:a"}, "its filter drops messages"),
        ({"dead_letter_topic": "projects/p/topics/dead"}, "to projects/p/topics/dead"),
        ({"failed": True}, "RESOURCE_ERROR"),
    ],
)
def test_a_subscription_that_cannot_serve_a_mount_is_named(
    changed: dict[str, Any], fault: str
) -> None:
    cloud = MemoryCloud()
    route = route_to()
    apply(plan_setup, route, cloud)
    cloud.subscriptions[SUBSCRIPTION] = replace(cloud.subscriptions[SUBSCRIPTION], **changed)
    wrong = [s for s in planned(plan_setup, route, cloud) if s.kind is StepKind.WRONG]
    assert [step.what for step in wrong] == [f"subscription {SUBSCRIPTION}"]
    assert fault in wrong[0].detail
    assert "gcloud pubsub subscriptions delete gcsmux-data-host" in wrong[0].remedy


def test_a_subscription_of_another_topic_of_the_project_can_be_used_with_its_topic() -> None:
    cloud = MemoryCloud()
    apply(plan_setup, route_to("mine", topic="shared"), cloud)
    steps = planned(plan_setup, route_to("mine"), cloud)
    assert steps[-1].remedy.startswith("name its topic with --topic=shared, choose another one")
    assert set(kinds(planned(plan_setup, route_to("mine", topic="shared"), cloud))) == {"keep"}


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"event_types": ("OBJECT_FINALIZE",)}, "wrong"),
        ({"event_types": ()}, "keep"),
        ({"payload_format": "NONE"}, "wrong"),
        ({"prefix": "other/"}, "create"),
        ({"topic": "projects/p/topics/other"}, "create"),
    ],
)
def test_a_notification_configuration_must_send_all_changes(
    changed: dict[str, Any], kind: str
) -> None:
    cloud = MemoryCloud()
    route = route_to()
    apply(plan_setup, route, cloud)
    cloud.configs["1"] = replace(cloud.configs["1"], **changed)
    assert kinds(planned(plan_setup, route, cloud))[2] == kind


def test_what_this_account_may_not_see_is_shown_as_unknown_with_its_command() -> None:
    cloud = MemoryCloud(hidden={"configurations", "project_number"})
    steps = planned(plan_setup, route_to(), cloud)
    assert kinds(steps) == ["create", "unknown", "unknown", "create"]
    assert "configurations is denied" in steps[2].detail
    assert "gcloud storage service-agent" in steps[1].command
    everything = plan_setup(route_to(), unknown_route(route_to(), StorageError("not examined")))
    assert all(step.command.startswith("gcloud ") for step in everything)


def test_an_account_that_may_only_create_subscriptions_adds_one_to_a_topic() -> None:
    cloud = MemoryCloud()
    apply(plan_setup, route_to("first"), cloud)
    cloud.hidden = {"configurations", "project_number", "members"}
    steps = apply(plan_setup, route_to("second"), cloud)
    assert kinds(steps) == ["keep", "unknown", "unknown", "create"]
    assert not any(step.is_vital for step in steps if step.kind is StepKind.UNKNOWN)
    assert len(cloud.configs) == 1


def test_a_configuration_waits_until_the_permission_to_publish_has_an_effect() -> None:
    cloud = MemoryCloud(refusals=3)
    waits: list[str] = []
    route = route_to()
    for step in planned(plan_setup, route, cloud):
        assert step.action is not None
        carry_out(step, cloud, cloud, waiting=waits.append, sleep=lambda _: None)
    assert waits == [f"{AGENT} cannot publish"]
    assert cloud.configs


def test_a_topic_that_somebody_makes_meanwhile_is_no_error() -> None:
    cloud = MemoryCloud()
    steps = planned(plan_setup, route_to(), cloud)
    apply(plan_setup, route_to(), cloud)
    carry_out(steps[0], cloud, cloud)


def test_names_that_pubsub_would_refuse_are_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="'1a' is not an ID of Pub/Sub"):
        route_to("1a")
    with pytest.raises(ConfigError, match="'google-topic' begins with goog"):
        route_to(topic="google-topic")
