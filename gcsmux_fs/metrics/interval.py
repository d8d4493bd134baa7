"""Two snapshots of the metrics of a mount, and what happened between them; sans-IO."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.metrics.histogram import BUCKET_BOUNDS_SECONDS, Histogram

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gcsmux_fs.metrics.registry import MetricValues

__all__ = ["MetricsInterval", "estimated_quantile"]

_Labels = tuple[tuple[str, str], ...]


def estimated_quantile(histogram: Histogram, quantile: float) -> float | None:
    """Return the estimated quantile in seconds; None if there is no observation.

    The estimate assumes that the observations are spread evenly within their bucket, as Prometheus
    does. A quantile in the last bucket, which has no upper bound, is the bound below it.
    """
    rank = quantile * histogram.count
    if not histogram.count:
        return None
    seen, lower = 0, 0.0
    for bound, count in zip(BUCKET_BOUNDS_SECONDS, histogram.counts, strict=False):
        if count and seen + count >= rank:
            return lower + (bound - lower) * (rank - seen) / count
        seen, lower = seen + count, bound
    return lower


class MetricsInterval:
    """The metrics of one mount at two moments, `seconds` apart.

    A metric that the mount does not declare counts as 0, because another version of the program may
    serve the mount.
    """

    def __init__(
        self, before: Iterable[MetricValues], after: Iterable[MetricValues], seconds: float
    ) -> None:
        self.seconds = max(seconds, 1e-3)
        self._before = {metric.name: values for metric, values in before}
        self._after = {metric.name: values for metric, values in after}

    def declares(self, name: str) -> bool:
        """Return whether the mount declares a metric."""
        return name in self._after

    def total(self, name: str, **labels: str) -> float:
        """Return the latest value; without labels, the sum of the values of all labels."""
        return _sum(self._after.get(name, {}), labels)

    def increase(self, name: str, **labels: str) -> float:
        """Return by how much a counter has increased."""
        return self.total(name, **labels) - _sum(self._before.get(name, {}), labels)

    def rate(self, name: str, **labels: str) -> float:
        """Return the increase of a counter per second."""
        return self.increase(name, **labels) / self.seconds

    def increases(self, name: str) -> dict[str, tuple[float, float]]:
        """Return the increase and the total of each value of a counter with one label, by label."""
        return {
            labels[0][1]: (self.increase(name, **dict(labels)), self.total(name, **dict(labels)))
            for labels in self._after.get(name, {})
            if labels
        }

    def histogram(self, name: str, **labels: str) -> Histogram:
        """Return the observations between the two moments."""
        difference = Histogram()
        for sign, values in ((1, self._after), (-1, self._before)):
            for key, value in values.get(name, {}).items():
                if isinstance(value, Histogram) and _matches(key, labels):
                    for index, count in enumerate(value.counts):
                        difference.counts[index] += sign * count
                    difference.total_seconds += sign * value.total_seconds
        return difference


def _matches(key: _Labels, labels: dict[str, str]) -> bool:
    return labels.items() <= dict(key).items()


def _sum(values: Mapping[_Labels, int | float | Histogram], labels: dict[str, str]) -> float:
    return sum(
        value
        for key, value in values.items()
        if not isinstance(value, Histogram) and _matches(key, labels)
    )
