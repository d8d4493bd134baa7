"""Encodes and decodes the messages of a StreamingPull call.

The attributes of a message stay a mapping of protobuf: to copy them into a dictionary would take
two thirds of the time of decoding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from gcsmux_fs.storage.codec import MalformedMessage
from gcsmux_fs.storage.pb import pubsub_pb2 as pb
from gcsmux_fs.storage.ports import PulledMessage, PullResponse

if TYPE_CHECKING:
    from gcsmux_fs.storage.ports import PullOrder, PullSpec

__all__ = ["decode_pull_response", "encode_pull_opening", "encode_pull_order"]

# With this version, the service answers each keep-alive of the client with an empty response.
_KEEP_ALIVE_VERSION = 1


def encode_pull_opening(subscription: str, spec: PullSpec) -> bytes:
    """Return the first message of a call."""
    return pb.StreamingPullRequest(
        subscription=subscription,
        stream_ack_deadline_seconds=spec.ack_deadline_seconds,
        client_id=spec.client_id,
        max_outstanding_messages=spec.max_messages,
        max_outstanding_bytes=spec.max_bytes,
        protocol_version=_KEEP_ALIVE_VERSION,
    ).SerializeToString()


def encode_pull_order(order: PullOrder) -> bytes:
    """Return a further message of a call."""
    return pb.StreamingPullRequest(
        ack_ids=order.ack_ids,
        modify_deadline_ack_ids=order.extended_ack_ids,
        modify_deadline_seconds=[order.extension_seconds] * len(order.extended_ack_ids),
    ).SerializeToString()


def decode_pull_response(data: bytes) -> PullResponse:
    """Decode one StreamingPullResponse.

    Raises:
        MalformedMessage: `data` is not a StreamingPullResponse.
    """
    try:
        response = pb.StreamingPullResponse.FromString(data)
    except DecodeError as error:
        raise MalformedMessage(f"response of {len(data)} bytes: {error}") from error
    messages = []
    for received in response.received_messages:
        message = received.message
        time = message.publish_time
        messages.append(
            PulledMessage(
                received.ack_id,
                message.data,
                message.attributes,
                time.seconds + time.nanos / 1e9,
            )
        )
    return PullResponse(tuple(messages))
