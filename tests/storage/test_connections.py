from __future__ import annotations

import pytest

from gcsmux_fs.storage.connections import (
    CALLS_PER_CONNECTION,
    SILENCE_SECONDS,
    Connection,
    Connections,
)


def fall_silent(connection: Connection[str], at: float) -> None:
    """Give a call up that was sent something and heard nothing for long."""
    connection.sent(at - SILENCE_SECONDS)
    connection.given_up(at)


def test_a_connection_is_filled_before_the_next_one_is_used() -> None:
    connections = Connections("abc")
    used = []
    for _ in range(3 * CALLS_PER_CONNECTION):
        picked = connections.pick(0.0)
        picked.load += 1
        used.append(picked.channel)
    assert used == [channel for channel in "abc" for _ in range(CALLS_PER_CONNECTION)]


def test_the_least_loaded_is_used_when_all_are_full() -> None:
    connections = Connections("ab")
    for _ in range(2 * CALLS_PER_CONNECTION):
        connections.pick(0.0).load += 1
    first = connections.pick(0.0)
    first.load += 1
    assert connections.pick(0.0) is not first


def test_a_connection_that_fell_silent_is_passed_over() -> None:
    connections = Connections("ab")
    fall_silent(connections.pick(100.0), 100.0)
    assert connections.pick(100.0).channel == "b"


def test_it_is_used_again_once_something_is_heard_there() -> None:
    connections = Connections("ab")
    silent = connections.pick(100.0)
    fall_silent(silent, 100.0)
    silent.heard()
    assert connections.pick(100.0) is silent


def test_it_is_used_again_when_keepalive_must_have_made_it_anew() -> None:
    connections = Connections("ab")
    fall_silent(connections.pick(100.0), 100.0)
    assert [connections.pick(at).channel for at in (179.0, 191.0)] == ["b", "a"]


def test_one_is_used_all_the_same_when_all_are_silent() -> None:
    connections = Connections("ab")
    for _ in "ab":
        fall_silent(connections.pick(100.0), 100.0)
    assert connections.pick(100.0).channel == "a"


@pytest.mark.parametrize("waited", [0.0, SILENCE_SECONDS * 0.9])
def test_a_call_given_up_early_says_nothing_of_its_connection(waited: float) -> None:
    connection = Connection("a")
    connection.sent(100.0)
    connection.given_up(100.0 + waited)
    assert not connection.is_suspect(100.0 + waited)


def test_a_call_given_up_says_nothing_while_others_are_heard() -> None:
    connection = Connection("a")
    connection.sent(0.0)
    connection.heard()
    connection.given_up(1000.0)
    assert not connection.is_suspect(1000.0)


def test_what_counts_as_silence_is_shorter_where_patience_is() -> None:
    connections = Connections("ab", silence_seconds=0.25)
    first = connections.pick(100.0)
    first.sent(99.75)
    first.given_up(100.0)
    assert connections.pick(100.0).channel == "b"


def test_silence_counts_from_the_first_message_that_was_not_answered() -> None:
    connection = Connection("a")
    for at in range(10):
        connection.sent(float(at))
    connection.given_up(SILENCE_SECONDS)
    assert connection.is_suspect(SILENCE_SECONDS)


def test_a_spare_one_is_the_last_of_those_that_carry_least() -> None:
    connections = Connections("abc")
    assert connections.spare(0.0).channel == "c"
    connections.spare(0.0).load += 1
    assert connections.spare(0.0).channel == "b"


def test_a_spare_one_is_none_that_fell_silent() -> None:
    connections = Connections("abc")
    fall_silent(connections.spare(100.0), 100.0)
    assert connections.spare(100.0).channel == "b"
