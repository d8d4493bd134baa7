"""Streams that break, servers that restart or do not answer: a reader sees a pause, or an errno."""

from __future__ import annotations

import errno
import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.emulator.faults import ChunkDropped, HalfOpen, InjectionPoint
from gcsmux_fs.emulator.injection.rules import Rule

from . import programs
from .harness import EmulatorProcess, MountProcess, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from .harness import NewMount

pytestmark = pytest.mark.mount

MIB = 1024 * 1024
GIB = 1024 * MIB


def test_a_killed_and_restarted_server_is_only_a_pause(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    digest = hashlib.sha256()
    with (emulator.bucket / "large").open("wb") as file:
        for number in range(16):
            # Holes between, so that the test takes no gigabyte of disk.
            tagged = programs.tagged(number, number * 64 * MIB, 4 * MIB)
            file.seek(number * 64 * MIB)
            file.write(tagged)
            digest.update(tagged)
            digest.update(bytes(60 * MIB))
        file.truncate(GIB)
    with mount() as mounted, mounted.program() as reader:
        reader.call(os.listdir, str(mounted.path))
        reader.begin(programs.read_sequentially, f"{mounted.path}/large", 64 * MIB, reporting=True)
        answer = reader.report()
        while isinstance(answer, int):
            if answer in (256 * MIB, 768 * MIB):
                emulator.kill()
                # What has been read ahead is used up meanwhile.
                wait_until(lambda: mounted.statistics()["waiting_reads"] > 0, "a reader that waits")
                emulator.start()
            answer = reader.report()
        assert answer == (True, digest.hexdigest())
        assert mounted.statistics()["streams_reopened"] >= 2


@pytest.mark.parametrize(
    ("after_bytes", "size", "code"),
    [
        (1, 300, "UNAVAILABLE"),
        (99_991, 5 * MIB + 3, "UNAVAILABLE"),
        (777_777, 24 * MIB, "ABORTED"),
        (3 * MIB, 24 * MIB, "INTERNAL"),
    ],
)
def test_streams_that_are_cut_again_and_again(
    emulator: EmulatorProcess, mount: NewMount, after_bytes: int, size: int, code: str
) -> None:
    content = programs.tagged(1, 0, size)
    emulator.place("object", content)
    emulator.cut_streams(after_bytes, code=code)
    with mount() as mounted, mounted.program() as reader:
        assert reader.call(programs.read_whole, f"{mounted.path}/object") == content
        found = mounted.statistics()
        assert found["streams_reopened"] >= size // after_bytes - 1
        assert found["bytes_received"] == size
    assert emulator.statistics().cuts >= size // after_bytes - 1
    emulator.mend()


def test_many_readers_while_streams_are_cut(emulator: EmulatorProcess, mount: NewMount) -> None:
    files = [(f"file-{tag}", tag, 8 * MIB) for tag in range(4)]
    for name, tag, size in files:
        emulator.place(name, programs.tagged(tag, 0, size))
    emulator.cut_streams(1_500_000)
    with mount("--memory", "16MiB") as mounted, mounted.program() as program:
        paths = [(f"{mounted.path}/{name}", tag, size) for name, tag, size in files]
        assert program.call(programs.random_reads, paths, 32, 10, 2) == (1280, 0)
    assert emulator.statistics().cuts > 0


def test_a_range_that_the_server_loses_is_read_while_others_of_its_stream_go_on(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    tagged = programs.tagged(1, GIB - 4096, 4096)
    with (emulator.bucket / "large").open("wb") as file:
        file.seek(GIB - 4096)
        file.write(tagged)
    emulator.order(Rule(ChunkDropped(), method="BidiReadObject", covers=GIB - 4096))
    with (
        mount("--memory", "16MiB", "--read-timeout", "8s") as mounted,
        mounted.program() as unlucky,
        mounted.program() as lucky,
    ):
        lost, served = [
            program.call(os.open, f"{mounted.path}/large", os.O_RDONLY)
            for program in (unlucky, lucky)
        ]
        unlucky.begin(os.pread, lost, 4096, GIB - 4096)
        # Reads that never cease keep the stream from resting, which would tell by itself.
        for offset in range(0, GIB // 2, MIB // 16):
            assert lucky.call(os.pread, served, 4096, offset) == bytes(4096)
            if offset % MIB == 0 and mounted.statistics()["ranges_silent"]:
                break
        assert unlucky.answer() == tagged
        found = mounted.statistics()
        assert (found["ranges_silent"], found["streams_failed"]) == (1, 0)
    emulator.mend()


def test_a_stream_that_never_begins_is_retried_until_it_does(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("object", b"content")
    emulator.cut_streams(0, times=5)
    with mount() as mounted:
        assert mounted.run("cat", "object").stdout == b"content"
        assert mounted.statistics()["streams_opened"] == 6


@pytest.mark.parametrize(
    ("code", "number"),
    [
        ("DATA_LOSS", errno.EIO),
        ("PERMISSION_DENIED", errno.EACCES),
        ("UNAUTHENTICATED", errno.EACCES),
        ("NOT_FOUND", errno.ESTALE),
    ],
)
def test_a_refusal_is_an_errno_at_once(
    emulator: EmulatorProcess, mount: NewMount, code: str, number: int
) -> None:
    emulator.place("object", b"content")
    emulator.cut_streams(0, code=code)
    with (
        mount(expected_warnings=[f"read: {errno.errorcode[number]}"]) as mounted,
        mounted.program() as reader,
    ):
        # A generation that is gone is refused when it is opened, all else when it is read.
        with pytest.raises(OSError, match=os.strerror(number)):
            reader.call(programs.read_tags, f"{mounted.path}/object", 0, 10)
        # The next read asks anew.
        emulator.mend()
        assert reader.call(programs.read_whole, f"{mounted.path}/object") == b"content"


def test_a_failure_that_lasts_is_retried_for_as_long_as_told(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("object", b"content")
    emulator.cut_streams(0)
    with (
        mount("--read-timeout", "2s", expected_warnings=["read: "]) as mounted,
        mounted.program() as reader,
    ):
        descriptor = reader.call(os.open, f"{mounted.path}/object", os.O_RDONLY)
        with pytest.raises(OSError, match="Errno") as raised:
            reader.call(os.pread, descriptor, 10, 0)
        assert raised.value.errno in (errno.EIO, errno.ETIMEDOUT)
        assert emulator.statistics().cuts >= 3
        emulator.mend()
        assert reader.call(os.pread, descriptor, 10, 0) == b"content"


def test_a_server_that_does_not_answer_is_waited_for_no_longer_than_told(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    content = programs.tagged(1, 0, 8 * MIB)
    emulator.place("object", content)
    options = ["--read-timeout", "2s", "--metadata-ttl", "0", "--negative-ttl", "0"]
    # A new connection to a server that accepts it and says nothing fails before it times out.
    expected = ["ETIMEDOUT", "EIO"]
    with mount(*options, expected_warnings=expected) as mounted, mounted.program() as reader:
        descriptor = reader.call(os.open, f"{mounted.path}/object", os.O_RDONLY)
        assert reader.call(os.pread, descriptor, 4096, 0) == content[:4096]
        with emulator.stopped():
            with pytest.raises(TimeoutError):
                reader.call(os.pread, descriptor, 4096, 4 * MIB)
            with pytest.raises(OSError, match=f"Errno ({errno.ETIMEDOUT}|{errno.EIO})"):
                reader.call(os.stat, f"{mounted.path}/other")
            with pytest.raises(OSError, match=f"Errno ({errno.ETIMEDOUT}|{errno.EIO})"):
                reader.call(os.listdir, str(mounted.path))
        assert reader.call(os.pread, descriptor, 4096, 4 * MIB) == content[4 * MIB :][:4096]
        assert reader.call(os.listdir, str(mounted.path)) == ["object"]


def test_names_are_found_though_one_connection_after_the_other_dies(folder: Path) -> None:
    with EmulatorProcess(folder / "buckets", relay=True) as emulator:
        for tag in range(4):
            emulator.place(f"object-{tag}", programs.tagged(tag, 0, 100))
        options = ["--endpoint", emulator.relay_endpoint, "--plaintext", "--anonymous"]
        mounted = MountProcess(emulator, folder, [*options, "--read-timeout", "4s"])
        with mounted, mounted.program() as program:
            for tag in range(4):
                # Those that have been made are swallowed whole; gRPC finds out after 80 s.
                emulator.order(Rule(HalfOpen(), at=InjectionPoint.NOW))
                found = program.call(programs.read_whole, f"{mounted.path}/object-{tag}")
                assert found == programs.tagged(tag, 0, 100)
