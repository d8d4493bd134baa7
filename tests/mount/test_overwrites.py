"""When an object is overwritten, a reader gets the old bytes or ESTALE, never a mixture."""

from __future__ import annotations

import errno
import os
import signal
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.emulator.faults import Hang
from gcsmux_fs.emulator.injection.rules import FOR_EVER, Rule
from tests.support import programs
from tests.support.harness import END_SECONDS, wait_until
from tests.support.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.harness import EmulatorProcess, MountProcess, NewMount, Program

pytestmark = pytest.mark.mount

SIZE = 48 * MIB
OLD, NEW = 1, 2


def old_content(size: int = SIZE) -> bytes:
    return programs.tagged(OLD, 0, size)


def new_content(size: int = SIZE) -> bytes:
    return programs.tagged(NEW, 0, size)


def replace_object(emulator: EmulatorProcess) -> None:
    """Rename a new file over the object's file. Open streams can still read the old bytes."""
    emulator.place("object", new_content())


def change_object(emulator: EmulatorProcess) -> None:
    """Change the object's file in place. Open streams end with NOT_FOUND."""
    emulator.change("object", new_content())


def replace_and_restart(emulator: EmulatorProcess) -> None:
    """Replace the file between a kill and a restart, so that no stream can read the old bytes."""
    emulator.kill()
    emulator.place("object", new_content())
    emulator.start()


@pytest.mark.parametrize("overwrite", [replace_object, change_object, replace_and_restart])
@pytest.mark.parametrize("mapped", [False, True], ids=["read", "mmap"])
def test_a_reader_sees_the_old_bytes_or_estale(
    emulator: EmulatorProcess,
    mount: NewMount,
    overwrite: Callable[[EmulatorProcess], None],
    mapped: bool,
) -> None:
    emulator.place("object", old_content())
    # With little memory and readahead, most of the file has not been requested when it is
    # overwritten.
    with (
        mount(
            "--memory", "16MiB", "--read-ahead", "1MiB", "--metadata-ttl", "indefinite"
        ) as mounted,
        mounted.program() as reader,
        mounted.program() as other,
    ):
        path = f"{mounted.path}/object"
        read = programs.mapped_tags if mapped else programs.read_tags
        assert reader.call(read, path, 0, MIB) == {OLD}
        overwrite(emulator)
        stale = meets_estale(reader, read, path)
        if overwrite is not replace_object:
            assert stale
            # The name would never expire, because its TTL is indefinite. But the read that gets
            # ESTALE also makes the name invalid.
            assert other.call(programs.read_tags, path, 0, MIB) == {NEW}
            assert other.call(programs.read_tags, path, SIZE - MIB, MIB) == {NEW}


def meets_estale(reader: Program, read: Callable[[str, int, int], set[int]], path: str) -> bool:
    """Read the rest of the file; return whether a read failed with ESTALE.

    All other reads must return old bytes.
    """
    for offset in range(MIB, SIZE, MIB):
        try:
            found = reader.call(read, path, offset, MIB)
        except OSError as error:
            return error.errno == errno.ESTALE
        except EOFError:
            # With a mapping there is no errno: the kernel ends the program with SIGBUS.
            return reader.process.wait(END_SECONDS) == -signal.SIGBUS
        assert found == {OLD}
    return False


