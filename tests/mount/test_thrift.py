"""Tests of the bytes that the mount requests: for parts of many files, and for the next files."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pytest

from tests.support import programs
from tests.support.harness import wait_until
from tests.support.sizes import KIB, MIB

if TYPE_CHECKING:
    from tests.support.harness import EmulatorProcess, NewMount

pytestmark = pytest.mark.mount

FILES = 60
SIZE = 500 * KIB
# The files that are fetched whole, before it is known that only a part of each file is read.
FIRST_FILES = 4


@pytest.mark.parametrize("offset", [0, -100], ids=["heads", "tails"])
def test_a_program_that_reads_100_bytes_of_each_file_causes_requests_of_16_kib(
    emulator: EmulatorProcess, mount: NewMount, offset: int
) -> None:
    for number in range(FILES):
        emulator.place(f"dir/{number:03}.jpg", programs.tagged(number, 0, SIZE))
    with mount() as mounted, mounted.program() as program:
        assert program.call(programs.read_parts, f"{mounted.path}/dir", offset, 100) == FILES * 100
        assert emulator.statistics().bytes_asked <= FILES * 16 * KIB + FIRST_FILES * SIZE


def test_a_program_that_reads_the_head_of_large_files_causes_few_more_bytes(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    files, head = 20, 256 * KIB
    for number in range(files):
        emulator.place(f"dir/{number:03}.jpg", programs.tagged(number, 0, 5 * MIB))
    with mount() as mounted, mounted.program() as program:
        assert program.call(programs.read_parts, f"{mounted.path}/dir", 0, head) == files * head
        # The kernel reads 128 KiB more of each file than the program.
        assert (
            emulator.statistics().bytes_asked <= files * (head + 128 * KIB) + FIRST_FILES * 2 * MIB
        )


def asks_more_than(emulator: EmulatorProcess, size: int) -> bool:
    return emulator.statistics().bytes_asked > size


def test_the_next_shard_is_fetched_before_it_is_opened_and_each_byte_once(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    shards, size = 5, 4 * MIB
    names = [f"model-{number:05}-of-{shards:05}.gguf" for number in range(1, shards + 1)]
    for number, name in enumerate(names):
        emulator.place(f"dir/{name}", programs.tagged(number, 0, size))
    with mount() as mounted, mounted.program() as program:
        for number, name in enumerate(names):
            content = program.call(programs.read_whole, f"{mounted.path}/dir/{name}")
            assert content == programs.tagged(number, 0, size)
            if 0 < number < shards - 1:
                wait_until(
                    functools.partial(asks_more_than, emulator, (number + 1) * size),
                    "the mount fetches the next shard",
                )
                assert emulator.statistics().bytes_asked <= 1.5 * (number + 1) * size
        assert emulator.statistics().bytes_asked == shards * size
