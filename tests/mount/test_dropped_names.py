"""The mount makes the kernel drop the names of objects that have changed.

The next lookup asks the service again, and no process hangs.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.process.log_storms import BURST_LINES
from tests.mount.processes import descendants_in_state_d
from tests.support import programs
from tests.support.harness import END_SECONDS, wait_until
from tests.support.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.harness import EmulatorProcess, MountProcess, NewMount

pytestmark = pytest.mark.mount

SIZE = 2 * MIB
NAMES = [f"file-{tag}" for tag in range(20)]
# With little memory, files soon leave the cache. So many opens and reads find that their generation
# is gone.
OPTIONS = ["--metadata-ttl", "60s", "--memory", "16MiB", "--read-ahead", "0"]


@contextmanager
def changing(emulator: EmulatorProcess) -> Iterator[None]:
    """During the block, overwrite one file after another in place.

    Open streams can then no longer read their generations.
    """
    ended = threading.Event()

    def overwrite() -> None:
        tag = 0
        while not ended.wait(0.003):
            tag += 1
            emulator.change(NAMES[tag % len(NAMES)], programs.tagged(tag, 0, 8192))

    emulator.place("steady", b"steady")
    for tag, name in enumerate(NAMES):
        emulator.place(name, programs.tagged(tag, 0, SIZE))
    writer = threading.Thread(target=overwrite)
    writer.start()
    try:
        yield
    finally:
        ended.set()
        writer.join()


def stale_counts(mounted: MountProcess) -> tuple[int, int]:
    """Return how many opens and how many reads have failed with ESTALE, as far as logged."""
    return mounted.log.count("open: ESTALE"), mounted.log.count("read: ESTALE")


@pytest.mark.long
def test_a_mount_answers_after_a_storm_of_killed_programs_and_dropped_names(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    with mount(*OPTIONS) as mounted, mounted.program() as killer:
        with changing(emulator):
            storm = killer.call(programs.storm, str(mounted.path), NAMES, 400, 1, True)
        assert storm.stuck == 0
        assert storm.killed > 2000
        opens, reads = stale_counts(mounted)
        # Of each kind of failure, the log contains the first `BURST_LINES` lines.
        assert opens >= BURST_LINES
        assert reads > 20
        # Since `storm` has killed its last process, no process has used the mount. A frozen mount
        # would not answer now.
        assert mounted.run("cat", "steady", timeout=10).stdout == b"steady"


def test_a_mount_killed_while_it_drops_names_leaves_no_process_in_state_d(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    with ExitStack() as stack:
        mounted = mount(*OPTIONS)
        stack.callback(mounted.abort)
        mounted.__enter__()
        assert mounted.process.stderr is not None
        stack.callback(mounted.process.stderr.close)
        killer = stack.enter_context(mounted.program())
        with changing(emulator):
            killer.begin(programs.storm, str(mounted.path), NAMES, 60, 2, True)
            wait_until(lambda: min(stale_counts(mounted)) > 2, "opens and reads fail with ESTALE")
            mounted.process.send_signal(signal.SIGKILL)
            mounted.process.wait(END_SECONDS)
            storm = killer.answer()
        assert isinstance(storm, programs.Storm)
        assert storm.stuck == 0
        assert descendants_in_state_d() == []


def test_the_kernel_drops_the_name_of_an_object_that_an_open_or_read_finds_deleted(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("opened", bytes(3 * MIB))
    emulator.place("read", bytes(3 * MIB))
    with (
        mount("--metadata-ttl", "indefinite", "--read-ahead", "0") as mounted,
        mounted.program() as program,
        mounted.program() as other,
    ):
        opened, read = f"{mounted.path}/opened", f"{mounted.path}/read"
        program.call(os.stat, opened)
        descriptor = program.call(os.open, read, os.O_RDONLY)
        emulator.kill()
        (emulator.bucket / "opened").unlink()
        (emulator.bucket / "read").unlink()
        emulator.start()
        # An open that finds its object deleted makes the kernel drop the name at once.
        assert mounted.run("cat", "opened").stderr == b"cat: opened: No such file or directory\n"
        assert mounted.run("test", "-e", "opened").returncode == 1
        # After a read that gets ESTALE, the kernel drops the name only when the file is closed,
        # because an open file keeps its name in use.
        with pytest.raises(OSError, match="Stale") as raised:
            program.call(os.pread, descriptor, 4096, 2 * MIB)
        assert raised.value.errno == errno.ESTALE
        program.call(os.close, descriptor)
        wait_until(
            lambda: mounted.run("test", "-e", "read").returncode == 1,
            "the name is dropped",
            seconds=5,
        )
        with pytest.raises(FileNotFoundError):
            other.call(os.stat, read)
        assert other.call(os.listdir, str(mounted.path)) == []


def test_mounts_on_directories_of_the_mount_survive_dropped_names(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    if os.geteuid():
        pytest.skip("only root may mount")
    emulator.place("object", bytes(3 * MIB))
    emulator.place("folder/file", b"below")
    with mount("--read-ahead", "0") as mounted, mounted.program() as program:
        nested = f"{mounted.path}/folder"
        assert mounted.run("mount", "-t", "tmpfs", "nested", "folder").returncode == 0
        try:
            descriptor = program.call(os.open, f"{mounted.path}/object", os.O_RDONLY)
            emulator.change("object", bytes(MIB))
            with pytest.raises(OSError, match="Stale"):
                program.call(os.pread, descriptor, 4096, 2 * MIB)
            program.call(os.close, descriptor)
            assert program.call(os.listdir, nested) == []
        finally:
            unmounted = mounted.run("umount", nested)
        assert unmounted.returncode == 0
        assert program.call(os.listdir, nested) == ["file"]
