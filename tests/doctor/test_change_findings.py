"""Tests of what `gcsmux doctor` says about --changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gcsmux_fs.doctor.change_checks import listening_mount
from gcsmux_fs.doctor.change_findings import (
    ListeningMount,
    lag_finding,
    notifications_finding,
    subscription_finding,
)
from gcsmux_fs.model.errors import StatusCode, StorageError, storage_error
from gcsmux_fs.settings.service_address import ServiceAddress
from gcsmux_fs.storage.notification_configs import NotificationConfig
from gcsmux_fs.storage.pubsub_admin import SubscriptionFacts

NAME = "projects/p/subscriptions/mount"
TOPIC = "projects/p/topics/changes"
FACTS = SubscriptionFacts(TOPIC, retention_seconds=86400, expiration_seconds=31 * 86400)
CONFIG = NotificationConfig(TOPIC, config_id="4")
DENIED = storage_error(StatusCode.PERMISSION_DENIED, "denied")
OUTAGE = storage_error(StatusCode.UNAVAILABLE, "no route")
HERE = ListeningMount("/mnt", "healthy", 0.02)
OTHER = ListeningMount("/other", "interrupted", 0.0)


@pytest.mark.parametrize(
    ("changed", "result", "detail"),
    [
        (
            {},
            "ok",
            "exists and keeps messages for 1 d 0 h; it is deleted after 31 d 0 h without a mount",
        ),
        ({"facts": None}, "failure", "does not exist; Pub/Sub deletes a subscription"),
        ({"may_pull": False}, "failure", "this account may not pull from it"),
        ({"facts": DENIED}, "ok", "cannot be read without pubsub.subscriptions.get"),
        ({"facts": OUTAGE}, "failure", "Pub/Sub does not answer"),
        ({"may_pull": OUTAGE}, "failure", "Pub/Sub does not answer"),
        ({"facts": replace(FACTS, detached=True)}, "failure", "it is detached"),
        ({"facts": replace(FACTS, exactly_once=True)}, "warning", "delivers exactly once"),
        ({"mounts": [HERE]}, "ok", "exists"),
        ({"mounts": [HERE], "mountpoint": "/mnt"}, "ok", "exists"),
        ({"mounts": [HERE], "mountpoint": "/new"}, "failure", "used by the mount at /mnt"),
        ({"mounts": [HERE, OTHER]}, "failure", "each message reaches only one mount"),
    ],
)
def test_a_subscription_serves_one_mount_that_may_pull(
    changed: dict[str, Any], result: str, detail: str
) -> None:
    arguments: dict[str, Any] = {"facts": FACTS, "may_pull": True, "mounts": [], "mountpoint": None}
    found = subscription_finding(NAME, **{**arguments, **changed})
    assert found.result == result, found
    assert detail in found.detail
    assert bool(found.remedy) == (result != "ok")


@pytest.mark.parametrize(
    ("topic", "configs", "result", "detail"),
    [
        (TOPIC, [CONFIG], "ok", "gs://data/logs publishes all changes on"),
        (TOPIC, [replace(CONFIG, prefix="logs/")], "ok", "publishes all changes"),
        (TOPIC, [], "failure", "gs://data publishes nothing on"),
        (TOPIC, [replace(CONFIG, topic="projects/p/topics/b")], "failure", "publishes nothing"),
        (TOPIC, [replace(CONFIG, prefix="logs/a/")], "failure", "only events of objects below"),
        (TOPIC, [replace(CONFIG, event_types=("OBJECT_FINALIZE",))], "failure", "does not send"),
        (TOPIC, [replace(CONFIG, payload_format="NONE")], "failure", "payload is NONE"),
        (TOPIC, [CONFIG, replace(CONFIG, config_id="5")], "warning", "2 times, and each message"),
        (TOPIC, DENIED, "skipped", "without storage.buckets.get"),
        (TOPIC, OUTAGE, "warning", "cannot be read"),
        (None, [CONFIG], "skipped", "without the permission pubsub.subscriptions.get"),
    ],
)
def test_the_bucket_publishes_all_changes_on_the_topic_of_the_subscription(
    topic: str | None, configs: list[NotificationConfig] | StorageError, result: str, detail: str
) -> None:
    found = notifications_finding("data", "logs/", topic, configs)
    assert found.result == result, found
    assert detail in found.detail


@pytest.mark.parametrize(
    ("waiting", "mounts", "result", "detail"),
    [
        (None, [], "ok", "no message waits"),
        (7200.0, [], "ok", "a message has waited for 2 h 0 min"),
        (OUTAGE, [], "warning", "cannot be pulled"),
        (None, [HERE], "ok", "the mount at /mnt is healthy, its last changes were 20.0 ms late"),
        (None, [OTHER], "warning", "the mount at /other is interrupted"),
    ],
)
def test_the_lag_is_that_of_the_mount_or_of_the_waiting_messages(
    waiting: float | StorageError | None, mounts: list[ListeningMount], result: str, detail: str
) -> None:
    found = lag_finding(waiting, mounts)
    assert found.result == result, found
    assert detail in found.detail


def test_a_mount_tells_its_subscription_state_and_lag() -> None:
    config = {
        "settings": [
            {"name": "changes", "value": NAME},
            {"name": "pubsub_endpoint", "value": "http://127.0.0.1:9"},
        ]
    }
    pubsub = ServiceAddress("127.0.0.1:9", plaintext=True, anonymous=True)
    states = [
        {"labels": {"state": "lost"}, "value": 0},
        {"labels": {"state": "healthy"}, "value": 1},
    ]
    lag = [{"labels": {}, "value": 0.02}]
    stats = {
        "metrics": [
            {"name": "changes_state", "values": states},
            {"name": "changes_lag_seconds", "values": lag},
        ]
    }
    assert listening_mount("/mnt", NAME, pubsub, config, stats) == HERE
    assert listening_mount("/mnt", NAME, pubsub, config, {"metrics": []}) == ListeningMount("/mnt")
    elsewhere = ServiceAddress("127.0.0.1:10", plaintext=True, anonymous=True)
    assert listening_mount("/mnt", NAME, elsewhere, config, stats) is None
    assert listening_mount("/mnt", "projects/p/subscriptions/b", pubsub, config, stats) is None
    assert listening_mount("/mnt", NAME, pubsub, {"settings": 3}, stats) is None
