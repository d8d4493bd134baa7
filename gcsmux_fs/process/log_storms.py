"""Limits how many lines one call of the log writes, so that a storm of errors cannot fill the disk.

If a service fails, each failing READ logs a line. A program that retries for hours would write
gigabytes of lines that differ only in their offsets. So each place in the code that logs has a
budget of lines: a burst, and then one line per interval. The line that follows suppressed lines
says how many they were. A place that logs different kinds of lines passes `extra=kind_of(...)`, so
that a storm of one kind does not suppress the others.

The limit applies to level INFO and above. DEBUG lines are written on request of a user who wants
all of them.
"""

from __future__ import annotations

import logging

__all__ = [
    "BURST_LINES",
    "INTERVAL_SECONDS",
    "UNLIMITED",
    "LogStormFilter",
    "kind_of",
    "storm_note",
]

BURST_LINES = 100
"""Number of lines that one place in the code may log at once. A person does not read more lines of
one kind."""

INTERVAL_SECONDS = 10.0
"""Time in seconds after which one more line is permitted. A storm of a day then writes 8,640 lines
for each place, about 2.5 MB."""

UNLIMITED = {"unlimited": True}
"""Pass this as `extra` to a call of the log that writes a report of many lines."""


def kind_of(*words: str) -> dict[str, tuple[str, ...]]:
    """Return the `extra` for a line that has a budget for its kind; there must be few kinds."""
    return {"storm_kind": words}


class _Budget:
    """The lines that one place in the code may still log."""

    __slots__ = ("lines", "suppressed", "updated")

    def __init__(self, now: float) -> None:
        self.lines = float(BURST_LINES)
        self.suppressed = 0
        self.updated = now

    def take(self, now: float) -> bool:
        """Take one line from the budget; return False if the budget is empty."""
        # The wall clock may be set back, which must not empty the budget.
        self.lines += max(0.0, now - self.updated) / INTERVAL_SECONDS
        self.lines = min(self.lines, float(BURST_LINES))
        self.updated = now
        if self.lines < 1.0:
            self.suppressed += 1
            return False
        self.lines -= 1.0
        return True


class LogStormFilter(logging.Filter):
    """Drops the lines that exceed the budget of their place in the code."""

    def __init__(self) -> None:
        super().__init__()
        #: Number of dropped lines.
        self.suppressed = 0
        self._budgets: dict[tuple[str, int, object], _Budget] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is logged."""
        if record.levelno < logging.INFO or hasattr(record, "unlimited"):
            return True
        place = (record.pathname, record.lineno, getattr(record, "storm_kind", None))
        budget = self._budgets.get(place)
        if budget is None:
            budget = self._budgets[place] = _Budget(record.created)
        if not budget.take(record.created):
            self.suppressed += 1
            return False
        if budget.suppressed:
            record.storm_note = f" ({budget.suppressed} similar lines were not logged)"
            budget.suppressed = 0
        elif budget.lines < 1.0:
            record.storm_note = (
                f" (of further lines like this one, one is logged every {INTERVAL_SECONDS:g} s)"
            )
        return True


def storm_note(record: logging.LogRecord) -> str:
    """Return what a formatter adds to the message of a record; empty for most records."""
    note: str = getattr(record, "storm_note", "")
    return note
