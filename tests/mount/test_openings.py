"""An OPEN asks the service for the object, so that no program reads an old generation.

A generation is old if the object was overwritten or deleted before the OPEN.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.emulator.faults import Hang, Status
from gcsmux_fs.emulator.injection.rules import FOR_EVER, Rule
from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.reading.open_planner import MAX_UNREAD
from tests.support import programs
from tests.support.harness import wait_until
from tests.support.sizes import KIB, MIB

if TYPE_CHECKING:
    from tests.support.harness import EmulatorProcess, MountProcess, NewMount

pytestmark = pytest.mark.mount

PROGRAMS = 16
ROUNDS = 3
TTLS = ["0", "1s", "60s", "indefinite"]


def outcomes(mounted: MountProcess, path: str, count: int = PROGRAMS) -> dict[str, int]:
    """Let `count` programs open and read a file at the same time.

    Return how often each output occurred. The keys are MD5 sums of the outputs.
    """
    script = (
        'cd mnt; for n in $(seq "$2"); do'
        ' { head -c 10000 "$1" 2>&1 | head -c 60 | md5sum; } & done; wait'
    )
    result = mounted.run_beside("bash", "-c", script, "sh", path, str(count), timeout=30)
    assert result.returncode == 0
    lines = result.stdout.decode().split("\n")[:-1]
    return {line: lines.count(line) for line in set(lines)}


def expected(mounted: MountProcess, text: str) -> str:
    """Return the key that `outcomes` uses for an output that starts with `text`."""
    script = 'printf %s "$1" | head -c 60 | md5sum'
    return mounted.run_beside("bash", "-c", script, "sh", text).stdout.decode().rstrip("\n")


@pytest.mark.parametrize("ttl", TTLS)
def test_an_open_after_an_overwrite_or_a_delete_never_fails_with_estale(
    emulator: EmulatorProcess, mount: NewMount, ttl: str
) -> None:
    options = ["--metadata-ttl", ttl, "--negative-ttl", "0"]
    with mount(*options) as mounted, mounted.program() as program:
        for number in range(ROUNDS):
            name = f"object-{number}"
            path = f"{mounted.path}/{name}"
            emulator.place(name, f"old {number} ".encode() * 1000)
            assert program.call(os.stat, path).st_size == 6000
            emulator.place(name, f"new {number} ".encode() * 2000)
            new = expected(mounted, f"new {number} " * 10)
            assert outcomes(mounted, name) == {new: PROGRAMS}
            assert program.call(os.stat, path).st_size == 12000
        for number in range(ROUNDS):
            name = f"deleted-{number}"
            emulator.place(name, b"old" * 1000)
            assert program.call(os.stat, f"{mounted.path}/{name}").st_size == 3000
            (emulator.bucket / name).unlink()
            absent = f"head: cannot open '{name}' for reading: No such file or directory"
            assert outcomes(mounted, name) == {expected(mounted, absent): PROGRAMS}
            with pytest.raises(FileNotFoundError):
                program.call(os.stat, f"{mounted.path}/{name}")


@pytest.mark.parametrize("size", [1, 60 * KIB, 700 * KIB, 3 * MIB])
def test_an_open_of_an_overwritten_object_reads_the_new_one(
    emulator: EmulatorProcess, mount: NewMount, size: int
) -> None:
    emulator.place("object", programs.tagged(1, 0, size))
    with mount("--metadata-ttl", "indefinite") as mounted, mounted.program() as program:
        path = f"{mounted.path}/object"
        program.call(os.stat, path)
        emulator.place("object", programs.tagged(2, 0, size))
        assert program.call(programs.read_whole, path) == programs.tagged(2, 0, size)
        assert mounted.statistics()["opens_found_gone"] == 1


# -- requests


@pytest.mark.parametrize("size", [100, 60 * KIB, 900 * KIB])
def test_an_open_requests_the_bytes_of_the_first_read(
    emulator: EmulatorProcess, mount: NewMount, size: int
) -> None:
    emulator.place("object", programs.tagged(1, 0, size))
    with mount() as mounted, mounted.program() as program:
        path = f"{mounted.path}/object"
        program.call(os.stat, path)
        emulator.statistics(reset=True)
        descriptor = program.call(os.open, path, os.O_RDONLY)
        counters = emulator.statistics()
        assert (counters.requests, counters.ranges) == ({"BidiReadObject": 1}, 1)
        assert counters.bytes_asked == size
        emulator.statistics(reset=True)
        assert program.call(os.pread, descriptor, size, 0) == programs.tagged(1, 0, size)
        assert emulator.statistics().ranges == 0
        # Open the file again. The bytes of the file are cached, so this open sends no request.
        program.call(os.open, path, os.O_RDONLY)
        assert emulator.statistics().requests == {}


def test_opens_stop_prefetching_for_a_program_that_never_reads(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    for number in range(200):
        emulator.place(f"file-{number:03}", bytes(1000))
    with mount() as mounted, mounted.program() as program, mounted.program() as other:
        program.call(os.listdir, str(mounted.path))
        emulator.statistics(reset=True)
        paths = [f"{mounted.path}/file-{number:03}" for number in range(200)]
        assert program.call(programs.open_and_close, paths) == 200
        assert emulator.statistics().requests == {"BidiReadObject": MAX_UNREAD}
        assert mounted.statistics()["budget_unread"] == 0
        # The mount counts the opens of each program separately. So an open by another program still
        # prefetches, although the first program has reached the limit. A read by the first program
        # sets its count to zero, so that its opens prefetch again.
        other.call(os.close, other.call(os.open, paths[100], os.O_RDONLY))
        assert emulator.statistics().requests == {"BidiReadObject": MAX_UNREAD + 1}
        program.call(programs.read_whole, paths[101])
        program.call(os.close, program.call(os.open, paths[150], os.O_RDONLY))
        assert emulator.statistics().requests == {"BidiReadObject": MAX_UNREAD + 3}


def test_an_open_of_an_empty_file_sends_no_request(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("object", b"")
    with mount() as mounted, mounted.program() as program:
        program.call(os.stat, f"{mounted.path}/object")
        emulator.statistics(reset=True)
        assert program.call(programs.read_whole, f"{mounted.path}/object") == b""
        assert emulator.statistics().requests == {}


# -- failures


def test_open_and_read_share_one_timeout_when_the_service_is_silent(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("object", bytes(1000))
    with (
        mount("--read-timeout", "2s", expected_warnings=["ETIMEDOUT", "BidiReadObject"]) as mounted,
        mounted.program() as program,
    ):
        path = f"{mounted.path}/object"
        program.call(os.stat, path)
        silent = [
            Rule(Hang(), method=method, times=FOR_EVER)
            for method in ("BidiReadObject", "ReadObject")
        ]
        emulator.inject(*silent)
        with pytest.raises(TimeoutError):
            program.call(programs.read_whole, path)
        took = program.call(programs.seconds_to_open_and_fail, path)
        # The expected duration is 2.5 s. The limit is high enough for a busy machine, but lower
        # than two timeouts.
        assert took < 3.9
        emulator.clear_faults()
        wait_until(
            lambda: mounted.run("cat", "object").stdout == bytes(1000),
            "the mount serves the file",
            seconds=30,
        )


def test_a_refusal_is_reported_by_the_read_and_not_by_the_open(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("object", bytes(1000))
    refused = Status(StatusCode.PERMISSION_DENIED, "not yours")
    with mount(expected_warnings=["not yours"]) as mounted, mounted.program() as program:
        path = f"{mounted.path}/object"
        program.call(os.stat, path)
        emulator.inject(Rule(refused, method="BidiReadObject", times=FOR_EVER))
        descriptor = program.call(os.open, path, os.O_RDONLY)
        with pytest.raises(PermissionError):
            program.call(os.pread, descriptor, 1000, 0)
        emulator.clear_faults()
        assert program.call(os.pread, descriptor, 1000, 0) == bytes(1000)


def test_opens_of_eight_overwritten_files_before_the_first_read_find_the_new_ones(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    names = [f"dir/{number}" for number in range(MAX_UNREAD)]
    for name in names:
        emulator.place(name, b"old")
    with mount() as mounted, mounted.program() as program:
        assert len(program.call(os.listdir, f"{mounted.path}/dir")) == MAX_UNREAD
        for name in names:
            program.call(os.stat, f"{mounted.path}/{name}")
            emulator.place(name, b"overwritten")
        # Open the files in reverse order. In the order of the listing, the mount would prefetch
        # files, and prefetched bytes stay cached.
        names.reverse()
        files = [program.call(os.open, f"{mounted.path}/{name}", os.O_RDONLY) for name in names]
        assert [program.call(os.read, file, 100) for file in files] == MAX_UNREAD * [b"overwritten"]
        for file in files:
            program.call(os.close, file)
