from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.reading.bandwidth_estimator import MINIMUM_WINDOW_BYTES, BandwidthEstimator

from .fakes import MIB


def transfer(
    estimator: BandwidthEstimator, *, rate: float, delay: float, seconds: float, begin: float = 0.0
) -> None:
    """Have ranges of 2 MiB arrive at `rate` bytes a second, each asked for `delay` before."""
    length = 2 * MIB
    count = int(rate * seconds / length)
    history = [
        (begin + n * length / rate, estimator.received_bytes + n * length) for n in range(count)
    ]
    for n, (now, received) in enumerate(history):
        before = max(0, n - int(delay * rate / length))
        assert estimator.received_bytes == received
        estimator.note_range(length, now - delay, history[before][1], now)


def test_window_is_the_minimum_before_anything_has_arrived() -> None:
    assert BandwidthEstimator().window_bytes == MINIMUM_WINDOW_BYTES


@pytest.mark.parametrize("delay", [0.0005, 0.005])
def test_near_server_gets_the_minimum_however_fast_it_is(delay: float) -> None:
    estimator = BandwidthEstimator()
    transfer(estimator, rate=1e9, delay=delay, seconds=2)
    assert estimator.window_bytes == MINIMUM_WINDOW_BYTES


def test_distant_server_gets_twice_what_is_under_way() -> None:
    estimator = BandwidthEstimator()
    transfer(estimator, rate=1e9, delay=0.05, seconds=2)
    assert 95e6 < estimator.window_bytes < 115e6


def test_slow_ranges_do_not_count_as_distance() -> None:
    estimator = BandwidthEstimator()
    transfer(estimator, rate=1e9, delay=0.001, seconds=1)
    estimator.note_range(2 * MIB, 0.5, 0, 1.5)
    assert estimator.delay_seconds == pytest.approx(0.001)


def test_what_was_is_forgotten_after_two_epochs() -> None:
    estimator = BandwidthEstimator()
    transfer(estimator, rate=1e9, delay=0.05, seconds=1)
    transfer(estimator, rate=1e8, delay=0.05, seconds=1, begin=100)
    transfer(estimator, rate=1e8, delay=0.05, seconds=1, begin=200)
    assert estimator.window_bytes == MINIMUM_WINDOW_BYTES
    assert estimator.bytes_per_second < 2e8


@given(
    st.lists(
        st.tuples(
            st.integers(min_value=1, max_value=2 * MIB),
            st.floats(min_value=0, max_value=100),
            st.floats(min_value=0, max_value=100),
        )
    )
)
def test_any_times_give_a_window_to_work_with(ranges: list[tuple[int, float, float]]) -> None:
    estimator = BandwidthEstimator()
    now = 0.0
    for length, took, passed in ranges:
        now += passed
        estimator.note_range(length, now - took, estimator.received_bytes, now)
        assert estimator.window_bytes >= MINIMUM_WINDOW_BYTES
