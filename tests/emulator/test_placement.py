"""Where CreateBucket puts a bucket, and what the bucket says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.api_core import exceptions

from gcsmux_fs.emulator.server import Emulator
from gcsmux_fs.storage.pb import storage_pb2 as pb

from .clients import Clients, serve

if TYPE_CHECKING:
    from pathlib import Path

NEW = "projects/_/buckets/new-one"


async def create(clients: Clients, **bucket: Any) -> Any:
    request = {"parent": "projects/_", "bucket_id": "new-one", "bucket": bucket}
    return await clients.generated.create_bucket(request)


def told(bucket: Any) -> tuple[str, str, bool, str]:
    return (
        bucket.location,
        bucket.location_type,
        bucket.hierarchical_namespace.enabled,
        bucket.storage_class,
    )


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({}, ("US-CENTRAL1", "region", False, "STANDARD")),
        ({"location": "europe-west4"}, ("EUROPE-WEST4", "region", False, "STANDARD")),
        ({"location": "US"}, ("US", "multi-region", False, "STANDARD")),
        ({"location": "eur4"}, ("EUR4", "dual-region", False, "STANDARD")),
        ({"location": "us-central1-a"}, ("US-CENTRAL1-A", "zone", True, "RAPID")),
        (
            {
                "location": "us-west4",
                "custom_placement_config": {"data_locations": ["us-west4-b"]},
                "storage_class": "RAPID",
                "hierarchical_namespace": {"enabled": True},
            },
            ("US-WEST4", "zone", True, "RAPID"),
        ),
        (
            {
                "location": "EU",
                "custom_placement_config": {"data_locations": ["europe-west1", "europe-west4"]},
                "storage_class": "NEARLINE",
            },
            ("EU", "dual-region", False, "NEARLINE"),
        ),
        (
            {"location": "us-east1", "hierarchical_namespace": {"enabled": True}},
            ("US-EAST1", "region", True, "STANDARD"),
        ),
    ],
)
def test_a_bucket_is_where_it_was_asked_to_be(
    served: Path, asked: dict[str, Any], wanted: tuple[str, str, bool, str]
) -> None:
    async def scenario(clients: Clients) -> None:
        made = await create(clients, **asked)
        assert told(made) == wanted
        async with Emulator(served, location_type="zone") as restarted:
            other = Clients(restarted)
            assert await other.generated.get_bucket(name=NEW) == made
            call = other.call(
                "GetStorageLayout", pb.StorageLayout, "google.storage.control.v2.StorageControl"
            )
            await call.write(pb.GetStorageLayoutRequest(name=f"{NEW}/storageLayout"))
            layout = await call.read()
            assert isinstance(layout, pb.StorageLayout)
            assert (layout.location, layout.location_type) == wanted[:2]
            assert layout.hierarchical_namespace.enabled == wanted[2]
            await other.close()

    serve(served, scenario)


def test_without_a_location_a_bucket_is_where_the_others_are(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        assert told(await create(clients)) == ("US-CENTRAL1-A", "zone", True, "RAPID")

    serve(served, scenario, location_type="zone")


def test_what_a_bucket_was_is_gone_with_it(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        await create(clients, location="us-central1-a")
        await clients.generated.delete_bucket(name=NEW)
        (served / "new-one").mkdir()
        assert told(await clients.generated.get_bucket(name=NEW))[1] == "region"
        (served / "new-one").rmdir()
        await create(clients, location="US")
        assert told(await clients.generated.get_bucket(name=NEW))[1] == "multi-region"

    serve(served, scenario)


@pytest.mark.parametrize(
    "asked",
    [
        {"location": "moon"},
        {"location": "us-central"},
        {"location": "us-central1-ab"},
        {"custom_placement_config": {"data_locations": ["here"]}},
        {"custom_placement_config": {"data_locations": ["us-east1"]}},
    ],
)
def test_a_place_that_is_none_is_refused(served: Path, asked: dict[str, Any]) -> None:
    async def scenario(clients: Clients) -> None:
        with pytest.raises(exceptions.InvalidArgument):
            await create(clients, **asked)
        assert not (served / "new-one").exists()

    serve(served, scenario)
