"""The methods of google.pubsub.v1.Subscriber."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty

from gcsmux_fs.emulator.injection.faulty_call import current_call
from gcsmux_fs.emulator.pubsub.delivery_stream import DeliveryStream
from gcsmux_fs.emulator.pubsub.message_delivery import MessageDelivery
from gcsmux_fs.emulator.pubsub.published_message import MessageReceipt, received_message
from gcsmux_fs.emulator.pubsub.subscription_queue import LeaseHolder
from gcsmux_fs.emulator.pubsub.topic_registry import ACK_SECONDS
from gcsmux_fs.emulator.rpc_error import RpcError, invalid
from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.pb import pubsub_pb2 as pubsub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gcsmux_fs.emulator.injection.fault_orders import FaultOrders
    from gcsmux_fs.emulator.injection.response_sender import Send
    from gcsmux_fs.emulator.pubsub.delivery_log import DeliveryLog
    from gcsmux_fs.emulator.pubsub.topic_registry import TopicRegistry

__all__ = ["SubscriberService"]

# How long Pull waits for the first message, in seconds, unless it must return immediately.
_PULL_SECONDS = 5.0
_MAX_MESSAGES = 1000
_MAX_BYTES = 1024 * 1024
_MAX_EXTENSION_SECONDS = 600
_NS_PER_SECOND = 1_000_000_000


class SubscriberService:
    """Answers calls about subscriptions. Every list is one page."""

    def __init__(self, registry: TopicRegistry, orders: FaultOrders, log: DeliveryLog) -> None:
        self._registry = registry
        self._orders = orders
        self._log = log

    # -- settings

    async def create_subscription(self, request: pubsub.Subscription) -> pubsub.Subscription:
        """Answer CreateSubscription."""
        return self._registry.create_subscription(request).settings

    async def get_subscription(self, request: pubsub.GetSubscriptionRequest) -> pubsub.Subscription:
        """Answer GetSubscription."""
        return self._registry.subscription(request.subscription).settings

    async def update_subscription(
        self, request: pubsub.UpdateSubscriptionRequest
    ) -> pubsub.Subscription:
        """Answer UpdateSubscription."""
        name = request.subscription.name
        self._registry.update_subscription(request.subscription, request.update_mask.paths)
        return self._registry.subscription(name).settings

    async def list_subscriptions(
        self, request: pubsub.ListSubscriptionsRequest
    ) -> pubsub.ListSubscriptionsResponse:
        """Answer ListSubscriptions."""
        if request.page_token:
            raise invalid("The page token was not issued by this server.")
        return pubsub.ListSubscriptionsResponse(
            subscriptions=self._registry.subscriptions(request.project)
        )

    async def delete_subscription(self, request: pubsub.DeleteSubscriptionRequest) -> Empty:
        """Answer DeleteSubscription."""
        self._registry.delete_subscription(request.subscription)
        return Empty()

    # -- messages

    async def pull(self, request: pubsub.PullRequest) -> pubsub.PullResponse:
        """Answer Pull. If there is no message, wait for one, unless the request forbids it."""
        if request.max_messages <= 0:
            raise invalid("max_messages must be at least 1.")
        subscription = self._registry.subscription(request.subscription)
        delivery = MessageDelivery(subscription.queue, current_call(self._orders))
        clock = asyncio.get_running_loop().time
        end = clock() + (0.0 if request.return_immediately else _PULL_SECONDS)
        changed = asyncio.Event()
        subscription.connect(changed.set)
        try:
            while True:
                changed.clear()
                subscription = self._registry.subscription(request.subscription)
                queue = subscription.queue
                queue.drop_older(time.time() - queue.retention_seconds)
                leases = delivery.take(
                    clock(),
                    LeaseHolder(),
                    subscription.settings.ack_deadline_seconds,
                    min(request.max_messages, _MAX_MESSAGES),
                    _MAX_BYTES,
                )
                if leases or delivery.failure or clock() >= end:
                    break
                due = queue.next_due()
                try:
                    async with asyncio.timeout_at(end if due is None else min(end, due)):
                        await changed.wait()
                except TimeoutError:
                    continue
        finally:
            subscription.disconnect(changed.set)
        if delivery.failure is not None:
            raise delivery.failure
        now = time.time()
        messages = [lease.queued.message for lease in leases]
        self._log.note(
            [MessageReceipt.of(request.subscription, message, now) for message in messages]
        )
        return pubsub.PullResponse(
            received_messages=[
                pubsub.ReceivedMessage.FromString(
                    received_message(lease.ack_id, lease.queued.message)
                )
                for lease in leases
            ]
        )

    async def streaming_pull(
        self, requests: AsyncIterator[pubsub.StreamingPullRequest], send: Send
    ) -> None:
        """Answer StreamingPull."""
        first = await anext(requests, None)
        if first is None:
            raise invalid("The first request is missing.")
        subscription = self._registry.subscription(first.subscription)
        stream = DeliveryStream(subscription, first, self._orders, self._log)
        stream.handle(first)
        receiving = asyncio.create_task(stream.receive(requests))
        try:
            await stream.deliver(send)
        finally:
            receiving.cancel()
            with suppress(asyncio.CancelledError):
                await receiving

    def check_first(self, request: pubsub.StreamingPullRequest) -> None:
        """Check the first request of a StreamingPull call.

        Raises:
            RpcError: there is no such subscription (NOT_FOUND), or it is detached
                (FAILED_PRECONDITION), or a setting is not valid (INVALID_ARGUMENT).
        """
        if request.stream_ack_deadline_seconds not in ACK_SECONDS:
            raise invalid("stream_ack_deadline_seconds must be between 10 and 600.")
        if self._registry.subscription(request.subscription).settings.detached:
            raise RpcError(StatusCode.FAILED_PRECONDITION, "The subscription is detached.")

    async def acknowledge(self, request: pubsub.AcknowledgeRequest) -> Empty:
        """Answer Acknowledge. Unknown ack ids have no effect."""
        subscription = self._registry.subscription(request.subscription)
        delivery = MessageDelivery(subscription.queue, current_call(self._orders))
        delivery.acknowledge(request.ack_ids, asyncio.get_running_loop().time())
        subscription.wake()
        return Empty()

    async def modify_ack_deadline(self, request: pubsub.ModifyAckDeadlineRequest) -> Empty:
        """Answer ModifyAckDeadline. Unknown ack ids have no effect."""
        if not 0 <= request.ack_deadline_seconds <= _MAX_EXTENSION_SECONDS:
            raise invalid("ack_deadline_seconds must be between 0 and 600.")
        subscription = self._registry.subscription(request.subscription)
        now = asyncio.get_running_loop().time()
        for ack_id in request.ack_ids:
            subscription.queue.extend(ack_id, now, request.ack_deadline_seconds)
        subscription.wake()
        return Empty()

    async def seek(self, request: pubsub.SeekRequest) -> pubsub.SeekResponse:
        """Answer Seek to a time: earlier messages are acknowledged, and later ones are not."""
        subscription = self._registry.subscription(request.subscription)
        if not request.HasField("time"):
            raise RpcError(StatusCode.UNIMPLEMENTED, "The emulator has no snapshots.")
        subscription.queue.seek(request.time.seconds + request.time.nanos / _NS_PER_SECOND)
        subscription.wake()
        return pubsub.SeekResponse()
