"""A large directory returns its first entries before the whole directory is listed.

A position in a directory is valid in every directory handle.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.mount import positions
from tests.support import programs
from tests.support.sizes import MIB

if TYPE_CHECKING:
    from tests.support.harness import EmulatorProcess, NewMount

pytestmark = pytest.mark.mount

OBJECTS = 100_000
PAGES = 100
# Maximum number of pages that the mount may request for the first entries. One page holds these
# entries, and the mount requests four pages in advance.
FIRST_PAGES = 5


def pages_asked(emulator: EmulatorProcess) -> int:
    return emulator.statistics().requests.get("ListObjects", 0)


@pytest.mark.long
def test_the_first_entries_arrive_before_the_last_page(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    directory = emulator.bucket / "large"
    directory.mkdir()
    names = [f"object-{number:06}" for number in range(OBJECTS)]
    folder = os.open(directory, os.O_RDONLY)
    for name in names:
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT, dir_fd=folder))
    os.close(folder)
    with mount() as mounted, mounted.program() as program:
        path = f"{mounted.path}/large"
        before = pages_asked(emulator)
        head = mounted.run("sh", "-c", "ls -f large | head -n 20").stdout.splitlines()
        assert len(head) == 20
        assert 1 <= pages_asked(emulator) - before <= FIRST_PAGES

    with mount() as mounted, mounted.program() as program:
        path = f"{mounted.path}/large"
        before = pages_asked(emulator)
        first = program.call(programs.first_entry, path)
        assert 1 <= pages_asked(emulator) - before <= FIRST_PAGES
        rest = program.call(programs.list_rest, path)
        assert names == sorted([first, *rest])
        # Several ranges of the directory are listed at the same time. Each has less than 1,000
        # names, so there are more requests than full pages.
        assert PAGES < pages_asked(emulator) - before <= 1.25 * PAGES
        emulator.statistics(reset=True)
        assert program.call(os.stat, f"{path}/{names[77_777]}").st_size == 0
        assert sorted(program.call(os.listdir, path)) == names
        assert emulator.statistics().requests == {}
        assert mounted.peak_memory_bytes() < 300 * MIB


@pytest.mark.parametrize("ttl", ["0", "60s"])
def test_a_directory_position_is_valid_in_a_new_handle(
    emulator: EmulatorProcess, mount: NewMount, ttl: str
) -> None:
    # NFS and SMB servers continue a listing in a new handle. Create the files in a shuffled order.
    names = [f"{number * 7919 % 2500:04}" for number in range(2500)]
    for name in names:
        (emulator.bucket / name).touch()
    with mount("--metadata-ttl", ttl) as mounted, mounted.program() as program:
        path = str(mounted.path)
        listed = program.call(positions.list_with_positions, path)
        assert sorted(name for name, _ in listed) == [".", "..", *sorted(names)]
        # With a step of 421, the positions are at the start, in the middle and at the end of the
        # service's pages and of the kernel's pages.
        after = [*range(0, len(listed), 421), len(listed) - 1]
        found = program.call(positions.list_after_each, path, [listed[at][1] for at in after], 60)
        assert found == [[name for name, _ in listed[at + 1 : at + 61]] for at in after]
        (rest,) = program.call(positions.list_after_each, path, [listed[100][1]], len(listed))
        assert rest == [name for name, _ in listed[101:]]
