"""Tests of the core of a change feed; the numbers of the invariants are those of `pull_core`."""

from __future__ import annotations

import math
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.changes.delivery_ledger import MAX_ORDER_IDS
from gcsmux_fs.changes.pull_actions import PullPolicy
from gcsmux_fs.changes.pull_core import PullCore
from gcsmux_fs.changes.pull_states import PullEvent, PullState
from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.ports import PullResponse

from .driven_pull import DrivenPull, messages

POLICY = PullPolicy()
RETRYABLE = [
    StatusCode.OK,
    StatusCode.CANCELLED,
    StatusCode.UNKNOWN,
    StatusCode.DEADLINE_EXCEEDED,
    StatusCode.RESOURCE_EXHAUSTED,
    StatusCode.ABORTED,
    StatusCode.INTERNAL,
    StatusCode.UNAVAILABLE,
]
FINAL = [code for code in StatusCode if code not in RETRYABLE]


@pytest.fixture
def driven() -> DrivenPull:
    return DrivenPull()


# -- opening, keep-alives, silence


def test_a_keep_alive_follows_the_opening_message(driven: DrivenPull) -> None:
    driven.confirms = False
    driven.start()
    assert driven.orders == []
    driven.confirm()
    assert driven.keep_alives == 1
    assert driven.core.state is PullState.OPENING


def test_the_first_answer_opens_the_stream(driven: DrivenPull) -> None:
    driven.open()
    assert driven.core.state is PullState.OPEN
    assert driven.gaps == driven.quiet == 0


def test_a_message_opens_the_stream_too(driven: DrivenPull) -> None:
    driven.start()
    driven.answer("1")
    assert driven.core.state is PullState.OPEN
    assert driven.take() == ["1"]


def test_the_second_answer_without_messages_shows_that_none_are_left(driven: DrivenPull) -> None:
    driven.open()
    driven.advance(POLICY.settle)
    assert driven.keep_alives == 2
    assert driven.quiet == 0
    driven.answer()
    assert driven.quiet == 1


@pytest.mark.parametrize("fraction", [0.1, 0.7])
def test_the_second_keep_alive_shows_it_at_any_time_of_the_clock(fraction: float) -> None:
    driven = DrivenPull()
    driven.now = 1e6 + fraction
    driven.open()
    driven.advance(POLICY.settle)
    driven.answer()
    assert driven.quiet == 1


def test_a_message_before_the_answer_leaves_the_question_open(driven: DrivenPull) -> None:
    driven.open()
    driven.advance(POLICY.settle)
    driven.answer("1")
    driven.take()
    driven.answer()
    assert driven.quiet == 0
    driven.advance(POLICY.ping)
    driven.answer()
    assert driven.quiet == 1


def test_an_answer_while_messages_wait_does_not_show_it(driven: DrivenPull) -> None:
    driven.open()
    driven.answer("1")
    driven.advance(POLICY.settle)
    driven.answer()
    assert driven.quiet == 0


def test_an_unasked_answer_does_not_show_it(driven: DrivenPull) -> None:
    driven.open()
    driven.advance(POLICY.settle)
    driven.answer()
    driven.answer()
    assert driven.quiet == 1


def test_a_silent_stream_gets_keep_alives(driven: DrivenPull) -> None:
    driven.open()
    driven.advance(POLICY.settle)
    driven.answer()
    for count in range(3, 6):
        driven.advance(POLICY.ping - 0.1)
        assert driven.keep_alives == count - 1
        driven.advance(0.1)
        assert driven.keep_alives == count
        driven.answer()
    assert driven.counters.changes_keep_alives == 5
    assert driven.counters.changes_streams_opened == 1


def test_a_busy_stream_gets_none(driven: DrivenPull) -> None:
    driven.open()
    driven.advance(POLICY.settle)
    driven.answer()
    for number in range(20):
        driven.advance(POLICY.ping / 2)
        driven.answer(str(number))
        driven.take()
    assert driven.keep_alives == 2


