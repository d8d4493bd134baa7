"""Tests that a chunk store serves right bytes after a power cut at any moment."""

from __future__ import annotations

import shutil
from collections import Counter
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcsmux_fs.caching.chunk_format import CHUNK_BYTES, GRANULE_BYTES
from tests.support.examples import examples
from tests.support.sizes import MIB

from .choices import RandomChoices, every_choice
from .disk_history import Losses
from .folders import memory_folder
from .objects import CachedObject, check_reads, read_everything, write_everything
from .recording_files import RecordingFiles
from .stores import MountedStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from gcsmux_fs.caching.cache_files import CacheFiles

    from .disk_history import DirectoryState, DiskHistory

VERSION_FOLDER = "gcsmux-cache-v1"
OBJECTS = (CachedObject("a", 20_000), CachedObject("a", 20_000, generation=2))


class Examination:
    """Starts from states that power cuts leave; each different state is examined once."""

    def __init__(
        self,
        root: Path,
        wanted: Sequence[CachedObject],
        *,
        rewritten: Sequence[CachedObject] | None = None,
    ) -> None:
        self._root = root
        self._wanted = wanted
        self._rewritten = wanted if rewritten is None else rewritten
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
            for each in self._rewritten:
                write_everything(mounted.store, each)
            for each in self._rewritten:
                read_everything(mounted.store, each)
        shutil.rmtree(self._root)


def recorded(root: Path, use: Callable[[MountedStore], None]) -> DiskHistory:
    """Return the history of a new cache that is used by one mount."""
    root.mkdir(mode=0o700)
    recorders = []

    def record(files: CacheFiles) -> CacheFiles:
        recorders.append(RecordingFiles(files, root, below=VERSION_FOLDER))
        return recorders[0]

    with MountedStore(root, wrap=record) as mounted:
        use(mounted)
    return recorders[0].history


@pytest.mark.parametrize(
    ("losses", "max_losses"),
    [
        (Losses(), 2),
        (Losses(metadata=False), 2),
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


# An object whose last granules are in a second chunk; only granules around the border are written.
BORDER = CachedObject("border", 4 * MIB + 20_000)
HISTORIES = (*OBJECTS, BORDER)


@st.composite
def actions(draw: st.DrawFn) -> tuple[int, str, CachedObject, int, int]:
    """Return mount, action, object, first granule and number of granules."""
    each = draw(st.sampled_from(HISTORIES))
    granules = -(-each.size // GRANULE_BYTES)
    first = draw(st.integers(max(0, granules - 4), granules - 1))
    kind = draw(st.sampled_from(["write", "write", "write", "read", "drop", "reopen"]))
    return draw(st.integers(0, 1)), kind, each, first, draw(st.integers(1, 3))


class TwoMounts:
    """Two mounts that use one cache, whose operations are recorded together."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(mode=0o700)
        self.recorders: list[RecordingFiles] = []
        self._mounts = [self._mount(), self._mount()]

    def _mount(self) -> MountedStore:
        def record(files: CacheFiles) -> CacheFiles:
            beside = self.recorders[0] if self.recorders else None
            self.recorders.append(
                RecordingFiles(files, self._root, below=VERSION_FOLDER, beside=beside)
            )
            return self.recorders[-1]

        return MountedStore(self._root, open_files=2, wrap=record)

    def act(self, mount: int, kind: str, target: CachedObject, first: int, count: int) -> None:
        store = self._mounts[mount].store
        start = first * GRANULE_BYTES
        end = min(target.size, start + count * GRANULE_BYTES)
        end = min(end, (start // CHUNK_BYTES + 1) * CHUNK_BYTES)
        if kind == "write":
            store.write(target.identity, target.size, start, target.content[start:end])
        elif kind == "read":
            check_reads(store, target)
        elif kind == "drop":
            store.drop_object(target.identity, target.size)
        else:
            self._mounts[mount].close()
            self._mounts[mount] = self._mount()

    def close(self) -> None:
        for mount in self._mounts:
            mount.close()


@settings(max_examples=examples(30))
@given(
    steps=st.lists(actions(), min_size=1, max_size=25),
    seed=st.integers(0, 2**32),
    loss=st.sampled_from([0.02, 0.2, 0.5]),
    sector_bytes=st.sampled_from([512, 4096]),
)
def test_power_cuts_of_random_histories(
    steps: list[tuple[int, str, CachedObject, int, int]], seed: int, loss: float, sector_bytes: int
) -> None:
    random = Random(seed)
    with memory_folder() as folder:
        mounts = TwoMounts(folder / "first")
        for step in steps:
            mounts.act(*step)
        mounts.close()
        history = mounts.recorders[0].history
        moments = random.choices(range(len(history.operations) + 1), k=4)
        losses = Losses(sector_bytes, zeros=True, foreign=True)
        examination = Examination(folder / "next", HISTORIES, rewritten=OBJECTS)
        for _, disk in history.states(moments, sector_bytes=sector_bytes):
            for _ in range(4):
                examination.examine(disk.cut_power(RandomChoices(random, loss), losses))
