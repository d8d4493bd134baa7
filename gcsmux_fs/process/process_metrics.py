"""Declares the metrics of the process: its event loops, its memory and its log."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from gcsmux_fs.process.log_destinations import lost_log_lines
from gcsmux_fs.process.malloc import resident_bytes

if TYPE_CHECKING:
    from gcsmux_fs.metrics.registry import Registry
    from gcsmux_fs.process.heartbeats import Heartbeats

__all__ = ["declare_process_metrics"]


def declare_process_metrics(registry: Registry, heartbeats: Heartbeats) -> None:
    """Declare the metrics of this process, and of `registry` itself."""
    for loop in heartbeats.ages_seconds():
        registry.gauge(
            "event_loop_age_seconds",
            "seconds",
            "Time since an event loop last ran. More than a few seconds means that it is blocked.",
            functools.partial(_age_of, heartbeats, loop),
            {"loop": loop},
        )
    registry.gauge("resident_bytes", "bytes", "Resident memory of the process.", resident_bytes)
    registry.counter(
        "log_lines_lost",
        "lines",
        "Log lines that were not written, because of a storm of equal lines or a busy receiver.",
        lost_log_lines,
    )
    registry.counter(
        "metric_failures",
        "values",
        "Values of metrics that could not be read.",
        lambda: registry.failures,
    )


def _age_of(heartbeats: Heartbeats, loop: str) -> float:
    return heartbeats.ages_seconds()[loop]
