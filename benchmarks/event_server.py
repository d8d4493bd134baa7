"""A server of StreamingPull that sends prepared events at a steady rate, and takes little time.

Run as `event_server.py BUCKET COUNT RATE NAMES`. It encodes COUNT events and prints its port. When
a line comes from its input, it sends RATE events per second. Like Pub/Sub, it sends no more
messages than the client has acknowledged, plus the client's limit. After another line it prints, as
JSON, how many events were sent and acknowledged, and how long this took.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from gcsmux_fs.emulator.pubsub.configured_notifications import (
    ConfiguredNotification,
    notification_message,
)
from gcsmux_fs.emulator.pubsub.object_payload import object_payload, rfc3339
from gcsmux_fs.storage.pb import pubsub_pb2 as pubsub
from tests.support.prepared_events import finalized

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

__all__ = ["EVENTS_PER_RESPONSE", "EventServer", "prepare_responses"]

# At 10,000 events per second, a response is sent every 5 ms. The service sends more per response.
EVENTS_PER_RESPONSE = 50
# The events are published this long after they were encoded, so none of them is late.
_AHEAD_NS = 30_000_000_000
_END_SECONDS = 1.0
_KEEPALIVE = pubsub.StreamingPullResponse().SerializeToString()
_FIRST_GENERATION = 2_000_000_000_000_000
_METHOD = "/google.pubsub.v1.Subscriber/StreamingPull"


def prepare_responses(bucket: str, count: int, names: Sequence[str]) -> list[bytes]:
    """Return encoded responses with `count` events, which overwrite the objects in turn."""
    config = ConfiguredNotification("1", bucket, "projects/p/topics/t")
    now = time.time_ns() + _AHEAD_NS
    stamp = rfc3339(now)
    numbers = iter(range(count))
    responses = []
    while batch := list(itertools.islice(numbers, EVENTS_PER_RESPONSE)):
        response = pubsub.StreamingPullResponse()
        for number in batch:
            event = finalized(
                bucket, names[number % len(names)], _FIRST_GENERATION + number, overwrote=1
            )
            received = response.received_messages.add()
            received.ack_id = f"{number:040}"
            received.message.CopyFrom(
                notification_message(event, config, stamp, object_payload(event.stored, 0))
            )
            received.message.message_id = str(number)
            received.message.publish_time.FromNanoseconds(now)
        responses.append(response.SerializeToString())
    return responses


class EventServer:
    """Answers StreamingPull with prepared responses, which it sends after `begin`."""

    def __init__(self, responses: Sequence[bytes], per_second: float) -> None:
        self.sent = 0
        self.acknowledged = 0
        self.seconds = 0.0
        self.began = asyncio.Event()
        self._responses = responses
        self._pause = EVENTS_PER_RESPONSE / per_second if per_second else 0.0
        self._most = 0
        self._moved = asyncio.Event()
        # None ends the call.
        self._answers: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def serve(self) -> int:
        """Start the server; return its port."""
        handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(
            self._pull
        )
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers((_Handlers(handler),))
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return port

    async def stop(self) -> None:
        """End the call, and stop the server."""
        self._answers.put_nowait(None)
        await self._server.stop(_END_SECONDS)

    async def _pull(self, requests: AsyncIterator[bytes], context: object) -> AsyncIterator[bytes]:
        tasks = [
            asyncio.create_task(self._take(requests)),
            asyncio.create_task(self._send()),
        ]
        try:
            while (answer := await self._answers.get()) is not None:
                yield answer
        finally:
            for task in tasks:
                task.cancel()

    async def _take(self, requests: AsyncIterator[bytes]) -> None:
        async for encoded in requests:
            request = pubsub.StreamingPullRequest.FromString(encoded)
            self._most = self._most or request.max_outstanding_messages
            self.acknowledged += len(request.ack_ids)
            self._moved.set()
            if not request.ack_ids and not request.modify_deadline_ack_ids:
                self._answers.put_nowait(_KEEPALIVE)

    async def _send(self) -> None:
        await self.began.wait()
        began = time.monotonic()
        for number, response in enumerate(self._responses):
            wait = began + number * self._pause - time.monotonic()
            await asyncio.sleep(max(0.0, wait))
            while self.sent - self.acknowledged + EVENTS_PER_RESPONSE > self._most:
                self._moved.clear()
                await self._moved.wait()
            self._answers.put_nowait(response)
            self.sent += EVENTS_PER_RESPONSE
            self.seconds = time.monotonic() - began


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, handler: grpc.RpcMethodHandler[bytes, bytes]) -> None:
        self._handler = handler

    def service(
        self, details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        return self._handler if details.method == _METHOD else None


async def _main(bucket: str, count: int, per_second: float, names: Sequence[str]) -> None:
    server = EventServer(prepare_responses(bucket, count, names), per_second)
    print(await server.serve(), flush=True)
    loop = asyncio.get_running_loop()
    if await loop.run_in_executor(None, sys.stdin.readline):
        server.began.set()
        await loop.run_in_executor(None, sys.stdin.readline)
    await server.stop()
    counts = {
        "sent": server.sent,
        "acknowledged": server.acknowledged,
        "seconds": server.seconds,
    }
    print(json.dumps(counts), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), json.loads(sys.argv[4])))
