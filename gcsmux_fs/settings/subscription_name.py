"""The name of a subscription or a topic of Pub/Sub, as users write it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from gcsmux_fs.model.errors import ConfigError

__all__ = ["SubscriptionName", "TopicName", "parse_resource_id", "parse_subscription"]

_PATH = re.compile(r"projects/(?P<project>[^/]*)/(?P<kind>[^/]*)/(?P<name>[^/]*)")
# A project ID, a project number, or the ID of a project that belongs to a domain.
_PROJECT = re.compile(r"[a-z0-9][a-z0-9.-]*(:[a-z0-9-]+)?")
# The rules of Pub/Sub for the IDs of topics and subscriptions:
# https://cloud.google.com/pubsub/docs/pubsub-basics#resource_names.
_ID = re.compile(r"[A-Za-z][A-Za-z0-9._~+%-]{2,254}")
_RESERVED = "goog"


@dataclass(frozen=True, slots=True)
class SubscriptionName:
    """A subscription: the project, and the ID in this project."""

    project: str
    subscription: str

    def __str__(self) -> str:
        return f"projects/{self.project}/subscriptions/{self.subscription}"


@dataclass(frozen=True, slots=True)
class TopicName:
    """A topic: the project, and the ID in this project."""

    project: str
    topic: str

    def __str__(self) -> str:
        return f"projects/{self.project}/topics/{self.topic}"

    @classmethod
    def of(cls, path: str) -> Self | None:
        """Return the topic that the service names as projects/P/topics/T; None for other texts."""
        match = _PATH.fullmatch(path)
        return None if match is None else cls(match["project"], match["name"])


def parse_subscription(text: str) -> SubscriptionName | None:
    """Return the subscription in a text such as `projects/p/subscriptions/s`; None for no text.

    Raises:
        ConfigError: the text is not a subscription.
    """
    if not text:
        return None
    match = _PATH.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"{text!r} is not a subscription: write projects/PROJECT/subscriptions/NAME, which"
            " `gcsmux changes setup` creates."
        )
    if match["kind"] == "topics":
        raise ConfigError(
            f"{text!r} is a topic: write a subscription of this topic, as"
            " projects/PROJECT/subscriptions/NAME."
        )
    if match["kind"] != "subscriptions":
        raise ConfigError(
            f"{text!r} names {match['kind']!r} instead of subscriptions: write"
            " projects/PROJECT/subscriptions/NAME."
        )
    if not _PROJECT.fullmatch(match["project"]):
        raise ConfigError(
            f"{match['project']!r} in {text!r} is not a project: write a project ID or number, such"
            " as my-project-1."
        )
    return SubscriptionName(match["project"], parse_resource_id(match["name"]))


def parse_resource_id(text: str) -> str:
    """Return `text` if it can be the ID of a topic or a subscription.

    Raises:
        ConfigError: Pub/Sub would never accept the ID.
    """
    if not _ID.fullmatch(text):
        raise ConfigError(
            f"{text!r} is not an ID of Pub/Sub: write 3 to 255 letters, digits or characters of"
            " '-._~+%', with a letter at the start."
        )
    if text.lower().startswith(_RESERVED):
        raise ConfigError(f"{text!r} begins with goog, which Pub/Sub reserves: write another ID.")
    return text
