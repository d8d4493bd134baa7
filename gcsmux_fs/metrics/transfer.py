"""Metrics as JSON, with everything that another process needs to show and compare them; sans-IO.

Each metric is an object: `name`, `unit`, `help`, `kind`, `section`, and `values`, a list of objects
with `labels` and `value`. The value of a histogram is an object with `counts` (the observations of
each bucket, the last bucket without an upper bound) and `sum`, in seconds. All histograms have the
upper bounds `BUCKET_BOUNDS_SECONDS`.

Two snapshots of a counter or a histogram can be subtracted. The difference of two histograms shows
the percentiles of the time between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gcsmux_fs.metrics.histogram import Histogram
from gcsmux_fs.metrics.registry import Kind, Metric

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gcsmux_fs.metrics.registry import MetricValues

__all__ = ["decode_metrics", "encode_metrics"]


def encode_metrics(metrics: Iterable[MetricValues]) -> list[dict[str, Any]]:
    """Return metrics in types that JSON can hold."""
    return [
        {
            "name": metric.name,
            "unit": metric.unit,
            "help": metric.help,
            "kind": metric.kind.value,
            "section": metric.section,
            "values": [
                {"labels": dict(labels), "value": _encode(value)}
                for labels, value in values.items()
            ],
        }
        for metric, values in metrics
    ]


def decode_metrics(encoded: Iterable[dict[str, Any]]) -> list[MetricValues]:
    """Return the metrics that `encode_metrics` has encoded.

    Raises:
        KeyError, TypeError, ValueError: `encoded` has another form.
    """
    return [
        (
            Metric(each["name"], each["unit"], each["help"], Kind(each["kind"]), each["section"]),
            {
                tuple(sorted(value["labels"].items())): _decode(value["value"])
                for value in each["values"]
            },
        )
        for each in encoded
    ]


def _encode(value: int | float | Histogram) -> Any:
    if isinstance(value, Histogram):
        return {"counts": list(value.counts), "sum": value.total_seconds}
    return value


def _decode(value: Any) -> int | float | Histogram:
    if not isinstance(value, dict):
        number: int | float = value
        return number
    histogram = Histogram()
    histogram.counts = list(value["counts"])
    histogram.total_seconds = value["sum"]
    return histogram
