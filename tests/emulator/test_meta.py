from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import crc32c
import grpc
import pytest
from google.api_core import exceptions

from gcsmux_fs.storage.pb import storage_pb2 as pb

from .clients import BUCKET, Clients, serve

if TYPE_CHECKING:
    from pathlib import Path


def fill(bucket: Path, names: list[str], content: bytes = b"x") -> None:
    for name in names:
        path = bucket / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


async def listing(clients: Clients, **request: object) -> tuple[list[str], list[str], int]:
    """List all pages of objects; return the objects, the prefixes and the number of pages."""
    pager = await clients.generated.list_objects({"parent": BUCKET, **request})
    objects: list[str] = []
    prefixes: list[str] = []
    count = 0
    async for page in pager.pages:
        assert len(page.objects) + len(page.prefixes) <= 1000
        objects += [resource.name for resource in page.objects]
        prefixes += page.prefixes
        count += 1
    return objects, prefixes, count


def test_get_bucket_returns_name_and_placement(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        bucket = await clients.generated.get_bucket(name=BUCKET)
        assert (bucket.name, bucket.bucket_id, bucket.location_type) == (BUCKET, "b", "region")
        assert not bucket.hierarchical_namespace.enabled
        assert bucket.storage_class == "STANDARD"

    serve(served, scenario)


def test_a_zonal_bucket_is_hierarchical(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        bucket = await clients.generated.get_bucket(name=BUCKET)
        assert bucket.location_type == "zone"
        assert bucket.hierarchical_namespace.enabled
        call = clients.channel.unary_unary(
            "/google.storage.control.v2.StorageControl/GetStorageLayout",
            request_serializer=pb.GetStorageLayoutRequest.SerializeToString,
            response_deserializer=pb.StorageLayout.FromString,
        )
        layout = await call(pb.GetStorageLayoutRequest(name=f"{BUCKET}/storageLayout"))
        assert layout.location_type == "zone"
        assert layout.hierarchical_namespace.enabled

    serve(served, scenario, location_type="zone")


@pytest.mark.parametrize("name", ["none", ".gcsmux-emulator", "..", "file"])
def test_only_folders_that_are_not_hidden_are_buckets(served: Path, name: str) -> None:
    (served / ".gcsmux-emulator" / "b").mkdir(parents=True)
    (served / "file").touch()

    async def scenario(clients: Clients) -> None:
        with pytest.raises(exceptions.NotFound):
            await clients.generated.get_bucket(name=f"projects/_/buckets/{name}")
        buckets = await clients.generated.list_buckets(parent="projects/_")
        assert [resource.name async for resource in buckets] == [BUCKET]

    serve(served, scenario)


def test_get_bucket_checks_its_conditions(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        with pytest.raises(exceptions.FailedPrecondition):
            await clients.generated.get_bucket({"name": BUCKET, "if_metageneration_match": 7})
        with pytest.raises(exceptions.Aborted):
            await clients.generated.get_bucket({"name": BUCKET, "if_metageneration_not_match": 1})

    serve(served, scenario)


def test_buckets_are_created_and_deleted(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        request: dict[str, Any] = {"parent": "projects/_", "bucket_id": "new-one", "bucket": {}}
        created = await clients.generated.create_bucket(request)
        assert created.name == "projects/_/buckets/new-one"
        assert (served / "new-one").is_dir()
        with pytest.raises(exceptions.AlreadyExists):
            await clients.generated.create_bucket(request)
        (served / "new-one" / "f").touch()
        with pytest.raises(exceptions.FailedPrecondition):
            await clients.generated.delete_bucket(name=created.name)
        (served / "new-one" / "f").unlink()
        await clients.generated.delete_bucket(name=created.name)
        assert not (served / "new-one").exists()

    serve(served, scenario)


def test_get_object_returns_the_attributes_of_the_file(served: Path, bucket: Path) -> None:
    (bucket / "page.html").write_bytes(b"<p>")
    os.utime(bucket / "page.html", ns=(0, 1_600_000_000_123_456_789))

    async def scenario(clients: Clients) -> None:
        resource = await clients.google.get_object("b", "page.html")
        assert (resource.bucket, resource.name, resource.size) == (BUCKET, "page.html", 3)
        assert resource.content_type == "text/html"
        assert resource.storage_class == "STANDARD"
        assert crc32c.crc32c(b"<p>") == resource.checksums.crc32c
        assert resource.update_time.timestamp_pb().ToNanoseconds() == 1_600_000_000_123_456_789
        assert resource.finalize_time
        assert resource.metageneration == 1
        assert resource.etag

    serve(served, scenario)


def test_the_checksum_of_a_large_object_is_computed_by_get_object(
    served: Path, bucket: Path
) -> None:
    data = bytes(range(256)) * 40_000
    (bucket / "large").write_bytes(data)

    async def scenario(clients: Clients) -> None:
        async def listed() -> Any:
            (resource,) = (await clients.generated.list_objects(parent=BUCKET)).objects
            return resource

        assert not (await listed()).checksums
        resource = await clients.google.get_object("b", "large")
        assert crc32c.crc32c(data) == resource.checksums.crc32c
        assert crc32c.crc32c(data) == (await listed()).checksums.crc32c
        (bucket / "large").write_bytes(data[1:])
        resource = await clients.google.get_object("b", "large")
        assert crc32c.crc32c(data[1:]) == resource.checksums.crc32c

    serve(served, scenario)


@pytest.mark.parametrize(
    ("conditions", "error"),
    [
        ({"generation": 1}, exceptions.NotFound),
        ({"if_generation_match": 1}, exceptions.FailedPrecondition),
        ({"if_generation_match": 0}, exceptions.FailedPrecondition),
        ({"if_metageneration_match": 9}, exceptions.FailedPrecondition),
        ({"if_metageneration_not_match": 1}, exceptions.Aborted),
        ({"soft_deleted": True}, exceptions.NotFound),
    ],
)
def test_get_object_checks_its_conditions(
    served: Path, bucket: Path, conditions: dict[str, Any], error: type[Exception]
) -> None:
    (bucket / "f").write_bytes(b"x")

    async def scenario(clients: Clients) -> None:
        resource = await clients.google.get_object("b", "f")
        await clients.google.get_object(
            "b",
            "f",
            generation=resource.generation,
            if_generation_match=resource.generation,
            if_generation_not_match=1,
        )
        with pytest.raises(error):
            await clients.google.get_object("b", "f", **conditions)

    serve(served, scenario)


def test_a_read_mask_selects_fields(served: Path, bucket: Path) -> None:
    (bucket / "f").write_bytes(b"x")

    async def scenario(clients: Clients) -> None:
        masked = {"bucket": BUCKET, "object_": "f", "read_mask": {"paths": ["size"]}}
        resource = await clients.generated.get_object(masked)
        assert (resource.size, resource.name, resource.generation) == (1, "", 0)
        masked["read_mask"] = {"paths": ["sise"]}
        with pytest.raises(exceptions.InvalidArgument):
            await clients.generated.get_object(masked)
        listed = {"parent": BUCKET, "read_mask": {"paths": ["name"]}}
        (resource,) = (await clients.generated.list_objects(listed)).objects
        assert (resource.name, resource.size) == ("f", 0)

    serve(served, scenario)


def test_2500_objects_and_prefixes_are_listed_in_three_pages(served: Path, bucket: Path) -> None:
    files = [f"d/f{number:04}" for number in range(2000)]
    folders = [f"d/g{number:03}/x" for number in range(500)]
    fill(bucket, [*files, *folders, "c", "e"])

    async def scenario(clients: Clients) -> None:
        objects, prefixes, count = await listing(clients, prefix="d/", delimiter="/")
        assert files == objects
        assert [name[:-1] for name in folders] == prefixes
        assert count == 3
        everything, none, _ = await listing(clients, page_size=777)
        assert sorted([*files, *folders, "c", "e"]) == everything
        assert none == []

    serve(served, scenario)


def test_names_are_listed_in_the_order_of_their_utf8_bytes(served: Path, bucket: Path) -> None:
    names = [
        "a-b",
        "a.b",
        "a/b",
        "a0",
        "Z",
        "ü",
        "\ue000",
        "🪣",
        "new\nline",
        "foo.d/x",
        "foo",
    ]
    fill(bucket, names)

    async def scenario(clients: Clients) -> None:
        objects, _, _ = await listing(clients)
        assert sorted(names, key=str.encode) == objects

    serve(served, scenario)


def test_lexicographic_bounds_limit_a_listing(served: Path, bucket: Path) -> None:
    fill(bucket, ["a", "b/1", "b/2", "c", "d"])

    async def scenario(clients: Clients) -> None:
        bounds = {"lexicographic_start": "b/2", "lexicographic_end": "d"}
        assert await listing(clients, **bounds) == (["b/2", "c"], [], 1)
        assert await listing(clients, delimiter="/", **bounds) == (["c"], ["b/"], 1)

    serve(served, scenario)


def test_empty_folders_are_listed_only_in_hierarchical_buckets(served: Path, bucket: Path) -> None:
    fill(bucket, ["full/x", "top"])
    (bucket / "empty" / "inner").mkdir(parents=True)
    request = {"delimiter": "/", "include_folders_as_prefixes": True}

    async def flat(clients: Clients) -> None:
        assert await listing(clients, **request) == (["top"], ["full/"], 1)

    async def hierarchical(clients: Clients) -> None:
        assert await listing(clients, **request) == (["top"], ["empty/", "full/"], 1)
        assert await listing(clients, prefix="empty/", **request) == ([], ["empty/inner/"], 1)
        assert await listing(clients, prefix="empty/inner/", **request) == ([], [], 1)
        assert await listing(clients, delimiter="/") == (["top"], ["full/"], 1)

    serve(served, flat)
    serve(served, hierarchical, location_type="zone")


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"page_size": -1}, exceptions.InvalidArgument),
        ({"page_token": "foreign"}, exceptions.InvalidArgument),
        ({"include_folders_as_prefixes": True}, exceptions.InvalidArgument),
        ({"parent": "projects/_/buckets/none"}, exceptions.NotFound),
        ({"parent": "b"}, exceptions.InvalidArgument),
        ({"match_glob": "*"}, exceptions.MethodNotImplemented),
        ({"filter": "x"}, exceptions.MethodNotImplemented),
    ],
)
def test_invalid_listings_end_with_the_right_status(
    served: Path, request_: dict[str, object], error: type[Exception]
) -> None:
    async def scenario(clients: Clients) -> None:
        with pytest.raises(error):
            await listing(clients, **request_)

    serve(served, scenario)


