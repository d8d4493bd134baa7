from __future__ import annotations

import pytest
from hypothesis import given

from gcsmux_fs.emulator.buckets.object_names import (
    after_prefix,
    bucket_of,
    check_bucket_name,
    file_can_be_named,
    is_object_name,
)
from gcsmux_fs.emulator.rpc_error import RpcError
from gcsmux_fs.model.errors import StatusCode

from .name_strategies import maybe_names, names


@given(names, names)
def test_strings_sort_like_their_utf8_bytes(first: str, second: str) -> None:
    assert (first.encode() < second.encode()) == (first < second)


@given(maybe_names, names)
def test_after_prefix_separates_names_with_the_prefix_from_later_names(
    prefix: str, name: str
) -> None:
    following = after_prefix(prefix)
    below = name.startswith(prefix)
    assert (below or name < prefix) == (following is None or name < following)


@pytest.mark.parametrize("name", ["a", "a/b", ".hidden", "..a", "a b\n", "ü" * 127, "...", "a.b"])
def test_files_can_have_these_names(name: str) -> None:
    assert file_can_be_named(name)


@pytest.mark.parametrize(
    "name", ["/a", "a/", "a//b", ".", "..", "a/./b", "a/../b", "../a", "a" * 256, "ü" * 128, ""]
)
def test_files_cannot_have_these_names(name: str) -> None:
    assert not file_can_be_named(name)


@pytest.mark.parametrize("name", ["", "a" * 1025, "a\0b", "\ud800"])
def test_objects_cannot_have_these_names(name: str) -> None:
    assert not is_object_name(name)


def test_an_object_name_may_have_1024_bytes() -> None:
    assert is_object_name("ü" * 512)


@pytest.mark.parametrize(
    "resource", ["", "b", "projects/p/buckets/b", "projects/_/buckets/", "projects/_/buckets/a/b"]
)
def test_a_bucket_needs_its_full_resource_name(resource: str) -> None:
    with pytest.raises(RpcError) as raised:
        bucket_of(resource)
    assert raised.value.code == StatusCode.INVALID_ARGUMENT
    assert bucket_of("projects/_/buckets/b") == "b"


@pytest.mark.parametrize("name", ["", "..", ".x", "A", "a/b", "../a", "ab"])
def test_a_new_bucket_needs_a_valid_name(name: str) -> None:
    with pytest.raises(RpcError):
        check_bucket_name(name)
    check_bucket_name("a-b_c.9")