def test_an_unanswered_keep_alive_replaces_the_stream(driven: DrivenPull) -> None:
    driven.open()
    driven.advance(POLICY.settle)
    driven.answer()
    driven.advance(POLICY.ping + POLICY.answer - 0.1)
    assert driven.core.state is PullState.OPEN
    driven.advance(0.1)
    assert driven.transitions[-1] == (PullState.OPEN, PullEvent.RETRIED)
    assert driven.details[-1] == "no answer for 15 s [DEADLINE_EXCEEDED]"
    assert driven.stopped == 1
    assert driven.core.stream == 2
    assert driven.counters.changes_streams_lost == {("silence",): 1}


def test_any_message_answers_a_keep_alive(driven: DrivenPull) -> None:
    driven.open()
    driven.advance(POLICY.settle + POLICY.answer - 0.1)
    driven.answer("1")
    driven.advance(POLICY.answer - 0.1)
    assert driven.core.stream == 1


def test_a_message_that_cannot_be_sent_replaces_the_stream(driven: DrivenPull) -> None:
    """A write can hang on a dead connection, so that no keep-alive can be sent."""
    driven.open()
    driven.advance(POLICY.settle)
    driven.answer("1")
    driven.confirms = False
    driven.take()
    driven.advance(POLICY.ack_delay)
    assert driven.acked == ["1"]
    driven.advance(POLICY.ping + POLICY.answer)
    assert driven.stopped == 1
    assert driven.core.stream == 2


def test_an_opening_that_is_not_answered_is_retried(driven: DrivenPull) -> None:
    driven.start()
    driven.advance(POLICY.open - 0.1)
    assert driven.core.stream == 1
    driven.advance(0.1)
    assert driven.stopped == 1
    assert driven.transitions[-1] == (PullState.OPENING, PullEvent.RETRIED)
    assert driven.details[-1] == "no answer for 25 s [DEADLINE_EXCEEDED]"
    driven.advance(POLICY.open)
    assert driven.transitions[-1] == (PullState.OPENING, PullEvent.DELAYED)


def test_a_message_before_the_first_keep_alive_of_a_later_stream(driven: DrivenPull) -> None:
    driven.open()
    driven.advance(POLICY.settle)
    driven.answer()
    driven.confirms = False
    driven.end(StatusCode.UNAVAILABLE)
    driven.answer("1")
    driven.take()
    driven.answer()
    assert driven.quiet == 1
    driven.confirms = True
    driven.confirm()
    before = driven.keep_alives
    driven.advance(POLICY.settle)
    assert driven.keep_alives == before + 1


def test_a_late_timer_does_what_is_due(driven: DrivenPull) -> None:
    driven.open()
    driven.now += POLICY.settle + 0.5
    driven.core.on_timer(driven.now)
    driven.act()
    assert driven.keep_alives == 2
    driven.now += POLICY.answer + 0.5
    driven.core.on_timer(driven.now)
    driven.act()
    assert driven.core.stream == 2


def test_a_late_timer_ends_a_backoff(driven: DrivenPull) -> None:
    driven.start()
    driven.end(StatusCode.NOT_FOUND)
    driven.now += 2 * POLICY.refused
    driven.core.on_timer(driven.now)
    driven.act()
    assert driven.core.state is PullState.OPENING


# -- acknowledgements


def test_messages_are_taken_in_order_and_acknowledged_together(driven: DrivenPull) -> None:
    driven.open()
    driven.answer("1", "2")
    driven.answer("3")
    assert driven.core.queued == 3
    assert driven.take(2) == ["1", "2"]
    assert driven.take(2) == ["3"]
    assert driven.take(2) == []
    assert driven.acked == []
    driven.advance(POLICY.ack_delay)
    assert [order.ack_ids for order in driven.orders if order.ack_ids] == [("1", "2", "3")]
    assert driven.counters.changes_received == 3
    assert driven.counters.changes_handed == 3
    assert driven.counters.changes_acknowledged == 3


