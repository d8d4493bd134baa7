from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.reading.bandwidth_estimator import MINIMUM_WINDOW_BYTES, BandwidthEstimator
from tests.support.sizes import MIB


def transfer(
    estimator: BandwidthEstimator, *, rate: float, delay: float, seconds: float, begin: float = 0.0
) -> None:
    """Report ranges of 2 MiB at `rate` bytes a second. Each takes `delay` seconds to arrive."""
    length = 2 * MIB
    count = int(rate * seconds / length)
    first = estimator.received_bytes
    history = [(begin + n * length / rate, first + n * length) for n in range(count)]
    for n, (now, received) in enumerate(history):
        before = max(0, n - int(delay * rate / length))
        assert estimator.received_bytes == received
        estimator.note_range(length, now - delay, history[before][1], now)


def test_window_is_the_minimum_before_the_first_range() -> None:
    assert BandwidthEstimator().window_bytes == MINIMUM_WINDOW_BYTES


@pytest.mark.parametrize("delay", [0.0005, 0.005])
def test_near_server_gets_the_minimum_window_at_any_bandwidth(delay: float) -> None:
    estimator = BandwidthEstimator()
    transfer(estimator, rate=1e9, delay=delay, seconds=2)
    assert estimator.window_bytes == MINIMUM_WINDOW_BYTES


def test_distant_server_gets_a_window_of_twice_the_bytes_in_flight() -> None:
    estimator = BandwidthEstimator()
    transfer(estimator, rate=1e9, delay=0.05, seconds=2)
    assert 95e6 < estimator.window_bytes < 115e6


def test_one_slow_range_does_not_raise_the_delay() -> None:
    estimator = BandwidthEstimator()
    transfer(estimator, rate=1e9, delay=0.001, seconds=1)
    estimator.note_range(2 * MIB, 0.5, 0, 1.5)
    assert estimator.delay_seconds == pytest.approx(0.001)


def test_samples_expire_after_two_epochs() -> None:
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
def test_window_never_falls_below_the_minimum(ranges: list[tuple[int, float, float]]) -> None:
    estimator = BandwidthEstimator()
    now = 0.0
    for length, delay, passed in ranges:
        now += passed
        estimator.note_range(length, now - delay, estimator.received_bytes, now)
        assert estimator.window_bytes >= MINIMUM_WINDOW_BYTES
