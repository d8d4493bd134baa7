"""Tables of the user programs: one for each latency, with seconds by program and contender."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import report
from benchmarks.contenders import OTHER
from benchmarks.programs_plan import LIMIT_SECONDS, PROGRAMS
from benchmarks.results import Key, Results, Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.results import Run

__all__ = ["programs_tables"]


def programs_tables(results: Results) -> str:
    """Return a table for each latency at which user programs ran, or an empty string."""
    titles = {each.title for each in PROGRAMS}
    keys = [key for key in (*results.runs, *results.absent) if key.case in titles]
    latencies = sorted({key.latency_ms for key in keys})
    tables = []
    for latency_ms in latencies:
        # The order of the columns is the order of the runs.
        here = [key.contender for key in keys if key.latency_ms == latency_ms]
        tables.append(_table(results, list(dict.fromkeys(here)), latency_ms))
    return "\n\n".join(tables)


def _table(results: Results, contenders: Sequence[str], latency_ms: int) -> str:
    """Return the table of all programs that have results at this latency.

    The last columns give the cost of the first contender that is a mount of this project: bytes
    requested from the server, also per byte that the program used, number of requests, and
    processor time.
    """
    shown = [
        program
        for program in PROGRAMS
        if any(_known(results, Key(program.title, latency_ms, who)) for who in contenders)
    ]
    own = next((who for who in contenders if who.startswith((OTHER, "mount"))), "")
    header = [f"seconds at {latency_ms} ms", *contenders]
    header += [f"{own}: MB asked", "asked/used", "requests", "CPU s"] if own else []
    rows = [
        [
            program.title,
            *(_seconds(results, Key(program.title, latency_ms, who)) for who in contenders),
            *(_cost(results.runs.get(Key(program.title, latency_ms, own), [])) if own else []),
        ]
        for program in shown
    ]
    return report.table(header, rows)


def _known(results: Results, key: Key) -> bool:
    return key in results.runs or key in results.absent


def _seconds(results: Results, key: Key) -> str:
    if key in results.runs:
        return f"{_median(results.runs[key], lambda run: run.outcome.seconds):.2f}"
    if "not finished" in results.absent.get(key, ""):
        return f">{LIMIT_SECONDS:g}"
    return "-"


def _cost(runs: list[Run]) -> list[str]:
    if not runs:
        return ["-"] * 4
    return [
        f"{_median(runs, lambda run: run.cost.bytes_asked / 1e6):,.1f}",
        f"{_median(runs, lambda run: run.requested_per_byte):,.2f}",
        f"{_median(runs, lambda run: run.request_count):,.0f}",
        f"{_median(runs, lambda run: run.cost.cpu_seconds):.2f}",
    ]


def _median(runs: list[Run], figure: Callable[[Run], float]) -> float:
    return Spread.of([figure(run) for run in runs]).median
