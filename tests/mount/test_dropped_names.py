"""Names that the kernel is told to drop: who may still have them, and that nothing can hang."""

from __future__ import annotations

import errno
import os
import signal
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.mount.processes import descendants_in_state_d
from tests.support import programs
from tests.support.harness import END_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.harness import EmulatorProcess, MountProcess, NewMount

pytestmark = pytest.mark.mount

MIB = 1024 * 1024
SIZE = 2 * MIB
NAMES = [f"file-{tag}" for tag in range(20)]
# Little memory: what is opened is not cached, so that it is found gone again and again.
OPTIONS = ["--metadata-ttl", "60s", "--memory", "16MiB", "--read-ahead", "0"]


@contextmanager
def changing(emulator: EmulatorProcess) -> Iterator[None]:
    """Overwrite one file after the other, so that streams that are open lose them."""
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


def found_gone(mounted: MountProcess) -> tuple[int, int]:
    """Return how often an open and a read found a generation gone."""
    return mounted.log.count("open: ESTALE"), mounted.log.count("read: ESTALE")


def test_a_storm_of_killed_programs_while_names_are_dropped_leaves_a_mount_that_answers(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    with mount(*OPTIONS) as mounted, mounted.program() as killer:
        with changing(emulator):
            storm = killer.call(programs.storm, str(mounted.path), NAMES, 400, 1, True)
        assert storm.stuck == 0
        assert storm.killed > 2000
        opens, reads = found_gone(mounted)
        assert opens > 100
        assert reads > 20
        # Nobody has touched the mount since; now somebody does, once.
        assert mounted.run("cat", "steady", timeout=10).stdout == b"steady"


def test_a_death_while_names_are_dropped_leaves_nothing_that_cannot_be_ended(
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
            wait_until(lambda: min(found_gone(mounted)) > 2, "names are dropped")
            mounted.process.send_signal(signal.SIGKILL)
            mounted.process.wait(END_SECONDS)
            storm = killer.answer()
        assert isinstance(storm, programs.Storm)
        assert storm.stuck == 0
        assert descendants_in_state_d() == []


def test_a_name_goes_with_its_object_as_soon_as_that_is_found_deleted(
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
        # By an open the kernel learns at once.
        assert mounted.run("cat", "opened").stderr == b"cat: opened: No such file or directory\n"
        assert mounted.run("test", "-e", "opened").returncode == 1
        # By a read it learns as soon as the file is closed: until then it has the name in use.
        with pytest.raises(OSError, match="Stale") as raised:
            program.call(os.pread, descriptor, 4096, 2 * MIB)
        assert raised.value.errno == errno.ESTALE
        program.call(os.close, descriptor)
        wait_until(lambda: mounted.run("test", "-e", "read").returncode == 1, "gone", seconds=5)
        with pytest.raises(FileNotFoundError):
            other.call(os.stat, read)
        assert other.call(os.listdir, str(mounted.path)) == []


def test_mounts_on_its_directories_stay_when_names_are_dropped(
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
