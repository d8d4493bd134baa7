"""Tests of the metrics in the formats of Prometheus and OpenMetrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from gcsmux_fs.exporters.prometheus_collector import MetricsCollector
from gcsmux_fs.exporters.prometheus_names import exported_name
from gcsmux_fs.metrics.histogram import Histogram
from gcsmux_fs.metrics.registry import Kind, Metric, Registry

if TYPE_CHECKING:
    from collections.abc import Callable

OPENMETRICS = "application/openmetrics-text;version=1.0.0"
CONSTANTS = {"build": ("Versions.", {"version": '1"\n\\2'})}


def page(registry: Registry, accept: str = "", pause: Callable[[], object] = lambda: None) -> str:
    collectors = CollectorRegistry(auto_describe=False)
    collectors.register(MetricsCollector(registry, CONSTANTS, pause))
    encode, _ = choose_encoder(accept)
    return encode(collectors).decode()


def full_registry() -> Registry:
    registry, times = Registry(), Histogram()
    for seconds in (0.00001, 0.3, 0.3, 1000.0):
        times.observe(seconds)
    registry.counter("hits", "reads", "READs.", lambda: 7)
    registry.gauge("budget_used", "bytes", "Memory.", lambda: 2**31)
    registry.family(
        "requests", "requests", "Calls.", ("method", "code"), lambda: {("GetObject", "OK"): 3}
    )
    registry.family("streams_lost", "streams", "Lost.", ("reason",), dict)
    registry.histogram("fs_op_seconds", "Time.", times, {"op": "read"})
    registry.histogram("fs_op_seconds", "Time.", Histogram(), {"op": "open"})
    return registry


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_all_kinds_of_metrics_are_shown(accept: str) -> None:
    parse = parse_openmetrics if accept else parse_text
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse(page(full_registry(), accept))
        for sample in family.samples
    }
    read = ("op", "read")
    assert samples["gcsmux_cache_read_hits_total", ()] == 7
    assert samples["gcsmux_memory_budget_used_bytes", ()] == 2**31
    assert samples["gcsmux_gcs_requests_total", (("code", "OK"), ("method", "GetObject"))] == 3
    assert samples["gcsmux_build_info", (("version", '1"\n\\2'),)] == 1
    assert samples["gcsmux_fs_op_seconds_count", (read,)] == 4
    assert samples["gcsmux_fs_op_seconds_sum", (read,)] == pytest.approx(1000.60001)
    buckets = {
        dict(labels)["le"]: value
        for (name, labels), value in samples.items()
        if name == "gcsmux_fs_op_seconds_bucket" and read in labels
    }
    assert (buckets["1e-05"], buckets["0.2"], buckets["0.5"], buckets["200.0"]) == (1, 1, 3, 3)
    assert buckets["+Inf"] == 4


def test_a_metric_that_cannot_be_read_does_not_hide_others() -> None:
    registry = full_registry()
    registry.gauge("broken", "things", "Fails.", lambda: 1 // 0)
    registry.gauge("last", "things", "Works.", lambda: 5)
    assert "gcsmux_last 5.0" in page(registry)
    assert registry.failures == 1


def test_the_collector_pauses_between_metrics_and_within_large_ones() -> None:
    pauses: list[None] = []
    page(full_registry(), pause=lambda: pauses.append(None))
    # One pause for each of the five metrics. The histograms have 25 buckets, a count and a sum, and
    # a pause for each ten of these samples.
    assert len(pauses) == 5 + (2 * 26) // 10


@pytest.mark.parametrize(
    ("name", "unit", "exported"),
    [
        ("bytes_received", "bytes", "gcsmux_gcs_read_bytes"),
        ("resident_bytes", "bytes", "gcsmux_resident_bytes"),
        ("budget_used", "bytes", "gcsmux_memory_budget_used_bytes"),
        ("streams_open", "streams", "gcsmux_streams_open"),
    ],
)
def test_names_have_the_prefix_and_the_unit(name: str, unit: str, exported: str) -> None:
    assert exported_name(Metric(name, unit, "Help.", Kind.GAUGE, "")) == exported
