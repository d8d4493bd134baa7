"""Tests of the cleaning mount: what it evicts, and how it corrects a ledger that is wrong."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.caching import chunk_count, ledger_files
from gcsmux_fs.caching.chunk_count import ChunkCount
from gcsmux_fs.caching.cleaner_lock import STALE_SECONDS
from gcsmux_fs.caching.ledger_sections import Section
from gcsmux_fs.caching.real_cache_files import RealCacheFiles
from tests.caching.cleaning import KIB, OneMount, chunk_number

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The cache has room for 64 chunks of one unit.
UNIT = 64 * KIB
FULL = 64 * UNIT


@pytest.fixture(params=[False, True], ids=["fast steps", "slow steps"])
def mount(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[OneMount]:
    mount = OneMount(tmp_path, size_bytes=FULL, slow_steps=request.param)
    yield mount
    mount.close()


def _written(mount: OneMount, numbers: range, size: int = UNIT) -> int:
    """Write chunks, one each second, and clean meanwhile; return how many were written."""
    written = 0
    for number in numbers:
        written += mount.write(chunk_number(number), size)
        mount.account.flush()
        mount.clean_for(1)
    return written


def _known_chunks(mount: OneMount) -> int:
    """Return how many chunks the ledger has."""
    ledger = mount.cleaner._ledger
    assert ledger is not None
    return sum(len(ledger.load(section)) for section in ledger.sections)


def test_evicted_chunks_make_room_for_new_ones(mount: OneMount) -> None:
    assert _written(mount, range(200)) == 200
    left = {path.name for path in mount.chunk_files()}
    assert len(left) in range(45, 65)
    assert all(chunk_number(number).path.rpartition("/")[2] in left for number in range(197, 200))
    assert mount.account.counters.disk_cache_evictions == 200 - len(left)
    mount.clean_for(20)
    assert _known_chunks(mount) == len(left)
    assert mount.account.usage().net_bytes == mount.disk_bytes()


def test_chunks_that_are_used_stay_during_a_walk(mount: OneMount) -> None:
    used = [chunk_number(number) for number in range(1000, 1030)]
    for chunk in used:
        mount.write(chunk, UNIT)
    mount.clean_for(11)
    for chunk in used:
        mount.account.touch(chunk)
    mount.clean_for(11)
    _written(mount, range(320))
    assert all((mount.path / chunk.path).exists() for chunk in used)


def test_the_cache_shrinks_when_other_files_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 500 * UNIT
    monkeypatch.setattr(RealCacheFiles, "free_bytes", lambda files: free)
    mount = OneMount(tmp_path, size_bytes=None, min_free_bytes=100 * UNIT)
    assert _written(mount, range(60)) == 60
    assert mount.disk_bytes() == 60 * UNIT
    before = mount.disk_bytes()
    free = 70 * UNIT
    mount.clean_for(5)
    freed = before - mount.disk_bytes()
    assert freed >= 30 * UNIT
    # The fake disk does not gain what the cleaner frees, so everything goes in the end.
    free = 0
    mount.clean_for(60)
    assert mount.disk_bytes() == 0
    mount.close()


def test_chunks_that_no_ledger_knows_are_found(mount: OneMount) -> None:
    for number in range(40):
        mount.write_unrecorded(chunk_number(number), 2 * UNIT)
        os.utime(mount.path / chunk_number(number).path, (0, 1000))
    mount.clean()
    assert mount.disk_bytes() <= FULL
    assert mount.account.usage().net_bytes == mount.disk_bytes()
    # They can be evicted.
    _written(mount, range(100, 200))
    assert not any((mount.path / chunk_number(number).path).exists() for number in range(40))


def test_a_lost_ledger_is_built_again_with_the_oldest_chunk_first(mount: OneMount) -> None:
    for number in range(50):
        mount.write(chunk_number(number), UNIT)
        os.utime(mount.path / chunk_number(number).path, (0, 1000 - number))
    mount.clean_for(5)
    mount.kill()
    for path in (mount.path / "ledgers").iterdir():
        path.unlink()
    again = OneMount(mount.path, size_bytes=FULL)
    again.clean_for(20)
    assert again.account.usage().net_bytes == again.disk_bytes()
    ledger = again.cleaner._ledger
    assert ledger is not None
    assert [*ledger.load(Section(0, 0))] == [chunk_number(number) for number in range(49, -1, -1)]
    again.close()


def test_entries_without_a_file_are_dropped(mount: OneMount) -> None:
    for number in range(50):
        mount.write(chunk_number(number), UNIT)
    mount.clean_for(200)
    for number in range(50):
        (mount.path / chunk_number(number).path).unlink()
    mount.clean_for(8000)
    assert _known_chunks(mount) == 0
    assert mount.account.usage().net_bytes == 0
    assert _written(mount, range(100, 150)) == 50


def test_a_chunk_that_is_evicted_during_a_count_stays_evicted(mount: OneMount) -> None:
    for number in range(50):
        mount.write(chunk_number(number), UNIT)
    mount.clean_for(200)
    ledger = mount.cleaner._ledger
    assert ledger is not None
    count = ChunkCount(mount.files, ledger, mount.account.usage, random.Random(1))
    while not count._found:
        count.step(lambda: False)
    evicted = next(iter(count._found))
    (mount.path / evicted.path).unlink()
    ledger.load(Section(0, 0)).remove(evicted)
    count.note_eviction(evicted)
    while not count.done:
        count.step(lambda: False)
    assert evicted not in ledger.load(Section(0, 0))
    assert _known_chunks(mount) == 49


def test_a_file_in_a_wrong_directory_is_removed(mount: OneMount) -> None:
    chunk = chunk_number(1)
    mount.write_unrecorded(chunk, UNIT)
    wrong = mount.path / "chunks" / f"{(chunk.shard + 1) % 256:02x}"
    wrong.mkdir(exist_ok=True)
    (mount.path / chunk.path).rename(wrong / chunk.path.rpartition("/")[2])
    (wrong / "foreign").write_bytes(b"x")
    (wrong / "directory").mkdir()
    mount.clean_for(20)
    assert [path.name for path in mount.chunk_files()] == ["foreign"]


def test_another_mount_continues_after_a_kill(mount: OneMount) -> None:
    other = OneMount(mount.path, size_bytes=FULL, clock=mount.clock)
    _written(mount, range(70))
    for number in range(100, 110):
        mount.write_unrecorded(chunk_number(number), UNIT)
        mount.account.admit(chunk_number(200 + number), 2 * UNIT)
    assert not other.cleaner.run_once()
    assert not other.cleaner.cleans
    mount.kill()
    other.clean_for(30)
    assert other.cleaner.cleans
    assert other.account.usage().net_bytes == other.disk_bytes() <= FULL
    assert other.account.usage().used_bytes == other.disk_bytes()
    assert _written(other, range(300, 400)) == 100
    other.close()


def test_cleaning_goes_on_after_the_clock_was_set_back(mount: OneMount) -> None:
    waiting = OneMount(mount.path, size_bytes=FULL, clock=mount.clock)
    killed = OneMount(mount.path, size_bytes=FULL, clock=mount.clock)
    mount.clean_for(5)
    waiting.clean_for(1)
    killed.account.admit(chunk_number(1), 8 * UNIT)
    killed.kill()
    mount.clock.now -= 3600
    mount.clean_for(20)
    assert mount.account.usage().used_bytes == mount.disk_bytes()
    mount.kill()
    waiting.clean_for(20)
    assert waiting.cleaner.cleans
    waiting.close()


def test_a_stopped_mount_loses_the_lock(mount: OneMount) -> None:
    mount.cleaner.run_once()
    assert mount.cleaner.cleans
    other = OneMount(mount.path, size_bytes=FULL)
    other.cleaner.run_once()
    # The cleaning mount is stopped: it does nothing, and keeps its lock.
    other.clock.now = (mount.path / "ledgers" / "cleaner").stat().st_mtime + STALE_SECONDS + 1
    other.clean_for(5)
    assert other.cleaner.cleans
    # It continues.
    mount.cleaner.run_once()
    assert not mount.cleaner.cleans
    assert other.cleaner.cleans
    other.close()


def test_a_mount_that_cleans_keeps_the_lock(mount: OneMount) -> None:
    mount.clock.now = mount.path.stat().st_mtime
    other = OneMount(mount.path, size_bytes=FULL, clock=mount.clock)
    for _ in range(3 * STALE_SECONDS):
        mount.clock.now += 1
        mount.cleaner.run_once()
        os.utime(mount.path / "ledgers" / "cleaner", (0, mount.clock.now))
        other.cleaner.run_once()
    assert mount.cleaner.cleans
    assert not other.cleaner.cleans
    other.close()


def test_a_large_ledger_is_split(mount: OneMount, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (ledger_files, chunk_count):
        monkeypatch.setattr(module, "SECTION_CHUNKS", 100)
    for number in range(110):
        mount.write_unrecorded(chunk_number(number), 0)
    mount.clean_for(150)
    names = {path.name for path in (mount.path / "ledgers").glob("section-*")}
    assert "section-0-00" not in names
    assert len(names) >= 2
    again = OneMount(mount.path, size_bytes=FULL)
    mount.cleaner.close()
    again.write(chunk_number(110), 4 * KIB)
    again.clean_for(30)
    assert _known_chunks(again) == 111
    again.close()


def test_a_full_disk_does_not_stop_the_eviction(
    mount: OneMount, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(60):
        mount.write(chunk_number(number), UNIT)
    mount.clean_for(20)
    free = 0

    def write(*args: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(RealCacheFiles, "free_bytes", lambda files: free - 40 * UNIT)
        full.setattr(mount.cleaner._ledger, "_replace", write)
        mount.clean_for(5)
    assert mount.disk_bytes() <= 40 * UNIT


def test_a_disk_error_is_reported_and_the_next_step_goes_on(
    mount: OneMount, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(63):
        mount.write(chunk_number(number), UNIT)
    mount.account.flush()

    def remove(*args: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as failing:
        failing.setattr(RealCacheFiles, "remove", remove)
        with pytest.raises(OSError, match="Input/output"):
            mount.clean_for(20)
    mount.clean_for(20)
    assert mount.disk_bytes() < 63 * UNIT
    assert mount.account.usage().net_bytes == mount.disk_bytes()
