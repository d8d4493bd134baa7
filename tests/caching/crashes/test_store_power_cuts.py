"""Tests that a chunk store serves right bytes after a power cut at any moment."""

from __future__ import annotations

import shutil
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from .choices import every_choice
from .disk_history import DirectoryState, Losses
from .objects import CachedObject, check_reads, read_everything, write_everything
from .recording_files import RecordingFiles
from .stores import MountedStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from gcsmux_fs.caching.cache_files import CacheFiles

    from .disk_history import DiskHistory

OBJECTS = (CachedObject("a", 20_000), CachedObject("a", 20_000, generation=2))


class Examination:
    """Starts from states that power cuts leave; each different state is examined once."""

    def __init__(self, root: Path, wanted: Sequence[CachedObject]) -> None:
        self._root = root
        self._wanted = wanted
        self._seen: set[DirectoryState] = set()
        #: How many states served each number of bytes.
        self.served: Counter[int] = Counter()

    def examine(self, state: DirectoryState) -> None:
        """Start, read, write and read again."""
        if state in self._seen:
            return
        self._seen.add(state)
        self._root.mkdir(mode=0o700)
        state.write(self._root)
        with MountedStore(self._root) as mounted:
            self.served[sum(check_reads(mounted.store, each) for each in self._wanted)] += 1
            for each in self._wanted:
                write_everything(mounted.store, each)
            for each in self._wanted:
                read_everything(mounted.store, each)
        shutil.rmtree(self._root)


def recorded(root: Path, use: Callable[[MountedStore], None]) -> DiskHistory:
    """Return the history of a new cache that is used by one mount."""
    root.mkdir(mode=0o700)
    recorders = []

    def record(files: CacheFiles) -> CacheFiles:
        recorders.append(RecordingFiles(files, root, below="gcsmux-cache-v1"))
        return recorders[0]

    with MountedStore(root, wrap=record) as mounted:
        use(mounted)
    return recorders[0].history


@pytest.mark.parametrize(
    ("losses", "max_losses"),
    [
        (Losses(), 2),
        (Losses(metadata=False), 3),
        (Losses(metadata=False, zeros=True, foreign=True), 1),
        (Losses(sector_bytes=512, metadata=False), 1),
    ],
    ids=["metadata", "sectors", "foreign_sectors", "small_sectors"],
)
def test_every_power_cut_during_a_write(
    memory_path: Path, losses: Losses, max_losses: int | None
) -> None:
    def use(mounted: MountedStore) -> None:
        for each in OBJECTS:
            write_everything(mounted.store, each)

    history = recorded(memory_path / "first", use)
    examination = Examination(memory_path / "next", OBJECTS)
    for _, disk in history.states(sector_bytes=losses.sector_bytes):
        for choices in every_choice(max_losses):
            examination.examine(disk.cut_power(choices, losses))
    # Everything, nothing and single granules have survived in some of the states.
    assert {0, 3616, 16_384, 20_000, 40_000} <= set(examination.served)
