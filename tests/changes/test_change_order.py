"""Tests of the order of changes: what each event shows, in any order of arrival."""

from __future__ import annotations

import itertools
import math

import pytest

from gcsmux_fs.changes.change_event import Change, ChangeKind
from gcsmux_fs.changes.change_order import ChangeOrder, Verdict

CREATED, UPDATED = ChangeKind.FINALIZE, ChangeKind.METADATA_UPDATE
DELETED, ARCHIVED = ChangeKind.DELETE, ChangeKind.ARCHIVE


def change(
    kind: ChangeKind,
    generation: int,
    metageneration: int = 0,
    *,
    name: str = "a",
    at: float = 1000.0,
    overwrote: int = 0,
    overwritten_by: int = 0,
) -> Change:
    return Change(
        kind,
        name,
        generation,
        metageneration or int(kind is CREATED),
        at,
        at,
        overwrote,
        overwritten_by,
    )


def state_after(*changes: Change) -> tuple[int, bool]:
    """Return the newest generation after some changes, and whether the object exists."""
    order = ChangeOrder()
    state = 0, False
    for each in changes:
        if (verdict := order.take(each)) is not None:
            state = verdict.generation, verdict.exists
    return state


HISTORIES = {
    "overwritten": (
        [change(CREATED, 1), change(CREATED, 2, overwrote=1), change(DELETED, 1, overwritten_by=2)],
        (2, True),
    ),
    "overwritten with versions": (
        [change(CREATED, 2, overwrote=1), change(ARCHIVED, 1, overwritten_by=2)],
        (2, True),
    ),
    "created again": ([change(CREATED, 1), change(DELETED, 1), change(CREATED, 2)], (2, True)),
    "deleted after an update": (
        [change(CREATED, 1), change(UPDATED, 1, 2), change(UPDATED, 1, 3), change(DELETED, 1)],
        (1, False),
    ),
    "overwritten twice and deleted": (
        [
            change(CREATED, 2, overwrote=1),
            change(DELETED, 1, overwritten_by=2),
            change(CREATED, 3, overwrote=2),
            change(DELETED, 2, overwritten_by=3),
            change(DELETED, 3),
        ],
        (3, False),
    ),
    "a noncurrent generation is updated and deleted": (
        [
            change(CREATED, 2, overwrote=1),
            change(ARCHIVED, 1, overwritten_by=2),
            change(UPDATED, 1, 5),
            change(DELETED, 1),
        ],
        (2, True),
    ),
}


@pytest.mark.parametrize("history", HISTORIES)
def test_the_newest_state_does_not_depend_on_the_order_of_events(history: str) -> None:
    changes, state = HISTORIES[history]
    for arrived in itertools.permutations(changes):
        assert state_after(*arrived) == state
        assert state_after(*arrived, *arrived[::-1]) == state


def test_an_event_that_arrives_again_shows_nothing() -> None:
    order = ChangeOrder()
    for each in (change(CREATED, 1), change(UPDATED, 1, 2), change(DELETED, 1)):
        assert order.take(each) is not None
        assert order.take(each) is None


def test_an_update_of_unknown_metageneration_always_counts() -> None:
    order = ChangeOrder()
    order.take(change(CREATED, 1))
    for _ in range(2):
        assert order.take(change(UPDATED, 1)) == Verdict(1, 0, True, 1000.0)
    order.take(change(DELETED, 1))
    assert order.take(change(UPDATED, 1)) is None


def test_the_creation_counts_after_the_removal_of_what_it_has_replaced() -> None:
    order = ChangeOrder()
    assert order.take(change(DELETED, 1, overwritten_by=2)) == Verdict(2, 1, True, 1000.0)
    assert order.take(change(CREATED, 2, overwrote=1)) == Verdict(2, 1, True, 1000.0)


def test_an_update_is_uncertain_until_the_creation_is_known() -> None:
    order = ChangeOrder()
    for number, is_certain in ((2, False), (3, False)):
        verdict = order.take(change(UPDATED, 1, number))
        assert verdict is not None
        assert math.isfinite(verdict.happened_at) is is_certain
    order.take(change(CREATED, 5))
    assert order.take(change(UPDATED, 5, 2)) == Verdict(5, 2, True, 1000.0)


def test_a_late_event_of_a_forgotten_object_is_uncertain() -> None:
    order = ChangeOrder(limit=2)
    order.take(change(DELETED, 5, at=1000))
    for number, name in enumerate("bcd"):
        order.take(change(CREATED, 1, name=name, at=1001 + number))
    assert len(order) == 2
    late = order.take(change(CREATED, 4, at=999))
    assert late is not None
    assert late.happened_at == -math.inf
    young = order.take(change(CREATED, 1, name="e", at=1100))
    assert young is not None
    assert young.happened_at == 1100


def test_a_much_later_creation_of_a_smaller_generation_is_a_contradiction() -> None:
    order = ChangeOrder()
    order.take(change(CREATED, 1 << 62, at=1000))
    assert order.take(change(CREATED, 7, at=1030)) is None
    verdict = order.take(change(CREATED, 8, at=1100))
    assert verdict is not None
    assert verdict.is_contradiction
    # From now on, the smaller generations count.
    assert order.take(change(DELETED, 8, at=1101)) == Verdict(8, 0, False, 1101.0)


def test_an_event_is_not_younger_than_its_message() -> None:
    order = ChangeOrder(limit=1)
    order.take(change(DELETED, 5, at=1000))
    order.take(change(CREATED, 1, name="b", at=1001))
    forged = Change(CREATED, "a", 4, 1, event_time=9999.0, publish_time=999.0)
    verdict = order.take(forged)
    assert verdict is not None
    assert verdict.happened_at == -math.inf
