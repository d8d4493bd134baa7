"""A message of a topic, encoded once for all its deliveries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

from gcsmux_fs.emulator.protobuf_wire import length_delimited

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcsmux_fs.storage.pb import pubsub_pb2 as pubsub

__all__ = ["MessageReceipt", "PublishedMessage", "received_message", "stamped"]

_NS_PER_SECOND = 1_000_000_000
# Field numbers of google.pubsub.v1.ReceivedMessage.
_ACK_ID = 1
_MESSAGE = 2


@dataclass(frozen=True, slots=True, eq=False)
class PublishedMessage:
    """A message after its topic has accepted it.

    - `publish_time`: in seconds since 1970.
    - `encoded`: the PubsubMessage with its id and publish time.
    """

    message_id: str
    publish_time: float
    attributes: Mapping[str, str]
    encoded: bytes

    @property
    def size(self) -> int:
        """The bytes that count against the flow control of a subscriber."""
        return len(self.encoded)


@dataclass(frozen=True, slots=True)
class MessageReceipt:
    """One delivery of a message: the times at which it was published and sent, since 1970.

    The content is left out, because many receipts are kept.
    """

    subscription: str
    message_id: str
    attributes: Mapping[str, str]
    publish_time: float
    sent_time: float

    @classmethod
    def of(cls, subscription: str, message: PublishedMessage, now: float) -> MessageReceipt:
        """Return the receipt of a message that is sent now."""
        return cls(subscription, message.message_id, message.attributes, message.publish_time, now)


def stamped(message: pubsub.PubsubMessage, message_id: str, now_ns: int) -> PublishedMessage:
    """Return `message` with an id and a publish time, as its topic stores it."""
    attributes = dict(message.attributes)
    message.message_id = message_id
    seconds, nanos = divmod(now_ns, _NS_PER_SECOND)
    # The service gives publish times in milliseconds.
    message.publish_time.CopyFrom(Timestamp(seconds=seconds, nanos=nanos - nanos % 1_000_000))
    return PublishedMessage(
        message_id, now_ns / _NS_PER_SECOND, attributes, message.SerializeToString()
    )


def received_message(ack_id: str, message: PublishedMessage) -> bytes:
    """Return an encoded ReceivedMessage: one delivery of `message`."""
    return length_delimited(_ACK_ID, ack_id.encode()) + length_delimited(_MESSAGE, message.encoded)
