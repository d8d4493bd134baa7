"""Tests that names survive a restart, with their age, and that nothing brings old names back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

from gcsmux_fs.caching.name_files import NameFilesPolicy
from gcsmux_fs.caching.name_shelf import NameShelf
from gcsmux_fs.model.errors import PermissionDenied
from gcsmux_fs.namespace.tree import ROOT_INODE, NoSuchEntry, Tree
from tests.namespace.fake_store import object_info
from tests.namespace.mounted import follow, object_at, read_names

from .name_world import Machine

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "cache")


async def test_a_listing_answers_readers_and_lookups_after_a_restart(machine: Machine) -> None:
    machine.store.put("a", "dir/b", "dir/c")
    async with machine.mount() as tree:
        names = await read_names(tree)
        await read_names(tree, (await follow(tree, "dir")).inode)
    machine.store.take_requests()
    async with machine.mount() as tree:
        assert await read_names(tree) == names == [b"a", b"dir"]
        assert await read_names(tree, (await follow(tree, "dir")).inode) == [b"b", b"c"]
        assert await object_at(tree, "dir/c") == ("dir/c", 3)
        assert await object_at(tree, "absent") is None
        assert machine.store.take_requests() == []


async def test_answers_about_single_names_survive(machine: Machine) -> None:
    machine.store.put("dir/a", "dir/b/c")
    async with machine.mount(negative_ttl_seconds=60) as tree:
        assert await object_at(tree, "dir/a") == ("dir/a", 1)
        assert await object_at(tree, "dir/absent") is None
        assert (await follow(tree, "dir/b")).is_directory
    machine.store.take_requests()
    async with machine.mount(negative_ttl_seconds=60) as tree:
        assert await object_at(tree, "dir/a") == ("dir/a", 1)
        assert await object_at(tree, "dir/absent") is None
        assert (await follow(tree, "dir/b")).is_directory
        assert machine.store.take_requests() == []


async def test_all_attributes_of_an_object_survive(machine: Machine) -> None:
    store = machine.store
    info = replace(
        object_info("ü", 7, 123),
        metageneration=3,
        crc32c=0xFFFFFFFF,
        content_type="text/plain",
        content_encoding="gzip",
        storage_class="ARCHIVE",
        metadata={"ключ": "значение", "": ""},
    )
    store.replace_info(info)
    store.replace_info(replace(info, name="dir/", metadata={}, crc32c=None, size=0))
    for lists in (False, True):
        async with machine.mount() as tree:
            before = tree.object_of((await follow(tree, "ü")).inode)
            placeholder = tree.object_of((await follow(tree, "dir")).inode)
            if lists:
                await read_names(tree)
        store.take_requests()
        async with machine.mount() as tree:
            assert tree.object_of((await follow(tree, "ü")).inode) == before == info
            assert tree.object_of((await follow(tree, "dir")).inode) == placeholder
            assert store.take_requests() == []


async def test_special_names_survive(machine: Machine) -> None:
    long = "x" * 300
    machine.store.put("both", "both/x", "both//odd", "%~quoted", long, f"{long}/y", "dir/.", "d/")
    async with machine.mount() as tree:
        paths = await _walk(tree)
    machine.store.take_requests()
    async with machine.mount() as tree:
        assert await _walk(tree) == paths
        for path in paths:
            await follow(tree, path)
        assert machine.store.take_requests() == []


async def test_empty_folders_of_a_hierarchical_bucket_survive(machine: Machine) -> None:
    machine.store.folders = {"empty/", "full/"}
    machine.store.put("full/a")
    async with machine.mount() as tree:
        assert await _walk(tree) == ["empty", "full", "full/a"]
    machine.store.take_requests()
    async with machine.mount() as tree:
        assert await _walk(tree) == ["empty", "full", "full/a"]
        assert machine.store.take_requests() == []


async def test_a_mount_of_one_folder_shares_the_names(machine: Machine) -> None:
    machine.store.put("team/a", "team/b/c")
    async with machine.mount() as tree:
        await _walk(tree)
    machine.store.take_requests()
    async with machine.mount(prefix="team/") as tree:
        assert await _walk(tree) == ["a", "b", "b/c"]
        assert machine.store.take_requests() == []


async def test_an_answer_is_as_old_after_a_restart_as_before(machine: Machine) -> None:
    machine.store.put("a")
    machine.store.delay_seconds = 1
    async with machine.mount() as tree:
        asked_at = trio.current_time()
        await read_names(tree)
        await trio.sleep(30)
    async with machine.mount() as tree:
        machine.store.take_requests()
        entry = await follow(tree, "a")
        assert entry.name_valid_seconds == pytest.approx(asked_at + 60 - trio.current_time())
        await trio.sleep(asked_at + 59.9 - trio.current_time())
        await read_names(tree)
        assert machine.store.take_requests() == []
        await trio.sleep(0.2)
        await follow(tree, "a")
        assert len(machine.store.take_requests()) == 1


async def test_absence_is_valid_for_the_negative_ttl_only(machine: Machine) -> None:
    machine.store.put("a")
    async with machine.mount() as tree:
        await read_names(tree)
        with pytest.raises(NoSuchEntry):
            await tree.lookup(ROOT_INODE, b"b")
    machine.store.put("b")
    async with machine.mount() as tree:
        assert await object_at(tree, "b") is None
        await trio.sleep(5)
        assert await object_at(tree, "b") == ("b", 2)


@pytest.mark.parametrize("name", ["", "dir/", "dir/a", "dir/other/", "other"])
async def test_dropped_names_stay_dropped(machine: Machine, name: str) -> None:
    machine.store.put("dir/a", "dir/b", "dir/other/c")
    async with machine.mount() as tree:
        await _walk(tree)
        await trio.sleep(1)
        tree.invalidate(name)
    machine.store.put("dir/a")
    async with machine.mount() as tree:
        is_dropped = name in ("", "dir/", "dir/a")
        assert await object_at(tree, "dir/a") == ("dir/a", 4 if is_dropped else 1)


async def test_an_answer_that_another_mount_writes_later_stays_dropped(machine: Machine) -> None:
    machine.store.put("a")
    async with machine.mount() as first:
        await read_names(first)
        await object_at(first, "a")
        machine.store.put("a")
        await trio.sleep(0.1)
        async with machine.mount() as second:
            second.invalidate("a")
            second.invalidate("")
    async with machine.mount() as tree:
        assert await object_at(tree, "a") == ("a", 2)


async def test_a_new_answer_replaces_an_invalidation(machine: Machine) -> None:
    machine.store.put("a", "b")
    async with machine.mount() as tree:
        await read_names(tree)
        tree.invalidate("a")
        await trio.sleep(2)
        machine.store.put("a")
        assert await object_at(tree, "a") == ("a", 3)
    machine.store.take_requests()
    async with machine.mount() as tree:
        assert await object_at(tree, "a") == ("a", 3)
        assert await object_at(tree, "b") == ("b", 2)
        assert machine.store.take_requests() == []
        await read_names(tree)
        # The listing has an entry that was invalidated, so it does not serve a new reader.
        assert machine.store.take_requests() == ["list "]


async def test_an_answer_does_not_replace_an_invalidation_before_it_is_written(
    machine: Machine,
) -> None:
    machine.store.put("a")
    async with machine.mount() as tree:
        await read_names(tree)
        await trio.sleep(3)
        machine.store.put("a")
        tree.invalidate("a")
        assert await object_at(tree, "a") == ("a", 2)
    async with machine.mount() as tree:
        machine.store.take_requests()
        await read_names(tree)
        assert machine.store.take_requests() == ["list "]


async def test_a_listing_with_a_torn_invalidation_is_not_used(machine: Machine) -> None:
    machine.store.put("a", "b")
    async with machine.mount() as tree:
        await read_names(tree)
        await trio.sleep(3)
        tree.invalidate("a")
    machine.store.put("a")
    for path in machine.folder.glob("*/names/*"):
        content = path.read_bytes()
        if b"a\nb" in content:
            path.write_bytes(content[:-5])
        else:
            path.unlink()
    async with machine.mount() as tree:
        assert await object_at(tree, "a") == ("a", 3)


async def test_a_listing_that_memory_has_evicted_is_read_again(machine: Machine) -> None:
    machine.store.put(*(f"dir{number}/a" for number in range(9)))
    async with machine.mount(max_listed_entries=60) as tree:
        inodes = [(await follow(tree, f"dir{number}")).inode for number in range(9)]
        for inode in inodes:
            await read_names(tree, inode)
        await trio.sleep(3)
        machine.store.take_requests()
        for inode in inodes:
            await read_names(tree, inode)
        assert machine.store.take_requests() == []


async def test_many_invalidations_of_one_directory_drop_all_of_it(machine: Machine) -> None:
    names = [f"dir/{number:03}" for number in range(300)]
    machine.store.put(*names)
    async with machine.mount() as tree:
        await _walk(tree)
        await trio.sleep(2)
        for name in names:
            tree.invalidate(name)
    machine.store.put(*names)
    async with machine.mount() as tree:
        machine.store.take_requests()
        assert await object_at(tree, "dir/299") == ("dir/299", 600)
        assert await object_at(tree, "dir/000") == ("dir/000", 301)


async def test_a_caller_who_may_not_list_keeps_what_it_may_see(machine: Machine) -> None:
    store = machine.store
    store.put("dir/a")
    store.may_list = lambda _: False
    store.get_takes_list = True
    async with machine.mount(assume_directories=True) as tree:
        assert await object_at(tree, "dir/a") == ("dir/a", 1)
    store.take_requests()
    async with machine.mount(assume_directories=True) as tree:
        assert await object_at(tree, "dir/a") == ("dir/a", 1)
        assert store.take_requests() == []
        # A refusal is never cached.
        await trio.sleep(5)
        await follow(tree, "dir")
        assert store.take_requests() != []


async def test_another_identity_sees_nothing(machine: Machine) -> None:
    machine.store.put("secret")
    async with machine.mount() as tree:
        await read_names(tree)
        await follow(tree, "secret")
    machine.store.may_list = machine.store.may_get = lambda _: False
    machine.view = b"another view".ljust(32)
    async with machine.mount() as tree:
        with pytest.raises(PermissionDenied):
            await read_names(tree)
        with pytest.raises(PermissionDenied):
            await follow(tree, "secret")


async def test_a_large_listing_is_kept_whole(machine: Machine) -> None:
    machine.store.put(*(f"{number:05}" for number in range(3500)), "dir/x")
    async with machine.mount() as tree:
        names = await read_names(tree)
    machine.store.take_requests()
    async with machine.mount(max_listed_entries=1) as tree:
        # The memory cache evicts each listing at once, so each reader reads the disk again.
        for _ in range(2):
            assert await read_names(tree) == names
        assert machine.store.take_requests() == []


async def test_an_incomplete_listing_is_not_kept(machine: Machine) -> None:
    machine.store.put(*(f"{number:04}" for number in range(1500)))
    async with machine.mount() as tree:
        handle = tree.open_directory(ROOT_INODE)
        for _, _, entry in await handle.entries_from(0):
            tree.forget(entry.inode, 1)
        handle.release()
    machine.store.take_requests()
    async with machine.mount() as tree:
        assert len(await read_names(tree)) == 1500
        assert len(machine.store.take_requests()) == 2


# -- clocks


async def test_a_clock_that_jumps_makes_nothing_younger(machine: Machine) -> None:
    machine.store.put("a")
    async with machine.mount(ttl_seconds=3600) as tree:
        await read_names(tree)
    machine.store.put("b")
    await trio.sleep(1800)
    machine.day_error_ns -= 3600 * 10**9
    async with machine.mount(ttl_seconds=3600) as tree:
        assert await read_names(tree) == [b"a"]
        await trio.sleep(1801)
        assert await read_names(tree) == [b"a", b"b"]


@pytest.mark.parametrize("jump_seconds", [-7200, -3601, 3600, 10**6])
async def test_after_a_boot_a_clock_that_jumps_costs_only_requests(
    machine: Machine, jump_seconds: int
) -> None:
    machine.store.put("a")
    async with machine.mount(ttl_seconds=3600) as tree:
        await read_names(tree)
    machine.store.put("b")
    await trio.sleep(1800)
    machine.reboot()
    machine.day_error_ns += jump_seconds * 10**9
    async with machine.mount(ttl_seconds=3600) as tree:
        assert await read_names(tree) == [b"a", b"b"]


async def test_after_a_boot_only_a_synchronised_clock_counts(machine: Machine) -> None:
    machine.store.put("a")
    async with machine.mount(ttl_seconds=3600) as tree:
        await read_names(tree)
    machine.store.put("b")
    machine.reboot()
    machine.is_synchronised = False
    async with machine.mount(ttl_seconds=3600) as tree:
        assert await read_names(tree) == [b"a", b"b"]
    machine.is_synchronised = True
    machine.reboot()
    async with machine.mount(ttl_seconds=3600) as tree:
        assert await read_names(tree) == [b"a", b"b"]


async def test_an_unlimited_ttl_needs_no_clock(machine: Machine) -> None:
    machine.store.put("a")
    async with machine.mount(ttl_seconds=float("inf")) as tree:
        await read_names(tree)
    machine.reboot()
    machine.is_synchronised = False
    machine.store.take_requests()
    async with machine.mount(ttl_seconds=float("inf")) as tree:
        assert await read_names(tree) == [b"a"]
        assert machine.store.take_requests() == []


# -- files


async def test_a_damaged_file_is_a_miss(machine: Machine) -> None:
    machine.store.put("a", "dir/b")
    async with machine.mount() as tree:
        names = await _walk(tree)
        await trio.sleep(5)
        assert await object_at(tree, "dir/absent") is None
    kept = [path for path in machine.folder.glob("*/names/*") if path.is_file()]
    assert len(kept) >= 3
    contents = [path.read_bytes() for path in kept]
    for path, content in zip(kept, contents, strict=True):
        flipped = [
            content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
            for at in range(0, len(content), 9)
        ]
        for damaged in (b"", content[:40], content[:-1], content[1:], content + b"?", *flipped):
            path.write_bytes(damaged)
            async with machine.mount(ends_cleanly=lambda: False) as tree:
                assert await _walk(tree) == names
                assert await object_at(tree, "dir/absent") is None
        path.write_bytes(content)
    for path, content in zip(kept, contents[1:] + contents[:1], strict=True):
        path.write_bytes(content)
    async with machine.mount() as tree:
        assert await _walk(tree) == names


async def test_a_link_is_not_followed(machine: Machine, tmp_path: Path) -> None:
    machine.store.put("a")
    async with machine.mount() as tree:
        await read_names(tree)
    for path in machine.folder.glob("*/names/*"):
        path.rename(tmp_path / path.name)
        path.symlink_to(tmp_path / path.name)
    machine.store.take_requests()
    async with machine.mount() as tree:
        assert await read_names(tree) == [b"a"]
        assert machine.store.take_requests() == ["list "]


@pytest.mark.expects_log("names cannot be kept on disk")
async def test_a_hanging_disk_delays_few_lookups_by_a_second(machine: Machine) -> None:
    machine.store.put(*(f"dir{number}/a" for number in range(10)))
    machine.disk_seconds = 1e9
    async with machine.mount() as tree:
        for number in range(10):
            await object_at(tree, f"dir{number}/a")
        assert trio.current_time() <= 2.1
        await trio.sleep(1000)


@pytest.mark.expects_log("names cannot be kept on disk")
async def test_after_an_error_of_the_disk_names_are_kept_again(machine: Machine) -> None:
    machine.store.put("a")
    machine.disk_error = OSError(5, "Input/output error")
    async with machine.mount(ttl_seconds=1000) as tree:
        await read_names(tree)
        tree.invalidate("b")
        await trio.sleep(3)
        machine.disk_error = None
        await trio.sleep(400)
        await read_names(tree)
        tree.invalidate("")
        await trio.sleep(1)
        await read_names(tree)
    machine.store.take_requests()
    async with machine.mount(ttl_seconds=1000) as tree:
        await read_names(tree)
        assert machine.store.take_requests() == []


@pytest.mark.expects_log("please report it as a bug", "names cannot be kept on disk")
async def test_a_bug_in_kept_names_does_not_end_the_mount(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    for method in ("fetch", "write"):
        monkeypatch.setattr(NameShelf, method, fail)
    machine.store.put("a")
    async with machine.mount() as tree:
        assert await read_names(tree) == [b"a"]
        await trio.sleep(20)
        assert await object_at(tree, "a") == ("a", 1)


async def test_old_files_give_way_to_new_ones(machine: Machine) -> None:
    machine.policy = NameFilesPolicy(max_bytes=200_000)
    machine.store.put(*(f"dir{number:03}/a" for number in range(100)))
    async with machine.mount() as tree:
        await read_names(tree)
        for number in range(100):
            await read_names(tree, (await follow(tree, f"dir{number:03}")).inode)
            await trio.sleep(2)
    used = sum(path.stat().st_blocks * 512 for path in machine.folder.glob("*/names/*"))
    assert 100_000 < used <= 200_000
    machine.store.take_requests()
    async with machine.mount(ttl_seconds=1000) as tree:
        await read_names(tree, (await follow(tree, "dir099")).inode)
        assert machine.store.take_requests() == []


async def test_nothing_is_written_to_a_full_disk(machine: Machine) -> None:
    machine.policy = NameFilesPolicy(max_bytes=10**9, min_free_bytes=2**62)
    machine.store.put("a")
    async with machine.mount() as tree:
        await read_names(tree)
    assert list(machine.folder.glob("*/names/*")) == []


async def _walk(tree: Tree, path: str = "") -> list[str]:
    inode = ROOT_INODE if not path else (await follow(tree, path)).inode
    found: list[str] = []
    for name in await read_names(tree, inode):
        below = f"{path}/{name.decode()}" if path else name.decode()
        found.append(below)
        if (await follow(tree, below)).is_directory:
            found += await _walk(tree, below)
    return found
