"""Tests of fault plans: at which points of a call a rule fires. No test does I/O."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.emulator.faults import (
    ChunkGap,
    ChunkTooLong,
    Delay,
    EndOk,
    ExpireToken,
    Fault,
    Hang,
    InjectionPoint,
    PageEmpty,
    Redirect,
    Reset,
    Status,
)
from gcsmux_fs.emulator.injection import FOR_EVER, Faults, Rule
from gcsmux_fs.emulator.injection.fault_plan import ActiveRules, CallAttributes, FaultPlan

READ = CallAttributes("BidiReadObject", "b", "data/f")


def active(*rules: Rule, seed: int = 0) -> ActiveRules:
    return ActiveRules(Faults(rules, seed), Counter())


def plan(*rules: Rule, call: CallAttributes = READ) -> FaultPlan:
    fault_plan = active(*rules).plan(call)
    assert fault_plan is not None
    return fault_plan


def opens(rules: ActiveRules, count: int, call: CallAttributes = READ) -> list[bool]:
    """Open `count` calls; return for each call whether a fault happens when the call opens."""
    return [
        (fault_plan := rules.plan(call)) is not None and bool(fault_plan.at(InjectionPoint.OPEN))
        for _ in range(count)
    ]


def test_skip_and_times_select_the_calls_at_which_a_rule_fires() -> None:
    assert opens(active(Rule(Hang(), skip=1, times=2)), 5) == [False, True, True, False, False]
    assert opens(active(Rule(Hang(), times=FOR_EVER)), 3) == [True] * 3
    assert opens(active(Rule(Hang(), times=0)), 1) == [False]


def test_rules_that_cannot_fire_again_are_not_armed() -> None:
    spent = active(Rule(Hang()))
    assert spent.armed
    opens(spent, 1)
    assert not spent.armed
    assert not active().armed
    assert not active(Rule(Reset())).armed


@given(st.integers(), st.floats(0, 1), st.integers(0, 20))
def test_decisions_do_not_depend_on_other_calls(seed: int, probability: float, others: int) -> None:
    rule = Rule(Hang(), object="f", times=FOR_EVER, probability=probability)
    other = Rule(Delay(), method="GetObject", object="g", times=FOR_EVER, probability=0.5)
    alone, shared = active(rule, other, seed=seed), active(rule, other, seed=seed)
    opens(shared, others, CallAttributes("GetObject", "b", "g"))
    assert opens(alone, 20, CallAttributes("GetObject", "b", "f")) == opens(
        shared, 20, CallAttributes("GetObject", "b", "f")
    )


def test_rules_fire_about_as_often_as_their_probability() -> None:
    fired = opens(active(Rule(Hang(), times=FOR_EVER, probability=0.3)), 1000)
    assert 200 < sum(fired) < 400
    assert not any(opens(active(Rule(Hang(), times=FOR_EVER, probability=0.0)), 100))


def test_jitter_stays_within_its_bounds() -> None:
    delays = plan(*[Rule(Delay(1.0, 0.5))] * 50).at(InjectionPoint.OPEN)
    seconds = {fault.seconds for fault in delays if isinstance(fault, Delay)}
    assert len(seconds) == 50
    assert all(1.0 <= delay <= 1.5 for delay in seconds)


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        (Rule(Hang(), method="Bidi*"), True),
        (Rule(Hang(), method="GetObject"), False),
        (Rule(Hang(), object="data/*"), True),
        (Rule(Hang(), object="*.txt"), False),
        (Rule(Hang(), resumed=False), True),
        (Rule(Hang(), resumed=True), False),
        (Rule(PageEmpty()), True),
        (Rule(Reset()), False),
    ],
)
def test_a_rule_matches_calls_by_method_object_and_resumed(rule: Rule, matches: bool) -> None:
    assert (active(rule).plan(READ) is not None) == matches


def test_no_fault_follows_a_terminal_fault() -> None:
    delay, terminal, never = Delay(1.0), EndOk(), Hang()
    assert [delay, terminal] == plan(Rule(delay), Rule(terminal), Rule(never)).at(
        InjectionPoint.OPEN
    )


def test_a_rule_at_content_has_one_opportunity_per_call_after_the_exact_bytes() -> None:
    cut = Rule(Status(), at=InjectionPoint.CONTENT, after_bytes=10, skip=1)
    once = active(cut)
    for expected in ([], [Status()]):
        fault_plan = once.plan(READ)
        assert fault_plan is not None
        assert fault_plan.room() == 10
        assert fault_plan.advance(4) == []
        assert fault_plan.room() == 6
        assert fault_plan.advance(6) == expected
        assert fault_plan.room() is None
        assert fault_plan.advance(100) == []


def test_a_rule_at_idle_has_one_opportunity_each_time_a_stream_becomes_idle() -> None:
    fault_plan = plan(
        Rule(Delay(), at=InjectionPoint.CONTENT, after_bytes=9),
        Rule(Status(), at=InjectionPoint.IDLE, after_seconds=5.0, times=2),
        Rule(EndOk(), at=InjectionPoint.IDLE, after_seconds=9.0),
    )
    assert fault_plan.idle_until() == 5.0
    assert fault_plan.idle(5.0) == [Status()]
    assert fault_plan.idle_until() == 9.0
    fault_plan.busy()
    assert fault_plan.idle_until() == 5.0
    assert fault_plan.idle(9.0) == [Status()]
    fault_plan.busy()
    assert fault_plan.idle(9.0) == [EndOk()]
    assert fault_plan.idle_until() is None


@pytest.mark.parametrize(
    ("rule", "hit"),
    [
        (Rule(Hang(), at=InjectionPoint.RANGE, times=FOR_EVER), [0, 1, 2]),
        (Rule(Hang(), at=InjectionPoint.RANGE, nth=2), [1]),
        (Rule(Hang(), at=InjectionPoint.RANGE, skip=2), [2]),
        (Rule(Hang(), at=InjectionPoint.RANGE, covers=10, times=FOR_EVER), [1]),
        (Rule(Hang(), at=InjectionPoint.RANGE, covers=9, times=FOR_EVER), [0]),
    ],
)
def test_nth_and_covers_select_ranges(rule: Rule, hit: list[int]) -> None:
    fault_plan = plan(rule)
    ranges = [(0, 10), (10, 10), (20, 10)]
    assert hit == [
        number for number, (offset, length) in enumerate(ranges) if fault_plan.range(offset, length)
    ]


def test_faults_of_last_chunks_wait_for_a_last_chunk() -> None:
    longer, gap = ChunkTooLong(), ChunkGap()
    fault_plan = plan(Rule(longer), Rule(gap))
    assert fault_plan.chunk(0, 5, last=False) == [gap]
    assert fault_plan.chunk(5, 5, last=True) == [longer]


def test_a_followed_redirect_does_not_happen_again_unless_it_loops() -> None:
    follower = CallAttributes("BidiReadObject", "b", "f", routing_token="there")
    there = Rule(Redirect("there"), times=FOR_EVER)
    assert opens(active(there), 2) == [True, True]
    assert opens(active(there), 1, follower) == [False]
    assert opens(active(Rule(Redirect("there", loop=True), times=2)), 3, follower) == [
        True,
        True,
        False,
    ]


def test_an_expired_token_stays_expired_and_the_next_token_works() -> None:
    fired: Counter[str] = Counter()
    expiring = ActiveRules(Faults((Rule(ExpireToken(), times=2, name="t"),)), fired)

    def is_refused(token: str) -> bool:
        return opens(expiring, 1, CallAttributes("GetObject", authorization=token)) == [True]

    tokens = ["one", "one", "two", "three", "two", "three"]
    assert [is_refused(token) for token in tokens] == [True, True, True, False, True, False]
    assert fired == {"t": 4}


def test_rules_for_connections_fire_once_for_all_connections() -> None:
    reset = Rule(Reset(), at=InjectionPoint.TRAFFIC, after_bytes=5)
    now = Rule(Reset())
    both = active(reset, now)
    fault_plan = both.plan_connection()
    assert both.now() == [Reset()]
    assert both.now() == []
    assert fault_plan.room() == 5
    assert fault_plan.advance(5) == [Reset()]
    second: list[Fault] = both.plan_connection().advance(5)
    assert second == []


@given(
    st.lists(
        st.tuples(st.integers(-1, 3), st.integers(0, 2), st.floats(0, 1), st.integers(0, 30)),
        max_size=4,
    ),
    st.lists(st.lists(st.integers(0, 20), max_size=5), max_size=6),
)
def test_no_rule_fires_more_often_than_times_in_calls_that_share_it(
    orders: list[tuple[int, int, float, int]], calls: list[list[int]]
) -> None:
    fired: Counter[str] = Counter()
    rules = tuple(
        Rule(
            Delay(),
            at=InjectionPoint.CONTENT,
            after_bytes=after,
            times=times,
            skip=skip,
            probability=probability,
            name=str(position),
        )
        for position, (times, skip, probability, after) in enumerate(orders)
    )
    shared = ActiveRules(Faults(rules), fired)
    plans = [(shared.plan(READ), sizes) for sizes in calls]
    for fault_plan, sizes in plans:
        if fault_plan is None:
            continue
        for size in sizes:
            room = fault_plan.room()
            fault_plan.advance(size)
            # If a rule fires after `room` more bytes, it does not fire again right after these
            # bytes.
            assert room is None or size < room or fault_plan.room() != room - size
    for position, (times, _, _, _) in enumerate(orders):
        limit = len(calls) if times == FOR_EVER else min(times, len(calls))
        assert fired[str(position)] <= limit
