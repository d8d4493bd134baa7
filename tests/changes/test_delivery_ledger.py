from __future__ import annotations

import math

from gcsmux_fs.changes.delivery_ledger import MAX_ORDER_BYTES, MAX_ORDER_IDS, DeliveryLedger
from gcsmux_fs.changes.pull_actions import PullPolicy
from gcsmux_fs.storage.ports import PullOrder

from .driven_pull import messages

POLICY = PullPolicy(ack_deadline=60, ack_delay=0.05)


def ledger_with(*ack_ids: str, now: float = 0.0) -> DeliveryLedger:
    ledger = DeliveryLedger(POLICY)
    ledger.add(messages(*ack_ids), now)
    return ledger


def names(count: int, size: int = 200) -> list[str]:
    return [f"{number:0{size}}" for number in range(count)]


def orders_of(ledger: DeliveryLedger, now: float) -> list[PullOrder]:
    orders = []
    while order := ledger.next_order(now):
        orders.append(order)
    return orders


def test_an_empty_ledger_has_nothing_to_send() -> None:
    ledger = DeliveryLedger(POLICY)
    assert ledger.due == math.inf
    assert ledger.next_order(1e9) is None
    ledger.acknowledge([], 0.0)
    assert ledger.due == math.inf


def test_acknowledgements_are_collected_for_a_short_time() -> None:
    ledger = ledger_with("1", "2")
    ledger.take(1, 1.0)
    ledger.take(1, 1.04)
    assert ledger.due == 1.05
    assert ledger.next_order(1.049) is None
    assert ledger.next_order(1.05) == PullOrder(("1", "2"))
    assert ledger.due == math.inf


def test_a_full_order_is_sent_at_once() -> None:
    ledger = ledger_with(*names(MAX_ORDER_IDS))
    ledger.take(MAX_ORDER_IDS - 1, 1.0)
    assert ledger.next_order(1.0) is None
    ledger.take(1, 1.0)
    order = ledger.next_order(1.0)
    assert order is not None
    assert len(order.ack_ids) == MAX_ORDER_IDS


def test_the_rest_of_a_full_order_waits_again() -> None:
    ledger = ledger_with(*names(MAX_ORDER_IDS + 1))
    ledger.take(MAX_ORDER_IDS + 1, 1.0)
    assert len(orders_of(ledger, 1.0)) == 1
    assert ledger.due == 1.05
    assert len(orders_of(ledger, 1.05)) == 1


def test_an_order_has_a_limited_size() -> None:
    ledger = ledger_with(*names(10, MAX_ORDER_BYTES // 4))
    ledger.take(10, 0.0)
    orders = []
    for _ in range(4):
        orders += orders_of(ledger, ledger.due)
    assert [len(order.ack_ids) for order in orders] == [3, 3, 3, 1]


def test_an_id_of_any_size_is_sent() -> None:
    ledger = ledger_with("x" * MAX_ORDER_BYTES * 2)
    ledger.take(1, 0.0)
    (order,) = orders_of(ledger, 1.0)
    assert len(order.ack_ids) == 1


def test_each_id_has_its_own_size() -> None:
    large = "x" * (MAX_ORDER_BYTES * 3 // 4)
    ledger = ledger_with(large, "small", large)
    ledger.take(3, 0.0)
    (order,) = orders_of(ledger, 1.0)
    assert order.ack_ids == (large, "small")


def test_the_deadline_of_waiting_messages_is_extended_halfway() -> None:
    ledger = ledger_with("1", "2", now=10.0)
    assert ledger.due == 40.0
    assert ledger.next_order(39.9) is None
    assert ledger.next_order(40.0) == PullOrder((), ("1", "2"), 60)
    assert ledger.due == 70.0
    ledger.add(messages("3"), 60.0)
    assert ledger.next_order(70.0) == PullOrder((), ("1", "2", "3"), 60)


def test_the_deadline_of_a_later_message_counts_from_its_arrival() -> None:
    ledger = ledger_with("1", now=10.0)
    ledger.add(messages("2"), 30.0)
    ledger.take(1, 35.0)
    assert orders_of(ledger, 36.0) == [PullOrder(("1",))]
    assert ledger.due == 60.0


def test_extensions_are_split_like_acknowledgements() -> None:
    count = 2 * MAX_ORDER_IDS + 5
    ledger = ledger_with(*names(count))
    orders = orders_of(ledger, 30.0)
    assert [len(order.extended_ack_ids) for order in orders] == [MAX_ORDER_IDS, MAX_ORDER_IDS, 5]
    assert [name for order in orders for name in order.extended_ack_ids] == names(count)


def test_one_order_extends_and_acknowledges() -> None:
    ledger = ledger_with("1", "2")
    ledger.take(1, 29.99)
    assert ledger.next_order(30.04) == PullOrder(("1",), ("2",), 60)


def test_extensions_have_precedence_over_acknowledgements() -> None:
    """A late extension means a second delivery; a late acknowledgement means nothing."""
    ledger = ledger_with(*names(MAX_ORDER_IDS))
    ledger.add(messages("x"), 0.0)
    ledger.take(1, 29.9)
    first = ledger.next_order(30.0)
    assert first is not None
    assert len(first.extended_ack_ids) == MAX_ORDER_IDS
    assert first.ack_ids == ()