def test_a_message_that_waits_is_not_acknowledged(driven: DrivenPull) -> None:
    driven.open()
    driven.answer("1", "2")
    driven.take(1)
    driven.advance(1.0)
    assert driven.acked == ["1"]


def test_one_message_is_sent_at_a_time(driven: DrivenPull) -> None:
    driven.open()
    driven.confirms = False
    driven.answer("1", "2")
    driven.take(1)
    driven.advance(POLICY.ack_delay)
    driven.take(1)
    driven.advance(POLICY.ack_delay)
    assert driven.acked == ["1"]
    driven.confirm()
    assert driven.acked == ["1", "2"]


def test_nothing_is_skipped_after_the_backlog() -> None:
    # The clock of this machine may have been fast at the start.
    driven = DrivenPull(skip_before=5000.0)
    driven.open()
    driven.answer("old")
    driven.advance(POLICY.settle)
    driven.answer()
    assert driven.quiet == 1
    driven.answer("new")
    assert driven.take() == ["new"]
    assert driven.gaps == 0


def test_what_was_skipped_without_an_end_may_have_been_new() -> None:
    driven = DrivenPull(skip_before=5000.0)
    driven.open()
    for step in range(round(POLICY.skip / 0.5)):
        driven.answer(str(step))
        driven.advance(0.5)
    assert driven.take() == []
    assert driven.gaps == 0
    driven.answer("new")
    assert driven.take() == ["new"]
    assert driven.gaps == 1


def test_acknowledgements_of_a_lost_stream_follow_on_the_next(driven: DrivenPull) -> None:
    driven.open()
    driven.answer("1", "2")
    driven.take(1)
    driven.end(StatusCode.UNAVAILABLE)
    driven.end(StatusCode.UNAVAILABLE)
    assert driven.core.state is PullState.BACKOFF
    assert driven.take() == ["2"]
    assert driven.acked == []
    driven.advance(1.0)
    driven.answer()
    driven.advance(POLICY.ack_delay)
    assert driven.acked == ["1", "2"]


def test_older_messages_are_acknowledged_unread() -> None:
    driven = DrivenPull(skip_before=500.0)
    driven.open()
    driven.answer("old", publish_time=499.9)
    driven.answer("new", publish_time=500.0)
    assert driven.take() == ["new"]
    driven.advance(POLICY.ack_delay)
    assert driven.acked == ["old", "new"]
    assert driven.counters.changes_skipped == 1
    assert driven.counters.changes_received == 2
    assert driven.counters.changes_handed == 1


def test_older_and_newer_messages_in_one_response() -> None:
    driven = DrivenPull(skip_before=500.0)
    driven.open()
    old = messages("old", publish_time=1.0)
    new = messages("new", publish_time=500.0) + messages("newer", publish_time=600.0)
    for _ in range(2):
        driven.core.on_message(1, PullResponse(old + new + old), driven.now)
    assert driven.take() == ["new", "newer", "new", "newer"]
    driven.advance(POLICY.ack_delay)
    assert sorted(driven.acked) == ["new"] * 2 + ["newer"] * 2 + ["old"] * 4
    assert driven.counters.changes_skipped == 4


def test_the_end_of_skipping_is_one_gap() -> None:
    driven = DrivenPull(skip_before=500.0)
    driven.open()
    for number in range(20):
        driven.answer(f"old {number}", publish_time=1.0)
        driven.advance(7.0)
    assert driven.gaps == 1
    assert 0 < driven.counters.changes_skipped < 20
    assert driven.core.queued == 20 - driven.counters.changes_skipped


def test_a_full_order_leaves_at_once(driven: DrivenPull) -> None:
    driven.open()
    driven.answer(*map(str, range(MAX_ORDER_IDS)))
    driven.take()
    assert len(driven.acked) == MAX_ORDER_IDS


def test_a_full_order_of_older_messages_leaves_at_once() -> None:
    driven = DrivenPull(skip_before=500.0)
    driven.open()
    driven.answer(*map(str, range(MAX_ORDER_IDS)), publish_time=1.0)
    assert len(driven.acked) == MAX_ORDER_IDS


