from __future__ import annotations

import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gcsmux_fs.model.object_table import Row
from gcsmux_fs.namespace.file_inodes import InodeState
from gcsmux_fs.namespace.inode_numbers import ROOT_INODE, hash_of
from gcsmux_fs.namespace.inodes import InodeTable

from .fake_store import object_info

if TYPE_CHECKING:
    from gcsmux_fs.model.values import ObjectInfo

NAMES = ["a", "b", "c", "d", "e", "a/"]


def remember(table: InodeTable, info: ObjectInfo) -> int:
    return table.files.remember(Row.of(info))[0]


def clashing(key: bytes, attempt: int) -> int:
    """Hash to one of eight numbers in three attempts, then to a number of the key alone."""
    return zlib.crc32(key) % 8 if attempt < 3 else 8 + hash_of(key, attempt) // 2


class InodeMachine(RuleBasedStateMachine):
    """Compares the inode table with counters of the lookups and pins of each inode."""

    hashed = staticmethod(hash_of)

    def __init__(self) -> None:
        super().__init__()
        self.table = InodeTable("", hashed=self.hashed)
        self.lookups: dict[int, int] = {}
        self.pins: dict[int, int] = {}
        self.keys: dict[int, tuple[str, int]] = {}
        self.used = {ROOT_INODE}

    def count(self, number: int, key: tuple[str, int]) -> None:
        if number in self.keys:
            assert key == self.keys[number]
        else:
            assert number != ROOT_INODE
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
    def the_table_has_exactly_the_counted_inodes(self) -> None:
        assert 1 + len(self.keys) == len(self.table)
        assert self.table.directory(ROOT_INODE) is self.table.root
        for number, (name, generation) in self.keys.items():
            if generation:
                assert object_info(name, generation) == self.table.files.get(number)
                row = Row.of(object_info(name, generation))
                assert self.table.files.find(row) == number
            else:
                directory = self.table.directory(number)
                assert directory is not None
                assert (directory.number, directory.location) == (number, name)
                assert self.table.directory_at(name) is directory
        for number in self.used - self.keys.keys() - {ROOT_INODE}:
            assert self.table.directory(number) is None
            assert self.table.files.get(number) is None


class ClashingInodeMachine(InodeMachine):
    """The inode machine with a hash that gives most keys the same number."""

    hashed = staticmethod(clashing)


TestInodeTable = InodeMachine.TestCase
TestClashingInodeTable = ClashingInodeMachine.TestCase


def test_a_number_depends_only_on_what_it_stands_for() -> None:
    one, other = InodeTable(""), InodeTable("elsewhere/")
    for name in "xyz":
        remember(other, object_info(name))
    one.forget(one.remember_directory("a/").number, 1)
    numbers = [
        [remember(table, object_info("a", 7)), table.remember_directory("a/").number]
        for table in (one, other)
    ]
    assert numbers[0] == numbers[1]
    # Inode numbers are stable: every release must compute these numbers on every machine.
    assert numbers[0] == [7_570_071_966_228_571_333, 7_451_147_557_953_574_455]


def test_numbers_fit_into_signed_64_bits() -> None:
    table = InodeTable("")
    numbers = {remember(table, object_info(name)) for name in map(str, range(1_000))}
    assert len(numbers) == 1_000
    assert 2**62 < max(numbers) < 2**63


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


def test_forgetting_more_lookups_than_were_counted_is_an_error() -> None:
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
    older = object_info("a")
    newer = replace(older, metageneration=2)
    number = remember(table, older)
    assert (number, newer) == remembered(table, newer)
    assert (number, newer) == remembered(table, older)
    assert newer == table.files.get(number)


def test_another_size_of_the_same_generation_is_another_inode() -> None:
    table = InodeTable("")
    large, small = replace(object_info("a"), size=2000), replace(object_info("a"), size=1000)
    number = remember(table, large)
    assert remember(table, small) != number
    assert large == table.files.get(number)


