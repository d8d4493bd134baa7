"""Tests of the setting --changes, and of the address of Pub/Sub."""

from __future__ import annotations

import pytest

from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.pubsub_address import (
    parse_pubsub_endpoint,
    pubsub_address,
    pubsub_endpoint,
)
from gcsmux_fs.settings.service_address import ServiceAddress
from gcsmux_fs.settings.subscription_name import SubscriptionName, parse_subscription


@pytest.mark.parametrize(
    "text",
    [
        "projects/my-project-1/subscriptions/mount",
        "projects/123456/subscriptions/a.b_c~d+e%f",
        "projects/example.com:team-1/subscriptions/abc",
    ],
)
def test_a_subscription_is_parsed_and_shown(text: str) -> None:
    _, project, _, name = text.split("/")
    parsed = parse_subscription(text)
    assert parsed == SubscriptionName(project, name)
    assert str(parsed) == text


def test_no_text_is_no_subscription() -> None:
    assert parse_subscription("") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mount", "is not a subscription: write projects/PROJECT/subscriptions/NAME"),
        ("projects/p/subscriptions/s/t", "is not a subscription"),
        ("projects/p/topics/changes", "is a topic: write a subscription of this topic"),
        ("projects/p/snapshots/abc", "names 'snapshots' instead of subscriptions"),
        ("projects//subscriptions/abc", "'' in .* is not a project"),
        ("projects/My/subscriptions/abc", "'My' in .* is not a project"),
        ("projects/p/subscriptions/ab", "'ab' is not an ID of Pub/Sub"),
        ("projects/p/subscriptions/1abc", "with a letter at the start"),
        ("projects/p/subscriptions/google1", "begins with goog"),
    ],
)
def test_another_text_is_refused_with_what_to_write(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_subscription(text)


@pytest.mark.parametrize(
    ("given", "storage", "environment", "expected"),
    [
        (None, ServiceAddress(), {}, "pubsub.googleapis.com:443"),
        ("a:1", ServiceAddress(), {"PUBSUB_EMULATOR_HOST": "localhost:2"}, "a:1"),
        (None, ServiceAddress(), {"PUBSUB_EMULATOR_HOST": "localhost:2"}, "http://localhost:2"),
        (None, ServiceAddress(), {"PUBSUB_EMULATOR_HOST": "http://[::1]:2/"}, "http://[::1]:2"),
        (
            None,
            ServiceAddress("localhost:1", plaintext=True, anonymous=True),
            {},
            "http://localhost:1",
        ),
    ],
)
def test_the_endpoint_follows_the_setting_then_the_emulators(
    given: str | None, storage: ServiceAddress, environment: dict[str, str], expected: str
) -> None:
    assert pubsub_endpoint(given, storage, environment)[0] == expected


@pytest.mark.parametrize(
    ("storage", "environment", "message"),
    [
        (ServiceAddress(anonymous=True), {}, "--changes needs credentials"),
        (ServiceAddress(), {"PUBSUB_EMULATOR_HOST": "pubsub"}, "PUBSUB_EMULATOR_HOST: 'pubsub'"),
        (
            ServiceAddress(),
            {"PUBSUB_EMULATOR_HOST": "10.0.0.1:2"},
            "write --pubsub-endpoint http://10.0.0.1:2",
        ),
    ],
)
def test_an_endpoint_that_cannot_work_is_refused(
    storage: ServiceAddress, environment: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        pubsub_endpoint(None, storage, environment)


def test_credentials_are_never_sent_without_tls() -> None:
    endpoint = parse_pubsub_endpoint("http://localhost:2/")
    assert pubsub_address(endpoint, anonymous=False) == ServiceAddress(
        "localhost:2", plaintext=True, anonymous=True
    )
    assert pubsub_address("a:1", anonymous=False) == ServiceAddress("a:1")
