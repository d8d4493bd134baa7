"""The rows of the table of settings for the notifications about changes of the bucket."""

from __future__ import annotations

from gcsmux_fs.settings import value_types as types
from gcsmux_fs.settings.defaults import DEFAULT_PUBSUB_ENDPOINT
from gcsmux_fs.settings.setting import Setting

__all__ = ["CHANGES", "CHANGE_SETTINGS"]

CHANGES = "Changes of the bucket"
"""The heading of these settings in the help."""

CHANGE_SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="changes",
        field="changes",
        type=types.SUBSCRIPTION,
        heading=CHANGES,
        help="Listen to the changes of the bucket with this subscription of Pub/Sub, which no other"
        " mount may use. Names then stay cached until they change, and a change is visible at once."
        " While Pub/Sub fails or is late, --metadata-ttl and --negative-ttl count as"
        " usual. `gcsmux changes setup` creates the subscription.",
        default_words="none",
        reason="it needs a topic of Pub/Sub, and each change of the bucket costs one message",
    ),
    Setting(
        name="pubsub_endpoint",
        field="pubsub_endpoint",
        type=types.PUBSUB_ENDPOINT,
        heading=CHANGES,
        help="The address of Pub/Sub, for regional and private endpoints. http://HOST:PORT connects"
        " without TLS and without credentials, for an emulator.",
        default_words=DEFAULT_PUBSUB_ENDPOINT,
        reason="it is Google's public endpoint",
    ),
)
"""The settings that turn the notifications on."""
