"""Objects that are still being appended to keep their generation and grow."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

import pytest

from . import programs
from .harness import wait_until

if TYPE_CHECKING:
    from .harness import EmulatorProcess, NewMount

pytestmark = pytest.mark.mount


@pytest.mark.parametrize("ttl", ["0", "minimal"])
def test_an_object_that_grows_shows_its_new_bytes(
    emulator: EmulatorProcess, mount: NewMount, ttl: str
) -> None:
    content = programs.tagged(1, 0, 900_000)
    # Neither end is that of a page, nor of a block of the mount's cache.
    sizes = [10, 5_000, 70_001, 300_000, len(content)]
    generation = emulator.append("growing", content[: sizes[0]])
    with mount("--metadata-ttl", ttl) as mounted, mounted.program() as program:
        path = f"{mounted.path}/growing"
        assert program.call(programs.read_whole, path) == content[: sizes[0]]
        for before, after in itertools.pairwise(sizes):
            emulator.append("growing", content[before:after], generation=generation, offset=before)

            def has_grown(size: int = after) -> bool:
                return program.call(os.stat, path).st_size == size

            wait_until(has_grown, "the new size")
            assert program.call(programs.read_whole, path) == content[:after]


def test_a_read_at_the_old_end_leaves_no_zeros_behind(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    content = programs.tagged(1, 0, 8192)
    with (
        mount("--metadata-ttl", "0") as mounted,
        mounted.program() as holder,
        mounted.program() as other,
    ):
        generation = emulator.append("growing", content[:100])
        path = f"{mounted.path}/growing"
        descriptor = holder.call(os.open, path, os.O_RDONLY)
        emulator.append("growing", content[100:], generation=generation, offset=100)
        assert other.call(os.stat, path).st_size == 8192
        # Attributes that change while a READ is under way keep the kernel from cutting the
        # file at a READ that comes back short.
        for _ in range(5):
            holder.begin(os.pread, descriptor, 8192, 0)
            for _ in range(20):
                other.call(os.stat, path)
            found = holder.answer()
            assert isinstance(found, bytes)
            assert found == content[: len(found)]
        assert other.call(programs.read_whole, path) == content
