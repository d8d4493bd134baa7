"""Tests of how paths are grouped by mount and into requests."""

from __future__ import annotations

from dataclasses import replace

from gcsmux_fs.control.path_batches import batches, by_mount
from gcsmux_fs.control.protocol import MAX_REQUEST_BYTES, Request, encode_request
from tests.control.served import MOUNT


def test_paths_of_one_file_system_belong_together() -> None:
    bound = replace(MOUNT, path="/bound", root="/folder")
    other = replace(MOUNT, minor=58)
    groups = by_mount([(MOUNT, "a"), (other, "b"), (bound, "folder/c")])
    assert list(groups.values()) == [(MOUNT, ["a", "folder/c"]), (other, ["b"])]


def test_each_batch_fits_into_a_request_even_if_every_byte_is_escaped() -> None:
    names = ["\udcff" * 1000 + str(number) for number in range(1000)]
    found = list(batches(names))
    assert [name for batch in found for name in batch] == names
    assert len(found) > 1
    for batch in found:
        assert len(encode_request(Request("warm", {"paths": batch}))) <= MAX_REQUEST_BYTES


def test_no_paths_need_no_request() -> None:
    assert list(batches([])) == []
