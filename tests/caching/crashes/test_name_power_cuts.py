"""Tests that kept names are right, or absent, after a power cut and after damage of their files."""

from __future__ import annotations

import shutil
from random import Random
from typing import TYPE_CHECKING, TypeVar

import pytest
import trio

from gcsmux_fs.caching.cache_directory import open_cache_directory
from gcsmux_fs.caching.disk_names import DiskNames
from gcsmux_fs.caching.name_ages import Moment
from gcsmux_fs.caching.name_counters import KeptNameCounters
from gcsmux_fs.caching.name_files import NameFiles, NameFilesPolicy
from gcsmux_fs.caching.name_records import view_of
from gcsmux_fs.caching.name_shelf import NameShelf
from gcsmux_fs.model.values import ListingPage, ObjectInfo
from gcsmux_fs.namespace.resolution import Resolution

from .choices import every_choice
from .damage import DAMAGES, files_below
from .disk_history import Losses
from .recording_files import RecordingFiles

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gcsmux_fs.caching.cache_files import CacheFiles
    from gcsmux_fs.namespace.kept_names import KeptNames

    from .disk_history import DirectoryState

Result = TypeVar("Result")

VIEW = view_of("bucket")
OLD = [ObjectInfo(f"d/{number:03}", 1, 10, 5) for number in range(30)]
NEW = [ObjectInfo(f"d/{number:03}", 2, 20, 6) for number in range(0, 30, 2)]
INFO = ObjectInfo("d/007", 3, 30, 7, content_type="text/plain", metadata={"key": "value"})
TARGETS: dict[str, ObjectInfo | None] = {INFO.name: INFO, "d/absent": None}


class NamesOnDisk:
    """The names that a mount keeps in the cache `root`; all work is done in this thread."""

    def __init__(
        self, root: Path, wrap: Callable[[CacheFiles], CacheFiles] = lambda files: files
    ) -> None:
        self.directory = open_cache_directory(str(root))
        self.counters = KeptNameCounters()
        files = NameFiles(
            wrap(self.directory.files),
            NameFilesPolicy(10_000_000),
            lambda: trio.current_time(),
            self.counters,
        )
        shelf = NameShelf(files, VIEW, self.counters)
        self.names = DiskNames(
            lambda: shelf,
            clock=trio.current_time,
            moment=_moment,
            counters=self.counters,
            in_thread=_at_once,
        )

    async def fill(self) -> None:
        """Keep, invalidate and replace names, as a mount does."""
        names = self.names
        names.note_listing("d/", trio.current_time(), [ListingPage(OLD, ("d/e/",), "")])
        await names.close()
        await trio.sleep(1)
        now = trio.current_time()
        for target, info in TARGETS.items():
            names.note_resolution(target, Resolution(now, info, None))
        names.note_invalidated("d/004", now)
        await names.close()
        await trio.sleep(1)
        names.note_invalidated_below("d/", trio.current_time())
        await names.close()
        await trio.sleep(1)
        names.note_listing("d/", trio.current_time(), [ListingPage(NEW, ("d/e/",), "")])
        await names.close()

    async def check(self) -> bool:
        """Check what is kept; return whether anything is."""
        kept = await self.names.read("d/", 3600.0)
        assert self.counters.kept_names_failures == 0
        return kept is not None and self._check(kept)

    def _check(self, kept: KeptNames) -> bool:
        for target, resolution in kept.resolutions:
            assert resolution.info == TARGETS[target]
        listing = kept.listing
        if listing is not None:
            assert listing.listing.complete
            assert len(listing.listing) in {len(OLD) + 1, len(NEW) + 1}
            expected = OLD if len(listing.listing) == len(OLD) + 1 else NEW
            files = [
                info
                for place in range(len(listing.listing))
                if (info := listing.listing.file_at(place)) is not None
            ]
            assert sorted(files, key=lambda info: info.name) == expected
        return bool(kept.resolutions) or listing is not None


def _moment() -> Moment:
    since_boot = round(trio.current_time() * 1e9) + 10**9
    return Moment(bytes(16), since_boot, since_boot + 10**18, is_synchronised=True)


async def _at_once(function: Callable[[], Result], limiter: trio.CapacityLimiter) -> Result:
    async with limiter:
        return function()


@pytest.mark.slow
async def test_every_power_cut(memory_path: Path) -> None:
    root = memory_path / "first"
    root.mkdir(mode=0o700)
    recorders: list[RecordingFiles] = []

    def record(files: CacheFiles) -> CacheFiles:
        recorders.append(RecordingFiles(files, root, below="gcsmux-cache-v1"))
        return recorders[0]

    first = NamesOnDisk(root, record)
    await first.fill()
    assert await first.check()
    first.directory.close()
    seen: set[DirectoryState] = set()
    results = set()
    history = recorders[0].history
    moments = range(len(history.operations), 12, -11)
    for losses in (Losses(sector_bytes=512), Losses(foreign=True, metadata=False)):
        for _, disk in history.states(moments, sector_bytes=losses.sector_bytes):
            for choices in every_choice(max_losses=1):
                state = disk.cut_power(choices, losses)
                if state in seen:
                    continue
                seen.add(state)
                target = memory_path / "next"
                target.mkdir(mode=0o700)
                state.write(target)
                after = NamesOnDisk(target)
                results.add(await after.check())
                await after.fill()
                assert await after.check()
                after.directory.close()
                shutil.rmtree(target)
    assert results == {False, True}


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.expects_log("names cannot be kept on disk")
async def test_damage(memory_path: Path, kind: str) -> None:
    random = Random(kind)
    for number in range(4):
        root = memory_path / str(number)
        names = NamesOnDisk(root)
        await names.fill()
        found = [path for path in files_below(root) if path.parent.name == "names"]
        DAMAGES[kind](random.choice(found), random.choice(found), random)
        kept = await names.names.read("d/", 3600.0)
        if kept is not None:
            names._check(kept)
        await trio.sleep(1000)
        await names.fill()
        kept = await names.names.read("d/", 3600.0)
        if kept is not None:
            names._check(kept)
        names.directory.close()
