"""Results: runs by case, latency and contender, with their medians."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.running import Cost
    from benchmarks.tasks import Outcome

__all__ = ["Key", "Metric", "Results", "Run", "Spread"]

GB = 1e9


class Metric(Enum):
    """The kinds of figures in tables: unit, factor from SI units, number of decimal digits."""

    RATE = ("GB/s", 1e-9, 2)
    OPERATIONS = ("op/s", 1.0, 0)
    LATENCY = ("ms", 1e3, 2)
    SECONDS = ("s", 1.0, 2)
    CALL = ("us", 1e6, 3)

    @property
    def unit(self) -> str:
        """The unit of the figures."""
        return self.value[0]

    def of(self, outcome: Outcome) -> float:
        """Return the figure of a run in SI units."""
        match self:
            case Metric.RATE:
                return outcome.read_bytes / outcome.seconds
            case Metric.OPERATIONS:
                return outcome.operations / outcome.seconds
            case Metric.LATENCY:
                return outcome.latencies["50"]
            case Metric.SECONDS:
                return outcome.seconds
            case Metric.CALL:
                return outcome.seconds / outcome.operations

    def show(self, figure: float) -> str:
        """Format the figure for the table."""
        _, factor, digits = self.value
        return f"{figure * factor:,.{digits}f}"


class Key(NamedTuple):
    """The key of a run. Runs with equal keys are repetitions of one measurement."""

    case: str
    latency_ms: int
    contender: str


class Spread(NamedTuple):
    """The median, the smallest and the largest of several figures."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, figures: list[float]) -> Spread:
        """Return the spread of the figures, of which there must be at least one."""
        return cls(statistics.median(figures), min(figures), max(figures))


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one contender."""

    key: Key
    outcome: Outcome
    cost: Cost

    @property
    def cpu_seconds_per_gb(self) -> float:
        """Processor seconds of the contender's process per 10^9 bytes."""
        return self.cost.cpu_seconds / (self.outcome.read_bytes / GB)

    @property
    def cpu_seconds_per_operation(self) -> float:
        """Processor seconds of the contender's process per operation."""
        return self.cost.cpu_seconds / self.outcome.operations

    @property
    def requested_per_byte(self) -> float:
        """Bytes requested from the server per byte that the program has read."""
        return self.cost.bytes_asked / self.outcome.read_bytes

    @property
    def request_count(self) -> int:
        """The number of requests and ranges that the server has received."""
        return sum(self.cost.requests.values()) + self.cost.ranges

    def to_dict(self) -> dict[str, object]:
        """Return the run as a dictionary for JSON."""
        return {**self.key._asdict(), "outcome": asdict(self.outcome), "cost": asdict(self.cost)}


@dataclass
class Results:
    """All runs of a benchmark, and the reason for each contender without runs."""

    runs: dict[Key, list[Run]] = field(default_factory=dict)
    absent: dict[Key, str] = field(default_factory=dict)

    def add(self, run: Run) -> None:
        """Add a run."""
        self.runs.setdefault(run.key, []).append(run)

    def spread(
        self, case: str, contender: str, latency_ms: int, figure: Callable[[Run], float]
    ) -> Spread | None:
        """Return the spread of a figure over all repetitions; None without repetitions."""
        runs = self.runs.get(Key(case, latency_ms, contender))
        return Spread.of([figure(run) for run in runs]) if runs else None

    def median(
        self, case: str, contender: str, latency_ms: int, figure: Callable[[Run], float]
    ) -> float | None:
        """Return the median of a figure over all repetitions; None without repetitions."""
        spread = self.spread(case, contender, latency_ms, figure)
        return None if spread is None else spread.median