def test_delete_object_checks_its_conditions(served: Path, bucket: Path) -> None:
    fill(bucket, ["a/f"])

    async def scenario(clients: Clients) -> None:
        with pytest.raises(exceptions.FailedPrecondition):
            await clients.google.delete_object("b", "a/f", if_generation_match=5)
        await clients.google.delete_object("b", "a/f")
        assert not (bucket / "a" / "f").exists()
        with pytest.raises(exceptions.NotFound):
            await clients.google.delete_object("b", "a/f")

    serve(served, scenario)


def test_an_unknown_method_is_unimplemented(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        with pytest.raises(exceptions.MethodNotImplemented):
            await clients.generated.get_iam_policy({"resource": BUCKET})

    serve(served, scenario)


@pytest.mark.parametrize("method", ["GetObject", "BidiReadObject", "WriteObject"])
def test_a_malformed_request_is_an_internal_error(served: Path, method: str) -> None:
    async def scenario(clients: Clients) -> None:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = clients.channel.unary_unary(
            f"/google.storage.v2.Storage/{method}"
        )
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call(b"\xff\xff\xff")
        assert raised.value.code() == grpc.StatusCode.INTERNAL

    serve(served, scenario)


@pytest.mark.expects_log("GetBucket failed")
def test_an_unexpected_exception_is_an_internal_error_and_one_log_line(
    served: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "gcsmux_fs.emulator.services.meta_service.bucket_resource", lambda *_: 1 // 0
    )

    async def scenario(clients: Clients) -> None:
        with pytest.raises(exceptions.InternalServerError):
            await clients.generated.get_bucket(name=BUCKET, retry=None)

    serve(served, scenario)
    assert len(caplog.records) == 1
