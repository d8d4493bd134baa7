"""The summary of a soak, as a JSON object and as a table."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from tests.support.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Summary"]


@dataclass
class Summary:
    """All results of a soak. `failures` describes each failed check."""

    seed: int
    seconds: float
    memory_bytes: int
    read_timeout: float
    date: str
    failures: list[str] = field(default_factory=list)
    wrong: int = 0
    hangs: int = 0
    operations: dict[str, int] = field(default_factory=dict)
    longest_seconds: dict[str, float] = field(default_factory=dict)
    bytes_read: int = 0
    bytes_compared: int = 0
    writer: dict[str, int] = field(default_factory=dict)
    generations_seen: int = 0
    appender: dict[str, int] = field(default_factory=dict)
    #: Number of times that readers have seen a state of a growing object. `stalest_seconds` is the
    #: longest time for which such a state was outdated when the reader requested the state.
    states_seen: int = 0
    stalest_seconds: float = 0.0
    #: The number of errors that programs have seen, by errno and by the reason that allows them.
    errors: dict[str, dict[str, int]] = field(default_factory=dict)
    #: Number of phases; `troubles` has the number of phases with each trouble. The option `--plan`
    #: prints the times of the phases.
    phases: int = 0
    troubles: dict[str, int] = field(default_factory=dict)
    #: Number of times that each fault has fired; `deeds` counts each kind of action on processes.
    faults: dict[str, int] = field(default_factory=dict)
    deeds: dict[str, int] = field(default_factory=dict)
    #: The number of operations of the disk that met a fault, by operation.
    disk_faults: dict[str, int] = field(default_factory=dict)
    programs_restarted: int = 0
    max_resident_bytes: int = 0
    allowed_resident_bytes: int = 0
    growth_in_last_half_bytes: int = 0
    before: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)
    #: Number of seconds from the end of the soak until the mount showed all objects correctly.
    recovered_seconds: float = 0.0
    #: The metrics of the mount at the end of the soak.
    statistics: dict[str, int] = field(default_factory=dict)
    samples: list[dict[str, float]] = field(default_factory=list)

    def to_json(self) -> str:
        """Return the summary as JSON."""
        return json.dumps({"passed": not self.failures, **asdict(self)}, indent=1)

    def table(self) -> str:
        """Return the most important results as text, one result per line."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"soak of {self.seconds:.0f} s, seed {self.seed}, {self.date}"
        for name, text in self._rows():
            yield f"  {name:<24} {text}"
        for failure in self.failures[:20]:
            yield f"  FAILED: {failure}"
        yield "  passed" if not self.failures else f"  {len(self.failures)} failures"

    def _rows(self) -> Iterator[tuple[str, str]]:
        total = sum(self.operations.values())
        yield "operations", f"{total}: {_listed(self.operations)}"
        yield "bytes compared", f"{self.bytes_compared / 1e9:.2f} GB, {self.wrong} wrong"
        yield "hangs", str(self.hangs)
        slowest = {name: round(seconds, 1) for name, seconds in self.longest_seconds.items()}
        yield "longest call, seconds", _listed(slowest)
        yield "other writer", f"{_listed(self.writer)}, {self.generations_seen} generations seen"
        seen = f"seen {self.states_seen} times, outdated for at most {self.stalest_seconds:.1f} s"
        yield "appender", f"{_listed(self.appender)}, {seen}"
        yield "phases with troubles", f"{self.phases}: {_listed(self.troubles)}"
        yield "faults fired", f"{sum(self.faults.values())}: {_listed(self.faults)}"
        yield "actions on processes", _listed(self.deeds)
        yield "faults of the disk", _listed(self.disk_faults)
        for name, excuses in sorted(self.errors.items()):
            yield f"errors: {name}", _listed(excuses)
        yield "programs restarted", str(self.programs_restarted)
        most, allowed = self.max_resident_bytes / MIB, self.allowed_resident_bytes / MIB
        yield "resident memory, MiB", f"{most:.0f} at most, {allowed:.0f} allowed"
        yield "memory growth, last half", f"{self.growth_in_last_half_bytes / MIB:.1f} MiB"
        yield "resources before", _listed(self.before)
        yield "resources after", _listed(self.after)
        yield "recovered after", f"{self.recovered_seconds:.1f} s"
        counters = {name: number for name, number in self.statistics.items() if number}
        yield "metrics of the mount", _listed(counters)


def _listed(numbers: dict[str, int] | dict[str, float]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(numbers.items())) or "none"