def test_waiting_messages_are_extended_and_counted(driven: DrivenPull) -> None:
    driven.open()
    driven.answer("1", "2")
    for count in (2, 4):
        for _ in range(3):
            driven.advance(POLICY.ack_deadline / 6)
            driven.answer()
        assert driven.extended == ["1", "2"] * (count // 2)
        assert driven.counters.changes_extended == count


def test_counters_add_up(driven: DrivenPull) -> None:
    driven.open()
    for count in (1, 2):
        driven.answer(str(count))
        driven.take()
        driven.advance(POLICY.ack_delay)
        assert driven.counters.changes_acknowledged == count
        driven.end(StatusCode.UNAVAILABLE)
        driven.advance(POLICY.max_backoff)
        driven.answer()
    assert driven.counters.changes_streams_opened == 3


def test_a_backlog_of_older_messages_is_not_quiet() -> None:
    driven = DrivenPull(skip_before=500.0)
    driven.open()
    driven.advance(POLICY.settle)
    driven.answer("old", publish_time=1.0)
    driven.answer()
    assert driven.quiet == 0


# -- ends


@pytest.mark.parametrize("code", RETRYABLE)
def test_the_first_failure_is_retried_at_once_and_the_next_after_a_backoff(
    driven: DrivenPull, code: StatusCode
) -> None:
    driven.start()
    driven.end(code, "gone")
    assert driven.transitions[-1] == (PullState.OPENING, PullEvent.RETRIED)
    assert driven.details[-1] == f"gone [{code.name}]"
    driven.end(code)
    assert driven.transitions[-1] == (PullState.OPENING, PullEvent.DELAYED)
    assert driven.details[-1] == code.name
    delay = driven.core.deadline - driven.now
    assert POLICY.first_backoff / 2 <= delay <= POLICY.first_backoff
    driven.advance(delay)
    assert driven.core.state is PullState.OPENING
    assert driven.counters.changes_streams_lost == {(code.name.lower(),): 2}


def test_backoffs_grow_up_to_their_maximum(driven: DrivenPull) -> None:
    driven.start()
    driven.end(StatusCode.UNAVAILABLE)
    bound = POLICY.first_backoff
    for _ in range(12):
        driven.end(StatusCode.UNAVAILABLE)
        delay = driven.core.deadline - driven.now
        assert bound / 2 <= delay <= bound
        driven.advance(delay)
        bound = min(2 * bound, POLICY.max_backoff)
    assert bound == POLICY.max_backoff


def test_jitter_comes_from_the_random_source() -> None:
    delays = set()
    for seed in range(5):
        driven = DrivenPull(seed=seed)
        driven.start()
        driven.end(StatusCode.UNAVAILABLE)
        driven.end(StatusCode.UNAVAILABLE)
        delays.add(driven.core.deadline)
    assert len(delays) == 5


def test_the_pause_that_the_service_requests(driven: DrivenPull) -> None:
    driven.open()
    driven.end(StatusCode.RESOURCE_EXHAUSTED, retry_seconds=4.0)
    assert 4.0 <= driven.core.deadline - driven.now <= 5.0


@pytest.mark.parametrize("code", [StatusCode.UNAVAILABLE, StatusCode.OK])
def test_the_regular_end_of_a_stream_is_retried_at_once_each_time(
    driven: DrivenPull, code: StatusCode
) -> None:
    driven.start()
    for number in range(1, 6):
        driven.answer()
        driven.advance(POLICY.steady + number - 1)
        driven.end(code)
        assert driven.transitions[-1] == (PullState.OPEN, PullEvent.RETRIED)
        assert driven.core.stream == number + 1
    assert driven.gaps == 0


def test_a_stream_that_ends_soon_after_its_answer_does_not_reset_the_backoff(
    driven: DrivenPull,
) -> None:
    driven.start()
    events = []
    for _ in range(6):
        driven.answer("1")
        driven.advance(POLICY.steady - 0.1)
        driven.answer()
        driven.end(StatusCode.UNAVAILABLE)
        events.append(driven.transitions[-1][1])
        if driven.core.state is PullState.BACKOFF:
            driven.advance(driven.core.deadline - driven.now)
    assert events == [PullEvent.RETRIED] + [PullEvent.DELAYED] * 5


@pytest.mark.parametrize("code", FINAL)
def test_a_refusal_is_retried_slowly_and_for_ever(driven: DrivenPull, code: StatusCode) -> None:
    driven.open()
    for _ in range(5):
        driven.end(code, "no")
        assert driven.transitions[-1][1] is PullEvent.REFUSED
        assert driven.details[-1].endswith(f": no [{code.name}]")
        delay = driven.core.deadline - driven.now
        assert 0.9 * POLICY.refused <= delay <= 1.1 * POLICY.refused
        driven.advance(delay)
        assert driven.core.state is PullState.OPENING


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (StatusCode.NOT_FOUND, "the subscription does not exist"),
        (StatusCode.PERMISSION_DENIED, "the caller may not use the subscription"),
        (StatusCode.UNAUTHENTICATED, "Pub/Sub refuses the credentials"),
        (StatusCode.DATA_LOSS, "Pub/Sub refuses the subscription"),
    ],
)
def test_a_refusal_is_one_clear_sentence(driven: DrivenPull, code: StatusCode, reason: str) -> None:
    driven.start()
    driven.end(code, "x")
    assert driven.details[-1].startswith(reason)


