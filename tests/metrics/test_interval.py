"""Tests of the difference of two snapshots of metrics: increases, rates and percentiles."""

from __future__ import annotations

import pytest

from gcsmux_fs.metrics.histogram import Histogram
from gcsmux_fs.metrics.interval import MetricsInterval, estimated_quantile
from gcsmux_fs.metrics.registry import Registry
from gcsmux_fs.metrics.transfer import decode_metrics, encode_metrics


def observed(*seconds: float) -> Histogram:
    histogram = Histogram()
    for each in seconds:
        histogram.observe(each)
    return histogram


def test_a_quantile_lies_within_its_bucket() -> None:
    histogram = observed(*[0.0015] * 90, *[0.03] * 10)
    median = estimated_quantile(histogram, 0.5)
    assert median == pytest.approx(0.001 + 0.001 * 50 / 90)
    tail = estimated_quantile(histogram, 0.99)
    assert tail == pytest.approx(0.02 + 0.03 * 9 / 10)


def test_a_quantile_above_the_last_bound_is_this_bound() -> None:
    assert estimated_quantile(observed(1000.0), 0.5) == 200.0


def test_no_observation_has_no_quantile() -> None:
    assert estimated_quantile(Histogram(), 0.5) is None


def test_the_interval_contains_only_what_happened_between_the_snapshots() -> None:
    registry = Registry()
    registry.section = "reads"
    values = {"bytes": 100, "A": 1, "B": 2}
    times = observed(0.3)
    registry.counter("bytes_served", "bytes", "Bytes.", lambda: values["bytes"])
    for name, read in (("A", lambda: values["A"]), ("B", lambda: values["B"])):
        registry.counter("requests", "requests", "Requests.", read, {"class": name})
    registry.histogram("read_seconds", "Times.", times, {"outcome": "hit"})
    before = encode_metrics(registry.metrics())
    values.update(bytes=300, A=4, B=2)
    times.observe(0.0015)
    after = encode_metrics(registry.metrics())
    interval = MetricsInterval(decode_metrics(before), decode_metrics(after), 2.0)
    assert interval.total("bytes_served") == 300
    assert interval.increase("bytes_served") == 200
    assert interval.rate("bytes_served") == 100
    assert interval.increase("requests") == 3
    assert interval.increase("requests", **{"class": "B"}) == 0
    assert interval.total("requests", **{"class": "B"}) == 2
    for labels in ({}, {"outcome": "hit"}):
        difference = interval.histogram("read_seconds", **labels)
        assert difference.count == 1
        assert difference.total_seconds == pytest.approx(0.0015)
    assert interval.histogram("read_seconds", outcome="miss").count == 0


def test_an_unknown_metric_counts_as_zero() -> None:
    interval = MetricsInterval([], [], 1.0)
    assert interval.total("absent") == interval.increase("absent") == 0
    assert interval.histogram("absent").count == 0
