"""Tests of the extended attributes of objects, directories and links."""

from __future__ import annotations

import errno

import pytest

from gcsmux_fs.filesystem.extended_attributes import extended_attributes
from gcsmux_fs.filesystem.operation_refused import OperationRefused
from gcsmux_fs.model.values import ObjectInfo
from gcsmux_fs.namespace.inode_numbers import ROOT_INODE

from .served_bucket import served

INFO = ObjectInfo(
    "file",
    11,
    3,
    0,
    metageneration=2,
    crc32c=0x22620404,
    content_type="text/plain",
    storage_class="STANDARD",
    metadata={"color": "blue"},
)
LINK = ObjectInfo("link", 12, 6, 0, metadata={"goog-reserved-file-is-symlink": "true"})


def test_the_properties_of_an_object_are_attributes() -> None:
    assert extended_attributes(INFO) == {
        b"user.gcs.generation": b"11",
        b"user.gcs.metageneration": b"2",
        b"user.gcs.content-type": b"text/plain",
        b"user.gcs.storage-class": b"STANDARD",
        b"user.gcs.crc32c": b"ImIEBA==",
        b"user.gcs.metadata.color": b"blue",
    }


def test_a_name_longer_than_the_kernel_allows_is_left_out() -> None:
    prefix = len(b"user.gcs.metadata.")
    metadata = {"x" * (255 - prefix): "fits", "y" * (256 - prefix): "does not fit"}
    names = extended_attributes(ObjectInfo("file", 1, 3, 0, metadata=metadata))
    assert b"user.gcs.metadata." + b"x" * (255 - prefix) in names
    assert not any(name.endswith(b"y") for name in names)


def test_a_link_has_no_attributes() -> None:
    assert extended_attributes(LINK) == {}


async def test_one_attribute_is_returned_by_name() -> None:
    async with served() as bucket:
        bucket.store.replace_info(INFO)
        inode = await bucket.inode_of("file")
        filesystem = bucket.filesystem
        assert filesystem.extended_attribute(inode, b"user.gcs.content-type") == b"text/plain"
        assert b"user.gcs.crc32c" in filesystem.extended_attributes(inode)


@pytest.mark.parametrize("name", [b"security.capability", b"user.gcs.absent", b"user.other"])
async def test_an_absent_attribute_is_enodata(name: bytes) -> None:
    async with served() as bucket:
        bucket.store.replace_info(INFO)
        for inode in (await bucket.inode_of("file"), ROOT_INODE):
            with pytest.raises(OperationRefused) as refused:
                bucket.filesystem.extended_attribute(inode, name)
            assert refused.value.errno == errno.ENODATA


async def test_an_attribute_of_the_kernel_is_refused_without_looking_at_the_inode() -> None:
    async with served() as bucket:
        with pytest.raises(OperationRefused):
            bucket.filesystem.extended_attribute(10**6, b"security.capability")
