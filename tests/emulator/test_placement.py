"""Tests of the placement that CreateBucket sets for a new bucket."""

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


def placement_fields(bucket: Any) -> tuple[str, str, bool, str]:
    return (
        bucket.location,
        bucket.location_type,
        bucket.hierarchical_namespace.enabled,
        bucket.storage_class,
    )


@pytest.mark.parametrize(
    ("bucket_fields", "expected"),
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
def test_create_bucket_sets_the_requested_placement(
    served: Path, bucket_fields: dict[str, Any], expected: tuple[str, str, bool, str]
) -> None:
    async def scenario(clients: Clients) -> None:
        created = await create(clients, **bucket_fields)
        assert placement_fields(created) == expected
        async with Emulator(served, location_type="zone") as restarted:
            other = Clients(restarted)
            assert await other.generated.get_bucket(name=NEW) == created
            call = other.call(
                "GetStorageLayout", pb.StorageLayout, "google.storage.control.v2.StorageControl"
            )
            await call.write(pb.GetStorageLayoutRequest(name=f"{NEW}/storageLayout"))
            layout = await call.read()
            assert isinstance(layout, pb.StorageLayout)
            assert (layout.location, layout.location_type) == expected[:2]
            assert layout.hierarchical_namespace.enabled == expected[2]
            await other.close()

    serve(served, scenario)


def test_a_bucket_without_a_location_gets_the_default_placement(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        assert placement_fields(await create(clients)) == ("US-CENTRAL1-A", "zone", True, "RAPID")

    serve(served, scenario, location_type="zone")


def test_deleting_a_bucket_deletes_its_placement(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        await create(clients, location="us-central1-a")
        await clients.generated.delete_bucket(name=NEW)
        (served / "new-one").mkdir()
        assert placement_fields(await clients.generated.get_bucket(name=NEW))[1] == "region"
        (served / "new-one").rmdir()
        await create(clients, location="US")
        assert placement_fields(await clients.generated.get_bucket(name=NEW))[1] == "multi-region"

    serve(served, scenario)


@pytest.mark.parametrize(
    "bucket_fields",
    [
        {"location": "moon"},
        {"location": "us-central"},
        {"location": "us-central1-ab"},
        {"custom_placement_config": {"data_locations": ["here"]}},
        {"custom_placement_config": {"data_locations": ["us-east1"]}},
    ],
)
def test_an_invalid_location_is_refused(served: Path, bucket_fields: dict[str, Any]) -> None:
    async def scenario(clients: Clients) -> None:
        with pytest.raises(exceptions.InvalidArgument):
            await create(clients, **bucket_fields)
        assert not (served / "new-one").exists()

    serve(served, scenario)
