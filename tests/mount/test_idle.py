"""An idle mount causes few wake-ups and uses almost no processor time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import programs

if TYPE_CHECKING:
    from tests.support.harness import EmulatorProcess, NewMount

pytestmark = [pytest.mark.mount, pytest.mark.alone]

# Seconds that the test waits after the last read, so that the mount becomes idle. Within this time
# the timer that interrupts blocked reads stops, and the memory watch runs once more.
SETTLE_SECONDS = 2
WATCHED_SECONDS = 4
# Limit of the wake-ups per second. The target is 3; the limit is higher for slow machines. Older
# versions, which did not stop their timers when idle, had 24 wake-ups, and 68 with little memory.
MOST_WAKEUPS = 10
# Limit of the processor time as a share of one core. The target is 0.001. Older versions, which did
# not stop their timers when idle, used 0.007.
MOST_PROCESSOR = 0.004


def voluntary_switches(thread: Path) -> int:
    """Return how many times a thread has gone to sleep since its start."""
    lines = (thread / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt"))


def processor_seconds(process: int) -> float:
    """Return the processor time in seconds of all current threads of a process."""
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
        # Count the wake-ups of the main thread only, which runs trio. gRPC's threads wake up 5 to
        # 10 times a second for each connection.
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
