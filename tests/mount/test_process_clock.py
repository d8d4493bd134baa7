"""If the wall clock is set back or forward, TTLs and deadlines do not change."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support import programs
from tests.support.harness import wait_until
from tests.support.sizes import MIB

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.harness import EmulatorProcess, NewMount


# Source of a library that wraps the clock functions of libc. While the file $CLOCK_SET_BACK exists,
# the wall clock is one day behind. Monotonic clocks do not change. The test cannot set the real
# clock, because this affects the whole machine, and a time namespace has no wall clock.
WALL_CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static time_t back(void) { return access(getenv("CLOCK_SET_BACK"), F_OK) ? 0 : 86400; }

int clock_gettime(clockid_t id, struct timespec *at) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int result = real(id, at);
  if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) at->tv_sec -= back();
  return result;
}

int gettimeofday(struct timeval *at, void *zone) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  at->tv_sec = now.tv_sec;
  at->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *at) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (at) *at = now.tv_sec;
  return now.tv_sec;
}
"""


@pytest.fixture
def set_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file. While it exists, the wall clock of new processes is one day behind.

    Processes that the test starts load the library that wraps the clock functions.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    library = folder / "wall_clock.so"
    (folder / "wall_clock.c").write_text(WALL_CLOCK)
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", library, folder / "wall_clock.c", "-ldl"], check=True
    )
    trigger = folder / "set-back"
    monkeypatch.setenv("CLOCK_SET_BACK", str(trigger))
    monkeypatch.setenv("LD_PRELOAD", str(library))
    return trigger


@pytest.mark.mount
def test_a_wall_clock_change_affects_no_ttl_and_no_deadline(
    emulator: EmulatorProcess, mount: NewMount, set_back: Path
) -> None:
    size = 8 * MIB
    emulator.place("object", programs.tagged(0, 0, size))
    options = ["--metadata-ttl", "1s", "--negative-ttl", "1s", "--read-timeout", "3s"]
    with mount(*options) as mounted, mounted.program() as program:
        mounted.expected_warnings = ["ETIMEDOUT", "EIO"]
        path = f"{mounted.path}/object"
        assert program.call(programs.read_whole, path) == programs.tagged(0, 0, size)
        with pytest.raises(FileNotFoundError):
            program.call(programs.read_whole, f"{mounted.path}/later")
        day_before = day_of_last_line(mounted.log)
        for tag in (1, 2):
            if tag == 1:
                set_back.touch()
            else:
                set_back.unlink()
            # The new objects become visible only if names expire after their TTL and cut streams
            # are opened again.
            emulator.place("object", programs.tagged(tag, 0, size))
            emulator.place("later", programs.tagged(tag, 0, size))
            emulator.cut_streams(MIB, times=5)

            def shows(tag: int = tag) -> bool:
                try:
                    found = [
                        program.call(programs.read_whole, f"{mounted.path}/{name}")
                        for name in ("object", "later")
                    ]
                except OSError:
                    return False
                return found == [programs.tagged(tag, 0, size)] * 2

            wait_until(shows, "the new objects are visible")
            emulator.clear_faults()
            # The date of the last log line shows that the clock of the mount has changed.
            mounted.statistics()
            assert (day_of_last_line(mounted.log) < day_before) == set_back.exists()
        # A read fails after the read timeout, although the clock is set back while the read waits.
        emulator.place("object", programs.tagged(3, 0, 3 * size))
        wait_until(
            lambda: program.call(os.stat, path).st_size == 3 * size, "the last object is visible"
        )
        with emulator.stopped():
            set_back.touch()
            with pytest.raises(OSError, match=r"timed out|Input/output"):
                program.call(programs.read_whole, path)


def day_of_last_line(log: str) -> str:
    return log.splitlines()[-1].partition("T")[0]
