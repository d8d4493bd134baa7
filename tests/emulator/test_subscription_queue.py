"""Tests of the messages of a subscription, with examples for each invariant of the queue."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gcsmux_fs.emulator.pubsub.published_message import PublishedMessage
from gcsmux_fs.emulator.pubsub.subscription_queue import (
    LeaseHolder,
    MessageLease,
    SubscriptionQueue,
)

ACK_SECONDS = 10


def message(number: int, published: float = 0.0) -> PublishedMessage:
    return PublishedMessage(str(number), published, {}, bytes(100))


def queue_of(count: int, **options: Any) -> SubscriptionQueue:
    queue = SubscriptionQueue(1000, **options)
    for number in range(count):
        queue.add(message(number, published=float(number)))
    return queue


def take_all(
    queue: SubscriptionQueue, now: float = 0.0, holder: LeaseHolder | None = None
) -> list[MessageLease]:
    holder = holder or LeaseHolder()
    leases = []
    while (lease := queue.take(now, holder, ACK_SECONDS)) is not None:
        leases.append(lease)
        queue.passed()
    return leases


def ids(leases: list[MessageLease]) -> list[str]:
    return [lease.queued.message.message_id for lease in leases]


def test_an_acknowledged_message_does_not_come_back() -> None:
    queue = queue_of(2)
    first, _ = take_all(queue)
    assert queue.acknowledge(first.ack_id)
    assert not queue.acknowledge(first.ack_id)
    assert ids(take_all(queue, now=ACK_SECONDS)) == ["1"]
    assert (queue.acked, queue.expired) == (1, 1)


def test_a_lease_ends_at_its_deadline_unless_it_is_extended() -> None:
    queue = queue_of(2)
    first, _ = take_all(queue)
    assert queue.next_due() == ACK_SECONDS
    assert queue.extend(first.ack_id, now=5, seconds=20)
    assert take_all(queue, now=ACK_SECONDS - 0.1) == []
    (again,) = take_all(queue, now=ACK_SECONDS)
    assert again.queued.message.message_id == "1"
    assert queue.next_due() == ACK_SECONDS * 2
    queue.acknowledge(again.ack_id)
    assert queue.next_due() == 25
    assert ids(take_all(queue, now=25)) == ["0"]


def test_a_negative_acknowledgement_returns_the_message_at_once() -> None:
    queue = queue_of(1)
    (lease,) = take_all(queue)
    queue.extend(lease.ack_id, now=1, seconds=0)
    (again,) = take_all(queue, now=1)
    assert again.ack_id != lease.ack_id
    assert not queue.acknowledge(lease.ack_id)
    assert queue.leased == 1


def test_flow_control_counts_messages_and_bytes() -> None:
    queue = queue_of(10)
    by_messages = LeaseHolder(max_messages=3)
    leases = take_all(queue, holder=by_messages)
    assert ids(leases) == ["0", "1", "2"]
    queue.acknowledge(leases[0].ack_id)
    assert ids(take_all(queue, holder=by_messages)) == ["3"]
    assert ids(take_all(queue, holder=LeaseHolder(max_size=150))) == ["4", "5"]


def test_seek_into_the_past_repeats_retained_messages() -> None:
    queue = queue_of(4, retain_acked=True)
    leases = take_all(queue)
    for lease in leases[:3]:
        queue.acknowledge(lease.ack_id)
    queue.seek(1.0)
    assert not queue.acknowledge(leases[3].ack_id)
    assert ids(take_all(queue)) == ["1", "2", "3"]


def test_seek_into_the_future_drops_the_backlog() -> None:
    queue = queue_of(4)
    take_all(queue, holder=LeaseHolder(max_messages=1))
    queue.seek(3.0)
    assert (queue.waiting, queue.leased) == (1, 0)
    queue.seek(100.0)
    queue.add(message(9, published=99.0))
    assert ids(take_all(queue)) == ["9"]


def test_messages_older_than_the_retention_are_dropped() -> None:
    queue = queue_of(4)
    queue.drop_older(2.0)
    assert ids(take_all(queue)) == ["2", "3"]


def test_a_held_back_message_comes_after_the_next_ones_or_in_time() -> None:
    queue = queue_of(4)
    holder = LeaseHolder()
    held = queue.take(0, holder, ACK_SECONDS)
    assert held is not None
    queue.put_back(held, due=5, behind=2)
    assert holder.messages == 0
    assert ids(take_all(queue)) == ["1", "2", "0", "3"]
    queue.add(message(4))
    held = queue.take(0, holder, ACK_SECONDS)
    assert held is not None
    queue.put_back(held, due=5, behind=2)
    assert queue.next_due() == 5
    assert ids(take_all(queue, now=4.9)) == []
    assert ids(take_all(queue, now=5)) == ["4"]


def test_a_repeated_message_comes_even_if_it_is_acknowledged() -> None:
    queue = queue_of(1)
    (lease,) = take_all(queue)
    queue.repeat(lease.queued.message, due=3)
    queue.acknowledge(lease.ack_id)
    assert ids(take_all(queue, now=2)) == []
    assert ids(take_all(queue, now=3)) == ["0"]


class QueueMachine(RuleBasedStateMachine):
    """Random calls: every message is acknowledged, waits, or is leased, and none is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = SubscriptionQueue(1e9)
        self.holders = [LeaseHolder(), LeaseHolder(max_messages=2), LeaseHolder(max_size=350)]
        self.leases: list[MessageLease] = []
        self.now = 0.0
        self.added = 0

    @rule()
    def publish(self) -> None:
        self.queue.add(message(self.added, self.now))
        self.added += 1

    @rule(holder=st.integers(0, 2))
    def take(self, holder: int) -> None:
        lease = self.queue.take(self.now, self.holders[holder], ACK_SECONDS)
        if lease is not None:
            self.leases.append(lease)
            self.queue.passed()

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        self.queue.acknowledge(data.draw(st.sampled_from(self.leases)).ack_id)

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), seconds=st.sampled_from([0, 5, 30]))
    def extend(self, data: st.DataObject, seconds: int) -> None:
        self.queue.extend(data.draw(st.sampled_from(self.leases)).ack_id, self.now, seconds)

    @rule(holder=st.integers(0, 2), due=st.sampled_from([0, 3]), behind=st.sampled_from([0, 2]))
    def put_back(self, holder: int, due: int, behind: int) -> None:
        lease = self.queue.take(self.now, self.holders[holder], ACK_SECONDS)
        if lease is not None:
            self.queue.put_back(lease, self.now + due if due or behind else 0, behind)

    @rule(seconds=st.sampled_from([1, 7, 40]))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @invariant()
    def no_message_is_lost(self) -> None:
        assert self.queue.waiting + self.queue.leased + self.queue.acked == self.added

    @invariant()
    def flow_control_matches_the_leases(self) -> None:
        assert sum(holder.messages for holder in self.holders) == self.queue.leased
        assert all(holder.size == holder.messages * 100 for holder in self.holders)
        assert self.holders[1].messages <= 2
        assert self.holders[2].messages <= 4

    def teardown(self) -> None:
        """Acknowledge what comes, until nothing comes: every message has been acknowledged."""
        self.now += 1000
        for lease in take_all(self.queue, self.now):
            self.queue.acknowledge(lease.ack_id)
        assert (self.queue.waiting, self.queue.leased) == (0, 0)
        assert self.queue.acked == self.added


QueueMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
test_queue_machine = QueueMachine.TestCase