def test_cached_bytes_of_an_open_file_stay_readable(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("object", old_content(MIB))
    with mount() as mounted, mounted.program() as reader:
        descriptor = reader.call(os.open, f"{mounted.path}/object", os.O_RDONLY)
        assert reader.call(os.pread, descriptor, MIB, 0) == old_content(MIB)
        emulator.change("object", new_content(MIB))
        assert reader.call(os.pread, descriptor, MIB, 0) == old_content(MIB)


def test_with_ttl_zero_every_open_finds_the_newest_object(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    with (
        mount("--metadata-ttl", "0", "--negative-ttl", "0") as mounted,
        mounted.program() as reader,
    ):
        path = f"{mounted.path}/folder/object"
        with pytest.raises(FileNotFoundError):
            reader.call(os.stat, path)
        for tag in range(20):
            emulator.place("folder/object", programs.tagged(tag, 0, 10_000 + tag))
            assert reader.call(os.stat, path).st_size == 10_000 + tag
            content = reader.call(programs.read_whole, path)
            assert content == programs.tagged(tag, 0, 10_000 + tag)
        (emulator.bucket / "folder" / "object").unlink()
        with pytest.raises(FileNotFoundError):
            reader.call(os.open, path, os.O_RDONLY)


def test_within_the_ttl_the_caches_answer(emulator: EmulatorProcess, mount: NewMount) -> None:
    emulator.place("object", old_content(MIB))
    with mount("--metadata-ttl", "1h") as mounted, mounted.program() as reader:
        path = f"{mounted.path}/object"
        assert reader.call(programs.read_whole, path) == old_content(MIB)
        before = reader.call(os.stat, path)
        emulator.place("object", new_content(2 * MIB))
        emulator.statistics(reset=True)
        assert reader.call(programs.read_whole, path) == old_content(MIB)
        assert reader.call(os.stat, path) == before
        assert emulator.statistics().requests == {}


def test_after_the_ttl_the_new_object_is_visible(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("object", old_content(MIB))
    with (
        mount("--metadata-ttl", "minimal", "--negative-ttl", "1s") as mounted,
        mounted.program() as reader,
    ):
        path = f"{mounted.path}/object"
        assert reader.call(programs.read_whole, path) == old_content(MIB)
        with pytest.raises(FileNotFoundError):
            reader.call(os.stat, f"{mounted.path}/later")
        emulator.place("object", new_content(2 * MIB))
        emulator.place("later", b"here")

        def shows() -> bool:
            names = reader.call(os.listdir, str(mounted.path))
            return reader.call(os.stat, path).st_size == 2 * MIB and "later" in names

        wait_until(shows, "the new object is visible")
        assert reader.call(programs.read_whole, path) == new_content(2 * MIB)
        assert reader.call(programs.read_whole, f"{mounted.path}/later") == b"here"


def test_a_deleted_object_is_stale_and_then_absent(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("object", old_content())
    with mount("--metadata-ttl", "0", "--read-ahead", "0") as mounted, mounted.program() as reader:
        path = f"{mounted.path}/object"
        descriptor = reader.call(os.open, path, os.O_RDONLY)
        # The kill closes the stream that the open has started. This stream could still read the old
        # bytes.
        emulator.kill()
        (emulator.bucket / "object").unlink()
        emulator.start()
        with pytest.raises(OSError, match="Stale file handle"):
            reader.call(os.pread, descriptor, 4096, SIZE // 2)
        with pytest.raises(FileNotFoundError):
            reader.call(os.stat, path)
        assert reader.call(os.listdir, str(mounted.path)) == []


def test_a_stale_file_is_opened_again_while_another_lookup_is_pending(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("object", old_content())
    with (
        mount("--read-timeout", "8s") as mounted,
        mounted.program() as reader,
        mounted.program() as other,
    ):
        path = f"{mounted.path}/object"
        assert reader.call(os.stat, path).st_size == SIZE
        begin_lookup_without_answer(emulator, mounted, other)
        emulator.place("object", new_content())
        # The lookup in flight holds the kernel's lock on the directory, so the open must not need
        # this lock.
        assert reader.call(programs.read_whole, path) == new_content()
        emulator.clear_faults()
        with pytest.raises(FileNotFoundError):
            other.answer()


def begin_lookup_without_answer(
    emulator: EmulatorProcess, mounted: MountProcess, program: Program
) -> None:
    """Start a lookup of the name `silent`; the emulator never answers this lookup."""
    emulator.inject(Rule(Hang(), method="ListObjects", object="silent", times=FOR_EVER))
    program.begin(os.stat, f"{mounted.path}/silent")
    wait_until(
        lambda: emulator.statistics().faults.get("hang", 0) > 0, "the lookup reaches the emulator"
    )


def test_sighup_makes_an_overwrite_visible(emulator: EmulatorProcess, mount: NewMount) -> None:
    emulator.place("object", b"old")
    mounted = mount("--metadata-ttl", "indefinite")
    mounted.launcher = ("setsid",)  # A terminal would make SIGHUP end the mount.
    with mounted, mounted.program() as program:
        path = f"{mounted.path}/object"
        assert program.call(programs.read_whole, path) == b"old"
        emulator.change("object", b"new content")
        mounted.process.send_signal(signal.SIGHUP)
        wait_until(
            lambda: program.call(programs.read_whole, path) == b"new content",
            "the overwrite is visible",
        )
