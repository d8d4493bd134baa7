"""Tests of which files are planned when a directory is read in different orders."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.filesystem.sibling_planner import MAX_WINDOW_FILES, SiblingPlanner


def planned(positions: list[int]) -> list[int]:
    planner = SiblingPlanner()
    return [position for read in positions for position in planner.observe(read)]


def test_one_step_forward_plans_nothing() -> None:
    assert planned([0]) == []
    assert planned([0, 1]) == []


def test_the_third_file_in_order_plans_four_files() -> None:
    assert planned([0, 1, 2]) == [3, 4, 5, 6]


def test_a_walk_may_begin_anywhere_and_skip_files() -> None:
    assert planned([500, 503, 505])[:2] == [506, 507]


def test_the_window_doubles_up_to_its_limit() -> None:
    planner = SiblingPlanner()
    planned_until = 0
    ahead = []
    for position in range(1000):
        planned_until = max(planner.observe(position), default=planned_until)
        ahead.append(planned_until - position)
    assert max(ahead) == MAX_WINDOW_FILES
    # At least half a window of files is always planned ahead.
    assert min(ahead[100:]) >= MAX_WINDOW_FILES // 2 - 1


def test_each_file_of_a_long_walk_is_planned_once() -> None:
    positions = planned(list(range(1000)))
    assert positions == list(range(3, positions[-1] + 1))


def test_parallel_readers_of_one_list_are_one_walk() -> None:
    source = random.Random(1)
    order = [
        index for base in range(0, 800, 16) for index in source.sample(range(base, base + 16), 16)
    ]
    positions = planned(order)
    assert len(positions) == len(set(positions))
    assert len(positions) > 700


def test_a_random_order_plans_almost_nothing() -> None:
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


def test_refused_files_are_planned_again_with_a_smaller_window() -> None:
    planner = SiblingPlanner()
    for position in range(50):
        planner.observe(position)
    planner.refused(60)
    again = [window for position in range(50, 60) if (window := planner.observe(position))]
    assert again[0].start == 60
    assert len(again[0]) < MAX_WINDOW_FILES // 2


@given(st.lists(st.integers(0, 300), max_size=200))
def test_planned_files_lie_ahead_of_the_file_that_is_read(positions: list[int]) -> None:
    planner = SiblingPlanner()
    for position in positions:
        window = planner.observe(position)
        assert len(window) <= MAX_WINDOW_FILES
        assert not window or window.start > position
