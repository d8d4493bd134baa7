"""One StreamingPull call: sends messages, and receives acknowledgements and longer deadlines.

Two tasks of one event loop share the stream. One task receives requests. The other task sends
messages. After an await, a task reads the shared state again, because the other task, or another
subscriber of the same subscription, may have changed it.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.injection.faulty_call import CallEndedOk, current_call
from gcsmux_fs.emulator.protobuf_wire import length_delimited
from gcsmux_fs.emulator.pubsub.message_delivery import MessageDelivery
from gcsmux_fs.emulator.pubsub.published_message import MessageReceipt, received_message
from gcsmux_fs.emulator.pubsub.subscription_queue import LeaseHolder
from gcsmux_fs.emulator.pubsub.topic_registry import ACK_SECONDS
from gcsmux_fs.emulator.rpc_error import RpcError, invalid, not_found

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from gcsmux_fs.emulator.injection.fault_orders import FaultOrders
    from gcsmux_fs.emulator.injection.response_sender import Send
    from gcsmux_fs.emulator.pubsub.delivery_log import DeliveryLog
    from gcsmux_fs.emulator.pubsub.subscription_queue import MessageLease
    from gcsmux_fs.emulator.pubsub.topic_registry import StoredSubscription
    from gcsmux_fs.storage.pb import pubsub_pb2 as pubsub

__all__ = ["DeliveryStream"]

# Maximum number of messages and of bytes in one response. The response is well below the limit of
# clients for one message, which is 4 MiB.
_MAX_MESSAGES = 1000
_MAX_BYTES = 1024 * 1024
# The first protocol version in which the server answers keepalive requests.
_KEEPALIVE_VERSION = 1
# Field number of google.pubsub.v1.StreamingPullResponse.
_RECEIVED_MESSAGES = 1


class DeliveryStream:
    """One StreamingPull call. `first` is the first request, whose settings have been checked."""

    def __init__(
        self,
        subscription: StoredSubscription,
        first: pubsub.StreamingPullRequest,
        orders: FaultOrders,
        log: DeliveryLog,
    ) -> None:
        self._subscription = subscription
        self._queue = subscription.queue
        self._orders = orders
        self._log = log
        self._call = current_call(orders)
        self._delivery = MessageDelivery(self._queue, self._call)
        self._holder = LeaseHolder(first.max_outstanding_messages, first.max_outstanding_bytes)
        self._ack_seconds = first.stream_ack_deadline_seconds
        # Number of keepalive requests that have no answer yet. They are empty. A client of protocol
        # version 1 expects an empty response to each.
        self._keeps_alive = first.protocol_version >= _KEEPALIVE_VERSION
        self._keepalives = 0
        # This event wakes the task that sends messages.
        self._changed = asyncio.Event()
        self._half_closed = False
        self._failure: RpcError | CallEndedOk | None = None

    async def receive(self, requests: AsyncIterator[pubsub.StreamingPullRequest]) -> None:
        """Carry out all requests after the first, until the client half-closes."""
        try:
            async for request in requests:
                if self._keeps_alive and not request.ByteSize():
                    self._keepalives += 1
                    self._changed.set()
                if request.subscription or request.client_id or request.max_outstanding_messages:
                    raise invalid("Only the first request may have settings of the stream.")
                self.handle(request)
        except (RpcError, CallEndedOk) as failure:
            self._failure = failure
        finally:
            self._half_closed = True
            self._changed.set()

    def handle(self, request: pubsub.StreamingPullRequest) -> None:
        """Carry out the acknowledgements and deadlines of a request.

        Raises:
            RpcError: a deadline is not valid (INVALID_ARGUMENT).
        """
        if len(request.modify_deadline_seconds) != len(request.modify_deadline_ack_ids):
            raise invalid("modify_deadline_seconds and modify_deadline_ack_ids differ in length.")
        if request.stream_ack_deadline_seconds:
            if request.stream_ack_deadline_seconds not in ACK_SECONDS:
                raise invalid("stream_ack_deadline_seconds must be between 10 and 600.")
            self._ack_seconds = request.stream_ack_deadline_seconds
        now = asyncio.get_running_loop().time()
        self._delivery.acknowledge(request.ack_ids, now)
        for ack_id, seconds in zip(
            request.modify_deadline_ack_ids, request.modify_deadline_seconds, strict=True
        ):
            self._queue.extend(ack_id, now, seconds)
        # Ended leases make room for this subscriber, and their messages may go to another one.
        self._subscription.wake()

    async def deliver(self, send: Send) -> None:
        """Send messages until the client half-closes.

        Raises:
            RpcError: the subscription is deleted, or the call ends with another error.
            CallEndedOk: a fault ends the call with OK.
        """
        self._orders.listeners.add(self._changed.set)
        self._subscription.connect(self._changed.set)
        try:
            await self._deliver(send)
        finally:
            self._subscription.disconnect(self._changed.set)
            self._orders.listeners.discard(self._changed.set)

    async def _deliver(self, send: Send) -> None:
        while not self._half_closed:
            self._changed.clear()
            if self._failure is not None:
                raise self._failure
            if not self._subscription.exists:
                raise not_found(
                    f"Resource not found (resource={self._subscription.settings.name})."
                )
            if self._orders.armed:
                await self._call.reached(0)
            self._queue.drop_older(time.time() - self._queue.retention_seconds)
            leases = self._delivery.take(
                asyncio.get_running_loop().time(),
                self._holder,
                self._ack_seconds,
                _MAX_MESSAGES,
                _MAX_BYTES,
            )
            while self._keepalives and not self._delivery.silent:
                self._keepalives -= 1
                await send(b"")
            if leases:
                await self._send(leases, send)
            elif self._delivery.failure is None:
                await self._wait_idle()
            if self._delivery.failure is not None:
                raise self._delivery.failure
        if self._failure is not None:
            raise self._failure

    async def _send(self, leases: Sequence[MessageLease], send: Send) -> None:
        messages = [lease.queued.message for lease in leases]
        response = b"".join(
            length_delimited(_RECEIVED_MESSAGES, received_message(lease.ack_id, message))
            for lease, message in zip(leases, messages, strict=True)
        )
        name = self._subscription.settings.name
        now = time.time()
        self._log.note([MessageReceipt.of(name, message, now) for message in messages])
        await send(response)
        if self._orders.armed:
            await self._call.reached(len(response))

    async def _wait_idle(self) -> None:
        """Wait until `_changed` is set, or a message is due. Cause faults at `idle` meanwhile."""
        clock = asyncio.get_running_loop().time
        begin = clock()
        while not self._changed.is_set():
            due = None if self._delivery.silent else self._queue.next_due()
            idle_seconds = self._call.idle_until() if self._orders.armed else None
            ends = [] if idle_seconds is None else [begin + idle_seconds]
            if due is not None:
                ends.append(due)
            try:
                async with asyncio.timeout_at(min(ends, default=None)):
                    await self._changed.wait()
            except TimeoutError:
                if due is not None and due <= clock():
                    break
                if idle_seconds is not None and begin + idle_seconds <= clock():
                    await self._call.idled(idle_seconds)
        if self._call.plan is not None:
            self._call.plan.busy()
