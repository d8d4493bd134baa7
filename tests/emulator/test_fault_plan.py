"""Which fault fires when, without any I/O."""

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


def book(*rules: Rule, seed: int = 0) -> ActiveRules:
    return ActiveRules(Faults(rules, seed), Counter())


def plan(*rules: Rule, call: CallAttributes = READ) -> FaultPlan:
    made = book(*rules).plan(call)
    assert made is not None
    return made


def opens(book: ActiveRules, count: int, call: CallAttributes = READ) -> list[bool]:
    """Tell for each of so many calls whether anything happens to it."""
    return [
        (planned := book.plan(call)) is not None and bool(planned.at(InjectionPoint.OPEN))
        for _ in range(count)
    ]


def test_a_rule_passes_over_then_fires_so_often() -> None:
    assert opens(book(Rule(Hang(), skip=1, times=2)), 5) == [False, True, True, False, False]
    assert opens(book(Rule(Hang(), times=FOR_EVER)), 3) == [True] * 3
    assert opens(book(Rule(Hang(), times=0)), 1) == [False]


def test_a_spent_order_disarms() -> None:
    spent = book(Rule(Hang()))
    assert spent.armed
    opens(spent, 1)
    assert not spent.armed
    assert not book().armed
    assert not book(Rule(Reset())).armed


@given(st.integers(), st.floats(0, 1), st.integers(0, 20))
def test_what_is_decided_depends_on_seed_position_and_number_alone(
    seed: int, probability: float, others: int
) -> None:
    rule = Rule(Hang(), object="f", times=FOR_EVER, probability=probability)
    other = Rule(Delay(), method="GetObject", object="g", times=FOR_EVER, probability=0.5)
    alone, amid = book(rule, other, seed=seed), book(rule, other, seed=seed)
    opens(amid, others, CallAttributes("GetObject", "b", "g"))
    assert opens(alone, 20, CallAttributes("GetObject", "b", "f")) == opens(
        amid, 20, CallAttributes("GetObject", "b", "f")
    )


def test_chances_are_about_what_was_ordered() -> None:
    fired = opens(book(Rule(Hang(), times=FOR_EVER, probability=0.3)), 1000)
    assert 200 < sum(fired) < 400
    assert not any(opens(book(Rule(Hang(), times=FOR_EVER, probability=0.0)), 100))


def test_jitter_is_drawn_from_its_bounds() -> None:
    drawn = plan(*[Rule(Delay(1.0, 0.5))] * 50).at(InjectionPoint.OPEN)
    seconds = {fault.seconds for fault in drawn if isinstance(fault, Delay)}
    assert len(seconds) == 50
    assert all(1.0 <= one <= 1.5 for one in seconds)


@pytest.mark.parametrize(
    ("rule", "concerned"),
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
def test_a_rule_is_of_the_calls_it_names(rule: Rule, concerned: bool) -> None:
    assert (book(rule).plan(READ) is not None) == concerned


def test_nothing_follows_what_ends_a_call() -> None:
    late, ended, never = Delay(1.0), EndOk(), Hang()
    assert [late, ended] == plan(Rule(late), Rule(ended), Rule(never)).at(InjectionPoint.OPEN)


def test_a_rule_of_content_has_one_opportunity_a_call_at_exactly_its_bytes() -> None:
    cut = Rule(Status(), at=InjectionPoint.CONTENT, after_bytes=10, skip=1)
    once = book(cut)
    for expected in ([], [Status()]):
        made = once.plan(READ)
        assert made is not None
        assert made.room() == 10
        assert made.advance(4) == []
        assert made.room() == 6
        assert made.advance(6) == expected
        assert made.room() is None
        assert made.advance(100) == []


def test_an_idle_rule_has_one_opportunity_each_time_a_stream_falls_idle() -> None:
    made = plan(
        Rule(Delay(), at=InjectionPoint.CONTENT, after_bytes=9),
        Rule(Status(), at=InjectionPoint.IDLE, after_seconds=5.0, times=2),
        Rule(EndOk(), at=InjectionPoint.IDLE, after_seconds=9.0),
    )
    assert made.idle_until() == 5.0
    assert made.idle(5.0) == [Status()]
    assert made.idle_until() == 9.0
    made.busy()
    assert made.idle_until() == 5.0
    assert made.idle(9.0) == [Status()]
    made.busy()
    assert made.idle(9.0) == [EndOk()]
    assert made.idle_until() is None


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
def test_ranges_are_named_by_number_or_by_a_byte(rule: Rule, hit: list[int]) -> None:
    made = plan(rule)
    ranges = [(0, 10), (10, 10), (20, 10)]
    assert hit == [
        number for number, (offset, length) in enumerate(ranges) if made.range(offset, length)
    ]


def test_what_is_of_last_chunks_waits_for_one() -> None:
    longer, gap = ChunkTooLong(), ChunkGap()
    made = plan(Rule(longer), Rule(gap))
    assert made.chunk(0, 5, last=False) == [gap]
    assert made.chunk(5, 5, last=True) == [longer]


def test_redirects_let_through_who_followed_unless_they_loop() -> None:
    follower = CallAttributes("BidiReadObject", "b", "f", routing_token="there")
    there = Rule(Redirect("there"), times=FOR_EVER)
    assert opens(book(there), 2) == [True, True]
    assert opens(book(there), 1, follower) == [False]
    assert opens(book(Rule(Redirect("there", loop=True), times=2)), 3, follower) == [
        True,
        True,
        False,
    ]


def test_an_expired_token_stays_so_and_the_next_one_is_good() -> None:
    counted: Counter[str] = Counter()
    expiring = ActiveRules(Faults((Rule(ExpireToken(), times=2, name="t"),)), counted)

    def refused(token: str) -> bool:
        return opens(expiring, 1, CallAttributes("GetObject", authorization=token)) == [True]

    tokens = ["one", "one", "two", "three", "two", "three"]
    assert [refused(token) for token in tokens] == [True, True, True, False, True, False]
    assert counted == {"t": 4}


def test_connections_have_rules_of_their_own() -> None:
    reset = Rule(Reset(), at=InjectionPoint.TRAFFIC, after_bytes=5)
    now = Rule(Reset())
    both = book(reset, now)
    made = both.plan_connection()
    assert both.now() == [Reset()]
    assert both.now() == []
    assert made.room() == 5
    assert made.advance(5) == [Reset()]
    again: list[Fault] = both.plan_connection().advance(5)
    assert again == []


@given(
    st.lists(
        st.tuples(st.integers(-1, 3), st.integers(0, 2), st.floats(0, 1), st.integers(0, 30)),
        max_size=4,
    ),
    st.lists(st.lists(st.integers(0, 20), max_size=5), max_size=6),
)
def test_no_rule_fires_more_often_than_ordered_whatever_shares_it(
    orders: list[tuple[int, int, float, int]], calls: list[list[int]]
) -> None:
    counted: Counter[str] = Counter()
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
    shared = ActiveRules(Faults(rules), counted)
    plans = [(shared.plan(READ), sizes) for sizes in calls]
    for made, sizes in plans:
        if made is None:
            continue
        for size in sizes:
            room = made.room()
            made.advance(size)
            # What was announced is done with once its bytes have been sent.
            assert room is None or size < room or made.room() != room - size
    for position, (times, _, _, _) in enumerate(orders):
        limit = len(calls) if times == FOR_EVER else min(times, len(calls))
        assert counted[str(position)] <= limit
