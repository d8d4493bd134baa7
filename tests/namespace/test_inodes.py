from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gcsmux_fs.columns import Row
from gcsmux_fs.namespace.inodes import ROOT_INODE, InodeTable

from .fake_store import object_info

if TYPE_CHECKING:
    from gcsmux_fs.model import ObjectInfo

NAMES = ["a", "b", "c", "d", "e", "a/"]


def remember(table: InodeTable, info: ObjectInfo, fresh_until: float = 0.0) -> int:
    return table.files.remember(Row.of(info), fresh_until)[0]


class InodeMachine(RuleBasedStateMachine):
    """The table against two counters for each key; directories have generation 0."""

    def __init__(self) -> None:
        super().__init__()
        self.table = InodeTable("")
        self.lookups: dict[int, int] = {}
        self.pins: dict[int, int] = {}
        self.keys: dict[int, tuple[str, int]] = {}
        self.used = {ROOT_INODE}

    def count(self, number: int, key: tuple[str, int]) -> None:
        if number in self.keys:
            assert key == self.keys[number]
        else:
            assert number not in self.used
            assert key not in self.keys.values()
            self.used.add(number)
            self.keys[number] = key
        self.lookups[number] = self.lookups.get(number, 0) + 1

    def clean(self, number: int) -> None:
        if not self.lookups.get(number) and not self.pins.get(number):
            self.keys.pop(number)

    @rule(name=st.sampled_from(NAMES), generation=st.integers(1, 3))
    def remember_file(self, name: str, generation: int) -> None:
        self.count(remember(self.table, object_info(name, generation)), (name, generation))

    @rule(generation=st.integers(1, 3))
    def remember_listed(self, generation: int) -> None:
        for name in NAMES:
            self.remember_file(name, generation)

    @rule(location=st.sampled_from(["a/", "b/"]))
    def remember_directory(self, location: str) -> None:
        self.count(self.table.remember_directory(location).number, (location, 0))

    @precondition(lambda self: any(self.lookups.values()))
    @rule(draw=st.data())
    def forget(self, draw: st.DataObject) -> None:
        number = draw.draw(st.sampled_from([n for n, count in self.lookups.items() if count]))
        self.take_back(number, draw.draw(st.integers(1, self.lookups[number])))

    @precondition(lambda self: any(self.lookups.values()))
    @rule(spared=st.integers(0, 5))
    def forget_nearly_all(self, spared: int) -> None:
        for number in [n for n, count in self.lookups.items() if count][spared:]:
            self.take_back(number, self.lookups[number])

    def take_back(self, number: int, lookups: int) -> None:
        self.table.forget(number, lookups)
        self.lookups[number] -= lookups
        self.clean(number)

    @precondition(lambda self: any(generation for _, generation in self.keys.values()))
    @rule(draw=st.data())
    def pin(self, draw: st.DataObject) -> None:
        files = sorted(number for number, (_, generation) in self.keys.items() if generation)
        number = draw.draw(st.sampled_from(files))
        assert object_info(*self.keys[number]) == self.table.files.pin(number)
        self.pins[number] = self.pins.get(number, 0) + 1

    @precondition(lambda self: any(self.pins.values()))
    @rule(draw=st.data())
    def unpin(self, draw: st.DataObject) -> None:
        number = draw.draw(st.sampled_from([n for n, count in self.pins.items() if count]))
        self.table.files.unpin(number)
        self.pins[number] -= 1
        self.clean(number)

    @invariant()
    def the_table_holds_what_is_counted_and_nothing_else(self) -> None:
        assert 1 + len(self.keys) == len(self.table)
        assert self.table.directory(ROOT_INODE) is self.table.root
        for number, (name, generation) in self.keys.items():
            if generation:
                assert object_info(name, generation) == self.table.files.get(number)
                assert self.table.files.find(name, generation) == number
            else:
                directory = self.table.directory(number)
                assert directory is not None
                assert (directory.number, directory.location) == (number, name)
                assert self.table.directory_at(name) is directory
        for number in self.used - self.keys.keys() - {ROOT_INODE}:
            assert self.table.directory(number) is None
            assert self.table.files.get(number) is None


TestInodeTable = InodeMachine.TestCase


def test_a_new_generation_is_a_new_inode() -> None:
    table = InodeTable("")
    old = remember(table, object_info("a", 1))
    new = remember(table, object_info("a", 2))
    assert old != new
    assert old == remember(table, object_info("a", 1))


def test_a_directory_and_the_object_of_its_name_are_two_inodes() -> None:
    table = InodeTable("")
    directory = table.remember_directory("a/").number
    content = remember(table, object_info("a/"))
    assert directory != content
    assert table.files.get(directory) is None
    assert table.directory(content) is None


def test_more_cannot_be_forgotten_than_was_counted() -> None:
    table = InodeTable("")
    for number in (remember(table, object_info("a")), table.remember_directory("a/").number):
        with pytest.raises(ValueError, match="cannot forget 2 lookups"):
            table.forget(number, 2)
        table.forget(number, 1)
        with pytest.raises(ValueError, match="cannot forget"):
            table.forget(number, 1)
        with pytest.raises(ValueError, match="cannot unpin"):
            table.files.unpin(number)


def test_older_attributes_do_not_replace_newer_ones() -> None:
    table = InodeTable("")
    older = replace(object_info("a"), finalized=False)
    newer = replace(older, metageneration=2)
    number = remember(table, older, 10.0)
    assert (number, newer) == told(table, newer, 20.0)
    assert (number, newer) == told(table, older, 15.0)
    table.files.learn(number, older, 16.0)
    assert newer == table.files.get(number)
    assert table.files.fresh_until(number) == 20.0
    table.forget(number, 3)
    assert table.files.fresh_until(number) == -math.inf


def test_a_size_that_cannot_change_is_the_one_told_last() -> None:
    table = InodeTable("")
    wrong, right = replace(object_info("a"), size=2000), replace(object_info("a"), size=1000)
    number = remember(table, wrong)
    assert (number, right) == told(table, right, 0.0)
    assert right == table.files.get(number)


def told(table: InodeTable, info: ObjectInfo, fresh_until: float) -> tuple[int, ObjectInfo]:
    number, row = table.files.remember(Row.of(info), fresh_until)
    return number, row.info


def test_a_table_of_many_is_right_however_many_are_forgotten() -> None:
    table = InodeTable("")
    numbers = {name: remember(table, object_info(name)) for name in map(str, range(5_000))}
    kept = {name: number for name, number in numbers.items() if int(name) % 700 == 0}
    for name, number in numbers.items():
        if name not in kept:
            table.forget(number, 1)
    for name, number in numbers.items():
        expected = object_info(name) if name in kept else None
        assert expected == table.files.get(number)
        assert table.files.find(name, 1) == kept.get(name)
    assert len(table) == 1 + len(kept)
