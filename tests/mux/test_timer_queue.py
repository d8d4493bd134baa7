from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.mux.timer_queue import TimerQueue


def test_owners_come_due_in_the_order_of_their_deadlines() -> None:
    deadlines: TimerQueue[str] = TimerQueue()
    assert deadlines.set("late", 3.0)
    assert deadlines.set("early", 1.0)
    assert not deadlines.set("middle", 2.0)
    assert [deadlines.pop_due(2.5) for _ in range(3)] == ["early", "middle", None]
    assert deadlines.earliest == 3.0


def test_a_deadline_that_moves_to_later_is_asked_about_at_the_earlier_time() -> None:
    deadlines: TimerQueue[str] = TimerQueue()
    deadlines.set("a", 1.0)
    assert not deadlines.set("a", 5.0)
    assert deadlines.earliest == 1.0
    assert deadlines.pop_due(1.0) == "a"
    assert deadlines.earliest == math.inf


def test_an_owner_that_was_woken_may_be_noted_again() -> None:
    deadlines: TimerQueue[str] = TimerQueue()
    deadlines.set("a", 1.0)
    assert deadlines.pop_due(1.0) == "a"
    assert deadlines.set("a", 5.0)
    assert deadlines.earliest == 5.0
    assert deadlines.pop_due(5.0) == "a"


def test_the_same_deadline_again_changes_nothing() -> None:
    deadlines: TimerQueue[str] = TimerQueue()
    assert deadlines.set("a", 1.0)
    assert not deadlines.set("a", 1.0)
    assert len(deadlines) == 1
    assert not deadlines.set("b", 1.0)


def test_owners_that_have_lost_their_deadlines_are_not_held_for_long() -> None:
    deadlines: TimerQueue[int] = TimerQueue()
    for owner in range(1001):
        deadlines.set(owner, 1000.0)
    for owner in range(1001):
        deadlines.set(owner, math.inf)
    assert len(deadlines) <= 64


def test_an_owner_without_a_deadline_is_never_due() -> None:
    deadlines: TimerQueue[str] = TimerQueue()
    deadlines.set("a", 1.0)
    assert not deadlines.set("a", math.inf)
    assert deadlines.pop_due(2.0) is None


def test_an_owner_that_never_had_a_deadline_is_not_held() -> None:
    deadlines: TimerQueue[str] = TimerQueue()
    assert not deadlines.set("a", math.inf)
    assert len(deadlines) == 0


operations = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 5), st.floats(0, 50)),
        st.tuples(st.integers(0, 5), st.just(math.inf)),
        st.tuples(st.none(), st.floats(0, 5)),
    ),
    max_size=400,
)


@given(operations)
def test_nobody_is_woken_late_and_the_heap_stays_small(
    steps: list[tuple[int | None, float]],
) -> None:
    deadlines: TimerQueue[int] = TimerQueue()
    true: dict[int, float] = {}
    now = 0.0
    for owner, value in steps:
        if owner is not None:
            deadline = now + value
            true[owner] = deadline
            before = deadlines.earliest
            nearer = deadlines.set(owner, deadline)
            assert nearer == (deadlines.earliest < before)
        else:
            now += value
            while (due := deadlines.pop_due(now)) is not None:
                if true[due] <= now:
                    true[due] = math.inf
                deadlines.set(due, true[due])
            assert all(deadline > now for deadline in true.values())
        assert deadlines.earliest <= min(true.values(), default=math.inf)
        assert len(deadlines) <= 2 * len(true) + 64


def test_a_deadline_that_comes_nearer_and_nearer_leaves_no_trail() -> None:
    deadlines: TimerQueue[str] = TimerQueue()
    for step in range(1000):
        assert deadlines.set("a", 2000.0 - step)
        assert len(deadlines) <= 66
    assert deadlines.earliest == 1001.0
    assert deadlines.pop_due(3000.0) == "a"
    assert deadlines.pop_due(3000.0) is None


def test_owners_come_due_in_order_however_often_deadlines_have_come_nearer() -> None:
    deadlines: TimerQueue[str] = TimerQueue()
    for step in range(1000):
        deadlines.set("late", 9000.0 - step)
        deadlines.set("middle", 6000.0 - step)
        deadlines.set("early", 3000.0 - step)
        assert deadlines.earliest == 3000.0 - step
    assert [deadlines.pop_due(9000.0) for _ in range(4)] == ["early", "middle", "late", None]
