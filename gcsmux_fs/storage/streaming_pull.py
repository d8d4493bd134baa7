"""Implements `PullTransport`: StreamingPull calls of Pub/Sub over grpc.aio.

The module `writable_call` describes the two halves of a call, and how messages are written. Pub/Sub
has its own connection, and tokens of its own with its own scope, so that the tokens for Cloud
Storage permit no more than without a change feed.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.storage.call_starter import CallStarter
from gcsmux_fs.storage.channels import call_headers, open_channels
from gcsmux_fs.storage.pb import pubsub_pb2 as pb
from gcsmux_fs.storage.ports import PullResponse
from gcsmux_fs.storage.pull_codec import (
    decode_pull_response,
    encode_pull_opening,
    encode_pull_order,
)
from gcsmux_fs.storage.unary_calls import UnaryCaller, UnaryPolicy
from gcsmux_fs.storage.writable_call import WritableAsyncioHalf, WritableTrioHalf

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from random import Random

    from gcsmux_fs.storage.channels import Channels, ChannelSettings
    from gcsmux_fs.storage.ports import PullListener, PullOrder, PullSpec

__all__ = ["GrpcPullTransport", "open_pull_transport"]

_SERVICE = "/google.pubsub.v1.Subscriber/"
_METHOD = f"{_SERVICE}StreamingPull"

# A seek only saves work, so the start of the feed does not wait long for it.
_SEEK_POLICY = UnaryPolicy(total_seconds=10.0, attempt_seconds=5.0)


@asynccontextmanager
async def open_pull_transport(
    settings: ChannelSettings, subscription: str, random: Random
) -> AsyncIterator[GrpcPullTransport]:
    """Open a connection to Pub/Sub, and close it at the end.

    Neither Pub/Sub nor the token server need be reachable yet.

    Args:
        settings: the settings of the channel, see `ChannelSettings.for_pubsub`.
        subscription: the full name of the subscription.
        random: source of jitter.

    Raises:
        CredentialsError: there are no credentials.
    """
    channels = await open_channels(settings, needs_token=False)
    transport = GrpcPullTransport(channels, settings, subscription, random)
    try:
        yield transport
    finally:
        with trio.CancelScope(shield=True):
            await channels.close_all()
            await transport.drain()


class GrpcPullTransport:
    """Opens StreamingPull calls on one subscription (see `PullTransport`)."""

    def __init__(
        self, channels: Channels, settings: ChannelSettings, subscription: str, random: Random
    ) -> None:
        connections = channels.connections(1)
        self._subscription = subscription
        self._headers = call_headers(settings, f"subscription={subscription}")
        self._starter = CallStarter(connections, channels.tokens)
        self._caller = UnaryCaller(
            connections,
            self._headers,
            policy=_SEEK_POLICY,
            random=random,
            tokens=channels.tokens,
            methods=["Seek"],
        )

    @property
    def open_tasks(self) -> int:
        """Number of asyncio tasks of calls that have not ended."""
        return self._starter.open_tasks

    async def drain(self) -> None:
        """Wait until the tasks of all calls have ended. The caller ends the calls first."""
        await self._starter.drain()

    def open(self, spec: PullSpec, listener: PullListener) -> PullOnTrio:
        """Start a call (see `PullTransport.open`)."""
        call = PullOnTrio(self._starter, listener)
        call.start_stream(self._headers, encode_pull_opening(self._subscription, spec))
        return call

    async def seek(self, publish_time: float) -> None:
        """Acknowledge older messages (see `PullTransport.seek`)."""
        request = pb.SeekRequest(subscription=self._subscription)
        request.time.FromMicroseconds(int(publish_time * 1e6))
        await self._caller.call(
            f"{_SERVICE}Seek", request, pb.SeekResponse.FromString, subject=self._subscription
        )


class PullOnTrio(WritableTrioHalf[PullResponse]):
    """The half of a StreamingPull call on trio's side (see `PullCall`)."""

    _method = _METHOD

    def __init__(self, starter: CallStarter, listener: PullListener) -> None:
        super().__init__(starter, listener)
        self._asyncio_half = PullOnAsyncio(starter, self)

    def send(self, order: PullOrder) -> None:
        """Send a message (see `PullCall.send`)."""
        self.write(encode_pull_order(order), needs_answer=order.is_keep_alive)


class PullOnAsyncio(WritableAsyncioHalf[PullResponse]):
    """The half of a StreamingPull call on asyncio's side, which owns the gRPC call."""

    def _receive(self, data: bytes) -> bool:
        self._report_message(decode_pull_response(data))
        return True
