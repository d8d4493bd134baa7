"""Tests that several mounts bound the disk space of one directory together."""

from __future__ import annotations

import dataclasses
import random
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.caching.ledger import decode_records
from gcsmux_fs.caching.real_cache_files import RealCacheFiles
from gcsmux_fs.caching.usage_file import read_usage, request_count
from gcsmux_fs.caching.usage_table import SLOTS, TABLE_BYTES
from tests.caching.cleaning import KIB, MIB, OneMount, chunk_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NewMount = "Callable[..., OneMount]"


@pytest.fixture
def new_mount(tmp_path: Path) -> Iterator[Callable[..., OneMount]]:
    mounts = []

    def new(**options: int | None) -> OneMount:
        mounts.append(OneMount(tmp_path, **options))  # type: ignore[arg-type]
        return mounts[-1]

    yield new
    for mount in mounts:
        mount.close()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_mounts_never_exceed_the_size_together(
    new_mount: Callable[..., OneMount], count: int
) -> None:
    mounts = [new_mount(size_bytes=8 * MIB) for _ in range(count)]
    order = random.Random(count)
    written = 0
    for number in range(200):
        size = order.choice([4 * KIB, 64 * KIB, MIB])
        written += order.choice(mounts).write(chunk_number(number), size)
        assert mounts[0].disk_bytes() <= 8 * MIB
    assert mounts[0].disk_bytes() >= 7 * MIB
    assert written < 200


