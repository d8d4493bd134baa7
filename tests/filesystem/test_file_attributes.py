"""Tests of what stat(2) shows, with and without metadata that other tools stored."""

from __future__ import annotations

import math
import stat
from dataclasses import replace

import pytest

from gcsmux_fs.filesystem.file_attributes import AttributePolicy
from gcsmux_fs.filesystem.ill_formed_metadata import IllFormedMetadata
from gcsmux_fs.namespace.entry import Entry

SECOND_NS = 10**9
POLICY = AttributePolicy(1000, 1001, 0o640, 0o750)
POSIX = replace(POLICY, posix=True)
FILE = Entry(5, False, 4097, 7 * SECOND_NS, 60.0, math.inf)
DIRECTORY = Entry(6, True, 0, 8 * SECOND_NS, 60.0, 60.0)
OWNED = {
    "goog-reserved-posix-uid": "7",
    "goog-reserved-posix-gid": "8",
    "goog-reserved-posix-mode": "4755",
}


def test_a_file_gets_the_owner_and_mode_of_the_settings() -> None:
    attributes = POLICY.attributes_of(FILE)
    assert attributes.mode == stat.S_IFREG | 0o640
    assert (attributes.uid, attributes.gid) == (1000, 1001)
    assert (attributes.inode, attributes.size) == (5, 4097)
    times = {attributes.mtime_ns, attributes.atime_ns, attributes.ctime_ns}
    assert times == {7 * SECOND_NS}
    assert attributes.name_valid_seconds == 60.0
    assert attributes.attributes_valid_seconds == math.inf


def test_a_directory_has_its_own_mode_and_no_size() -> None:
    attributes = POLICY.attributes_of(DIRECTORY)
    assert (attributes.mode, attributes.size) == (stat.S_IFDIR | 0o750, 0)


def test_times_of_other_tools_are_shown_without_posix() -> None:
    metadata = {"goog-reserved-file-mtime": "100", "goog-reserved-file-atime": "200"}
    attributes = POLICY.attributes_of(FILE._replace(metadata=metadata))
    assert attributes.mtime_ns == 100 * SECOND_NS
    assert attributes.atime_ns == 200 * SECOND_NS
    assert attributes.ctime_ns == 7 * SECOND_NS


def test_without_an_access_time_the_modification_time_is_shown() -> None:
    metadata = {"goog-reserved-file-mtime": "100"}
    attributes = POLICY.attributes_of(FILE._replace(metadata=metadata))
    assert attributes.atime_ns == 100 * SECOND_NS


def test_owners_and_modes_of_other_tools_are_shown_only_with_posix() -> None:
    owned = FILE._replace(metadata=OWNED)
    without = POLICY.attributes_of(owned)
    assert (without.uid, without.gid, without.mode) == (1000, 1001, stat.S_IFREG | 0o640)
    shown = POSIX.attributes_of(owned)
    # The set-user-ID bit is dropped, because otherwise someone who may write to the bucket could
    # act as another user.
    assert (shown.uid, shown.gid, shown.mode) == (7, 8, stat.S_IFREG | 0o755)


def test_a_directory_takes_owner_and_mode_of_its_placeholder() -> None:
    shown = POSIX.attributes_of(DIRECTORY._replace(metadata=OWNED))
    assert (shown.uid, shown.gid, shown.mode) == (7, 8, stat.S_IFDIR | 0o755)


@pytest.mark.parametrize("policy", [POLICY, POSIX])
def test_a_link_has_the_size_of_its_target_and_all_permissions(policy: AttributePolicy) -> None:
    metadata = {**OWNED, "gcsfuse_symlink_target": "target"}
    attributes = policy.attributes_of(FILE._replace(metadata=metadata))
    assert attributes.mode == stat.S_IFLNK | 0o777
    assert attributes.size == len("target")


def test_a_directory_is_never_a_link() -> None:
    metadata = {"gcsfuse_symlink_target": "target"}
    attributes = POLICY.attributes_of(DIRECTORY._replace(metadata=metadata))
    assert attributes.mode == stat.S_IFDIR | 0o750


def test_unrelated_metadata_changes_nothing() -> None:
    attributes = POSIX.attributes_of(FILE._replace(metadata={"color": "blue"}))
    assert attributes == POSIX.attributes_of(FILE)


def test_ill_formed_values_are_ignored_and_counted_once_for_each_file() -> None:
    policy = replace(POSIX, ill_formed=IllFormedMetadata())
    metadata = {"goog-reserved-posix-uid": "root", "goog-reserved-file-mtime": "soon"}
    for _ in range(3):
        attributes = policy.attributes_of(FILE._replace(metadata=metadata))
        assert (attributes.uid, attributes.mtime_ns) == (1000, 7 * SECOND_NS)
    assert policy.ill_formed.values == 2
    policy.attributes_of(FILE._replace(inode=50, metadata=metadata))
    assert policy.ill_formed.values == 4
