"""Two mounts use one directory for their caches while processes are killed and stopped."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.mount.cache_readers import Found, occupied_bytes, read_for
from tests.mount.test_process_ends import begin, kill
from tests.support import programs
from tests.support.harness import wait_until
from tests.support.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.harness import EmulatorProcess, MountProcess, NewMount, Program

pytestmark = [pytest.mark.mount, pytest.mark.slow]

CACHE_BYTES = 64 * MIB
# The blocks in memory hold less than one object, so reads reach the cache on disk.
OPTIONS = ("--memory", "16MiB", "--cache-min-free", "1MiB")
# All files together are larger than the cache, and each file is larger than one chunk.
SIZES = [5 * MIB + 1000 * number for number in range(30)]
LIVES = 3
LIFE_SECONDS = 0.8
STOPPED_SECONDS = 1.0


@contextmanager
def largest_size(cache: Path) -> Iterator[list[int]]:
    """Measure the disk space of the cache repeatedly; yield a list with the largest result."""
    largest = [0]
    ended = threading.Event()

    def measure() -> None:
        while not ended.wait(0.1):
            largest[0] = max(largest[0], occupied_bytes(cache))

    thread = threading.Thread(target=measure)
    thread.start()
    try:
        yield largest
    finally:
        ended.set()
        thread.join()


@pytest.mark.long
def test_two_mounts_share_a_cache_while_one_is_killed_repeatedly(
    emulator: EmulatorProcess, mount: NewMount, folder: Path
) -> None:
    for tag, size in enumerate(SIZES):
        emulator.place(str(tag), programs.tagged(tag, 0, size))
    cache = folder / "cache"
    options = ("--cache-dir", str(cache), "--cache-size", "64MiB", *OPTIONS)
    with largest_size(cache) as largest, ExitStack() as stack:
        steady = stack.enter_context(mount(*options))
        program = stack.enter_context(steady.program())
        seconds = LIVES * (LIFE_SECONDS + 2) + STOPPED_SECONDS
        program.begin(read_for, str(steady.path), SIZES, seconds, 0)
        mortal = mount(*options)
        for life in range(LIVES):
            found = live_and_die(mortal, life, stopped=steady if life == 1 else None)
            assert found.wrong == 0
            assert found.error in {"", "ENOTCONN", "ECONNABORTED", "EIO"}
        found = answer_of(program)
        assert (found.wrong, found.error) == (0, "")
        assert found.right > 100
        assert steady.statistics()["disk_cache_hits"] > 0
    assert CACHE_BYTES // 2 < largest[0] <= CACHE_BYTES * 1.05


def live_and_die(mortal: MountProcess, life: int, stopped: MountProcess | None) -> Found:
    """Start a mount, read from it, and kill it. The mount `stopped` is stopped meanwhile."""
    with ExitStack() as stack:
        begin(stack, mortal)
        program = stack.enter_context(mortal.program())
        program.begin(read_for, str(mortal.path), SIZES, 60.0, life + 1)
        if stopped is not None:
            stopped.process.send_signal(signal.SIGSTOP)
            try:
                time.sleep(STOPPED_SECONDS)
            finally:
                stopped.process.send_signal(signal.SIGCONT)
        time.sleep(LIFE_SECONDS * (life + 1) / LIVES)
        kill(mortal)
        return answer_of(program)
    raise AssertionError("not reached: nothing suppresses exceptions here")


def answer_of(program: Program) -> Found:
    found = program.answer()
    assert isinstance(found, Found)
    return found


def test_a_killed_mount_leaves_a_cache_that_needs_no_request(
    emulator: EmulatorProcess, mount: NewMount, folder: Path
) -> None:
    size = 20 * MIB + 321
    for tag in range(2):
        emulator.place(str(tag), programs.tagged(tag, 0, size))
    options = ("--cache-dir", str(folder / "cache"), "--cache-size", "1GiB", *OPTIONS)
    mortal = mount(*options)
    with ExitStack() as stack:
        begin(stack, mortal)
        program = stack.enter_context(mortal.program())
        assert programs.tags(program.call(programs.read_whole, f"{mortal.path}/0"), 0) == {0}
        wait_until(lambda: not mortal.statistics()["disk_cache_queued_bytes"], "the queue is empty")
        program.begin(programs.read_loop, f"{mortal.path}/1")
        time.sleep(0.05)
        kill(mortal)
        program.answer()
    emulator.statistics(reset=True)
    with mortal as again, again.program() as program:
        assert programs.tags(program.call(programs.read_whole, f"{again.path}/0"), 0) == {0}
        assert emulator.statistics().bytes_asked == 0
        assert programs.tags(program.call(programs.read_whole, f"{again.path}/1"), 0) == {1}