def test_a_reservation_is_published_before_it_is_checked(
    new_mount: Callable[..., OneMount], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two mounts that ask for the last space at the same moment do not both get it."""
    one, other = new_mount(size_bytes=8 * MIB), new_mount(size_bytes=8 * MIB)
    one.account.flush()
    answers = []
    read = RealCacheFiles.free_bytes

    def free_bytes(files: RealCacheFiles) -> int:
        monkeypatch.setattr(RealCacheFiles, "free_bytes", read)
        answers.append(other.account.admit(chunk_number(2), 5 * MIB))
        return read(files)

    monkeypatch.setattr(RealCacheFiles, "free_bytes", free_bytes)
    answers.append(one.account.admit(chunk_number(1), 5 * MIB))
    assert len(answers) == 2
    assert answers.count(True) <= 1


def test_the_smallest_size_of_the_running_mounts_applies(
    new_mount: Callable[..., OneMount],
) -> None:
    large, small = new_mount(size_bytes=64 * MIB), new_mount(size_bytes=8 * MIB)
    small.account.flush()
    large.account.flush()
    assert not large.account.admit(chunk_number(1), 9 * MIB)
    small.kill()
    large.account.flush()
    assert large.account.admit(chunk_number(1), 9 * MIB)


def test_the_largest_minimum_of_free_space_applies(
    new_mount: Callable[..., OneMount], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RealCacheFiles, "free_bytes", lambda files: 100 * MIB)
    modest, strict = (new_mount(size_bytes=None, min_free_bytes=size * MIB) for size in (10, 90))
    strict.account.flush()
    modest.account.flush()
    assert modest.account.admit(chunk_number(1), 9 * MIB)
    assert not modest.account.admit(chunk_number(2), 11 * MIB)


def test_a_write_that_fails_costs_nothing(new_mount: Callable[..., OneMount]) -> None:
    mount = new_mount(size_bytes=8 * MIB)
    for number in range(100):
        assert mount.account.admit(chunk_number(number), MIB)
    assert mount.account.usage().used_bytes <= MIB


def test_what_an_ended_mount_had_reserved_is_free(new_mount: Callable[..., OneMount]) -> None:
    killed, other = new_mount(size_bytes=8 * MIB), new_mount(size_bytes=8 * MIB)
    assert killed.account.admit(chunk_number(1), 7 * MIB)
    other.account.flush()
    assert not other.account.admit(chunk_number(2), 7 * MIB)
    killed.kill()
    assert other.account.end_slots()
    assert not other.account.end_slots()
    assert other.account.admit(chunk_number(2), 7 * MIB)


def test_the_space_of_an_ended_mount_stays_in_use(new_mount: Callable[..., OneMount]) -> None:
    first = new_mount(size_bytes=8 * MIB)
    first.write(chunk_number(1), 5 * MIB)
    first.kill()
    second = new_mount(size_bytes=8 * MIB)
    assert not second.account.admit(chunk_number(2), 4 * MIB)
    assert second.account.usage().net_bytes == second.disk_bytes()


@pytest.mark.parametrize("damage", ["removed", "zeros", "noise", "short"])
def test_nothing_is_written_beside_chunks_that_were_not_counted(
    new_mount: Callable[..., OneMount], tmp_path: Path, damage: str
) -> None:
    first = new_mount()
    first.write(chunk_number(1), 5 * MIB)
    first.account.close()
    table = tmp_path / "ledgers" / "usage"
    if damage == "removed":
        table.unlink()
    else:
        content = table.read_bytes()
        noise = random.Random(1).randbytes(TABLE_BYTES)
        changed = {"zeros": bytes(TABLE_BYTES), "noise": noise, "short": content[:70]}
        table.write_bytes(changed[damage])
    mount = new_mount()
    assert not mount.account.admit(chunk_number(2), 4 * KIB)
    mount.clean()
    assert mount.account.admit(chunk_number(2), 4 * KIB)
    assert mount.account.usage().net_bytes == mount.disk_bytes()


def test_a_program_that_removed_chunks_can_ask_for_a_count(
    new_mount: Callable[..., OneMount],
) -> None:
    mount = new_mount(size_bytes=8 * MIB)
    mount.write(chunk_number(1), 7 * MIB)
    (mount.path / chunk_number(1).path).unlink()
    request_count(mount.files)
    assert not read_usage(mount.files).counted
    mount.clean()
    assert read_usage(mount.files).net_bytes == 0
    assert mount.account.admit(chunk_number(2), 7 * MIB)


def test_mounts_use_a_new_table_if_the_old_one_was_removed(
    new_mount: Callable[..., OneMount], tmp_path: Path
) -> None:
    one, other = new_mount(size_bytes=8 * MIB), new_mount(size_bytes=8 * MIB)
    one.account.flush()
    other.account.flush()
    (tmp_path / "ledgers" / "usage").unlink()
    one.account.flush()
    other.account.flush()
    one.write(chunk_number(1), 5 * MIB)
    assert not other.account.admit(chunk_number(2), 5 * MIB)


def test_more_mounts_than_slots_read_only(new_mount: Callable[..., OneMount]) -> None:
    mounts = [new_mount() for _ in range(SLOTS + 1)]
    assert [mount.account.admit(chunk_number(1), 4 * KIB) for mount in mounts].count(False) == 1
    # It would not know when to stop evicting.
    mounts[-1].cleaner.run_once()
    assert not mounts[-1].cleaner.cleans


def test_the_journal_has_what_happened(new_mount: Callable[..., OneMount], tmp_path: Path) -> None:
    mount = new_mount()
    mount.write(chunk_number(1), 8 * KIB)
    mount.write(chunk_number(2), 4 * KIB)
    mount.account.removed(chunk_number(2), 4 * KIB)
    mount.account.touch(chunk_number(1))
    mount.account.touch(chunk_number(1))
    mount.account.flush()
    records = decode_records((tmp_path / "ledgers" / "journal").read_bytes())
    assert [(each.event.name, each.chunk, each.size) for each in records] == [
        ("WRITTEN", chunk_number(1), 8 * KIB),
        ("REMOVED", chunk_number(2), 0),
        ("USED", chunk_number(1), 0),
    ]
    assert mount.account.usage().net_bytes == 8 * KIB


def test_the_journal_does_not_grow_if_no_mount_cleans(
    new_mount: Callable[..., OneMount], tmp_path: Path
) -> None:
    mount = new_mount()
    journal = tmp_path / "ledgers" / "journal"
    mount.account.flush()
    with journal.open("wb") as file:
        file.truncate(17 * MIB)
    mount.account.touch(chunk_number(1))
    mount.account.flush()
    assert journal.stat().st_size == 17 * MIB


def test_an_eviction_by_any_mount_is_seen_by_all(new_mount: Callable[..., OneMount]) -> None:
    one, other = new_mount(), new_mount()
    before = other.account.evictions()
    one.account.evicted(1, 4 * KIB)
    assert other.account.evictions() != before


def test_fields_of_a_slot_survive(new_mount: Callable[..., OneMount]) -> None:
    mount = new_mount(size_bytes=8 * MIB, min_free_bytes=MIB)
    mount.write(chunk_number(1), 4 * KIB)
    (slot,) = read_usage(mount.files).slots.values()
    assert slot.limit_bytes == 8 * MIB
    assert slot.min_free_bytes == MIB
    assert slot.taken_bytes == 4 * KIB
    assert dataclasses.astuple(slot.without_mount())[:2] == (4 * KIB, 0)
