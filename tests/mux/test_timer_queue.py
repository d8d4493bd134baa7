from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.mux.timer_queue import TimerQueue


def test_owners_are_returned_in_the_order_of_their_deadlines() -> None:
    timers: TimerQueue[str] = TimerQueue()
    assert timers.set("late", 3.0)
    assert timers.set("early", 1.0)
    assert not timers.set("middle", 2.0)
    assert [timers.pop_due(2.5) for _ in range(3)] == ["early", "middle", None]
    assert timers.earliest == 3.0


def test_an_owner_whose_deadline_moves_to_later_is_returned_at_the_earlier_time() -> None:
    timers: TimerQueue[str] = TimerQueue()
    timers.set("a", 1.0)
    assert not timers.set("a", 5.0)
    assert timers.earliest == 1.0
    assert timers.pop_due(1.0) == "a"
    assert timers.earliest == math.inf


def test_a_returned_owner_may_get_a_new_deadline() -> None:
    timers: TimerQueue[str] = TimerQueue()
    timers.set("a", 1.0)
    assert timers.pop_due(1.0) == "a"
    assert timers.set("a", 5.0)
    assert timers.earliest == 5.0
    assert timers.pop_due(5.0) == "a"


def test_the_same_deadline_again_changes_nothing() -> None:
    timers: TimerQueue[str] = TimerQueue()
    assert timers.set("a", 1.0)
    assert not timers.set("a", 1.0)
    assert len(timers) == 1
    assert not timers.set("b", 1.0)


def test_entries_of_owners_without_deadline_are_swept() -> None:
    timers: TimerQueue[int] = TimerQueue()
    for owner in range(1001):
        timers.set(owner, 1000.0)
    for owner in range(1001):
        timers.set(owner, math.inf)
    assert len(timers) <= 64


def test_an_owner_without_deadline_is_never_returned() -> None:
    timers: TimerQueue[str] = TimerQueue()
    timers.set("a", 1.0)
    assert not timers.set("a", math.inf)
    assert timers.pop_due(2.0) is None


def test_an_owner_that_never_had_a_deadline_has_no_entry() -> None:
    timers: TimerQueue[str] = TimerQueue()
    assert not timers.set("a", math.inf)
    assert len(timers) == 0


operations = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 5), st.floats(0, 50)),
        st.tuples(st.integers(0, 5), st.just(math.inf)),
        st.tuples(st.none(), st.floats(0, 5)),
    ),
    max_size=400,
)


@given(operations)
def test_no_owner_is_returned_late_and_the_heap_stays_small(
    steps: list[tuple[int | None, float]],
) -> None:
    timers: TimerQueue[int] = TimerQueue()
    true_deadlines: dict[int, float] = {}
    now = 0.0
    for owner, value in steps:
        if owner is not None:
            deadline = now + value
            true_deadlines[owner] = deadline
            before = timers.earliest
            is_earliest = timers.set(owner, deadline)
            assert is_earliest == (timers.earliest < before)
        else:
            now += value
            while (due := timers.pop_due(now)) is not None:
                if true_deadlines[due] <= now:
                    true_deadlines[due] = math.inf
                timers.set(due, true_deadlines[due])
            assert all(deadline > now for deadline in true_deadlines.values())
        assert timers.earliest <= min(true_deadlines.values(), default=math.inf)
        assert len(timers) <= 2 * len(true_deadlines) + 64


def test_outdated_entries_of_a_deadline_that_moves_to_earlier_are_swept() -> None:
    timers: TimerQueue[str] = TimerQueue()
    for step in range(1000):
        assert timers.set("a", 2000.0 - step)
        assert len(timers) <= 66
    assert timers.earliest == 1001.0
    assert timers.pop_due(3000.0) == "a"
    assert timers.pop_due(3000.0) is None


def test_owners_are_returned_in_order_after_many_moves_to_earlier_deadlines() -> None:
    timers: TimerQueue[str] = TimerQueue()
    for step in range(1000):
        timers.set("late", 9000.0 - step)
        timers.set("middle", 6000.0 - step)
        timers.set("early", 3000.0 - step)
        assert timers.earliest == 3000.0 - step
    assert [timers.pop_due(9000.0) for _ in range(4)] == ["early", "middle", "late", None]
