"""Cases and plans: what runs, with which contenders, and how often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.results import Metric
    from benchmarks.tasks import Task

__all__ = ["Case", "Plan"]


@dataclass(frozen=True, slots=True)
class Case:
    """A task, and the latencies, the contenders and the number of rounds with which it runs.

    `client_task` is the task of the client without FUSE, if it differs from `task`. A run longer
    than `once_seconds` is not repeated.
    """

    name: str
    bucket: str
    task: Task
    metric: Metric
    contenders: tuple[str, ...]
    latencies_ms: tuple[int, ...] = (0,)
    rounds: int = 2
    client_task: Task | None = None
    once_seconds: float = float("inf")


@dataclass(frozen=True, slots=True)
class Plan:
    """A list of cases in the order of their runs."""

    name: str
    cases: tuple[Case, ...]
