"""Tests of which connection carries a call, and when a connection is stale or is closed."""

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


class Bench:
    """A `Connections` whose channels are numbers; `closed` lists the closed channels."""

    def __init__(self, most: int = 2, silence_seconds: float = CONNECTION_SILENCE_SECONDS) -> None:
        numbers = itertools.count(1)
        self.closed: list[int] = []
        self.timers: list[tuple[float, Callable[[float], None]]] = []
        self.connections = Connections(
            lambda: next(numbers),
            self.closed.append,
            most=most,
            call_later=lambda seconds, call: self.timers.append((seconds, call)),
            silence_seconds=silence_seconds,
        )

    def begin(self, now: float = 0.0) -> Connection[int]:
        connection = self.connections.pick(now)
        connection.note_begin()
        return connection

    def run_timer(self, now: float) -> float:
        """Run the only timer at the time `now`; return when the next timer is due."""
        ((_, call),) = self.timers
        self.timers.clear()
        call(now)
        return now + self.timers[0][0] if self.timers else math.inf


def fall_silent(connection: Connection[int], at: float) -> None:
    """At the time `at`, cancel a call that got no answer for CONNECTION_SILENCE_SECONDS."""
    connection.note_sent(at - CONNECTION_SILENCE_SECONDS)
    connection.note_abandoned(at)


def test_a_connection_is_filled_before_another_one_is_made() -> None:
    bench = Bench(most=3)
    used = [bench.begin().channel for _ in range(3 * CALLS_PER_CONNECTION)]
    assert used == [channel for channel in (1, 2, 3) for _ in range(CALLS_PER_CONNECTION)]


def test_the_least_loaded_connection_is_used_when_all_are_full() -> None:
    bench = Bench()
    for _ in range(2 * CALLS_PER_CONNECTION):
        bench.begin()
    assert [bench.begin().channel for _ in range(3)] == [1, 2, 1]


def test_free_capacity_of_an_earlier_connection_is_used_first() -> None:
    bench = Bench()
    calls = [bench.begin() for _ in range(CALLS_PER_CONNECTION + 1)]
    calls[0].note_end(1.0)
    assert bench.begin(1.0).channel == 1


def test_a_silent_connection_is_replaced() -> None:
    bench = Bench()
    fall_silent(bench.begin(100.0), 100.0)
    assert bench.begin(100.0).channel == 2


def test_a_silent_connection_is_closed_when_its_last_call_ends() -> None:
    bench = Bench()
    first, second = bench.begin(100.0), bench.begin(100.0)
    fall_silent(first, 100.0)
    bench.begin(100.0)
    first.note_end(101.0)
    assert bench.closed == []
    second.note_end(102.0)
    assert bench.closed == [1]


def test_a_silent_connection_is_used_again_after_a_message() -> None:
    bench = Bench()
    silent = bench.begin(100.0)
    fall_silent(silent, 100.0)
    silent.note_received()
    assert bench.begin(100.0) is silent


def test_a_connection_that_was_idle_for_long_is_replaced() -> None:
    bench = Bench()
    bench.begin(0.0).note_end(10.0)
    assert bench.connections.pick(10.0 + IDLE_SECONDS - 0.1).channel == 1
    assert bench.closed == []
    assert bench.begin(10.0 + IDLE_SECONDS).channel == 2
    assert bench.closed == [1]


def test_idle_connections_are_closed_by_a_timer() -> None:
    bench = Bench()
    calls = [bench.begin(0.0) for _ in range(CALLS_PER_CONNECTION + 1)]
    assert [seconds for seconds, _ in bench.timers] == [IDLE_SECONDS]
    calls.pop().note_end(10.0)
    for call in calls[1:]:
        call.note_end(20.0)
    due = bench.run_timer(IDLE_SECONDS)
    assert (due, bench.closed) == (10.0 + IDLE_SECONDS, [])
    due = bench.run_timer(due)
    assert bench.closed == [2]
    # The first connection stays open, because it still carries a call.
    due = bench.run_timer(due)
    assert bench.closed == [2]
    calls[0].note_end(due)
    assert bench.run_timer(due + IDLE_SECONDS) == math.inf
    assert bench.closed == [2, 1]
    assert bench.begin(1000.0).channel == 3
    assert [seconds for seconds, _ in bench.timers] == [IDLE_SECONDS]


def test_a_connection_with_a_long_call_is_not_idle() -> None:
    bench = Bench()
    bench.begin(0.0).note_end(1.0)
    lasting = bench.begin(2.0)
    assert bench.begin(1000.0) is lasting


@pytest.mark.parametrize("waited", [0.0, CONNECTION_SILENCE_SECONDS * 0.9])
def test_a_call_cancelled_early_does_not_make_its_connection_stale(waited: float) -> None:
    connection = Bench().begin(100.0)
    connection.note_sent(100.0)
    connection.note_abandoned(100.0 + waited)
    assert not connection.is_stale(100.0 + waited)


def test_a_cancelled_call_does_not_make_an_active_connection_stale() -> None:
    connection = Bench().begin()
    connection.note_sent(0.0)
    connection.note_received()
    connection.note_abandoned(1000.0)
    assert not connection.is_stale(1000.0)


def test_the_silence_period_can_be_shorter() -> None:
    bench = Bench(silence_seconds=0.25)
    first = bench.begin(100.0)
    first.note_sent(99.75)
    first.note_abandoned(100.0)
    assert bench.begin(100.0).channel == 2


def test_silence_begins_with_the_first_unanswered_message() -> None:
    connection = Bench().begin()
    for at in range(10):
        connection.note_sent(float(at))
    connection.note_abandoned(CONNECTION_SILENCE_SECONDS)
    assert connection.is_stale(CONNECTION_SILENCE_SECONDS)
