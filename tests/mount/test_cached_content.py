"""Tests with real mounts: content on disk survives a restart and a kill."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.process.memory_watch import block_budget
from tests.reading.fakes import content_of, key_of
from tests.support.harness import END_SECONDS, wait_until
from tests.support.sizes import MIB

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.emulator_process import EmulatorProcess
    from tests.support.harness import NewMount

pytestmark = [pytest.mark.mount, pytest.mark.slow]

MEMORY_BYTES = 64 * MIB
CONTENT = content_of(key_of("content"), 0, 11 * MIB + 12_345)


def test_content_that_was_read_needs_no_range_after_kill_9_and_after_a_restart(
    emulator: EmulatorProcess, mount: NewMount, folder: Path
) -> None:
    options = ["--cache-dir", str(folder / "cache"), "--memory", str(MEMORY_BYTES)]
    emulator.place("large", CONTENT)
    emulator.place("small", CONTENT[:5000])
    with ExitStack() as stack:
        killed = mount(*options)
        stack.callback(killed.abort)
        killed.__enter__()
        assert killed.process.stderr is not None
        stack.callback(killed.process.stderr.close)
        assert killed.run("cat", "large", "small").stdout == CONTENT + CONTENT[:5000]
        written = len(CONTENT) + 5000
        wait_until(
            lambda: killed.statistics()["disk_cache_written_bytes"] == written, "all is written"
        )
        statistics = killed.statistics()
        # The queue of the writes is a part of the memory that the user allows.
        assert statistics["budget_limit"] <= block_budget(MEMORY_BYTES) - 4 * MIB
        killed.process.kill()
        assert killed.process.wait(END_SECONDS) == -signal.SIGKILL
    for _ in range(2):
        with mount(*options) as again:
            emulator.statistics(reset=True)
            assert again.run("cat", "large", "small").stdout == CONTENT + CONTENT[:5000]
            assert again.statistics()["bytes_received"] == 0
            assert "BidiReadObject" not in emulator.statistics().requests
