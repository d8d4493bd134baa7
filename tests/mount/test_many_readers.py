"""Many programs read one file or many files at the same time, and all get the right bytes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support import programs
from tests.support.sizes import MIB

if TYPE_CHECKING:
    from tests.support.harness import EmulatorProcess, NewMount

pytestmark = [pytest.mark.mount, pytest.mark.long]


def place_tagged(emulator: EmulatorProcess, sizes: list[int]) -> list[tuple[str, int, int]]:
    """Write files with tagged content; return the name, the tag and the size of each file."""
    files = [(f"file-{tag}", tag, size) for tag, size in enumerate(sizes)]
    for name, tag, size in files:
        emulator.place(name, programs.tagged(tag, 0, size))
    return files


@pytest.mark.parametrize(
    "sizes",
    [[64 * MIB + 5], [n * 123_457 for n in range(1, 41)]],
    ids=["one file", "many files"],
)
@pytest.mark.parametrize("memory", ["256MiB", "16MiB"])
def test_32_readers_at_random_offsets(
    emulator: EmulatorProcess, mount: NewMount, sizes: list[int], memory: str
) -> None:
    files = place_tagged(emulator, sizes)
    with mount("--memory", memory) as mounted, mounted.program() as program:
        paths = [(f"{mounted.path}/{name}", tag, size) for name, tag, size in files]
        assert program.call(programs.random_reads, paths, 32, 25, 1) == (3200, 0)


def test_memory_stays_below_its_limit_with_32_sequential_readers(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    for number in range(32):
        with (emulator.bucket / f"sparse-{number}").open("wb") as file:
            file.truncate(1024 * MIB)
    with mount("--memory", "32MiB") as mounted, mounted.program() as program:
        # Get the names from a listing, for which the emulator computes no checksums. For a lookup,
        # the emulator would compute the checksum of a file, which takes long for 1 GiB.
        paths = [f"{mounted.path}/{name}" for name in program.call(os.listdir, str(mounted.path))]
        done = program.call(programs.in_parallel, programs.read_head, paths, 32 * MIB)
        assert done == 32 * 32 * MIB
        assert mounted.statistics()["budget_used"] <= 32 * MIB
        assert mounted.peak_memory_bytes() <= (32 + 150) * MIB
