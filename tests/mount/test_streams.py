"""Programs hold more files open than one connection can have streams.

The emulator allows 100 streams on a connection.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support import programs

if TYPE_CHECKING:
    from tests.support.harness import EmulatorProcess, NewMount

pytestmark = pytest.mark.mount

FILES = 250


def test_idle_streams_do_not_block_reads_and_lookups(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    for number in range(FILES):
        emulator.place(f"{number:03}", programs.tagged(number, 0, 5000))
    with mount("--read-timeout", "20s") as mounted, mounted.program() as program:
        program.call(os.listdir, str(mounted.path))
        for step in range(FILES):
            number = step * 103 % FILES  # not in the order of the listing
            name = f"{mounted.path}/{number:03}"
            assert program.call(programs.read_whole, name) == programs.tagged(number, 0, 5000)
        assert mounted.statistics()["streams_open"] <= 40