def test_a_refused_token_is_renewed_once(driven: DrivenPull) -> None:
    driven.open()
    driven.end(StatusCode.UNAUTHENTICATED, "expired", token_refused=True)
    assert driven.transitions[-1] == (PullState.OPEN, PullEvent.RETRIED)
    driven.end(StatusCode.UNAUTHENTICATED, "expired", token_refused=True)
    assert driven.transitions[-1] == (PullState.OPENING, PullEvent.REFUSED)
    assert driven.counters.changes_streams_lost == {
        ("token_refused",): 1,
        ("unauthenticated",): 1,
    }


def test_a_steady_stream_permits_another_renewal(driven: DrivenPull) -> None:
    driven.open()
    for _ in range(3):
        driven.end(StatusCode.UNAUTHENTICATED, token_refused=True)
        assert driven.transitions[-1][1] is PullEvent.RETRIED
        driven.answer()
        driven.advance(POLICY.steady)
        driven.answer()


# -- gaps


@pytest.mark.parametrize("code", [StatusCode.NOT_FOUND, StatusCode.FAILED_PRECONDITION])
def test_a_subscription_that_was_missing_is_a_gap(driven: DrivenPull, code: StatusCode) -> None:
    driven.open()
    driven.end(code)
    driven.advance(driven.core.deadline - driven.now)
    driven.end(StatusCode.UNAVAILABLE)
    assert driven.gaps == 0
    driven.answer()
    assert driven.gaps == 1
    driven.end(StatusCode.UNAVAILABLE)
    driven.advance(POLICY.max_backoff)
    driven.answer()
    assert driven.gaps == 1


def test_a_later_refusal_does_not_hide_a_gap(driven: DrivenPull) -> None:
    driven.open()
    driven.end(StatusCode.NOT_FOUND)
    driven.advance(driven.core.deadline - driven.now)
    driven.end(StatusCode.PERMISSION_DENIED)
    driven.advance(driven.core.deadline - driven.now)
    driven.answer()
    assert driven.gaps == 1


def test_a_refusal_that_keeps_the_messages_is_no_gap(driven: DrivenPull) -> None:
    driven.open()
    driven.end(StatusCode.PERMISSION_DENIED)
    driven.advance(driven.core.deadline - driven.now)
    driven.answer()
    assert driven.gaps == 0


