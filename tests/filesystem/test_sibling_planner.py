"""What is fetched ahead across files, for which order of opening."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.filesystem.sibling_planner import MAX_WINDOW_FILES, SiblingPlanner


def planned(positions: list[int]) -> list[int]:
    planner = SiblingPlanner()
    return [position for read in positions for position in planner.observe(read)]


def test_nothing_is_fetched_before_a_walk_has_begun() -> None:
    assert planned([0]) == []
    assert planned([0, 1]) == []


def test_the_third_file_in_order_begins_a_walk() -> None:
    assert planned([0, 1, 2]) == [3, 4, 5, 6]


def test_a_walk_may_begin_anywhere_and_leave_files_out() -> None:
    assert planned([500, 503, 505])[:2] == [506, 507]


def test_the_window_doubles_up_to_its_limit() -> None:
    planner = SiblingPlanner()
    furthest = 0
    ahead = []
    for position in range(1000):
        for wanted in planner.observe(position):
            furthest = wanted
        ahead.append(furthest - position)
    assert max(ahead) == MAX_WINDOW_FILES
    # Topped up before it is half empty.
    assert min(ahead[100:]) >= MAX_WINDOW_FILES // 2 - 1


def test_each_file_of_a_long_walk_is_planned_once() -> None:
    found = planned(list(range(1000)))
    assert found == list(range(3, found[-1] + 1))


def test_readers_side_by_side_are_one_walk() -> None:
    source = random.Random(1)
    order = [
        index for base in range(0, 800, 16) for index in source.sample(range(base, base + 16), 16)
    ]
    found = planned(order)
    assert len(found) == len(set(found))
    assert len(found) > 700


def test_a_shuffled_reader_gets_nothing() -> None:
    order = list(range(2000))
    random.Random(2).shuffle(order)
    assert len(planned(order)) < 20


def test_a_jump_ends_a_walk() -> None:
    planner = SiblingPlanner()
    for position in range(50):
        planner.observe(position)
    assert planner.observe(5000) == range(0)
    assert planner.observe(0) == range(0)
    assert planner.observe(1) == range(0)


def test_what_was_refused_is_planned_again_by_a_smaller_window() -> None:
    planner = SiblingPlanner()
    for position in range(50):
        planner.observe(position)
    planner.refused(60)
    again = [found for position in range(50, 60) if (found := planner.observe(position))]
    assert again[0].start == 60
    assert len(again[0]) < MAX_WINDOW_FILES // 2


@given(st.lists(st.integers(0, 300), max_size=200))
def test_what_is_planned_lies_ahead(positions: list[int]) -> None:
    planner = SiblingPlanner()
    for position in positions:
        found = planner.observe(position)
        assert len(found) <= MAX_WINDOW_FILES
        assert not found or found.start > position
