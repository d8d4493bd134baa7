"""Reads of objects that are never answered hold up nobody else, and all of them end in time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.emulator.faults import Hang, InjectionPoint
from gcsmux_fs.emulator.injection.rules import FOR_EVER, Rule

from . import programs
from .harness import wait_until

if TYPE_CHECKING:
    from .harness import EmulatorProcess, NewMount

pytestmark = pytest.mark.mount

# More than READs that the kernel had under way at a time (64) and streams of one connection (100).
STUCK = 150
SIZE = 300_000
HEALTHY_BYTES = 3_000_000
TIMEOUT_SECONDS = 6


def test_a_healthy_file_is_read_while_150_programs_wait_for_others(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    for number in range(STUCK):
        emulator.place(f"bad/file-{number}", bytes(SIZE))
    for tag in range(2):
        emulator.place(f"good-{tag}", programs.tagged(tag, 0, HEALTHY_BYTES))
    emulator.order(
        Rule(
            Hang(), method="BidiReadObject", object="bad/*", at=InjectionPoint.RANGE, times=FOR_EVER
        ),
        Rule(Hang(), method="ReadObject", object="bad/*", times=FOR_EVER),
    )
    with (
        mount("--read-timeout", f"{TIMEOUT_SECONDS}s") as mounted,
        mounted.program() as stuck,
        mounted.program() as healthy,
    ):
        mounted.expected_warnings = ["ETIMEDOUT"]
        paths = [f"{mounted.path}/bad/file-{number}" for number in range(STUCK)]
        stuck.begin(programs.failing_reads, paths, 4096)
        # All of them have reached the process: none waits in the kernel, where no deadline is seen.
        wait_until(lambda: mounted.statistics()["waiting_reads"] >= STUCK, "all wait")
        for tag in range(2):
            path = f"{mounted.path}/good-{tag}"
            assert healthy.call(programs.read_tags, path, 0, HEALTHY_BYTES) == {tag}
        assert mounted.statistics()["waiting_reads"] >= STUCK
        found = stuck.answer()
        assert isinstance(found, list)
        assert [name for name, _ in found] == ["ETIMEDOUT"] * STUCK
        # Not twice the time, though the kernel asks twice.
        assert max(seconds for _, seconds in found) < 1.5 * TIMEOUT_SECONDS
