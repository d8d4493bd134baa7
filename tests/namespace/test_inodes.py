from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gcsmux_fs.namespace.inodes import ROOT_INODE, Inode, InodeTable

from .fake_store import object_info


class InodeMachine(RuleBasedStateMachine):
    """The table against two counters for each key."""

    def __init__(self) -> None:
        super().__init__()
        self.table = InodeTable("")
        self.lookups: dict[int, int] = {}
        self.pins: dict[int, int] = {}
        self.keys: dict[int, tuple[str, int]] = {}
        self.used = {ROOT_INODE}

    def count(self, inode: Inode) -> None:
        key = inode.name, inode.generation
        if inode.number in self.keys:
            assert key == self.keys[inode.number]
        else:
            assert inode.number not in self.used
            assert key not in self.keys.values()
            self.used.add(inode.number)
            self.keys[inode.number] = key
        self.lookups[inode.number] = self.lookups.get(inode.number, 0) + 1

    def clean(self, number: int) -> None:
        if not self.lookups.get(number) and not self.pins.get(number):
            self.keys.pop(number)

    @rule(name=st.sampled_from(["a", "b", "a/"]), generation=st.integers(1, 2))
    def remember_file(self, name: str, generation: int) -> None:
        self.count(self.table.remember_file(object_info(name, generation)))

    @rule(location=st.sampled_from(["a/", "b/"]))
    def remember_directory(self, location: str) -> None:
        self.count(self.table.remember_directory(location))

    @precondition(lambda self: any(self.lookups.values()))
    @rule(draw=st.data())
    def forget(self, draw: st.DataObject) -> None:
        number = draw.draw(st.sampled_from([n for n, count in self.lookups.items() if count]))
        lookups = draw.draw(st.integers(1, self.lookups[number]))
        self.table.forget(number, lookups)
        self.lookups[number] -= lookups
        self.clean(number)

    @precondition(lambda self: self.keys)
    @rule(draw=st.data())
    def pin(self, draw: st.DataObject) -> None:
        number = draw.draw(st.sampled_from(sorted(self.keys)))
        self.table.pin(number)
        self.pins[number] = self.pins.get(number, 0) + 1

    @precondition(lambda self: any(self.pins.values()))
    @rule(draw=st.data())
    def unpin(self, draw: st.DataObject) -> None:
        number = draw.draw(st.sampled_from([n for n, count in self.pins.items() if count]))
        self.table.unpin(number)
        self.pins[number] -= 1
        self.clean(number)

    @invariant()
    def the_table_holds_what_is_counted_and_nothing_else(self) -> None:
        assert 1 + len(self.keys) == len(self.table)
        assert self.table.get(ROOT_INODE) is self.table.root
        for number, (name, generation) in self.keys.items():
            inode = self.table.get(number)
            assert inode is not None
            assert self.table.find(name, generation) is inode
        for number in self.used - self.keys.keys() - {ROOT_INODE}:
            assert self.table.get(number) is None


TestInodeTable = InodeMachine.TestCase


def test_a_new_generation_is_a_new_inode() -> None:
    table = InodeTable("")
    old = table.remember_file(object_info("a", 1))
    new = table.remember_file(object_info("a", 2))
    assert old.number != new.number
    assert old is table.remember_file(object_info("a", 1))


def test_a_directory_and_the_object_of_its_name_are_two_inodes() -> None:
    table = InodeTable("")
    directory = table.remember_directory("a/")
    content = table.remember_file(object_info("a/"))
    assert directory.number != content.number
    assert directory.is_directory
    assert not content.is_directory


def test_more_cannot_be_forgotten_than_was_counted() -> None:
    table = InodeTable("")
    inode = table.remember_file(object_info("a"))
    with pytest.raises(ValueError, match="cannot forget 2 lookups"):
        table.forget(inode.number, 2)
    table.forget(inode.number, 1)
    with pytest.raises(ValueError, match="cannot forget"):
        table.forget(inode.number, 1)
    with pytest.raises(ValueError, match="cannot unpin"):
        table.unpin(inode.number)


def test_older_attributes_do_not_replace_newer_ones() -> None:
    inode = InodeTable("").remember_file(object_info("a"))
    newer = replace(object_info("a"), metageneration=2)
    inode.learn(newer, 20.0)
    inode.learn(object_info("a"), 10.0)
    assert newer is inode.info
    assert inode.fresh_until == 20.0
