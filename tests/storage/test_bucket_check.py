"""Tests of the check of the bucket before the mount: warnings, and a sentence for each error."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from gcsmux_fs.model.errors import (
    ConfigError,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    StatusCode,
    StorageError,
    Unauthenticated,
    Unavailable,
)
from gcsmux_fs.model.values import BucketInfo, ListingPage, ObjectInfo
from gcsmux_fs.settings.settings import Settings
from gcsmux_fs.storage.bucket_check import CheckedBucket, check_bucket

if TYPE_CHECKING:
    from gcsmux_fs.storage.object_store import GrpcObjectStore

INFO = BucketInfo("my-bucket", "zone", True)
EMPTY = ListingPage((), (), "")
FULL = ListingPage((), ("folder/",), "")
FOLDER = Settings("my-bucket", Path("/mnt"), prefix="team/")
BUCKET = replace(FOLDER, prefix="")


@dataclass
class FakeStore:
    """A fake store. Each call returns a fixed value, or raises the value if it is an error."""

    page: ListingPage | StorageError = EMPTY
    readable: bool = True
    objects: frozenset[str] = frozenset()

    async def get_bucket(self, prefix: str) -> BucketInfo:
        return INFO

    async def list_objects(self, prefix: str, *, page_size: int) -> ListingPage:
        if isinstance(self.page, StorageError):
            raise self.page
        return self.page

    async def may_read(self, prefix: str) -> bool:
        return self.readable

    async def get_object(self, name: str) -> ObjectInfo:
        if name not in self.objects:
            raise NotFound("no such object")
        return ObjectInfo(name, 1, 0, 0)


async def check(store: FakeStore, settings: Settings) -> CheckedBucket:
    return await check_bucket(cast("GrpcObjectStore", store), settings)


async def sentence(error: StorageError) -> str:
    """Return what the user is told if the listing fails with `error`."""
    with pytest.raises(ConfigError) as caught:
        await check(FakeStore(error, readable=False), BUCKET)
    return str(caught.value)


@pytest.mark.parametrize("settings", [BUCKET, FOLDER])
async def test_a_readable_bucket_has_no_warning(settings: Settings) -> None:
    assert await check(FakeStore(FULL), settings) == CheckedBucket(INFO)


async def test_an_empty_bucket_has_no_warning() -> None:
    assert await check(FakeStore(), BUCKET) == CheckedBucket(INFO)


async def test_an_empty_folder_has_a_warning() -> None:
    checked = await check(FakeStore(), FOLDER)
    assert checked.info == INFO
    assert "gs://my-bucket/team" in checked.warning


async def test_a_folder_that_is_an_object_has_a_warning_of_its_own() -> None:
    checked = await check(FakeStore(objects=frozenset({"team"})), FOLDER)
    assert "gs://my-bucket/team is an object" in checked.warning


async def test_a_bucket_that_can_be_read_but_not_listed_has_a_warning() -> None:
    checked = await check(FakeStore(PermissionDenied("no")), BUCKET)
    assert checked.info == replace(INFO, listable=False)
    assert checked.warning.startswith("the service refuses to list gs://my-bucket")


@pytest.mark.parametrize(
    ("error", "beginning"),
    [
        (NotFound("x"), "there is no bucket gs://my-bucket"),
        (Unauthenticated("expired"), "gs://my-bucket refuses these credentials: expired."),
        (PermissionDenied("no"), "no permission to read gs://my-bucket (no)"),
        (
            InvalidRequest("Bucket is a requester pays bucket but no user project provided."),
            "gs://my-bucket is a requester-pays bucket: name the project that pays with --billing",
        ),
        (Unavailable("Tls handshake failed"), "storage.googleapis.com:443 breaks off the TLS"),
        (
            Unavailable("refused", code=StatusCode.UNAVAILABLE),
            "the service at storage.googleapis.com:443 does not answer: refused: run `gcsmux",
        ),
        (
            Unavailable("quota", code=StatusCode.RESOURCE_EXHAUSTED),
            "the service at storage.googleapis.com:443 answers, but does not serve gs://my-bucket",
        ),
        (
            StorageError("odd"),
            "gs://my-bucket cannot be read from storage.googleapis.com:443: odd.",
        ),
    ],
)
async def test_each_error_has_its_own_sentence(error: StorageError, beginning: str) -> None:
    message = await sentence(error)
    assert message.startswith(beginning)
    assert message.endswith(".")
