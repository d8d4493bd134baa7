from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.storage.connections import (
    CALLS_PER_CONNECTION,
    CONNECTION_SILENCE_SECONDS,
    IDLE_SECONDS,
    Connection,
    Connections,
)

if TYPE_CHECKING:
    from collections.abc import Callable


class Made:
    """Connections whose channels are numbers; `closed` are those that were closed."""

    def __init__(self, most: int = 2, silence_seconds: float = CONNECTION_SILENCE_SECONDS) -> None:
        numbers = itertools.count(1)
        self.closed: list[int] = []
        self.later: list[tuple[float, Callable[[float], None]]] = []
        self.connections = Connections(
            lambda: next(numbers),
            self.closed.append,
            most=most,
            call_later=lambda seconds, call: self.later.append((seconds, call)),
            silence_seconds=silence_seconds,
        )

    def begin(self, now: float = 0.0) -> Connection[int]:
        connection = self.connections.pick(now)
        connection.note_begin()
        return connection

    def wait(self, now: float) -> float:
        """Let what waits happen, at `now`; return when it wants to happen again."""
        ((_, call),) = self.later
        self.later.clear()
        call(now)
        return now + self.later[0][0] if self.later else math.inf


def fall_silent(connection: Connection[int], at: float) -> None:
    """Give a call up that was sent something and heard nothing for long."""
    connection.note_sent(at - CONNECTION_SILENCE_SECONDS)
    connection.note_abandoned(at)


def test_a_connection_is_filled_before_the_next_one_is_made() -> None:
    made = Made(most=3)
    used = [made.begin().channel for _ in range(3 * CALLS_PER_CONNECTION)]
    assert used == [channel for channel in (1, 2, 3) for _ in range(CALLS_PER_CONNECTION)]


def test_the_least_loaded_is_used_when_all_are_full() -> None:
    made = Made()
    for _ in range(2 * CALLS_PER_CONNECTION):
        made.begin()
    assert [made.begin().channel for _ in range(3)] == [1, 2, 1]


def test_room_in_an_earlier_connection_is_used_first() -> None:
    made = Made()
    calls = [made.begin() for _ in range(CALLS_PER_CONNECTION + 1)]
    calls[0].note_end(1.0)
    assert made.begin(1.0).channel == 1


def test_a_connection_that_fell_silent_is_left_for_a_new_one() -> None:
    made = Made()
    fall_silent(made.begin(100.0), 100.0)
    assert made.begin(100.0).channel == 2


def test_it_is_closed_once_its_last_call_has_ended() -> None:
    made = Made()
    first, second = made.begin(100.0), made.begin(100.0)
    fall_silent(first, 100.0)
    made.begin(100.0)
    first.note_end(101.0)
    assert made.closed == []
    second.note_end(102.0)
    assert made.closed == [1]


def test_it_is_used_again_once_something_is_heard_there() -> None:
    made = Made()
    silent = made.begin(100.0)
    fall_silent(silent, 100.0)
    silent.note_received()
    assert made.begin(100.0) is silent


def test_a_connection_that_nobody_has_used_for_long_is_made_anew() -> None:
    made = Made()
    made.begin(0.0).note_end(10.0)
    assert made.connections.pick(10.0 + IDLE_SECONDS - 0.1).channel == 1
    assert made.closed == []
    assert made.begin(10.0 + IDLE_SECONDS).channel == 2
    assert made.closed == [1]


def test_what_nobody_uses_is_closed_without_a_further_call() -> None:
    made = Made()
    calls = [made.begin(0.0) for _ in range(CALLS_PER_CONNECTION + 1)]
    assert [seconds for seconds, _ in made.later] == [IDLE_SECONDS]
    calls.pop().note_end(10.0)
    for call in calls[1:]:
        call.note_end(20.0)
    due = made.wait(IDLE_SECONDS)
    assert (due, made.closed) == (10.0 + IDLE_SECONDS, [])
    due = made.wait(due)
    assert made.closed == [2]
    # The first one still carries a call.
    due = made.wait(due)
    assert made.closed == [2]
    calls[0].note_end(due)
    assert made.wait(due + IDLE_SECONDS) == math.inf
    assert made.closed == [2, 1]
    assert made.begin(1000.0).channel == 3
    assert [seconds for seconds, _ in made.later] == [IDLE_SECONDS]


def test_a_call_that_lasts_keeps_its_connection_from_being_idle() -> None:
    made = Made()
    made.begin(0.0).note_end(1.0)
    lasting = made.begin(2.0)
    assert made.begin(1000.0) is lasting


@pytest.mark.parametrize("waited", [0.0, CONNECTION_SILENCE_SECONDS * 0.9])
def test_a_call_given_up_early_says_nothing_of_its_connection(waited: float) -> None:
    connection = Made().begin(100.0)
    connection.note_sent(100.0)
    connection.note_abandoned(100.0 + waited)
    assert not connection.is_stale(100.0 + waited)


def test_a_call_given_up_says_nothing_while_others_are_heard() -> None:
    connection = Made().begin()
    connection.note_sent(0.0)
    connection.note_received()
    connection.note_abandoned(1000.0)
    assert not connection.is_stale(1000.0)


def test_what_counts_as_silence_is_shorter_where_patience_is() -> None:
    made = Made(silence_seconds=0.25)
    first = made.begin(100.0)
    first.note_sent(99.75)
    first.note_abandoned(100.0)
    assert made.begin(100.0).channel == 2


def test_silence_counts_from_the_first_message_that_was_not_answered() -> None:
    connection = Made().begin()
    for at in range(10):
        connection.note_sent(float(at))
    connection.note_abandoned(CONNECTION_SILENCE_SECONDS)
    assert connection.is_stale(CONNECTION_SILENCE_SECONDS)
