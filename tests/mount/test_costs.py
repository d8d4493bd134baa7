"""Tests that count the requests and bytes that a program's calls cause. They measure no times."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from tests.support import programs
from tests.support.sizes import KIB, MIB

if TYPE_CHECKING:
    from tests.support.harness import EmulatorProcess, NewMount

pytestmark = pytest.mark.mount


def test_a_second_read_comes_from_the_page_cache(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    content = programs.tagged(1, 0, 10 * MIB)
    emulator.place("object", content)
    with mount() as mounted, mounted.program() as program:
        path = f"{mounted.path}/object"
        assert program.call(programs.read_whole, path) == content
        reads = mounted.reads()
        assert reads >= 10
        emulator.statistics(reset=True)
        # A further read, also by another program, causes neither a READ nor a request.
        assert program.call(programs.read_whole, path) == content
        assert mounted.run("cat", "object").stdout == content
        assert mounted.reads() == reads
        assert emulator.statistics().requests == {}


def test_a_sequential_read_requests_each_byte_once(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("object", programs.tagged(1, 0, 64 * MIB))
    with mount() as mounted, mounted.program() as program:
        assert program.call(programs.read_whole, f"{mounted.path}/object")
        counters = emulator.statistics()
        assert counters.bytes_asked == 64 * MIB
        assert counters.requests["BidiReadObject"] == 1
        assert mounted.statistics()["streams_opened"] == 1


def test_a_random_read_of_a_cold_file_requests_at_most_64_kib(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("object", programs.tagged(1, 0, 256 * MIB))
    source = random.Random(4)
    # The offsets are far apart, so that no read finds its bytes in the range of another read.
    offsets = [place * 2 * MIB + 4 * KIB * source.randrange(256) for place in range(1, 120)]
    source.shuffle(offsets)
    with mount() as mounted, mounted.program() as program:
        descriptor = program.call(os.open, f"{mounted.path}/object", os.O_RDONLY)
        asked = emulator.statistics().bytes_asked
        assert asked == 128 * KIB
        ahead = mounted.statistics()["readahead_ranges"]
        for offset in offsets:
            content = program.call(os.pread, descriptor, 4 * KIB, offset)
            assert content == programs.tagged(1, offset, 4 * KIB)
            before, asked = asked, emulator.statistics().bytes_asked
            assert 0 < asked - before <= 64 * KIB
        assert mounted.statistics()["readahead_ranges"] == ahead


@pytest.mark.parametrize("size", [1, 100 * KIB, 900 * KIB])
def test_a_cold_read_of_a_known_small_object_is_one_round_trip(
    emulator: EmulatorProcess, mount: NewMount, size: int
) -> None:
    content = programs.tagged(1, 0, size)
    emulator.place("object", content)
    with mount() as mounted, mounted.program() as program:
        assert program.call(os.listdir, str(mounted.path)) == ["object"]
        emulator.statistics(reset=True)
        assert program.call(programs.read_whole, f"{mounted.path}/object") == content
        counters = emulator.statistics()
        assert counters.requests == {"BidiReadObject": 1}
        assert (counters.ranges, counters.bytes_asked) == (1, size)
        assert mounted.statistics()["messages_sent"] == 1


def test_a_listing_answers_later_lookups_without_requests(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    for number in range(200):
        emulator.place(f"folder/file-{number}", bytes(number))
    with mount() as mounted, mounted.program() as program:
        assert len(program.call(os.listdir, f"{mounted.path}/folder")) == 200
        emulator.statistics(reset=True)
        for number in range(200):
            path = f"{mounted.path}/folder/file-{number}"
            assert program.call(os.stat, path).st_size == number
        with pytest.raises(FileNotFoundError):
            program.call(os.stat, f"{mounted.path}/folder/absent")
        assert mounted.run("ls", "-l", "folder").returncode == 0
        assert mounted.run("find", "folder").stdout.count(b"\n") == 201
        assert program.call(os.getxattr, path, "user.gcs.generation")
        assert emulator.statistics().requests == {}


def test_reading_a_directory_of_small_files_costs_one_request_each(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    for number in range(50):
        emulator.place(f"file-{number}", bytes(1000))
    with mount() as mounted:
        emulator.statistics(reset=True)
        assert mounted.run("grep", "-r", "absent").returncode == 1
        assert emulator.statistics().requests == {"ListObjects": 1, "BidiReadObject": 50}


def test_equal_reads_of_many_programs_cause_one_request(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("object", programs.tagged(1, 0, 32 * MIB))
    with mount() as mounted, mounted.program() as program:
        paths = [f"{mounted.path}/object"] * 8
        done = program.call(programs.in_parallel, programs.read_head, paths, 32 * MIB)
        assert done == 8 * 32 * MIB
        counters = emulator.statistics()
        assert counters.bytes_asked == 32 * MIB
        assert counters.requests["BidiReadObject"] == 1
