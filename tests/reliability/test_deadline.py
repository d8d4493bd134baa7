"""A program is told within `--read-timeout`, although the kernel repeats a READ that failed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.emulator.faults import Hang, InjectionPoint
from gcsmux_fs.emulator.injection.rules import FOR_EVER, Rule
from tests.mount import programs
from tests.mount.harness import EmulatorProcess, MountProcess

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.mount

MIB = 1024 * 1024


def test_the_page_that_the_kernel_repeats_does_not_wait_again(tmp_path: Path) -> None:
    content = programs.tagged(1, 0, 4 * MIB)
    # The open has asked for the first bytes already.
    start, size = 2 * MIB, 128 * 1024
    with EmulatorProcess(tmp_path / "buckets") as emulator:
        emulator.place("object", content)
        mounted = MountProcess(
            emulator, tmp_path, ["--read-timeout", "1s"], expected_warnings=["read: ETIMEDOUT"]
        )
        with mounted, mounted.program() as reader:
            descriptor = reader.call(os.open, f"{mounted.path}/object", os.O_RDONLY)
            emulator.order(
                Rule(Hang(), method="BidiReadObject", at=InjectionPoint.RANGE, times=FOR_EVER),
                Rule(Hang(), method="BidiReadObject", times=FOR_EVER),
            )
            with pytest.raises(TimeoutError):
                reader.call(os.pread, descriptor, size, start)
            late = [line for line in mounted.log.splitlines() if "not read within" in line]
            # The page alone would be 4096 bytes; what it is told is the error of the first READ.
            assert len(late) > 1
            assert all(f"[{start}, {start + size})" in line for line in late)
            emulator.mend()
            assert reader.call(os.pread, descriptor, size, start) == content[start : start + size]
