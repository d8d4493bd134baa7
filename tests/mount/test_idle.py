"""An idle mount neither wakes up nor uses the processor."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import programs

if TYPE_CHECKING:
    from tests.support.harness import EmulatorProcess, NewMount

pytestmark = [pytest.mark.mount, pytest.mark.alone]

# The timer that interrupts a blocked read stops within its period. The memory watch runs once more
# after data has arrived.
SETTLE_SECONDS = 2
WATCHED_SECONDS = 4
# The target is 3 wake-ups a second; the rest is for slow machines. Without the idle logic there
# were 24, and 68 with little memory.
MOST_WAKEUPS = 10
# The target is 0.1 % of a core. Without the idle logic it was 0.7 %.
MOST_PROCESSOR = 0.004


def voluntary_switches(thread: Path) -> int:
    """Return the number of times that a thread has gone to sleep."""
    lines = (thread / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt"))


def processor_seconds(process: int) -> float:
    """Return the processor time of all current threads of a process."""
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
        # Only the thread of trio counts: gRPC's threads wake up 5 to 10 times a second per
        # connection.
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
