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
