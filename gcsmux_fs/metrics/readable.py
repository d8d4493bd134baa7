"""Formats the metrics of a mount as lines of text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.metrics.histogram import BUCKET_BOUNDS_SECONDS, Histogram

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gcsmux_fs.metrics.registry import MetricValues

__all__ = ["readable_lines", "shown_bytes"]

_STEPS = ((1024**4, "TiB"), (1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"))


def readable_lines(metrics: Iterable[MetricValues]) -> Iterator[str]:
    """Yield a heading for each section of metrics, then a line for each value of the section.

    A line shows name, value and meaning. Values of zero have no line; the last line shows how many
    values are zero.
    """
    sections: dict[str, list[tuple[str, str, str]]] = {}
    zeros = 0
    for metric, values in metrics:
        for labels, value in values.items():
            if not (value.count if isinstance(value, Histogram) else value):
                zeros += 1
                continue
            suffix = ",".join(f"{name}={text}" for name, text in labels)
            name = f"{metric.name}{{{suffix}}}" if suffix else metric.name
            row = name, _shown(value, metric.unit), metric.help
            sections.setdefault(metric.section, []).append(row)
    rows = [row for section_rows in sections.values() for row in section_rows]
    name_width = max((len(name) for name, _, _ in rows), default=0)
    value_width = max((len(shown) for _, shown, _ in rows), default=0)
    for section, section_rows in sections.items():
        yield f"metrics of {section}:"
        for name, shown, meaning in section_rows:
            yield f"  {name:<{name_width}}  {shown:<{value_width}}  {meaning}"
    yield f"{_count(zeros, 'metrics')} at zero"


def _shown(value: int | float | Histogram, unit: str) -> str:
    if isinstance(value, Histogram):
        return _distribution(value)
    return shown_bytes(value) if unit == "bytes" else _count(value, unit)


def _count(value: int | float, unit: str) -> str:
    number = f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"
    if value == 1:
        unit = f"{unit[:-3]}y" if unit.endswith("ies") else unit.removesuffix("s")
    return f"{number} {unit}"


def shown_bytes(count: float) -> str:
    """Return a number of bytes with one decimal place and the largest suitable unit."""
    for size, name in _STEPS:
        if count >= size:
            return f"{count / size:,.1f} {name}"
    return _count(count, "bytes")


def _distribution(histogram: Histogram) -> str:
    count = histogram.count
    mean = _duration(histogram.total_seconds / count)
    tail = histogram.quantile_bound(0.99)
    last = f"99% < {_duration(tail)}" if tail <= BUCKET_BOUNDS_SECONDS[-1] else "99% unbounded"
    return f"{_count(count, 'times')}, mean {mean}, {last}"


def _duration(seconds: float) -> str:
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} us"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    return f"{seconds:.3g} s"
