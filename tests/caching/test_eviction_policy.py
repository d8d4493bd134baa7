"""Tests of the eviction queues: the invariants, and what stays when more is read than fits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.caching.eviction_policy import MIN_GHOSTS, SAME_USE_SECONDS, EvictionQueues
from tests.caching.cleaning import MIB, chunk_number

if TYPE_CHECKING:
    from gcsmux_fs.caching.chunk_format import ChunkId

_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "use", "remove", "evict"]),
        st.integers(0, 30),
        st.integers(0, 9),
        st.integers(0, 20),
    ),
    max_size=200,
)


@given(_STEPS)
def test_the_queues_keep_their_invariants(steps: list[tuple[str, int, int, int]]) -> None:
    queues = EvictionQueues()
    sizes: dict[int, int] = {}
    now = 0
    for step, number, size, seconds in steps:
        now += seconds
        chunk = chunk_number(number)
        if step == "put":
            queues.put(chunk, size, now)
            sizes[number] = size
        elif step == "use":
            queues.use(chunk, now)
        elif step == "remove":
            queues.remove(chunk)
            sizes.pop(number, None)
        else:
            target = size * 5
            for evicted in queues.evict(target):
                # P3: something had to go.
                assert sum(sizes.values()) > target
                del sizes[next(each for each in sizes if chunk_number(each) == evicted)]
            assert queues.total_bytes <= target
        # P1
        small, main, ghosts = set(queues.small), set(queues.main), set(queues.ghosts)
        assert not small & main
        assert not ghosts & (small | main)
        assert small | main == {chunk_number(each) for each in sizes} == set(queues)
        # P2
        assert queues.small_bytes == sum(known.size for known in queues.small.values())
        assert queues.main_bytes == sum(known.size for known in queues.main.values())
        assert queues.total_bytes == sum(sizes.values())
        # P4
        assert len(ghosts) <= max(MIN_GHOSTS, 31)


def test_a_walk_over_more_than_the_cache_holds_keeps_what_is_used_again() -> None:
    queues = EvictionQueues()
    now = 0
    used = [chunk_number(number) for number in range(50)]
    for _ in range(3):
        for chunk in used:
            now += 1
            queues.put(chunk, MIB, now)
            queues.use(chunk, now)
    evicted: set[ChunkId] = set()
    for number in range(1000, 2000):
        now += 1
        queues.put(chunk_number(number), MIB, now)
        evicted.update(queues.evict(100 * MIB))
    assert not evicted & set(used)
    assert len(queues) == 100


def test_chunks_that_are_not_used_again_make_room() -> None:
    queues = EvictionQueues()
    for number in range(10):
        queues.put(chunk_number(number), MIB, number)
        queues.use(chunk_number(number), number + SAME_USE_SECONDS)
    list(queues.evict(9 * MIB))
    for number in range(100, 200):
        queues.put(chunk_number(number), MIB, 1000)
        queues.use(chunk_number(number), 2000)
        list(queues.evict(10 * MIB))
    assert all(chunk_number(number) not in queues for number in range(10))


def test_accesses_within_a_short_time_are_one_use() -> None:
    queues = EvictionQueues()
    for number in range(2):
        queues.put(chunk_number(number), MIB, 0)
    for second in range(SAME_USE_SECONDS):
        queues.use(chunk_number(0), second)
    queues.use(chunk_number(1), SAME_USE_SECONDS)
    assert list(queues.evict(MIB)) == [chunk_number(0)]


def test_a_chunk_that_returns_soon_after_its_eviction_enters_the_main_queue() -> None:
    queues = EvictionQueues()
    for number in range(3):
        queues.put(chunk_number(number), MIB, 0)
    assert list(queues.evict(2 * MIB)) == [chunk_number(0)]
    queues.put(chunk_number(0), MIB, 1)
    assert list(queues.evict(MIB)) == [chunk_number(1), chunk_number(2)]
