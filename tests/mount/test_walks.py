"""Tests of the prefetch: a program reads all small files of a directory one after another."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.filesystem.prefetched_files import ABANDONED_SECONDS
from tests.support import programs
from tests.support.harness import END_SECONDS, wait_until

if TYPE_CHECKING:
    from tests.support.harness import EmulatorProcess, NewMount

pytestmark = pytest.mark.mount

FILES = 300
SIZE = 20_000


def place_files(emulator: EmulatorProcess) -> dict[str, bytes]:
    contents = {f"dir/{number:04}": programs.tagged(number, 0, SIZE) for number in range(FILES)}
    for name, content in contents.items():
        emulator.place(name, content)
    return contents


def test_a_walk_in_listing_order_waits_only_for_its_first_files(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    contents = place_files(emulator)
    with mount() as mounted, mounted.program() as program:
        for name in sorted(program.call(os.listdir, f"{mounted.path}/dir")):
            content = program.call(programs.read_whole, f"{mounted.path}/dir/{name}")
            assert content == contents[f"dir/{name}"]
        statistics = mounted.statistics()
        assert statistics["misses"] <= 5
        # The mount has requested each file once, for a read or for the prefetch.
        assert emulator.statistics().bytes_asked == FILES * SIZE


def test_a_shuffled_reader_requests_only_the_files_it_reads(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    contents = place_files(emulator)
    names = sorted(contents)
    random.Random(3).shuffle(names)
    with mount() as mounted, mounted.program() as program:
        program.call(os.listdir, f"{mounted.path}/dir")
        for name in names[:50]:
            assert program.call(programs.read_whole, f"{mounted.path}/{name}") == contents[name]
        assert emulator.statistics().bytes_asked <= 60 * SIZE


def test_a_walk_over_cached_files_sends_no_request(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    place_files(emulator)
    with mount() as mounted, mounted.program() as program:
        for _ in range(2):
            emulator.statistics(reset=True)
            for name in sorted(program.call(os.listdir, f"{mounted.path}/dir")):
                program.call(programs.read_whole, f"{mounted.path}/dir/{name}")
        assert emulator.statistics().requests == {}


def test_without_readahead_no_file_is_prefetched(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    place_files(emulator)
    with mount("--read-ahead", "0") as mounted, mounted.program() as program:
        for name in sorted(program.call(os.listdir, f"{mounted.path}/dir"))[:20]:
            program.call(programs.read_whole, f"{mounted.path}/dir/{name}")
        assert emulator.statistics().bytes_asked == 20 * SIZE


@pytest.mark.long
def test_an_abandoned_walk_closes_its_handles_and_frees_its_memory(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    place_files(emulator)
    with mount() as mounted, mounted.program() as program:
        for name in sorted(program.call(os.listdir, f"{mounted.path}/dir"))[:5]:
            program.call(programs.read_whole, f"{mounted.path}/dir/{name}")
        wait_until(lambda: mounted.statistics()["budget_unread"] > 0, "the mount prefetches files")
        wait_until(
            lambda: not mounted.statistics()["open_handles"],
            "the mount is idle",
            seconds=ABANDONED_SECONDS + END_SECONDS,
        )
        rest = mounted.last_statistics()
        assert (rest["open_files"], rest["budget_unread"]) == (0, 0)
