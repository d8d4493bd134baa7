"""The way of notifications: from a bucket by a topic of Pub/Sub to the subscriptions of mounts.

Everything that `gcsmux changes setup` creates has a mark, so that `gcsmux changes teardown` takes
back only this.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsmux_fs.settings.bucket_address import bucket_address
from gcsmux_fs.settings.subscription_name import SubscriptionName, TopicName, parse_resource_id

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "MARK",
    "PUBLISHER_ROLE",
    "PUBLISHER_ROLES",
    "SUBSCRIBER_ROLE",
    "SUBSCRIBER_ROLES",
    "ChangeRoute",
    "new_route",
]

MARK = ("created-by", "gcsmux")
"""The label of topics and subscriptions, and the attribute of notification configurations."""

PUBLISHER_ROLE = "roles/pubsub.publisher"
"""The role that the service agent of Cloud Storage gets on the topic."""

PUBLISHER_ROLES = (PUBLISHER_ROLE, "roles/pubsub.editor", "roles/pubsub.admin")
"""The roles with which an account can publish."""

SUBSCRIBER_ROLE = "roles/pubsub.subscriber"
"""The role that the account of a mount gets on the subscription."""

SUBSCRIBER_ROLES = (SUBSCRIBER_ROLE, "roles/pubsub.editor", "roles/pubsub.admin")
"""The roles with which an account can pull messages."""

# The characters that the IDs of topics and subscriptions must not contain.
_OTHER = re.compile(r"[^A-Za-z0-9._~-]+")
# The longest part of a name that a prefix or a host name contributes.
_MAX_PART = 40
_MAX_ID = 255


@dataclass(frozen=True, slots=True)
class ChangeRoute:
    """What one or more mounts of a bucket, or of a folder in it, need.

    Attributes:
        prefix: the folder; empty for the whole bucket, else it ends with `/`.
        subscriptions: one for each mount.
        accounts: the e-mail addresses of the service accounts that the mounts use.
    """

    bucket: str
    prefix: str
    topic: TopicName
    subscriptions: tuple[SubscriptionName, ...]
    accounts: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        """The address of the bucket or folder."""
        return bucket_address(self.bucket, self.prefix)


def new_route(
    bucket: str,
    prefix: str,
    project: str,
    *,
    topic: str | None,
    subscriptions: Sequence[str],
    accounts: tuple[str, ...],
    machine: str,
) -> ChangeRoute:
    """Return a route with the given names. Missing names follow from the bucket and the machine.

    Raises:
        ConfigError: a name cannot be the ID of a topic or a subscription.
    """
    if topic is None:
        topic = f"gcsmux-{bucket}"
        if prefix:
            # Two prefixes may differ only in characters that an ID cannot contain.
            topic += f"-{_part(prefix)}-{zlib.crc32(prefix.encode()):08x}"
        topic = topic[: _MAX_ID - _MAX_PART - 1]
    names = subscriptions or [f"{topic}-{_part(machine) or 'mount'}"]
    return ChangeRoute(
        bucket,
        prefix,
        TopicName(project, parse_resource_id(topic)),
        tuple(SubscriptionName(project, parse_resource_id(name)) for name in dict.fromkeys(names)),
        accounts,
    )


def _part(text: str) -> str:
    return _OTHER.sub("-", text).strip("-")[:_MAX_PART].strip("-")
