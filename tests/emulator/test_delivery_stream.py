"""Tests of one StreamingPull call and its faults, in virtual time and without gRPC."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.emulator.buckets.store import BucketStore
from gcsmux_fs.emulator.faults import (
    AckLost,
    Delay,
    EndOk,
    Hang,
    InjectionPoint,
    LeaseExpired,
    MessageDuplicated,
    MessageHeldBack,
    Status,
)
from gcsmux_fs.emulator.injection import FOR_EVER, Faults, Rule
from gcsmux_fs.emulator.injection.fault_orders import FaultOrders
from gcsmux_fs.emulator.injection.faulty_call import CallEndedOk, FaultyCall
from gcsmux_fs.emulator.pubsub.delivery_log import DeliveryLog
from gcsmux_fs.emulator.pubsub.subscriber_service import SubscriberService
from gcsmux_fs.emulator.pubsub.topic_registry import TopicRegistry
from gcsmux_fs.emulator.rpc_error import RpcError
from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.pb import pubsub_pb2 as pubsub

from .virtual_loop import run_virtually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

TOPIC = "projects/p/topics/topic"
SUBSCRIPTION = "projects/p/subscriptions/subscription"
ACK_SECONDS = 20


class Pulling:
    """A StreamingPull call. `arrivals`: each message with the virtual time of its arrival."""

    def __init__(self, served: Path) -> None:
        self.registry = TopicRegistry()
        self.orders = FaultOrders(BucketStore(served), Counter())
        self.log = DeliveryLog()
        self._service = SubscriberService(self.registry, self.orders, self.log)
        self.registry.create_topic(pubsub.Topic(name=TOPIC))
        self.registry.create_subscription(pubsub.Subscription(name=SUBSCRIPTION, topic=TOPIC))
        self.arrivals: list[tuple[str, float]] = []
        self.responses: list[pubsub.StreamingPullResponse] = []
        self.ack_at_once = True
        self._numbers = itertools.count()
        self._requests: asyncio.Queue[pubsub.StreamingPullRequest | None] = asyncio.Queue()
        self.call: asyncio.Task[None] | None = None

    @property
    def queue(self) -> object:
        return self.registry.subscription(SUBSCRIPTION).queue

    @property
    def arrived(self) -> list[str]:
        return [data for data, _ in self.arrivals]

    def order(self, *rules: Rule) -> None:
        self.orders.order(Faults(rules))

    def publish(self, count: int = 1) -> None:
        messages = [
            pubsub.PubsubMessage(data=str(next(self._numbers)).encode()) for _ in range(count)
        ]
        self.registry.publish(TOPIC, messages, time.time_ns())

    def open(self, **settings: int) -> None:
        self._requests = asyncio.Queue()
        self.send(subscription=SUBSCRIPTION, stream_ack_deadline_seconds=ACK_SECONDS, **settings)
        self.call = asyncio.create_task(self._serve(self._requests))

    def send(self, **fields: object) -> None:
        self._requests.put_nowait(pubsub.StreamingPullRequest(**fields))  # type: ignore[arg-type]

    async def close(self) -> None:
        self._requests.put_nowait(None)
        assert self.call is not None
        await self.call

    async def _serve(self, queue: asyncio.Queue[pubsub.StreamingPullRequest | None]) -> None:
        call = FaultyCall(self.orders, "StreamingPull")

        async def requests() -> AsyncIterator[pubsub.StreamingPullRequest]:
            first = True
            while (request := await queue.get()) is not None:
                if first:
                    first = False
                    call.enter(request, ())
                    await call.opened()
                    self._service.check_first(request)
                yield request

        await self._service.streaming_pull(requests(), self._receive)

    async def _receive(self, encoded: bytes) -> None:
        response = pubsub.StreamingPullResponse.FromString(encoded)
        self.responses.append(response)
        now = asyncio.get_running_loop().time()
        for received in response.received_messages:
            self.arrivals.append((received.message.data.decode(), now))
        if self.ack_at_once and response.received_messages:
            self.send(ack_ids=[received.ack_id for received in response.received_messages])


def pulling(served: Path, scenario: Callable[[Pulling], Awaitable[None]]) -> None:
    async def run() -> None:
        pulls = Pulling(served)
        await scenario(pulls)
        if pulls.call is not None and not pulls.call.done():
            await pulls.close()

    run_virtually(run())


def test_messages_arrive_at_once_and_are_acknowledged(served: Path) -> None:
    async def scenario(pulls: Pulling) -> None:
        pulls.publish(3)
        pulls.open()
        await asyncio.sleep(1)
        pulls.publish(2)
        await asyncio.sleep(100)
        assert pulls.arrivals == [("0", 0.0), ("1", 0.0), ("2", 0.0), ("3", 1.0), ("4", 1.0)]
        assert pulls.registry.subscription(SUBSCRIPTION).queue.acked == 5
        assert pulls.log.sent == 5

    pulling(served, scenario)


def test_a_message_without_acknowledgement_comes_again_after_the_deadline(served: Path) -> None:
    async def scenario(pulls: Pulling) -> None:
        pulls.ack_at_once = False
        pulls.publish()
        pulls.open()
        await asyncio.sleep(1)
        (received,) = pulls.responses[0].received_messages
        pulls.send(modify_deadline_ack_ids=[received.ack_id], modify_deadline_seconds=[60])
        await asyncio.sleep(62)
        assert pulls.arrivals == [("0", 0.0), ("0", 61.0)]

    pulling(served, scenario)


def test_flow_control_limits_what_is_not_acknowledged(served: Path) -> None:
    async def scenario(pulls: Pulling) -> None:
        pulls.ack_at_once = False
        pulls.publish(5)
        pulls.open(max_outstanding_messages=2)
        await asyncio.sleep(1)
        assert pulls.arrived == ["0", "1"]
        pulls.send(ack_ids=[pulls.responses[0].received_messages[0].ack_id])
        await asyncio.sleep(1)
        assert pulls.arrived == ["0", "1", "2"]

    pulling(served, scenario)


def test_keepalives_are_answered_in_protocol_version_1_only(served: Path) -> None:
    async def scenario(pulls: Pulling) -> None:
        pulls.open(protocol_version=1)
        pulls.send()
        pulls.send()
        await asyncio.sleep(1)
        assert pulls.responses == [pubsub.StreamingPullResponse()] * 2
        await pulls.close()
        pulls.open()
        pulls.send()
        await asyncio.sleep(1)
        assert len(pulls.responses) == 2

    pulling(served, scenario)


def test_two_streams_share_the_messages(served: Path) -> None:
    async def scenario(pulls: Pulling) -> None:
        other = Pulling(served)
        other.registry, other._service = pulls.registry, pulls._service
        pulls.open()
        other.open()
        await asyncio.sleep(1)
        for _ in range(10):
            pulls.publish()
            await asyncio.sleep(1)
        assert len(pulls.arrived) == len(other.arrived) == 5
        assert sorted(pulls.arrived + other.arrived) == [str(number) for number in range(10)]
        await other.close()

    pulling(served, scenario)


def test_a_subscription_that_disappears_and_comes_back(served: Path) -> None:
    async def scenario(pulls: Pulling) -> None:
        pulls.open()
        await asyncio.sleep(1)
        pulls.registry.delete_subscription(SUBSCRIPTION)
        assert pulls.call is not None
        with pytest.raises(RpcError, match="Resource not found"):
            await pulls.call
        pulls.open()
        with pytest.raises(RpcError, match="Resource not found"):
            await pulls.call
        pulls.registry.create_subscription(pubsub.Subscription(name=SUBSCRIPTION, topic=TOPIC))
        pulls.open()
        await asyncio.sleep(1)
        pulls.publish()
        await asyncio.sleep(1)
        assert pulls.arrived == ["0"]

    pulling(served, scenario)


def test_faults_of_deliveries_happen_once_for_each_message(served: Path) -> None:
    async def scenario(pulls: Pulling) -> None:
        pulls.open()
        pulls.order(Rule(MessageDuplicated(seconds=5), times=FOR_EVER))
        pulls.publish()
        await asyncio.sleep(50)
        assert pulls.arrivals == [("0", 0.0), ("0", 5.0)]
        pulls.order(Rule(LeaseExpired(), times=FOR_EVER))
        pulls.publish()
        await asyncio.sleep(50)
        assert pulls.arrived[2:] == ["1", "1"]
        pulls.order(Rule(Delay(3), at=InjectionPoint.DELIVERY, times=FOR_EVER))
        pulls.publish()
        await asyncio.sleep(50)
        assert pulls.arrivals[4:] == [("2", 103.0)]
        pulls.order(Rule(AckLost(seconds=7)))
        pulls.publish()
        await asyncio.sleep(50)
        assert pulls.arrivals[5:] == [("3", 150.0), ("3", 157.0)]

    pulling(served, scenario)


def test_a_held_back_message_arrives_after_later_ones(served: Path) -> None:
    async def scenario(pulls: Pulling) -> None:
        pulls.open()
        pulls.order(Rule(MessageHeldBack(messages=2, seconds=30)))
        pulls.publish()
        await asyncio.sleep(1)
        assert pulls.arrived == []
        pulls.publish(3)
        await asyncio.sleep(1)
        assert pulls.arrived == ["1", "2", "0", "3"]

    pulling(served, scenario)


def test_a_silent_stream_sends_nothing_until_the_next_order(served: Path) -> None:
    async def scenario(pulls: Pulling) -> None:
        pulls.open(protocol_version=1)
        pulls.order(Rule(Hang(), at=InjectionPoint.DELIVERY, times=FOR_EVER))
        pulls.publish()
        pulls.send()
        await asyncio.sleep(1000)
        assert pulls.arrived == []
        pulls.send()
        await asyncio.sleep(1)
        pulls.order()
        await asyncio.sleep(1)
        assert pulls.arrivals == [("0", 1001.0)]

    pulling(served, scenario)


@pytest.mark.parametrize("code", [StatusCode.NOT_FOUND, StatusCode.PERMISSION_DENIED])
def test_an_open_can_fail(served: Path, code: StatusCode) -> None:
    async def scenario(pulls: Pulling) -> None:
        pulls.order(Rule(Status(code), method="StreamingPull", object=SUBSCRIPTION))
        pulls.open()
        assert pulls.call is not None
        with pytest.raises(RpcError) as raised:
            await pulls.call
        assert raised.value.code is code

    pulling(served, scenario)


def test_streams_end_when_idle_or_at_a_message(served: Path) -> None:
    async def scenario(pulls: Pulling) -> None:
        unavailable = Status(StatusCode.UNAVAILABLE)
        pulls.open()
        pulls.order(Rule(unavailable, at=InjectionPoint.IDLE, after_seconds=1800))
        await asyncio.sleep(1000)
        pulls.publish()
        await asyncio.sleep(1799)
        assert pulls.call is not None
        assert not pulls.call.done()
        await asyncio.sleep(2)
        with pytest.raises(RpcError, match="Ordered"):
            await pulls.call
        pulls.order(Rule(EndOk(), at=InjectionPoint.DELIVERY, skip=1))
        pulls.open()
        pulls.publish(3)
        with pytest.raises(CallEndedOk):
            await pulls.call
        assert pulls.arrived == ["0", "1"]
        pulls.open()
        await asyncio.sleep(1)
        assert pulls.arrived == ["0", "1", "2", "3"]

    pulling(served, scenario)
