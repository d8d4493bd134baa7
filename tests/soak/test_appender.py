"""Test of Appender: it records each state of its objects, even if the emulator is killed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.support.emulator_process import EmulatorProcess
from tests.support.harness import wait_until

from . import appender as appending
from . import layout
from .appender import Appender
from .growth import Growth, Seen

if TYPE_CHECKING:
    from pathlib import Path


def shown(emulator: EmulatorProcess, name: str) -> bytes:
    """Return the content of a finalized object, which the emulator keeps as a file."""
    return (emulator.bucket / name).read_bytes()


def wait_for_more(appender: Appender, what: str, number: int) -> None:
    enough = appender.counts[what] + number
    wait_until(lambda: appender.counts[what] >= enough, f"{number} more {what}")


@pytest.mark.slow
@pytest.mark.real_time
def test_all_objects_are_finalized_and_their_states_are_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appending, "_PAUSE_SECONDS", 0.01)
    growth = Growth()
    with EmulatorProcess(tmp_path / "buckets") as emulator:
        for name in layout.GROWING.names:
            emulator.place(name, layout.content(name, 1))
        appender = Appender(emulator, "seed", growth)
        appender.start()
        try:
            for _ in range(2):
                wait_for_more(appender, "started", 3)
                with appender.unbroken:
                    emulator.kill()
                emulator.start()
        finally:
            appender.stop()
        now = time.monotonic()
        for name in layout.GROWING.names:
            content = shown(emulator, name)
            version = int.from_bytes(content[4:8], "little")
            assert content == layout.content(name, version)[: len(content)]
            assert growth.staleness(Seen(name, version, len(content), now, now)) == 0
        assert appender.counts["finished"] > 0
        assert set(appender.counts) <= {"started", "appended", "finished", "UNAVAILABLE"}
