"""Reads that get no answer do not delay other reads, and end after the read timeout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.emulator.faults import Hang, InjectionPoint
from gcsmux_fs.emulator.injection.rules import FOR_EVER, Rule
from tests.support import programs
from tests.support.harness import wait_until

if TYPE_CHECKING:
    from tests.support.harness import EmulatorProcess, NewMount

pytestmark = pytest.mark.mount

# Number of reads without an answer. It is higher than 64, the kernel's default limit of READs, and
# higher than 100, the number of streams on a connection.
STUCK = 150
SIZE = 300_000
HEALTHY_BYTES = 3_000_000
TIMEOUT_SECONDS = 6


@pytest.mark.long
def test_a_file_is_read_while_150_reads_of_other_files_hang(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    for number in range(STUCK):
        emulator.place(f"bad/file-{number}", bytes(SIZE))
    for tag in range(2):
        emulator.place(f"good-{tag}", programs.tagged(tag, 0, HEALTHY_BYTES))
    emulator.inject(
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
        # All READs reach the mount process. A READ that waits in the kernel has no deadline.
        wait_until(lambda: mounted.statistics()["waiting_reads"] >= STUCK, "all reads wait")
        for tag in range(2):
            path = f"{mounted.path}/good-{tag}"
            assert healthy.call(programs.read_tags, path, 0, HEALTHY_BYTES) == {tag}
        assert mounted.statistics()["waiting_reads"] >= STUCK
        failures = stuck.answer()
        assert isinstance(failures, list)
        assert [name for name, _ in failures] == ["ETIMEDOUT"] * STUCK
        # The kernel sends each failed READ a second time. This second READ must fail without a
        # wait.
        assert max(seconds for _, seconds in failures) < 1.5 * TIMEOUT_SECONDS
