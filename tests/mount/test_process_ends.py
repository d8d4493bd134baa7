"""A mount process dies. Readers get an errno, no process hangs, and the next start succeeds."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.mount.processes import descendants_in_state_d, memory_limit
from tests.mount.test_overwrites import begin_lookup_without_answer
from tests.mount.test_unmounting import start_readers
from tests.support import programs
from tests.support.harness import END_SECONDS, MountProcess, wait_until
from tests.support.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.harness import EmulatorProcess, NewMount

pytestmark = pytest.mark.mount

SIZE = 40 * MIB


@pytest.fixture(autouse=True)
def no_process_in_state_d() -> Iterator[None]:
    """After the test, check that no process is in state D, which no signal can end."""
    yield
    wait_until(lambda: not descendants_in_state_d(), "no process in state D")


def begin(stack: ExitStack, mounted: MountProcess) -> MountProcess:
    """Start a mount whose process the test kills; abort the mount after the test."""
    stack.callback(mounted.abort)
    mounted.__enter__()
    assert mounted.process.stderr is not None
    stack.callback(mounted.process.stderr.close)
    return mounted


def kill(mounted: MountProcess) -> None:
    mounted.process.kill()
    assert mounted.process.wait(END_SECONDS) == -signal.SIGKILL


def run_out_of_memory(mounted: MountProcess) -> None:
    """Let the mount exceed a memory limit, so that the kernel kills it."""
    with memory_limit(mounted.process.pid, 8 * MIB):
        assert mounted.process.wait(END_SECONDS) == -signal.SIGKILL


@pytest.mark.parametrize("end", [kill, run_out_of_memory])
def test_readers_get_an_errno_when_the_mount_dies_and_the_next_start_works(
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
        # The dead mount is still in the mount table. The next start removes it.
        with MountProcess(emulator, mounted.folder) as again, again.program() as reader:
            for tag in range(4):
                tags = reader.call(programs.read_tags, f"{again.path}/file-{tag}", 0, SIZE)
                assert tags == {tag}


def test_a_mount_killed_during_a_lookup_and_a_stale_open_leaves_no_hung_process(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("object", b"old")
    with ExitStack() as stack:
        mounted = begin(stack, mount())
        reader, other = (stack.enter_context(mounted.program()) for _ in range(2))
        path = f"{mounted.path}/object"
        assert reader.call(os.stat, path).st_size == 3
        begin_lookup_without_answer(emulator, mounted, other)
        emulator.place("object", b"new")
        assert reader.call(programs.read_whole, path) == b"new"
        # The mount never answers the lookup in flight. The kill must end this lookup with an errno.
        kill(mounted)
        with pytest.raises(OSError, match=r"not connected|abort"):
            other.answer()


def test_a_program_with_open_files_on_a_dead_mount_does_not_prevent_the_next_start(
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


def test_a_lazily_unmounted_mount_serves_its_open_files(
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


def test_an_aborted_connection_ends_the_process_with_one_sentence(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("object", b"content")
    with ExitStack() as stack:
        mounted = begin(stack, mount())
        mounted.abort_connection()
        assert mounted.process.wait(END_SECONDS) == 1
        assert mounted.process.stderr is not None
        assert mounted.process.stderr.read().splitlines()[-1] == (
            f"gcsmux-mount: another process aborted the connection of {mounted.path}:"
            " mount it again."
        )
        with MountProcess(emulator, mounted.folder) as again:
            assert again.run("cat", "object").stdout == b"content"
