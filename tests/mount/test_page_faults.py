"""A page fault of a mapped file fetches the window that the mount chose at the file's OPEN."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.mount.operations import needs_root
from tests.support import programs
from tests.support.harness import wait_until
from tests.support.sizes import GIB, KIB, MIB

if TYPE_CHECKING:
    from tests.support.harness import EmulatorProcess, MountProcess, NewMount, Program

pytestmark = [pytest.mark.mount, needs_root]

KINDS = {"dense.safetensors": 16 * MIB, "unknown.dat": MIB, "random.mdb": 128 * KIB}
PLACES = (GIB // 2, GIB // 4)


def place_large_object(emulator: EmulatorProcess, name: str) -> None:
    """Place an object of 1 GiB with one tagged block at each of `PLACES`."""
    emulator.place(name, b"")
    with (emulator.bucket / name).open("r+b") as file:
        file.truncate(GIB)
        for offset in PLACES:
            file.seek(offset)
            file.write(programs.tagged(1, offset, 4 * KIB))


def fault(mounted: MountProcess, program: Program, name: str, offset: int) -> tuple[int, int]:
    """Touch one page of a mapped file; return the number of READs and their bytes."""
    before = mounted.statistics()
    path = f"{mounted.path}/{name}"
    assert program.call(programs.mapped_tags, path, offset, 4 * KIB) == {1}
    after: dict[str, int] = {}

    def is_complete() -> bool:
        after.update(mounted.statistics())
        return after["bytes_served"] >= before["bytes_served"] + KINDS[name]

    wait_until(is_complete, "READs of the whole window")
    reads = sum(after[outcome] - before[outcome] for outcome in ("hits", "waits", "misses"))
    return reads, after["bytes_served"] - before["bytes_served"]


def test_each_open_file_has_the_window_of_its_kind(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    for name in KINDS:
        place_large_object(emulator, name)
    with mount() as mounted, mounted.program() as program:
        # At the second place, all three files are open.
        for offset in PLACES:
            for name, window in KINDS.items():
                expected = max(1, window // MIB), window
                assert fault(mounted, program, name, offset) == expected
