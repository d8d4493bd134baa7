"""Tests of the metrics registry: each metric is declared once, and an unknown name is an error."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass

import pytest

from gcsmux_fs.metrics.histogram import BUCKET_BOUNDS_SECONDS, Histogram
from gcsmux_fs.metrics.readable import readable_lines
from gcsmux_fs.metrics.registry import (
    Kind,
    MetricError,
    Registry,
    counter,
    labelled_counter,
)


@dataclass(slots=True)
class Counters:
    hits: int = counter("reads", "READs answered from memory.")
    bytes_served: int = counter("bytes", "Bytes returned to the kernel.")


def test_the_fields_of_a_dataclass_are_counters() -> None:
    registry, counters = Registry(), Counters()
    registry.fields(counters)
    counters.hits += 3
    assert registry.value("hits") == 3
    assert registry.snapshot() == {"hits": 3, "bytes_served": 0}
    assert [(metric.name, metric.unit, metric.kind) for metric, _ in registry.metrics()] == [
        ("hits", "reads", Kind.COUNTER),
        ("bytes_served", "bytes", Kind.COUNTER),
    ]


def test_a_field_without_a_declaration_is_refused() -> None:
    @dataclass
    class Plain:
        hits: int = 0

    with pytest.raises(MetricError, match="hits"):
        Registry().fields(Plain())


def test_a_name_is_declared_once() -> None:
    registry = Registry()
    registry.fields(Counters())
    with pytest.raises(MetricError, match="hits"):
        registry.gauge("hits", "reads", "Something else.", lambda: 0)
    with pytest.raises(MetricError, match="hits"):
        registry.fields(Counters())


def test_labels_share_one_declaration() -> None:
    registry = Registry()
    numbers = {"A": 1, "B": 2}
    for billing_class, number in numbers.items():
        read = functools.partial(int, number)
        registry.counter("requests", "requests", "By price.", read, {"class": billing_class})
    assert registry.value("requests", **{"class": "B"}) == 2
    assert registry.snapshot() == {"requests": {"A": 1, "B": 2}}
    with pytest.raises(MetricError, match="twice"):
        registry.counter("requests", "requests", "By price.", lambda: 0, {"class": "A"})
    with pytest.raises(MetricError, match="twice"):
        registry.counter("requests", "bytes", "By price.", lambda: 0, {"class": "free"})
    with pytest.raises(MetricError, match="labels"):
        registry.counter("requests", "requests", "By price.", lambda: 0, {"method": "GetObject"})
    with pytest.raises(MetricError, match="labels"):
        registry.counter("requests", "requests", "By price.", lambda: 0)


@pytest.mark.parametrize(
    ("name", "unit", "text"),
    [("Hits", "reads", "x"), ("2hits", "reads", "x"), ("hits", "", "x"), ("hits", "reads", "")],
)
def test_a_malformed_declaration_is_refused(name: str, unit: str, text: str) -> None:
    with pytest.raises(MetricError, match="malformed"):
        Registry().gauge(name, unit, text, lambda: 0)


def test_an_unknown_name_is_an_error() -> None:
    registry = Registry()
    registry.fields(Counters())
    with pytest.raises(MetricError, match="misses"):
        registry.value("misses")
    with pytest.raises(MetricError, match="hits"):
        registry.value("hits", method="GetObject")


def test_a_histogram_counts_each_observation_in_one_bucket() -> None:
    histogram = Histogram()
    for seconds in (0.0, 0.00001, 0.000011, 0.3, 1000.0):
        histogram.observe(seconds)
    assert histogram.count == sum(histogram.counts) == 5
    assert histogram.counts[0] == 2
    assert histogram.counts[1] == 1
    assert histogram.counts[BUCKET_BOUNDS_SECONDS.index(0.5)] == 1
    assert histogram.counts[-1] == 1
    assert histogram.total_seconds == pytest.approx(1000.300021)


def test_quantiles_are_bounds_of_buckets() -> None:
    histogram = Histogram()
    assert histogram.quantile_bound(0.5) == 0.0
    for _ in range(99):
        histogram.observe(0.0015)
    assert (histogram.quantile_bound(0.5), histogram.quantile_bound(0.99)) == (0.002, 0.002)
    for _ in range(99):
        histogram.observe(500.0)
    assert histogram.quantile_bound(0.25) == 0.002
    assert histogram.quantile_bound(0.99) == float("inf")


def test_a_snapshot_is_json() -> None:
    registry, times = Registry(), Histogram()
    registry.histogram("lookup_seconds", "Time of a lookup.", times)
    times.observe(500.0)
    assert json.loads(json.dumps(registry.snapshot(), allow_nan=False)) == {
        "lookup_seconds": {
            "count": 1,
            "sum_seconds": 500.0,
            "median_below_seconds": -1.0,
            "p99_below_seconds": -1.0,
        }
    }


def test_lines_for_people_have_headings_values_and_meanings() -> None:
    registry, times = Registry(), Histogram()
    registry.section = "reads"
    registry.fields(Counters(hits=12345, bytes_served=3 * 1024**2))
    registry.gauge("free", "bytes", "Bytes that are free.", lambda: 12)
    registry.gauge("waiting", "reads", "READs that wait.", lambda: 0)
    registry.section = "names"
    registry.gauge("age", "seconds", "Age of the mount.", lambda: 1.5)
    registry.gauge("listings", "listings", "Cached listings.", lambda: 1)
    registry.gauge("entries", "entries", "Cached entries.", lambda: 1)
    registry.histogram("lookup_seconds", "Time of a lookup.", times, {"answer": "asked"})
    registry.histogram("lookup_seconds", "Time of a lookup.", Histogram(), {"answer": "cached"})
    times.observe(0.0015)
    times.observe(0.00002)
    lines = list(readable_lines(registry.metrics()))
    assert [re.split(r"\s{2,}", line.strip()) for line in lines] == [
        ["metrics of reads:"],
        ["hits", "12,345 reads", "READs answered from memory."],
        ["bytes_served", "3.0 MiB", "Bytes returned to the kernel."],
        ["free", "12 bytes", "Bytes that are free."],
        ["metrics of names:"],
        ["age", "1.500 seconds", "Age of the mount."],
        ["listings", "1 listing", "Cached listings."],
        ["entries", "1 entry", "Cached entries."],
        ["lookup_seconds{answer=asked}", "2 times, mean 760 us, 99% < 2 ms", "Time of a lookup."],
        ["2 metrics at zero"],
    ]
    columns = {line.rindex("  ") for line in lines if line.startswith("  ")}
    assert len(columns) == 1


@dataclass(slots=True)
class Ends:
    ends: dict[tuple[str, ...], int] = labelled_counter("calls", "Ended calls.", "method", "code")


def test_label_values_may_appear_while_the_mount_runs() -> None:
    registry, counters = Registry(), Ends()
    registry.fields(counters)
    assert registry.snapshot() == {"ends": {}}
    counters.ends["GetObject", "OK"] = 3
    counters.ends["GetObject", "NOT_FOUND"] = 1
    assert registry.value("ends", method="GetObject", code="OK") == 3
    assert registry.value("ends", method="ListObjects", code="OK") == 0
    assert registry.snapshot() == {"ends": {"OK,GetObject": 3, "NOT_FOUND,GetObject": 1}}
    assert next(line for line in readable_lines(registry.metrics()) if "NOT_FOUND" in line).split()[
        :2
    ] == [
        "ends{code=NOT_FOUND,method=GetObject}",
        "1",
    ]
    with pytest.raises(MetricError, match="twice"):
        registry.fields(counters)
    with pytest.raises(MetricError, match="labels"):
        registry.value("ends", method="GetObject")


def _fail() -> dict[tuple[str, ...], int]:
    raise KeyError("missing")


def test_a_metric_that_cannot_be_read_is_left_out_and_reported_once() -> None:
    reports: list[str] = []
    registry = Registry(on_failure=lambda name, error: reports.append(f"{name}: {error!r}"))
    registry.gauge("broken", "things", "Fails.", lambda: 1 // 0)
    registry.family("families", "things", "Fails.", ("kind",), _fail)
    registry.gauge("fine", "things", "Works.", lambda: 1)
    for _ in range(2):
        assert registry.snapshot() == {"broken": {}, "families": {}, "fine": 1}
    assert registry.failures == 4
    assert [report.split(":")[0] for report in reports] == ["broken", "families"]
    assert "ZeroDivisionError" in reports[0]


def test_histograms_are_merged() -> None:
    first, second = Histogram(), Histogram()
    first.observe(0.3)
    second.observe(0.3)
    second.observe(1000)
    merged = Histogram.merged((first, second))
    assert merged.count == 3
    assert merged.counts[BUCKET_BOUNDS_SECONDS.index(0.5)] == 2
    assert merged.total_seconds == pytest.approx(1000.6)
    assert first.count == 1
