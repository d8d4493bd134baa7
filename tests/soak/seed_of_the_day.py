"""The seed of the short soak in `make test`. Each day has another seed and so other faults."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["SECONDS", "repeat_command", "seed_of_the_day"]

SECONDS = 10


def seed_of_the_day() -> int:
    """Return today's date in UTC as a number, for example 20261130 for November 30, 2026."""
    return int(datetime.now(UTC).strftime("%Y%m%d"))


def repeat_command() -> str:
    """Return the command that injects the same faults again."""
    return f"make soak SECONDS={SECONDS} SEED={seed_of_the_day()}"
