"""Tests of the conversion of attributes and absent names into the form of pyfuse3."""

from __future__ import annotations

import math
import stat

import pytest

from gcsmux_fs.filesystem.file_attributes import AbsentName, FileAttributes
from gcsmux_fs.fuse.attributes import encode_absence, encode_attributes

FILE = FileAttributes(5, stat.S_IFREG | 0o640, 4097, 10, 20, 30, 1000, 1001, 60.0, 120.0)
TEN_YEARS = 10 * 365 * 86400


def test_each_attribute_is_encoded() -> None:
    encoded = encode_attributes(FILE)
    assert (encoded.st_ino, encoded.generation) == (5, 0)
    assert encoded.st_mode == stat.S_IFREG | 0o640
    assert (encoded.st_uid, encoded.st_gid) == (1000, 1001)
    assert (encoded.st_mtime_ns, encoded.st_atime_ns, encoded.st_ctime_ns) == (10, 20, 30)
    assert (encoded.entry_timeout, encoded.attr_timeout) == (60, 120)
    assert (encoded.st_nlink, encoded.st_blksize) == (1, 128 * 1024)


@pytest.mark.parametrize(
    ("mode", "size", "blocks"),
    [
        (stat.S_IFREG, 0, 0),
        (stat.S_IFREG, 1, 1),
        (stat.S_IFREG, 512, 1),
        (stat.S_IFREG, 513, 2),
        (stat.S_IFDIR, 0, 0),
        (stat.S_IFLNK, 10, 0),
    ],
)
def test_blocks_are_sectors_of_a_regular_file(mode: int, size: int, blocks: int) -> None:
    encoded = encode_attributes(FILE._replace(mode=mode, size=size))
    assert (encoded.st_size, encoded.st_blocks) == (size, blocks)


def test_an_infinite_validity_is_ten_years() -> None:
    attributes = FILE._replace(name_valid_seconds=math.inf, attributes_valid_seconds=math.inf)
    encoded = encode_attributes(attributes)
    assert encoded.entry_timeout == encoded.attr_timeout == TEN_YEARS
    assert encode_absence(AbsentName(math.inf)).entry_timeout == TEN_YEARS


def test_an_absent_name_is_inode_0_with_its_validity() -> None:
    encoded = encode_absence(AbsentName(5.0))
    assert (encoded.st_ino, encoded.entry_timeout, encoded.attr_timeout) == (0, 5, 0)
