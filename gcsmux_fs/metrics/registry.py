"""All metrics of a mount, each declared once with name, unit, help and kind; sans-IO.

A package counts events in its own integers and `Histogram` objects, and tells the registry how to
read these values. To count an event costs only a `+= 1`, because the registry reads the values only
on request.

    @dataclass(slots=True)
    class StreamCounters:
        streams_opened: int = counter("streams", "Streams opened.")

    registry.fields(counters)
    registry.gauge("streams_open", "streams", "Streams that are open now.", lambda: len(streams))
    registry.histogram("lookup_seconds", "Time to answer a lookup.", lookup_times)

A metric has one value, or one value for each combination of its labels.
"""

from __future__ import annotations

import dataclasses
import enum
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from _typeshed import DataclassInstance

    from gcsmux_fs.metrics.histogram import Histogram

__all__ = ["Kind", "Metric", "MetricError", "Registry", "counter"]

# Pattern of a metric name: as in Prometheus, but only lower case and no colon
# (https://prometheus.io/docs/concepts/data_model).
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_DECLARATION = "metric"


class Kind(enum.StrEnum):
    """The kind of a metric: how its value may change."""

    COUNTER = "counter"  # the value only increases
    GAUGE = "gauge"  # the value increases and decreases
    HISTOGRAM = "histogram"  # a distribution of observed values


class MetricError(Exception):
    """A metric is declared twice, malformed or not declared. The cause is an error in the code."""


@dataclasses.dataclass(frozen=True, slots=True)
class Metric:
    """The declaration of a metric.

    `unit` is a plural noun such as `bytes` or `seconds`. `section` is the heading under
    which people see the metric.
    """

    name: str
    unit: str
    help: str
    kind: Kind
    section: str


Labels = tuple[tuple[str, str], ...]


def counter(unit: str, meaning: str) -> Any:
    """Return a dataclass field that starts at 0.

    `Registry.fields` declares a counter with the name of this field.
    """
    return dataclasses.field(default=0, metadata={_DECLARATION: (unit, meaning)})


class Registry:
    """The metrics of one mount, in the order of their declaration."""

    def __init__(self) -> None:
        #: Section (heading) of the metrics that are declared from now on.
        self.section = ""
        self._metrics: dict[str, Metric] = {}
        self._readers: dict[str, dict[Labels, Callable[[], int | float | Histogram]]] = {}

    def counter(
        self,
        name: str,
        unit: str,
        meaning: str,
        read: Callable[[], int | float],
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Declare a counter; `read` returns the value of the counter.

        Raises:
            MetricError: the name is taken or malformed.
        """
        self._declare(Metric(name, unit, meaning, Kind.COUNTER, self.section), read, labels)

    def gauge(
        self,
        name: str,
        unit: str,
        meaning: str,
        read: Callable[[], int | float],
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Declare a gauge; `read` returns the value of the gauge.

        Raises:
            MetricError: the name is taken or malformed.
        """
        self._declare(Metric(name, unit, meaning, Kind.GAUGE, self.section), read, labels)

    def histogram(
        self,
        name: str,
        meaning: str,
        histogram: Histogram,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Declare a histogram of durations in seconds.

        Raises:
            MetricError: the name is taken or malformed.
        """
        metric = Metric(name, "seconds", meaning, Kind.HISTOGRAM, self.section)
        self._declare(metric, lambda: histogram, labels)

    def fields(self, counters: DataclassInstance) -> None:
        """Declare a counter for each field of the dataclass instance `counters`.

        Each field must be made by the function `counter`.

        Raises:
            MetricError: a name is taken, or a field is not made by `counter`.
        """
        for each in dataclasses.fields(counters):
            if _DECLARATION not in each.metadata:
                raise MetricError(f"the field {each.name} does not declare a metric")
            unit, meaning = each.metadata[_DECLARATION]
            self.counter(each.name, unit, meaning, _reader_of(counters, each.name))

    def metrics(self) -> Iterator[tuple[Metric, Mapping[Labels, int | float | Histogram]]]:
        """Yield each metric with a dictionary of its current values, by labels.

        The key of a value without labels is the empty tuple.
        """
        for name, metric in self._metrics.items():
            yield metric, {labels: read() for labels, read in self._readers[name].items()}

    def value(self, name: str, **labels: str) -> int | float | Histogram:
        """Return the current value of a metric.

        Raises:
            MetricError: no metric with this name and these labels is declared.
        """
        try:
            return self._readers[name][tuple(sorted(labels.items()))]()
        except KeyError:
            raise MetricError(f"no metric is named {name!r} with labels {labels}") from None

    def snapshot(self) -> dict[str, object]:
        """Return all values, by metric name, in types that JSON can hold.

        The values of a metric with labels become a nested dictionary.
        """
        snapshot: dict[str, object] = {}
        for metric, values in self.metrics():
            plain = {
                ",".join(value for _, value in labels): _plain(value)
                for labels, value in values.items()
            }
            snapshot[metric.name] = plain.get("", plain)
        return snapshot

    def _declare(
        self,
        metric: Metric,
        read: Callable[[], int | float | Histogram],
        labels: Mapping[str, str] | None,
    ) -> None:
        if not _NAME.fullmatch(metric.name) or not metric.unit or not metric.help:
            raise MetricError(f"{metric} is malformed")
        key = tuple(sorted((labels or {}).items()))
        readers = self._readers.setdefault(metric.name, {})
        same_labels = all(
            [name for name, _ in other] == [name for name, _ in key] for other in readers
        )
        if self._metrics.setdefault(metric.name, metric) != metric or key in readers:
            raise MetricError(f"the metric {metric.name} is declared twice")
        if not same_labels:
            raise MetricError(f"the labels of {metric.name} differ in their names")
        readers[key] = read


def _reader_of(counters: object, name: str) -> Callable[[], int]:
    return lambda: getattr(counters, name)


def _plain(value: int | float | Histogram) -> object:
    return value if isinstance(value, int | float) else value.summary()
