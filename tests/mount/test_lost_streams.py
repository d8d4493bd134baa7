"""If a stream breaks, or a server restarts or does not answer, a read waits or gets an errno."""

from __future__ import annotations

import errno
import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.emulator.faults import ChunkDropped, HalfOpen, InjectionPoint
from gcsmux_fs.emulator.injection.rules import Rule
from tests.support import programs
from tests.support.harness import EmulatorProcess, MountProcess, wait_until
from tests.support.sizes import GIB, MIB

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.harness import NewMount

pytestmark = pytest.mark.mount


def test_a_reader_waits_while_the_server_is_killed_and_restarted(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    digest = hashlib.sha256()
    with (emulator.bucket / "large").open("wb") as file:
        for number in range(16):
            # The file has holes, so that it needs 64 MiB of disk instead of 1 GiB.
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
                # The reader first consumes its readahead, and then it waits.
                wait_until(lambda: mounted.statistics()["waiting_reads"] > 0, "a reader waits")
                emulator.start()
            answer = reader.report()
        assert answer == (True, digest.hexdigest())
        assert mounted.statistics()["streams_reopened"] >= 2


@pytest.mark.parametrize(
    ("after_bytes", "size", "code"),
    [
        (1, 150, "UNAVAILABLE"),
        (99_991, 5 * MIB + 3, "UNAVAILABLE"),
        (777_777, 24 * MIB, "ABORTED"),
        (3 * MIB, 24 * MIB, "INTERNAL"),
    ],
)
def test_a_file_is_read_through_streams_that_are_cut_repeatedly(
    emulator: EmulatorProcess, mount: NewMount, after_bytes: int, size: int, code: str
) -> None:
    content = programs.tagged(1, 0, size)
    emulator.place("object", content)
    emulator.cut_streams(after_bytes, code=code)
    with mount() as mounted, mounted.program() as reader:
        assert reader.call(programs.read_whole, f"{mounted.path}/object") == content
        metrics = mounted.statistics()
        assert metrics["streams_reopened"] >= size // after_bytes - 1
        assert metrics["bytes_received"] == size
    assert emulator.statistics().cuts >= size // after_bytes - 1
    emulator.clear_faults()


def test_many_readers_while_streams_are_cut(emulator: EmulatorProcess, mount: NewMount) -> None:
    files = [(f"file-{tag}", tag, 8 * MIB) for tag in range(4)]
    for name, tag, size in files:
        emulator.place(name, programs.tagged(tag, 0, size))
    emulator.cut_streams(1_500_000)
    with mount("--memory", "16MiB") as mounted, mounted.program() as program:
        paths = [(f"{mounted.path}/{name}", tag, size) for name, tag, size in files]
        assert program.call(programs.random_reads, paths, 32, 10, 2) == (1280, 0)
    assert emulator.statistics().cuts > 0


def test_a_lost_range_is_requested_again_while_its_stream_stays_busy(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    tagged = programs.tagged(1, GIB - 4096, 4096)
    with (emulator.bucket / "large").open("wb") as file:
        file.seek(GIB - 4096)
        file.write(tagged)
    emulator.inject(Rule(ChunkDropped(), method="BidiReadObject", covers=GIB - 4096))
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
        # These reads keep the stream busy. The test needs a busy stream, because on an idle stream
        # the mount would notice the lost range in another way.
        for offset in range(0, GIB // 2, MIB // 16):
            assert lucky.call(os.pread, served, 4096, offset) == bytes(4096)
            if offset % MIB == 0 and mounted.statistics()["ranges_silent"]:
                break
        assert unlucky.answer() == tagged
        metrics = mounted.statistics()
        assert (metrics["ranges_silent"], metrics["streams_failed"]) == (1, 0)
    emulator.clear_faults()


def test_a_stream_that_fails_to_open_is_retried(emulator: EmulatorProcess, mount: NewMount) -> None:
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
def test_a_refused_read_is_an_errno_at_once(
    emulator: EmulatorProcess, mount: NewMount, code: str, number: int
) -> None:
    emulator.place("object", b"content")
    emulator.cut_streams(0, code=code)
    with (
        mount(expected_warnings=[f"read: {errno.errorcode[number]}"]) as mounted,
        mounted.program() as reader,
    ):
        # If the generation is missing, the open fails. All other errors are reported by the read.
        with pytest.raises(OSError, match=os.strerror(number)):
            reader.call(programs.read_tags, f"{mounted.path}/object", 0, 10)
        # Without the fault, the next read sends a new request and succeeds.
        emulator.clear_faults()
        assert reader.call(programs.read_whole, f"{mounted.path}/object") == b"content"


def test_a_permanent_failure_is_retried_until_the_read_timeout(
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
        emulator.clear_faults()
        assert reader.call(os.pread, descriptor, 10, 0) == b"content"


def test_a_silent_server_is_an_errno_after_the_read_timeout(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    content = programs.tagged(1, 0, 8 * MIB)
    emulator.place("object", content)
    options = ["--read-timeout", "2s", "--metadata-ttl", "0", "--negative-ttl", "0"]
    # EIO can occur too, because the mount's attempt to connect to the stopped emulator may fail
    # before the read timeout.
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


@pytest.mark.long
def test_lookups_succeed_while_one_connection_after_another_dies(folder: Path) -> None:
    with EmulatorProcess(folder / "buckets", relay=True) as emulator:
        for tag in range(3):
            emulator.place(f"object-{tag}", programs.tagged(tag, 0, 100))
        options = ["--endpoint", emulator.relay_endpoint, "--plaintext", "--anonymous"]
        mounted = MountProcess(emulator, folder, [*options, "--read-timeout", "4s"])
        with mounted, mounted.program() as program:
            for tag in range(3):
                # From now on, no bytes pass through the current connections. gRPC notices this only
                # after 80 s.
                emulator.inject(Rule(HalfOpen(), at=InjectionPoint.NOW))
                content = program.call(programs.read_whole, f"{mounted.path}/object-{tag}")
                assert content == programs.tagged(tag, 0, 100)
