"""Mounts and readers that are stopped, interrupted or killed during a read."""

from __future__ import annotations

import hashlib
import signal
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.mount import process_programs
from tests.mount.processes import descendants_in_state_d, held
from tests.support import programs
from tests.support.harness import END_SECONDS, EmulatorProcess, MountProcess, wait_until
from tests.support.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.harness import NewMount

pytestmark = [pytest.mark.mount, pytest.mark.long]

SIZE = 48 * MIB
READ_TIMEOUT_SECONDS = 3


@pytest.fixture(autouse=True)
def no_process_in_state_d() -> Iterator[None]:
    """After the test, check that no process is in state D, which no signal can end."""
    yield
    wait_until(lambda: not descendants_in_state_d(), "no process in state D")


def place(emulator: EmulatorProcess, count: int) -> list[str]:
    """Write `count` files with tagged content; return their SHA-256 digests."""
    contents = [programs.tagged(tag, 0, SIZE) for tag in range(count)]
    for tag, content in enumerate(contents):
        emulator.place(f"file-{tag}", content)
    return [hashlib.sha256(content).hexdigest() for content in contents]


def test_readers_wait_while_the_mount_is_stopped(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    digests = place(emulator, 4)
    with mount("--memory", "32MiB") as mounted, ExitStack() as stack:
        readers = [stack.enter_context(mounted.program()) for _ in digests]
        for tag, reader in enumerate(readers):
            path = f"{mounted.path}/file-{tag}"
            reader.begin(programs.read_sequentially, path, MIB, reporting=True)
        for _ in range(4):
            # A report of a position means that the reader is in the middle of its file.
            assert isinstance(readers[0].report(), int)
            mounted.process.send_signal(signal.SIGSTOP)
            time.sleep(0.5)
            mounted.process.send_signal(signal.SIGCONT)
        for reader, digest in zip(readers, digests, strict=True):
            while isinstance(answer := reader.report(), int):
                pass
            assert answer == (True, digest)


def test_a_mount_stopped_longer_than_the_read_timeout_fails_no_read(folder: Path) -> None:
    # Because of this latency, answers are still in flight when the mount is stopped.
    with EmulatorProcess(folder / "buckets", ["--latency", "500ms"]) as emulator:
        emulator.place("file-0", programs.tagged(0, 0, SIZE))
        timeout = READ_TIMEOUT_SECONDS
        mounted = MountProcess(emulator, folder, ["--read-timeout", f"{timeout}s"])
        with mounted, ExitStack() as stack:
            readers = [stack.enter_context(mounted.program()) for _ in range(4)]
            path = f"{mounted.path}/file-0"
            assert readers[0].call(programs.read_tags, path, 0, MIB) == {0}
            for number, reader in enumerate(readers):
                reader.begin(programs.read_tags, path, (10 + 10 * number) * MIB, MIB)
            wait_until(lambda: mounted.statistics()["waiting_reads"] > 0, "readers wait")
            mounted.process.send_signal(signal.SIGSTOP)
            time.sleep(timeout + 1)
            mounted.process.send_signal(signal.SIGCONT)
            for reader in readers:
                assert reader.answer() == {0}


def test_a_suspended_reader_does_not_delay_other_readers(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    digests = place(emulator, 3)
    with mount("--memory", "16MiB") as mounted, ExitStack() as stack:
        suspended = stack.enter_context(mounted.program())
        suspended.begin(
            programs.read_sequentially, f"{mounted.path}/file-0", 4 * MIB, reporting=True
        )
        assert suspended.report() == 4 * MIB
        suspended.process.send_signal(signal.SIGSTOP)
        # The readahead of the suspended reader must not keep memory that other readers need.
        for tag in (1, 2):
            other = stack.enter_context(mounted.program())
            path = f"{mounted.path}/file-{tag}"
            other.begin(programs.read_sequentially, path, SIZE, reporting=True)
            assert other.report() == SIZE
            assert other.report() == (True, digests[tag])
        suspended.process.send_signal(signal.SIGCONT)
        while isinstance(answer := suspended.report(), int):
            pass
        assert answer == (True, digests[0])


def test_interrupted_reads_return_the_right_bytes(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    place(emulator, 1)
    with mount("--memory", "16MiB") as mounted, mounted.program() as program:
        path = f"{mounted.path}/file-0"
        signals, wrong = program.call(process_programs.read_interrupted, path, 0, 0.001)
        assert wrong == 0
        assert signals > 20


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_signal_ends_a_reader_of_a_silent_server_within_the_read_timeout(
    emulator: EmulatorProcess, mount: NewMount, number: signal.Signals
) -> None:
    place(emulator, 1)
    options = ["--read-timeout", f"{READ_TIMEOUT_SECONDS}s", "--memory", "16MiB"]
    with mount(*options) as mounted:
        mounted.expected_warnings = ["ETIMEDOUT"]
        with mounted.program() as reader:
            path = f"{mounted.path}/file-0"
            assert reader.call(programs.read_tags, path, 0, MIB) == {0}
            with emulator.stopped():
                reader.begin(programs.read_tags, path, SIZE - MIB, MIB)
                wait_until(lambda: mounted.statistics()["waiting_reads"] > 0, "a reader waits")
                reader.process.send_signal(number)
                assert reader.process.wait(READ_TIMEOUT_SECONDS + END_SECONDS) == -number
        assert mounted.run("head", "-c", "16", "file-0").stdout == programs.tagged(0, 0, 16)


def test_killed_and_failing_readers_leave_no_files_sockets_or_threads(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    names = [f"file-{tag}" for tag in range(4)]
    place(emulator, len(names))
    options = ["--metadata-ttl", "0", "--negative-ttl", "0", "--memory", "16MiB"]
    with mount(*options) as mounted, mounted.program() as killer:
        mounted.expected_warnings = ["EIO", "ETIMEDOUT"]

        def round_of_everything(seed: int) -> None:
            emulator.cut_streams(MIB, times=5)
            assert killer.call(programs.storm, str(mounted.path), names, 20, seed).stuck == 0
            emulator.clear_faults()
            mounted.check_at_rest()

        # The first two rounds open connections and start threads, which the later rounds use again.
        for seed in range(2):
            round_of_everything(seed)
        before = held(mounted.process.pid)
        for seed in range(2, 6):
            round_of_everything(seed)
        after = held(mounted.process.pid)
        assert after.files <= before.files
        assert after.sockets <= before.sockets + 1
        assert after.threads <= before.threads + 1
