"""Tests of the timeouts of single attempts, which are derived from --read-timeout."""

from __future__ import annotations

import pytest

from gcsmux_fs.storage.availability import STREAM_SILENCE_SECONDS
from gcsmux_fs.timeouts import stream_policy, unary_policy


@pytest.mark.parametrize("read_timeout", [0.5, 2.0, 20.0, 30.0, 60.0, 120.0, 3600.0])
def test_a_silent_attempt_leaves_time_for_another_one(read_timeout: float) -> None:
    streams, calls = stream_policy(read_timeout), unary_policy(read_timeout)
    assert streams.stall_seconds <= read_timeout / 4
    assert calls.attempt_seconds <= read_timeout / 2
    assert streams.give_up_seconds == calls.total_seconds == read_timeout
    longest = max(streams.max_backoff_seconds, calls.max_backoff_seconds)
    assert longest <= max(read_timeout / 12, 0.5)
    if read_timeout > 2 * STREAM_SILENCE_SECONDS + 2 or read_timeout <= STREAM_SILENCE_SECONDS:
        assert streams.open_seconds <= read_timeout / 2


@pytest.mark.parametrize("read_timeout", [25.0, 30.0, 60.0, 120.0, 3600.0])
def test_a_silent_stream_is_awaited_until_the_fallback_triggers(read_timeout: float) -> None:
    assert STREAM_SILENCE_SECONDS < stream_policy(read_timeout).open_seconds < read_timeout


def test_a_long_read_timeout_does_not_lengthen_attempts() -> None:
    assert stream_policy(120.0).open_seconds == stream_policy(3600.0).open_seconds == 60.0
    assert stream_policy(120.0).stall_seconds == stream_policy(3600.0).stall_seconds == 30.0
