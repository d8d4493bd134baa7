"""Converts the metrics of a mount into the families of prometheus_client.

The page is built in a thread of its own while the other threads serve programs. All threads share
the interpreter's lock, and a thread that computes without a pause makes the thread that serves the
kernel wait for up to 5 ms at each of its system calls. So the collector pauses after each few
values, and a READ waits for a fraction of a millisecond at most.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from prometheus_client import core

from gcsmux_fs.exporters.prometheus_names import PREFIX, exported_name
from gcsmux_fs.metrics.histogram import BUCKET_BOUNDS_SECONDS, Histogram
from gcsmux_fs.metrics.registry import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gcsmux_fs.metrics.registry import MetricValues, Registry

__all__ = ["MetricsCollector"]

_PAUSE_SECONDS = 0.0002
"""Length of a pause. A thread that waits for the interpreter's lock needs about 0.05 ms to wake."""

# Number of samples between two pauses. To format ten samples takes about 0.1 ms.
_SAMPLES_BETWEEN_PAUSES = 10

# The upper bounds as texts. Prometheus treats 1 and 1.0 as different values of the label `le`, and
# OpenMetrics demands 1.0 and 1e-05.
_BOUNDS = (*(str(bound) for bound in BUCKET_BOUNDS_SECONDS), "+Inf")


class MetricsCollector:
    """A collector of prometheus_client that yields all metrics of `registry`.

    `constants` has labels of metrics whose value is always 1, by the name of the metric, such as
    the version for `build`. `pause` lets other threads run.
    """

    def __init__(
        self,
        registry: Registry,
        constants: Mapping[str, tuple[str, Mapping[str, str]]],
        pause: Callable[[], object] = lambda: time.sleep(_PAUSE_SECONDS),
    ) -> None:
        self._registry = registry
        self._constants = constants
        self._pause = pause

    def collect(self) -> Iterator[core.Metric]:
        """Yield all metrics with their current values."""
        for name, (text, labels) in self._constants.items():
            yield core.InfoMetricFamily(PREFIX + name, text, dict(labels))
        for values in self._registry.metrics():
            self._pause()
            family = _family(values)
            family.samples = _PausingSamples(family.samples, self._pause)
            yield family


class _PausingSamples(list[Any]):
    """A list that pauses while it is iterated, because its user formats one sample in each step."""

    def __init__(self, samples: list[Any], pause: Callable[[], object]) -> None:
        super().__init__(samples)
        self._pause = pause

    def __iter__(self) -> Iterator[Any]:
        for number, sample in enumerate(super().__iter__(), 1):
            yield sample
            if number % _SAMPLES_BETWEEN_PAUSES == 0:
                self._pause()


def _family(values: MetricValues) -> core.Metric:
    metric, values_by_labels = values
    name = exported_name(metric)
    names = [label for label, _ in next(iter(values_by_labels), ())]
    if metric.kind is Kind.HISTOGRAM:
        histograms = core.HistogramMetricFamily(name, metric.help, labels=names)
        for labels, value in values_by_labels.items():
            if isinstance(value, Histogram):
                buckets, total = _buckets(value)
                histograms.add_metric([text for _, text in labels], buckets, total)
        return histograms
    kind = core.CounterMetricFamily if metric.kind is Kind.COUNTER else core.GaugeMetricFamily
    numbers = kind(name, metric.help, labels=names)
    for labels, value in values_by_labels.items():
        if not isinstance(value, Histogram):
            numbers.add_metric([text for _, text in labels], value)
    return numbers


def _buckets(histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
    """Return the cumulative buckets and the sum of a histogram."""
    buckets: list[tuple[str, float]] = []
    total = histogram.total_seconds
    seen = 0
    # The counts are copied in one step, because another thread may add an observation meanwhile.
    for bound, count in zip(_BOUNDS, tuple(histogram.counts), strict=True):
        seen += count
        buckets.append((bound, seen))
    return buckets, total
