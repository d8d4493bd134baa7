"""The metrics of a mount as lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.metrics.histogram import BUCKET_BOUNDS_SECONDS, Histogram

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsmux_fs.metrics.registry import Registry

__all__ = ["readable_lines"]

_STEPS = ((1024**4, "TiB"), (1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"))


def readable_lines(registry: Registry) -> Iterator[str]:
    """Yield one line for each value: name, value with unit, and what it means."""
    for metric, values in registry.metrics():
        for labels, value in values.items():
            suffix = ",".join(f"{name}={text}" for name, text in labels)
            name = f"{metric.name}{{{suffix}}}" if suffix else metric.name
            yield f"{name:<40} {_shown(value, metric.unit):<24} {metric.help}"


def _shown(value: int | float | Histogram, unit: str) -> str:
    if isinstance(value, Histogram):
        return _distribution(value)
    if unit == "bytes":
        return _bytes(value)
    return f"{value:,} {unit}" if isinstance(value, int) else f"{value:,.3f} {unit}"


def _bytes(count: float) -> str:
    for size, name in _STEPS:
        if count >= size:
            return f"{count / size:,.1f} {name}"
    return f"{count:,} bytes"


def _distribution(histogram: Histogram) -> str:
    count = histogram.count
    if not count:
        return "none"
    mean = _duration(histogram.total_seconds / count)
    tail = histogram.quantile_bound(0.99)
    last = f"99% < {_duration(tail)}" if tail <= BUCKET_BOUNDS_SECONDS[-1] else "99% unbounded"
    return f"{count:,} times, mean {mean}, {last}"


def _duration(seconds: float) -> str:
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} us"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    return f"{seconds:.3g} s"
