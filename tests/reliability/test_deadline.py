"""Test that a read fails within `--read-timeout`, although the kernel repeats a failed READ."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.emulator.faults import Hang, InjectionPoint
from gcsmux_fs.emulator.injection.rules import FOR_EVER, Rule
from tests.support import programs
from tests.support.harness import EmulatorProcess, MountProcess
from tests.support.sizes import MIB

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.mount


def test_the_repetition_of_a_failed_read_fails_at_once(tmp_path: Path) -> None:
    content = programs.tagged(1, 0, 4 * MIB)
    # A range after the first bytes of the file, because opening the file already requests the first
    # bytes.
    start, size = 2 * MIB, 128 * 1024
    with EmulatorProcess(tmp_path / "buckets") as emulator:
        emulator.place("object", content)
        mounted = MountProcess(
            emulator, tmp_path, ["--read-timeout", "1s"], expected_warnings=["read: ETIMEDOUT"]
        )
        with mounted, mounted.program() as reader:
            descriptor = reader.call(os.open, f"{mounted.path}/object", os.O_RDONLY)
            emulator.inject(
                Rule(Hang(), method="BidiReadObject", at=InjectionPoint.RANGE, times=FOR_EVER),
                Rule(Hang(), method="BidiReadObject", times=FOR_EVER),
            )
            with pytest.raises(TimeoutError):
                reader.call(os.pread, descriptor, size, start)
            late = [line for line in mounted.log.splitlines() if "not read within" in line]
            # The kernel repeats a failed READ for one page of 4096 bytes. The repetition fails
            # with the error of the first READ, so each log line names the range of the first
            # READ.
            assert len(late) > 1
            assert all(f"[{start}, {start + size})" in line for line in late)
            emulator.clear_faults()
            assert reader.call(os.pread, descriptor, size, start) == content[start : start + size]
