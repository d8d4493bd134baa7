"""A mount that nobody uses sleeps."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import programs

if TYPE_CHECKING:
    from tests.support.harness import EmulatorProcess, NewMount

pytestmark = [pytest.mark.mount, pytest.mark.alone]

# The timer that interrupts a blocked read stops within its period, and what is looked at while
# something arrives is looked at once more.
SETTLE_SECONDS = 2
WATCHED_SECONDS = 4
# Three are what it may take; the rest is for a slow machine. It was 24 and more before, and 68 with
# little memory.
MOST_WAKEUPS = 10
# 0.1 % is what it may take; it was 0.7 % and more before.
MOST_PROCESSOR = 0.004


def voluntary_switches(thread: Path) -> int:
    """Return how often a thread went to sleep."""
    lines = (thread / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt"))


def processor_seconds(process: int) -> float:
    """Return the processor time of all threads that there are now."""
    threads = Path(f"/proc/{process}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def test_an_idle_mount_neither_wakes_up_nor_works(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("file", programs.tagged(1, 0, 3_000_000))
    with mount("--memory", "32MiB") as mounted, mounted.program() as program:
        assert program.call(programs.read_tags, f"{mounted.path}/file", 0, 3_000_000) == {1}
        time.sleep(SETTLE_SECONDS)
        process = mounted.process.pid
        # trio's thread: gRPC's wake up 5 to 10 times a second while it has a connection.
        thread = Path(f"/proc/{process}/task/{process}")
        begun, switches, worked = (
            time.monotonic(),
            voluntary_switches(thread),
            processor_seconds(process),
        )
        time.sleep(WATCHED_SECONDS)
        switches = voluntary_switches(thread) - switches
        worked = processor_seconds(process) - worked
        seconds = time.monotonic() - begun
        assert switches / seconds <= MOST_WAKEUPS
        assert worked / seconds <= MOST_PROCESSOR