@pytest.mark.parametrize(("seconds", "gaps"), [(599.0, 0), (600.0, 0), (601.0, 1)])
def test_an_interruption_that_is_longer_than_the_retention_is_a_gap(
    seconds: float, gaps: int
) -> None:
    driven = DrivenPull(PullPolicy(refused=seconds / 1.1, open=1000.0))
    driven.open()
    heard_at = driven.now
    driven.end(StatusCode.PERMISSION_DENIED)
    driven.advance(driven.core.deadline - driven.now)
    driven.now = heard_at + seconds
    driven.answer()
    assert driven.gaps == gaps


def test_time_in_suspension_counts_for_the_retention(driven: DrivenPull) -> None:
    driven.open()
    driven.suspend(POLICY.retention + 1.0)
    assert driven.stopped == 1
    assert driven.details[-1] == "this machine was suspended for 601 s [CANCELLED]"
    assert driven.counters.changes_streams_lost == {("suspended",): 1}
    driven.answer()
    assert driven.gaps == 1


def test_a_short_suspension_replaces_the_stream_without_a_gap(driven: DrivenPull) -> None:
    driven.open()
    driven.suspend(POLICY.retention - 1.0)
    driven.answer()
    assert driven.core.stream == 2
    assert driven.gaps == 0


def test_a_suspension_in_a_backoff_opens_nothing(driven: DrivenPull) -> None:
    driven.start()
    driven.end(StatusCode.NOT_FOUND)
    driven.suspend(1000.0)
    assert driven.core.stream == 1
    assert driven.core.state is PullState.BACKOFF


def test_the_first_stream_is_no_gap(driven: DrivenPull) -> None:
    driven.start()
    driven.end(StatusCode.PERMISSION_DENIED)
    driven.advance(10 * POLICY.retention)
    assert driven.core.stream > 2
    if driven.core.state is PullState.BACKOFF:
        driven.advance(driven.core.deadline - driven.now)
    driven.answer()
    assert driven.gaps == 0


# -- all together


def test_the_representation_names_state_and_counts(driven: DrivenPull) -> None:
    driven.open()
    driven.answer("1", "2")
    driven.take(1)
    assert repr(driven.core) == (
        "<PullCore OPEN stream 1, <DeliveryLedger: 1 messages wait, 1 to acknowledge, 0 to extend>>"
    )


def test_a_core_that_has_not_started_has_no_deadline() -> None:
    driven = DrivenPull()
    assert driven.core.deadline == math.inf
    assert isinstance(driven.core, PullCore)
    assert not driven.core.has_call


@given(st.integers(0, 10_000))
def test_invariants_hold_for_any_order_of_events(seed: int) -> None:
    """`DrivenPull` asserts invariant 3; this test asserts invariants 1, 4 and 5."""
    random = Random(seed)
    driven = DrivenPull(skip_before=500.0)
    driven.start()
    sent: list[str] = []
    taken: list[str] = []
    for step in range(60):
        match random.randrange(8):
            case 0 | 1:
                if driven.core.has_call:
                    new = [f"{step}.{number}" for number in range(random.randrange(4))]
                    old = random.random() < 0.2
                    sent += new
                    skipped = driven.counters.changes_skipped
                    driven.answer(*new, publish_time=1.0 if old else 1000.0)
                    taken += new if driven.counters.changes_skipped > skipped else ()
            case 2 | 3:
                driven.advance(random.choice([0.01, 1.0, 12.0, 40.0]))
            case 4:
                taken += driven.take(random.randrange(5))
            case 5:
                if driven.core.has_call:
                    driven.end(random.choice(list(StatusCode)), retry_seconds=0.0)
            case 6:
                driven.confirms = random.random() < 0.7
            case 7:
                driven.suspend(3.0)
        assert driven.core.deadline < math.inf
    driven.confirms = True
    taken += driven.take()
    if not driven.core.has_call:
        driven.advance(driven.core.deadline - driven.now)
    elif driven.unconfirmed:
        driven.confirm()
    for _ in range(3):
        driven.answer()
        driven.advance(1.0)
    assert sorted(driven.acked) == sorted(taken) == sorted(sent)
    at_once = Counter(driven.opened_at)
    assert max(at_once.values()) <= 3 + driven.counters.changes_streams_lost.get(("suspended",), 0)
