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

A metric has one value, or one value for each combination of its labels. The values of the labels
are known at the declaration, or they appear while the mount runs (`labelled_counter`, `family`).

Any thread may read the metrics while the mount counts. A value that cannot be read is left out and
counted, because a mistake in one metric must not end a mount, and must not hide other metrics.
"""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from _typeshed import DataclassInstance

    from gcsmux_fs.metrics.histogram import Histogram

__all__ = [
    "Kind",
    "Labels",
    "Metric",
    "MetricError",
    "MetricValues",
    "Registry",
    "counter",
    "labelled_counter",
]

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
"""The labels of a value, as pairs (name, value) in the order of the names."""

Values = Mapping[tuple[str, ...], "int | float"]
"""The values of a counter, by the values of its labels."""

MetricValues = tuple[Metric, "Mapping[Labels, int | float | Histogram]"]
"""A metric, and its values by labels. The key of a value without labels is the empty tuple."""


def counter(unit: str, meaning: str) -> Any:
    """Return a dataclass field that starts at 0.

    `Registry.fields` declares a counter with the name of this field.
    """
    return dataclasses.field(default=0, metadata={_DECLARATION: (unit, meaning)})


def labelled_counter(unit: str, meaning: str, *labels: str) -> Any:
    """Return a dataclass field that is an empty dictionary of counts.

    A key has the values of `labels`, in their order. `Registry.fields` declares the counter.
    """
    return dataclasses.field(default_factory=dict, metadata={_DECLARATION: (unit, meaning, labels)})


class Registry:
    """The metrics of one mount, in the order of their declaration.

    `on_failure` is called with a metric's name and an error, when a value of the metric cannot be
    read for the first time.
    """

    def __init__(self, on_failure: Callable[[str, Exception], object] | None = None) -> None:
        self._on_failure = on_failure
        self._failed_names: set[str] = set()
        #: Number of values that could not be read.
        self.failures = 0
        #: Section (heading) of the metrics that are declared from now on.
        self.section = ""
        self._metrics: dict[str, Metric] = {}
        self._readers: dict[str, dict[Labels, Callable[[], int | float | Histogram]]] = {}
        # The metrics whose label values appear while the mount runs: names of the labels, and a
        # function that returns all values.
        self._families: dict[str, tuple[tuple[str, ...], Callable[[], Values]]] = {}

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
        histogram: Histogram | Callable[[], Histogram],
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Declare a histogram of durations in seconds, or a function that returns the histogram.

        Raises:
            MetricError: the name is taken or malformed.
        """
        metric = Metric(name, "seconds", meaning, Kind.HISTOGRAM, self.section)
        self._declare(metric, histogram if callable(histogram) else lambda: histogram, labels)

    def family(
        self,
        name: str,
        unit: str,
        meaning: str,
        labels: tuple[str, ...],
        read: Callable[[], Values],
    ) -> None:
        """Declare a counter whose label values appear while the mount runs.

        `read` returns the dictionary of the counts. Its keys have the values of `labels`, in their
        order.

        Raises:
            MetricError: the name is taken or malformed.
        """
        metric = Metric(name, unit, meaning, Kind.COUNTER, self.section)
        _check(metric)
        if name in self._metrics:
            raise MetricError(f"the metric {name} is declared twice")
        # In this order, because another thread may read the metrics between the two lines.
        self._families[name] = labels, read
        self._metrics[name] = metric

    def fields(self, counters: DataclassInstance) -> None:
        """Declare a counter for each field of the dataclass instance `counters`.

        Each field must be made by the function `counter` or `labelled_counter`.

        Raises:
            MetricError: a name is taken, or a field is not made by `counter`.
        """
        for each in dataclasses.fields(counters):
            if _DECLARATION not in each.metadata:
                raise MetricError(f"the field {each.name} does not declare a metric")
            unit, meaning, *labels = each.metadata[_DECLARATION]
            read = _reader_of(counters, each.name)
            if labels:
                self.family(each.name, unit, meaning, labels[0], read)
            else:
                self.counter(each.name, unit, meaning, read)

    def metrics(self) -> Iterator[MetricValues]:
        """Yield each metric with its current values, without the values that cannot be read."""
        for name, metric in list(self._metrics.items()):
            if name in self._families:
                values = self._family_values(name)
            else:
                values = {}
                for labels, read in list(self._readers[name].items()):
                    try:
                        values[labels] = read()
                    except Exception as error:
                        self._note_failure(name, error)
            yield metric, values

    def value(self, name: str, **labels: str) -> int | float | Histogram:
        """Return the current value of a metric.

        Raises:
            MetricError: no metric with this name and these labels is declared.
        """
        if name in self._families and set(labels) == set(self._families[name][0]):
            names, read = self._families[name]
            return read().get(tuple(labels[each] for each in names), 0)
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

    def _family_values(self, name: str) -> dict[Labels, int | float | Histogram]:
        names, read = self._families[name]
        try:
            # `items` is copied in one step, because another thread may add a key meanwhile.
            items = list(read().items())
        except Exception as error:
            self._note_failure(name, error)
            return {}
        return {tuple(sorted(zip(names, key, strict=True))): value for key, value in items}

    def _note_failure(self, name: str, error: Exception) -> None:
        self.failures += 1
        if name not in self._failed_names:
            self._failed_names.add(name)
            if self._on_failure is not None:
                self._on_failure(name, error)

    def _declare(
        self,
        metric: Metric,
        read: Callable[[], int | float | Histogram],
        labels: Mapping[str, str] | None,
    ) -> None:
        _check(metric)
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


def _check(metric: Metric) -> None:
    if not _NAME.fullmatch(metric.name) or not metric.unit or not metric.help:
        raise MetricError(f"{metric} is malformed")


def _reader_of(counters: object, name: str) -> Callable[[], Any]:
    return lambda: getattr(counters, name)


def _plain(value: int | float | Histogram) -> object:
    return value if isinstance(value, int | float) else value.summary()
