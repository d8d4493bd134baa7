"""Tests that the size of a cache stays bounded after a power cut at any moment."""

from __future__ import annotations

import shutil
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcsmux_fs.caching.chunk_format import ChunkId
from tests.support.examples import examples
from tests.support.sizes import KIB

from .choices import RandomChoices, every_choice
from .disk_history import Losses
from .folders import memory_folder
from .mounts import Clock, MountedCache, chunk_bytes
from .objects import CachedObject, check_reads
from .recording_files import RecordingFiles

if TYPE_CHECKING:
    from pathlib import Path

    from gcsmux_fs.caching.cache_files import CacheFiles

    from .disk_history import DirectoryState

# Each object takes 24 KiB on the disk, so the cache has room for fourteen of them.
SIZE_BYTES = 336 * KIB
MOST_BYTES = SIZE_BYTES * 105 // 100
OLD = tuple(CachedObject(f"old {number}", 20_000) for number in range(18))
NEW = tuple(CachedObject(f"new {number}", 20_000) for number in range(16))


class Examination:
    """Starts from states that power cuts leave; each different state is examined once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen: set[DirectoryState] = set()
        #: How many bytes the chunk files had before the repair, for each state.
        self.sizes: list[int] = []

    def examine(self, state: DirectoryState) -> None:
        """Start, read, repair, and write more than the cache holds."""
        if state in self._seen:
            return
        self._seen.add(state)
        root = self._root
        root.mkdir(mode=0o700)
        state.write(root)
        self.sizes.append(chunk_bytes(root))
        with MountedCache(root, SIZE_BYTES, Clock(), boot=b"the second boot ") as mounted:
            for each in OLD:
                check_reads(mounted.store, each)
            mounted.write_all(NEW[0])
            mounted.keep_house(3)
            self._check_size()
            assert mounted.account.usage().net_bytes == chunk_bytes(root)
            for number, each in enumerate(NEW):
                mounted.write_all(each)
                if number % 4 == 0:
                    mounted.keep_house(0.2)
                    self._check_size()
            # If the ledger names many files that were lost, the cleaner waits for some seconds.
            mounted.keep_house(12, idle_seconds=2)
            mounted.write_all(NEW[-1])
            assert check_reads(mounted.store, NEW[-1]) == NEW[-1].size
        shutil.rmtree(root)

    def _check_size(self) -> None:
        assert chunk_bytes(self._root) <= MOST_BYTES


class RecordedCache:
    """A cache whose mounts are recorded together."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(mode=0o700)
        self._clock = Clock()
        self.recorders: list[RecordingFiles] = []

    def mount(self) -> MountedCache:
        return MountedCache(self._root, SIZE_BYTES, self._clock, wrap=self._record)

    def _record(self, files: CacheFiles) -> CacheFiles:
        beside = self.recorders[0] if self.recorders else None
        recorder = RecordingFiles(files, self._root, below="gcsmux-cache-v1", beside=beside)
        self.recorders.append(recorder)
        return recorder


def fill(mounted: MountedCache) -> None:
    """Write and use objects, and evict some, as mounts do within some seconds."""
    for number, each in enumerate(OLD[:9]):
        mounted.write_all(each)
        mounted.account.touch(ChunkId(OLD[number // 2].identity, 0))
        mounted.keep_house(1 if number % 4 == 0 else 0.1)
    mounted.keep_house(12)


@pytest.mark.slow
def test_single_losses(memory_path: Path) -> None:
    recorded = RecordedCache(memory_path / "first")
    with recorded.mount() as mounted:
        fill(mounted)
    history = recorded.recorders[0].history
    examination = Examination(memory_path / "next")
    count = len(history.operations)
    for _, disk in history.states([count]):
        for number, choices in enumerate(every_choice(max_losses=1)):
            state = disk.cut_power(choices, Losses(tears=True))
            # A third of the losses, and so of each kind, keeps the test short.
            if number % 3 == 0:
                examination.examine(state)
    assert max(examination.sizes) > SIZE_BYTES // 2


@settings(max_examples=examples(12))
@given(
    seed=st.integers(0, 2**32),
    loss=st.sampled_from([0.02, 0.2, 0.5]),
    moments=st.lists(st.floats(0, 1), min_size=3, max_size=3),
)
def test_power_cuts_of_two_mounts(seed: int, loss: float, moments: list[float]) -> None:
    random = Random(seed)
    with memory_folder() as folder:
        recorded = RecordedCache(folder / "first")
        with recorded.mount() as first, recorded.mount() as second:
            for each in OLD:
                mounted = random.choice([first, second])
                mounted.write_all(each)
                mounted.account.touch(ChunkId(random.choice(OLD).identity, 0))
                random.choice([first, second]).keep_house(random.choice([0.02, 0.3, 3]))
        history = recorded.recorders[0].history
        examination = Examination(folder / "next")
        losses = Losses(sector_bytes=random.choice([512, 4096]), zeros=True, foreign=True)
        wanted = [round(moment * len(history.operations)) for moment in moments]
        for _, disk in history.states(wanted, sector_bytes=losses.sector_bytes):
            examination.examine(disk.cut_power(RandomChoices(random, loss), losses))