def test_a_file_that_metadata_makes_a_link_is_another_inode() -> None:
    table = InodeTable("")
    file = object_info("a")
    link = replace(file, metageneration=2, metadata={"goog-reserved-file-is-symlink": "true"})
    number = remember(table, file)
    other = remember(table, link)
    assert other != number
    assert file == table.files.get(number)
    assert link == table.files.get(other)
    # Metadata that does not make the file a link does not change its inode.
    labelled = replace(file, metageneration=3, metadata={"team": "blue"})
    assert (number, labelled) == remembered(table, labelled)


def test_each_size_of_an_object_that_grows_is_an_inode() -> None:
    table = InodeTable("")
    small = replace(object_info("a"), size=100, finalized=False)
    large = replace(small, size=9000)
    number = remember(table, small)
    grown = remember(table, large)
    assert grown != number
    assert small == table.files.get(number)
    # An older answer with a smaller size leads to the inode of the larger size.
    assert (grown, large) == remembered(table, small)
    finalized = replace(large, finalized=True)
    assert (grown, finalized) == remembered(table, finalized)
    assert (grown, finalized) == remembered(table, small)
    table.forget(grown, 4)
    assert (number, small) == remembered(table, small)


def test_an_old_answer_leads_to_the_size_at_which_an_object_was_finalized() -> None:
    table = InodeTable("")
    growing = replace(object_info("a"), size=100, finalized=False)
    remember(table, growing)
    finalized = replace(growing, size=300, finalized=True)
    number = remember(table, finalized)
    assert (number, finalized) == remembered(table, replace(growing, size=200))


def remembered(table: InodeTable, info: ObjectInfo) -> tuple[int, ObjectInfo]:
    number, row = table.files.remember(Row.of(info))
    return number, row.info


def test_the_inodes_that_remain_are_found_after_many_were_forgotten() -> None:
    table = InodeTable("")
    numbers = {name: remember(table, object_info(name)) for name in map(str, range(5_000))}
    kept = {name: number for name, number in numbers.items() if int(name) % 700 == 0}
    for name, number in numbers.items():
        if name not in kept:
            table.forget(number, 1)
    for name, number in numbers.items():
        expected = object_info(name) if name in kept else None
        assert expected == table.files.get(number)
        assert table.files.find(Row.of(object_info(name))) == kept.get(name)
    assert len(table) == 1 + len(kept)


def test_the_inodes_of_a_name_are_found_and_removed_ones_are_not() -> None:
    table = InodeTable("")
    numbers = {
        (name, generation): remember(table, object_info(name, generation))
        for name in ("a", "d/a", "d/b", "da", "d/")
        for generation in (1, 2)
    }
    table.forget(numbers["d/a", 1], 1)
    files = table.files
    assert sorted(files.named("a")) == sorted([numbers["a", 1], numbers["a", 2]])
    assert files.named("d/a") == [numbers["d/a", 2]]
    assert files.named("absent") == []
    below = {number for (name, _), number in numbers.items() if name.startswith("d/")}
    assert set(files.below("d/")) == below - {numbers["d/a", 1]}
    assert len(files.below("")) == len(files) == 9


def test_directories_are_found_below_a_prefix() -> None:
    table = InodeTable("p/")
    numbers = {name: table.remember_directory(name).number for name in ("p/d/", "p/d/e/", "p/de/")}
    # The deepest directories come first, because the kernel keeps the name of a directory while it
    # caches names in the directory.
    assert table.directories_below("p/d/") == [numbers["p/d/e/"], numbers["p/d/"]]
    assert set(table.directories_below("")) == set(numbers.values())


def test_a_file_has_a_state_while_it_is_in_the_table() -> None:
    table = InodeTable("")
    info = object_info("a")
    number = remember(table, info)
    files = table.files
    assert files.state(number) is InodeState.REMOTE
    files.invalidate(number)
    assert files.state(number) is InodeState.INVALIDATED
    assert files.pin(number) == info
    files.unpin(number)
    files.mark_gone(number)
    files.invalidate(number)
    assert files.state(number) is InodeState.GONE
    assert files.pin(number) is None
    files.confirm(number)
    assert files.state(number) is InodeState.REMOTE
    files.mark_gone(number)
    table.forget(number, 1)
    assert remember(table, info) == number
    assert files.state(number) is InodeState.REMOTE
