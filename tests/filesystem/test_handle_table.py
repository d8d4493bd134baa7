"""Tests of the handles of open files and directories."""

from __future__ import annotations

import itertools

import pytest

from gcsmux_fs.filesystem.handle_table import HandleTable


def test_tables_with_one_counter_never_use_a_handle_twice() -> None:
    numbers = itertools.count(1)
    files: HandleTable[str] = HandleTable(numbers)
    directories: HandleTable[str] = HandleTable(numbers)
    handles = [files.add("a"), directories.add("b"), files.add("c")]
    files.pop(handles[0])
    handles.append(files.add("d"))
    assert len(set(handles)) == 4
    assert files[handles[3]] == "d"


def test_an_unknown_handle_is_an_error() -> None:
    table: HandleTable[str] = HandleTable(itertools.count(1))
    handle = table.add("a")
    assert table.pop(handle) == "a"
    with pytest.raises(KeyError):
        table.pop(handle)


def test_pop_all_returns_each_item_once() -> None:
    table: HandleTable[str] = HandleTable(itertools.count(1))
    for item in "abc":
        table.add(item)
    assert table.pop_all() == ["a", "b", "c"]
    assert table.pop_all() == []
