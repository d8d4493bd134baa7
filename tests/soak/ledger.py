"""Collect, count and judge the reports of the soak's programs."""

from __future__ import annotations

import queue
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING

from .growth import Seen, WrongState
from .judge import SIGBUS, Failure

if TYPE_CHECKING:
    from .judge import Timeline
    from .programs import Program, Programs, Report
    from .summary import Summary

__all__ = ["Ledger"]


class Ledger:
    """Reads the reports of the programs, and adds each failure to the summary immediately."""

    def __init__(self, summary: Summary, timeline: Timeline) -> None:
        self._summary = summary
        self._timeline = timeline
        self._operations: Counter[str] = Counter()
        self._errors: dict[str, Counter[str]] = {}
        self._contents: dict[tuple[str, int], tuple[int, int, int]] = {}

    def read(self, programs: Programs) -> None:
        """Process all reports that have arrived, and restart programs that have ended."""
        while True:
            try:
                report = programs.reports.get_nowait()
            except queue.Empty:
                return
            if report.said is None:
                self._ended(report.program, programs)
            else:
                self._take(report)

    def sum_up(self) -> None:
        """Write the counts of operations, bytes, generations and errors into the summary."""
        summary = self._summary
        summary.bytes_read = self._operations.pop("bytes", 0)
        summary.bytes_compared = self._operations.pop("bytes compared", 0)
        summary.operations = dict(self._operations)
        summary.generations_seen = len(self._contents)
        summary.errors = {name: dict(excuses) for name, excuses in self._errors.items()}

    def _take(self, report: Report) -> None:
        match report.said:
            case {"wrong": str(text)}:
                self._wrong(text)
            case {
                "failed": str(operation),
                "name": str(name),
                "errno": str(number),
                "started_at": float(started_at),
                "ended_at": float(ended_at),
                "since": float(since),
            }:
                self._judge(Failure(operation, name, number, started_at, ended_at, since))
            case {
                "seen": str(name),
                "version": int() | None as version,
                "size": int(size),
                "requested_at": float(requested_at),
                "answered_at": float(answered_at),
            }:
                self._check_state(Seen(name, version, size, requested_at, answered_at))
            case {
                "generation": int(generation),
                "name": str(name),
                "version": int(version),
                "shift": int(shift),
                "size": int(size),
            }:
                self._compare(name, generation, (version, shift, size))
            case {"counts": dict(counts), "longest": dict(longest)}:
                self._operations.update(counts)
                for operation, seconds in longest.items():
                    before = self._summary.longest_seconds.get(operation, 0.0)
                    self._summary.longest_seconds[operation] = max(before, seconds)
            case other:
                self._summary.failures.append(f"a program printed an unknown report: {other}")

    def _wrong(self, text: str) -> None:
        self._summary.wrong += 1
        self._summary.failures.append(f"WRONG: {text}")

    def _judge(self, failure: Failure) -> None:
        excuse = self._timeline.excuse(failure)
        self._errors.setdefault(failure.errno, Counter())[excuse or "not excused"] += 1
        if excuse is None:
            self._summary.failures.append(self._timeline.describe(failure))

    def _check_state(self, seen: Seen) -> None:
        self._summary.states_seen += 1
        try:
            stale = self._timeline.growth.check(seen)
        except WrongState as error:
            self._wrong(str(error))
        else:
            self._summary.stalest_seconds = max(self._summary.stalest_seconds, stale)

    def _compare(self, name: str, generation: int, content: tuple[int, int, int]) -> None:
        """Check that all programs that read this generation saw the same content."""
        known = self._contents.setdefault((name, generation), content)
        if known != content:
            self._wrong(
                f"generation {generation} of {name} has two contents: {known} and {content}"
            )

    def _ended(self, program: Program, programs: Programs) -> None:
        code = program.process.wait()
        doing = program.operation_in_flight()
        if code == -signal.SIGBUS and doing is not None:
            operation, _, name = doing.what.rpartition(" ")
            now = time.monotonic()
            self._judge(Failure(operation, name, SIGBUS, doing.started_at, now, doing.since))
        elif code not in (0, -signal.SIGKILL):
            self._summary.failures.append(f"the program {program.kind} ended with exit code {code}")
        if programs.stopping:
            program.ended = True
        else:
            self._summary.programs_restarted += 1
            program.start(programs.reports)
