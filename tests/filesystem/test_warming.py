"""Tests of warm-ups: which files are found, what is fetched, and how little readers notice."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from gcsmux_fs.filesystem.warming import WarmUp
from gcsmux_fs.model.errors import Unavailable
from gcsmux_fs.reading.cache_warming import cache_charge, cacheable_length
from tests.filesystem.served_bucket import LATENCY_SECONDS, ServedBucket, served
from tests.reading.fakes import metrics_of
from tests.support.sizes import KIB, MIB

TREE = ["a/1", "a/2", "a/b/3", "a/b/c/4.txt", "d/5.txt", "d/%~x", "6*"]


def warm_up(bucket: ServedBucket) -> WarmUp:
    return WarmUp(bucket.tree, bucket.context, "bucket")


async def found(bucket: ServedBucket, *paths: str) -> list[str]:
    """Return the names of the objects that a warm-up of `paths` fetches, in order."""
    bucket.source.requests.clear()
    bucket.context.forget(lambda name: True)
    warming = warm_up(bucket)
    await warming.find(paths)
    await warming.fetch()
    assert warming.counts()["failed"] == 0
    return [request.key.name for request in bucket.source.requests]


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("a/1", ["a/1"]),
        ("a", ["a/1", "a/2", "a/b/3", "a/b/c/4.txt"]),
        ("/a/b/", ["a/b/3", "a/b/c/4.txt"]),
        ("", ["6*", "a/1", "a/2", "a/b/3", "a/b/c/4.txt", "d/%~x", "d/5.txt"]),
        ("a/*", ["a/1", "a/2", "a/b/3", "a/b/c/4.txt"]),
        ("a/[13]", ["a/1"]),
        ("*/*.txt", ["d/5.txt"]),
        ("**/*.txt", ["a/b/c/4.txt", "d/5.txt"]),
        ("a/**/3", ["a/b/3"]),
        ("?/b/**", ["a/b/c/4.txt", "a/b/3"]),
        # A name of an object comes before a pattern.
        ("6*", ["6*"]),
        # The spelling of a name that would be ambiguous.
        ("d/%~%25~x", ["d/%~x"]),
    ],
)
async def test_a_path_is_a_file_a_tree_or_a_pattern(path: str, names: list[str]) -> None:
    async with served(*TREE) as bucket:
        assert sorted(await found(bucket, path)) == sorted(names)


async def test_a_file_that_several_paths_name_is_fetched_once() -> None:
    async with served(*TREE) as bucket:
        names = await found(bucket, "a/1", "a", "a/1")
        assert sorted(names) == ["a/1", "a/2", "a/b/3", "a/b/c/4.txt"]


async def test_paths_without_files_are_reported_and_the_others_are_fetched() -> None:
    async with served(*TREE) as bucket:
        warming = warm_up(bucket)
        await warming.find(["absent", "a/1/x", "x*", "a/1", "\udcff"])
        await warming.fetch()
        counts = warming.counts()
        assert counts["failed"] == 4
        assert counts["failures"][0] == "absent: no such file or directory"
        assert (counts["files"], counts["files_done"]) == (1, 1)
        assert counts["bytes_done"] == counts["bytes"] == 20_000


async def test_readers_have_turns_while_everything_is_cached_already() -> None:
    names = [f"{number % 50:02}/{number:04}" for number in range(2000)]
    async with served(*names, size=1000) as bucket:
        warming = warm_up(bucket)
        await warming.find(["", "**"])
        await warming.fetch()
        turns = 0

        async def read() -> None:
            nonlocal turns
            while True:
                turns += 1
                await trio.lowlevel.checkpoint()

        requests = len(bucket.source.requests)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            warming = warm_up(bucket)
            await warming.find(["", "**"])
            turns_of_find, turns = turns, 0
            await warming.fetch()
            nursery.cancel_scope.cancel()
        assert len(bucket.source.requests) == requests
        # At least one turn for each of the 50 directories of each path, and for each object.
        assert turns_of_find > 100
        assert turns >= 2000


async def test_a_directory_of_several_pages_is_found_whole() -> None:
    names = [f"folder/{number:04}" for number in range(2500)]
    async with served(*names, size=1000, ttl_seconds=0) as bucket:
        warming = warm_up(bucket)
        await warming.find(["folder", "folder/24*"])
        assert warming.counts()["files"] == 2500


async def test_without_permission_to_list_a_named_file_can_be_warmed() -> None:
    async with served("folder/file", assume_directories=True) as bucket:
        bucket.store.may_list = lambda prefix: False
        warming = warm_up(bucket)
        await warming.find(["folder/file", "folder"])
        await warming.fetch()
        counts = warming.counts()
        assert (counts["files_done"], counts["failed"]) == (1, 1)
        assert counts["failures"] == ["folder: not allowed"]


async def test_a_read_after_a_warm_up_requests_nothing() -> None:
    async with served("large", size=9 * MIB + 5) as bucket:
        warming = warm_up(bucket)
        await warming.find(["large"])
        await warming.fetch()
        requested = bucket.source.total
        assert requested == 9 * MIB + 5
        handle = await bucket.open("large")
        content = b"".join(
            [await bucket.read(handle, offset, MIB) for offset in range(0, 10 * MIB, MIB)]
        )
        assert content == bucket.content("large")
        assert bucket.source.total == requested
        bucket.filesystem.release(handle)
        # A second warm-up finds everything cached.
        again = warm_up(bucket)
        await again.find(["large"])
        await again.fetch()
        assert again.counts()["bytes_done"] == 9 * MIB + 5
        assert bucket.source.total == requested


async def test_the_pieces_of_a_file_are_fetched_at_the_same_time() -> None:
    async with served("large", size=8 * MIB) as bucket:
        warming = warm_up(bucket)
        await warming.find(["large"])
        began = trio.current_time()
        await warming.fetch()
        # The budget of 64 MiB allows 8 MiB in flight.
        assert trio.current_time() - began == pytest.approx(LATENCY_SECONDS)


async def test_the_memory_budget_holds_and_a_quarter_stays_for_reads() -> None:
    names = [f"file-{number:02}" for number in range(30)]
    async with served(*names, size=4 * MIB) as bucket:
        warming = warm_up(bucket)
        await warming.find([""])
        assert not warming.fits
        assert warming.counts()["bytes"] == 120 * MIB
        await warming.fetch()
        budget = bucket.context.resources.budget
        # 48 MiB of the budget of 64 MiB: 11 files and a part of the twelfth.
        assert 47 * MIB < budget.used <= 48 * MIB
        counts = warming.counts()
        assert counts["files_done"] == 11
        assert 47 * MIB < counts["bytes_done"] < 48 * MIB
        assert bucket.context.resources.counters.readahead_wasted_bytes == 0


async def test_a_later_warm_up_may_evict_an_earlier_one() -> None:
    async with served("earlier", "later", size=40 * MIB) as bucket:
        for name in ("earlier", "later"):
            warming = warm_up(bucket)
            await warming.find([name])
            await warming.fetch()
            assert warming.counts()["files_done"] == 1
        budget = bucket.context.resources.budget
        assert budget.protected == 0
        assert budget.used <= budget.limit
        requested = bucket.source.total
        again = warm_up(bucket)
        await again.find(["later"])
        await again.fetch()
        assert bucket.source.total == requested


@pytest.mark.parametrize("charge", [-5, 0, 1024, 17 * KIB, 5 * MIB, 2 * MIB + 1024])
def test_the_part_that_fits_is_as_large_as_possible(charge: int) -> None:
    length = cacheable_length(charge)
    assert cache_charge(length) <= max(charge, 0)
    assert cache_charge(length + 16 * KIB) > charge


async def test_a_file_that_fails_does_not_end_the_others() -> None:
    async with served("bad", "good", "late", size=20_000) as bucket:
        warming = warm_up(bucket)
        await warming.find([""])
        bucket.stall("bad")
        bucket.store.put("late", size=20_000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(warming.fetch)
            await trio.testing.wait_all_tasks_blocked()
            (stalled,) = [each for each in bucket.source.pending if each.key.name == "bad"]
            stalled.settle(Unavailable("the service is away"))
        counts = warming.counts()
        assert counts["failures"] == ["bad: the service is away"]
        assert (counts["files"], counts["files_done"]) == (3, 2)


async def test_an_object_that_was_overwritten_is_reported() -> None:
    async with served("file", size=5 * MIB) as bucket:
        warming = warm_up(bucket)
        await warming.find(["file"])
        bucket.stall("file")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(warming.fetch)
            await bucket.answer_gone()
        assert warming.counts()["failed"] == 1
        assert warming.counts()["failures"] == ["file: no such generation"]
        assert bucket.context.resources.fetcher.objects == {}


async def test_a_cancelled_warm_up_leaves_nothing_in_flight() -> None:
    async with served("large", size=20 * MIB) as bucket:
        warming = warm_up(bucket)
        await warming.find(["large"])
        bucket.stall("large")
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(warming.fetch)
                await trio.testing.wait_all_tasks_blocked()
                assert bucket.source.pending
                scope.cancel()
        assert bucket.source.pending == []
        metrics = metrics_of(bucket.context)
        for gauge in ("budget_used", "blocks_loading", "waiting_reads", "objects"):
            assert metrics[gauge] == 0, gauge


async def test_a_warm_up_that_gets_no_answer_ends_with_the_read_timeout() -> None:
    async with served("file") as bucket:
        warming = warm_up(bucket)
        await warming.find(["file"])
        bucket.stall("file")
        await warming.fetch()
        assert warming.counts()["failures"] == [
            f"file: not read within {bucket.context.resources.read_timeout:g} s"
        ]


async def test_while_a_read_waits_a_warm_up_has_little_in_flight() -> None:
    async with served("large", "read", size=40 * MIB) as bucket:
        warming = warm_up(bucket)
        await warming.find(["large"])
        bucket.stall("read")
        bucket.stall("large")
        handle = await bucket.open("read")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bucket.read, handle, 20 * MIB, 4 * KIB)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(warming.fetch)
            await trio.testing.wait_all_tasks_blocked()
            warmed = [each for each in bucket.source.pending if each.key.name == "large"]
            assert sum(each.length for each in warmed) == 2 * MIB
            nursery.cancel_scope.cancel()
        bucket.filesystem.release(handle)


# -- forgetting


async def test_forgotten_bytes_are_fetched_again() -> None:
    async with served("a/file", "a/other", "b") as bucket:
        for name in ("a/file", "a/other", "b"):
            bucket.filesystem.release(await read_file(bucket, name))
        requested = bucket.source.total
        assert bucket.context.forget(lambda name: name.startswith("a/")) == 40_000
        assert bucket.context.resources.budget.used == cache_charge(20_000)
        for name in ("a/file", "a/other", "b"):
            bucket.filesystem.release(await read_file(bucket, name))
        assert bucket.source.total == requested + 40_000


async def test_the_bytes_of_open_files_are_not_forgotten() -> None:
    async with served("file") as bucket:
        handle = await read_file(bucket, "file")
        requested = bucket.source.total
        assert bucket.context.forget(lambda name: True) == 0
        assert await bucket.read(handle) == bucket.content("file")
        assert bucket.source.total == requested
        bucket.filesystem.release(handle)


async def read_file(bucket: ServedBucket, name: str) -> int:
    """Read a whole small file, and return its handle."""
    handle = await bucket.open(name)
    assert await bucket.read(handle) == bucket.content(name)
    return handle
