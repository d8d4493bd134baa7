"""A mount whose process is killed: readers learn it, nothing stays stuck, the next start serves."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.mount.processes import descendants_in_state_d, memory_limit
from tests.mount.test_overwrites import ask_for_silent_name
from tests.mount.test_unmounting import start_readers
from tests.support import programs
from tests.support.harness import END_SECONDS, MountProcess, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.harness import EmulatorProcess, NewMount

pytestmark = pytest.mark.mount

MIB = 1024 * 1024
SIZE = 40 * MIB


@pytest.fixture(autouse=True)
def nothing_stuck() -> Iterator[None]:
    """At the end no process stays in state D."""
    yield
    wait_until(lambda: not descendants_in_state_d(), "no process in state D")


def begin(stack: ExitStack, mounted: MountProcess) -> MountProcess:
    """Begin a mount that will not end well."""
    stack.callback(mounted.abort)
    mounted.__enter__()
    assert mounted.process.stderr is not None
    stack.callback(mounted.process.stderr.close)
    return mounted


def kill(mounted: MountProcess) -> None:
    mounted.process.kill()
    assert mounted.process.wait(END_SECONDS) == -signal.SIGKILL


def run_out_of_memory(mounted: MountProcess) -> None:
    """Have the kernel kill it, while it takes in what its readers read."""
    with memory_limit(mounted.process.pid, 8 * MIB):
        assert mounted.process.wait(END_SECONDS) == -signal.SIGKILL


@pytest.mark.parametrize("end", [kill, run_out_of_memory])
def test_after_a_death_under_load_readers_get_an_errno_and_the_next_start_serves(
    emulator: EmulatorProcess, mount: NewMount, end: object
) -> None:
    assert callable(end)
    for tag in range(4):
        emulator.place(f"file-{tag}", programs.tagged(tag, 0, SIZE))
    with ExitStack() as stack:
        mounted = begin(stack, mount("--memory", "256MiB", "--metadata-ttl", "0"))
        readers = start_readers(stack, mounted)
        end(mounted)
        for reader in readers:
            assert reader.answer(END_SECONDS) in ("ENOTCONN", "ECONNABORTED", "EIO")
        # The dead mount is still there: nobody may have to clear it away by hand.
        with MountProcess(emulator, mounted.folder) as again, again.program() as reader:
            for tag in range(4):
                found = reader.call(programs.read_tags, f"{again.path}/file-{tag}", 0, SIZE)
                assert found == {tag}


def test_a_death_between_a_lookup_and_a_file_found_gone_leaves_nothing(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("object", b"old")
    with ExitStack() as stack:
        mounted = begin(stack, mount())
        reader, other = (stack.enter_context(mounted.program()) for _ in range(2))
        path = f"{mounted.path}/object"
        assert reader.call(os.stat, path).st_size == 3
        ask_for_silent_name(emulator, mounted, other)
        emulator.place("object", b"new")
        assert reader.call(programs.read_whole, path) == b"new"
        # Who waits for the kernel then, waits for ever: for the lookup, which nobody answers.
        kill(mounted)
        with pytest.raises(OSError, match=r"not connected|abort"):
            other.answer()


def test_a_program_that_still_has_a_dead_mount_open_does_not_hinder_the_next(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("folder/object", b"content")
    with ExitStack() as stack:
        mounted = begin(stack, mount())
        holder = stack.enter_context(mounted.program())
        descriptor = holder.call(os.open, f"{mounted.path}/folder/object", os.O_RDONLY)
        holder.call(os.chdir, f"{mounted.path}/folder")
        kill(mounted)
        with MountProcess(emulator, mounted.folder) as again:
            assert again.run("cat", "folder/object").stdout == b"content"
            with pytest.raises(OSError, match=r"not connected|aborted"):
                holder.call(os.pread, descriptor, 10, 0)


def test_a_lazily_unmounted_mount_serves_whoever_has_it_open(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("object", programs.tagged(1, 0, SIZE))
    with mount("--memory", "32MiB", "--read-ahead", "1MiB") as mounted:
        with mounted.program() as reader:
            path = f"{mounted.path}/object"
            assert reader.call(programs.read_tags, path, 0, MIB) == {1}
            assert mounted.unmount("-l").returncode == 0
            assert reader.call(programs.read_tags, path, SIZE - MIB, MIB) == {1}
            assert mounted.process.poll() is None
        assert mounted.process.wait(END_SECONDS) == 0


def test_an_aborted_connection_ends_the_process_in_a_sentence_and_the_next_start_serves(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("object", b"content")
    with ExitStack() as stack:
        mounted = begin(stack, mount())
        mounted.abort_connection()
        assert mounted.process.wait(END_SECONDS) == 1
        assert mounted.process.stderr is not None
        assert mounted.process.stderr.read().splitlines()[-1] == (
            f"gcsmux-mount: the connection of {mounted.path} was aborted by somebody else:"
            " mount it again."
        )
        with MountProcess(emulator, mounted.folder) as again:
            assert again.run("cat", "object").stdout == b"content"
