"""Tests of the eviction queues: the invariants, and what stays when more is read than fits."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.caching.eviction_policy import MIN_GHOSTS, SAME_USE_SECONDS, EvictionQueues
from tests.caching.cleaning import MIB, chunk_number

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
            for evicted in queues.evict(target, now):
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


def _hits(
    queues: EvictionQueues, epochs: list[list[int]], capacity: int, start: int = 0
) -> list[float]:
    """Read chunks once in each epoch; return the share of them that was in the cache."""
    rates = []
    now = start
    for numbers in epochs:
        hits = 0
        for number in numbers:
            now += SAME_USE_SECONDS
            chunk = chunk_number(number)
            if chunk in queues:
                hits += 1
                queues.use(chunk, now)
            else:
                queues.put(chunk, MIB, now)
                list(queues.evict(capacity * MIB, now))
        rates.append(hits / len(numbers))
    return rates


def _epochs(count: int, first: int, size: int) -> list[list[int]]:
    source = random.Random(first)
    return [source.sample(range(first, first + size), size) for _ in range(count)]


def test_a_walk_over_more_than_the_cache_holds_keeps_what_is_used_again() -> None:
    used = _epochs(3, 0, 60)
    walk = [list(range(1000, 2000))]
    assert _hits(EvictionQueues(), used + walk + used, 100) == [0, 1, 1, 0, 1, 1, 1]


@pytest.mark.parametrize("size", [150, 200, 400])
def test_epochs_over_more_than_the_cache_holds_find_what_fits(size: int) -> None:
    *_, last = _hits(EvictionQueues(), _epochs(6, 0, size), 100)
    assert last >= 0.8 * 100 / size


def test_files_that_are_no_longer_used_make_room() -> None:
    epochs = _epochs(4, 0, 90) + _epochs(5, 1000, 90)
    assert _hits(EvictionQueues(), epochs, 100)[-1] >= 0.9
    # Also if the new files are more than the cache holds.
    epochs = _epochs(4, 0, 90) + _epochs(7, 1000, 300)
    assert _hits(EvictionQueues(), epochs, 100)[-1] > 0.2


def test_files_that_were_used_once_long_ago_make_room_at_once() -> None:
    queues = EvictionQueues()
    _hits(queues, _epochs(1, 0, 150), 100)
    week = 7 * 24 * 3600
    rates = _hits(queues, _epochs(2, 1000, 80), 100, start=week)
    assert rates == [0, 1]


def test_what_is_used_more_often_stays() -> None:
    source = random.Random(1)
    popular = [int(source.paretovariate(0.7)) % 1000 for _ in range(4000)]
    rates = _hits(EvictionQueues(), [popular[:2000], popular[2000:]], 100)
    counts = Counter(popular[2000:])
    assert rates[1] > 0.8 * sum(count for _, count in counts.most_common(100)) / 2000


def test_accesses_within_a_short_time_are_one_use() -> None:
    queues = EvictionQueues()
    queues.put(chunk_number(0), MIB, 0)
    for second in range(SAME_USE_SECONDS):
        queues.use(chunk_number(0), second)
    assert queues.small[chunk_number(0)].uses == 0
    queues.use(chunk_number(0), SAME_USE_SECONDS)
    assert queues.small[chunk_number(0)].uses == 1


def test_chunks_that_grow_displace_those_that_are_not_used() -> None:
    queues = EvictionQueues()
    for number in range(20):
        queues.put(chunk_number(number), MIB, 0)
    list(queues.evict(10 * MIB, 0))
    used, grown, *_ = queues.main
    queues.use(used, SAME_USE_SECONDS)
    for chunk in (used, grown):
        queues.put(chunk, 3 * MIB, SAME_USE_SECONDS)
    list(queues.evict(6 * MIB, SAME_USE_SECONDS))
    assert used in queues
    assert grown not in queues
