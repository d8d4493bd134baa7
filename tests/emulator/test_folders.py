"""Tests of folders, which Google's client for StorageControl creates, lists and deletes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.api_core import exceptions
from google.cloud import storage_control_v2
from google.cloud.storage.asyncio.async_appendable_object_writer import AsyncAppendableObjectWriter
from google.cloud.storage_control_v2.services.storage_control.transports import (
    StorageControlGrpcAsyncIOTransport,
)

from gcsmux_fs.emulator.faults import Status
from gcsmux_fs.emulator.injection import Rule
from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.pb import storage_pb2 as pb

from .clients import BUCKET, Clients, order, serve

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

FOLDERS = f"{BUCKET}/folders/"


def control_of(clients: Clients) -> Any:
    transport = StorageControlGrpcAsyncIOTransport(channel=clients.channel)
    return storage_control_v2.StorageControlAsyncClient(transport=transport)


def serve_zonal(served: Path, scenario: Callable[[Clients, Any], Awaitable[None]]) -> None:
    async def with_control(clients: Clients) -> None:
        await scenario(clients, control_of(clients))

    serve(served, with_control, location_type="zone")


async def paths(control: Any, **request: object) -> list[str]:
    pager = await control.list_folders({"parent": BUCKET, **request})
    return [folder.name.removeprefix(FOLDERS) async for folder in pager]


async def append(clients: Clients, name: str, *, finish: bool = False) -> Any:
    writer = AsyncAppendableObjectWriter(clients.google, "b", name)
    await writer.open()
    await writer.append(b"data")
    await writer.flush()
    if finish:
        await writer.finalize()
    return writer


def test_a_folder_is_created_found_and_removed(served: Path, bucket: Path) -> None:
    async def scenario(_: Clients, control: Any) -> None:
        created = await control.create_folder(parent=BUCKET, folder={}, folder_id="new/")
        assert (created.name, created.metageneration) == (f"{FOLDERS}new/", 1)
        assert (bucket / "new").is_dir()
        folder = await control.get_folder(name=created.name)
        assert folder == created
        assert folder.update_time
        with pytest.raises(exceptions.AlreadyExists):
            await control.create_folder(parent=BUCKET, folder={}, folder_id="new/")
        (bucket / "new" / "f").touch()
        with pytest.raises(exceptions.FailedPrecondition):
            await control.delete_folder(name=created.name)
        (bucket / "new" / "f").unlink()
        await control.delete_folder(name=created.name)
        assert not (bucket / "new").exists()
        for missing in (control.get_folder, control.delete_folder):
            with pytest.raises(exceptions.NotFound):
                await missing(name=created.name)

    serve_zonal(served, scenario)


def test_create_folder_needs_a_parent_unless_it_is_recursive(served: Path, bucket: Path) -> None:
    async def scenario(_: Clients, control: Any) -> None:
        request = {"parent": BUCKET, "folder": {}, "folder_id": "a/b/c/"}
        with pytest.raises(exceptions.FailedPrecondition):
            await control.create_folder(request)
        await control.create_folder({**request, "recursive": True})
        assert (bucket / "a" / "b" / "c").is_dir()
        assert await paths(control) == ["a/", "a/b/", "a/b/c/"]

    serve_zonal(served, scenario)


@pytest.mark.parametrize(
    ("request_", "shown"),
    [
        ({}, ["a-/", "a/", "a/b/", "a/b/c/", "a/d/", "e/"]),
        ({"delimiter": "/"}, ["a-/", "a/", "e/"]),
        ({"prefix": "a/"}, ["a/", "a/b/", "a/b/c/", "a/d/"]),
        ({"prefix": "a/", "delimiter": "/"}, ["a/", "a/b/", "a/d/"]),
        ({"prefix": "none/"}, []),
        ({"lexicographic_start": "a/b/", "lexicographic_end": "a/d/"}, ["a/b/", "a/b/c/"]),
    ],
)
@pytest.mark.parametrize("page_size", [0, 1, 2])
def test_folders_are_listed_in_order(
    served: Path, bucket: Path, request_: dict[str, object], shown: list[str], page_size: int
) -> None:
    for folder in ("a-", "a/b/c", "a/d"):
        (bucket / folder).mkdir(parents=True)
    for name in ("a/b/0", "a/z", "file"):
        (bucket / name).touch()

    async def scenario(clients: Clients, control: Any) -> None:
        # The bucket has no file for this appendable object, but the folder `e/` exists.
        await append(clients, "e/growing")
        assert await paths(control, page_size=page_size, **request_) == shown
        for path in shown:
            await control.get_folder(name=FOLDERS + path)

    serve_zonal(served, scenario)


def test_renaming_a_folder_renames_all_objects_in_it(served: Path, bucket: Path) -> None:
    (bucket / "old" / "deep").mkdir(parents=True)
    (bucket / "old" / "deep" / "f").write_bytes(b"x")
    (bucket / "other").mkdir()

    async def scenario(clients: Clients, control: Any) -> None:
        await append(clients, "old/growing")
        await append(clients, "old/done.html", finish=True)
        names = ("deep/f", "growing", "done.html")
        before = [await clients.google.get_object("b", f"old/{name}") for name in names]
        operation = await control.rename_folder(
            name=f"{FOLDERS}old/", destination_folder_id="other/new/"
        )
        renamed = await operation.result()
        assert renamed.name == f"{FOLDERS}other/new/"
        assert operation.metadata.source_folder_id == "old/"
        assert operation.metadata.destination_folder_id == "other/new/"
        operations = control.transport.operations_client
        stored = await operations.get_operation(operation.operation.name)
        assert stored.done
        assert stored.response == operation.operation.response
        after = [await clients.google.get_object("b", f"other/new/{name}") for name in names]
        assert [resource.generation for resource in after] == [
            resource.generation for resource in before
        ]
        assert [resource.content_type for resource in after] == [
            resource.content_type for resource in before
        ]
        assert [resource.size for resource in after] == [1, 4, 4]
        assert not after[1].finalize_time
        assert await paths(control) == ["other/", "other/new/", "other/new/deep/"]
        for name in names:
            with pytest.raises(exceptions.NotFound):
                await clients.google.get_object("b", f"old/{name}")

    serve_zonal(served, scenario)


@pytest.mark.parametrize(
    ("source", "destination", "error"),
    [
        ("none/", "x/", exceptions.NotFound),
        ("a/", "b/", exceptions.AlreadyExists),
        ("a/", "a/x/", exceptions.InvalidArgument),
        ("a/", "a/", exceptions.InvalidArgument),
        ("a/", "none/x/", exceptions.FailedPrecondition),
        ("a/", "x", exceptions.InvalidArgument),
        ("a/", "x//", exceptions.InvalidArgument),
        ("a/", "file/", exceptions.FailedPrecondition),
        ("a", "x/", exceptions.InvalidArgument),
    ],
)
def test_an_invalid_rename_changes_nothing(
    served: Path, bucket: Path, source: str, destination: str, error: type[Exception]
) -> None:
    (bucket / "a").mkdir()
    (bucket / "a" / "f").touch()
    (bucket / "b").mkdir()
    (bucket / "file").touch()

    async def scenario(_: Clients, control: Any) -> None:
        with pytest.raises(error):
            await control.rename_folder(name=FOLDERS + source, destination_folder_id=destination)
        assert (bucket / "a" / "f").exists()
        assert await paths(control) == ["a/", "b/"]

    serve_zonal(served, scenario)


def test_delete_folder_recursive_deletes_all_objects_in_it(served: Path, bucket: Path) -> None:
    (bucket / "a" / "b").mkdir(parents=True)
    (bucket / "a" / "b" / "f").touch()
    (bucket / "a-").touch()

    async def scenario(clients: Clients, control: Any) -> None:
        await append(clients, "a/growing")
        operation = await control.delete_folder_recursive(name=f"{FOLDERS}a/")
        await operation.result()
        assert operation.metadata.folder_id == "a/"
        assert await paths(control) == []
        listed = (await clients.generated.list_objects(parent=BUCKET)).objects
        assert [resource.name for resource in listed] == ["a-"]

    serve_zonal(served, scenario)


def test_conditions_on_folders_are_checked(served: Path, bucket: Path) -> None:
    (bucket / "a").mkdir()
    name = f"{FOLDERS}a/"

    async def scenario(_: Clients, control: Any) -> None:
        with pytest.raises(exceptions.FailedPrecondition):
            await control.get_folder({"name": name, "if_metageneration_match": 7})
        with pytest.raises(exceptions.Aborted):
            await control.get_folder({"name": name, "if_metageneration_not_match": 1})
        with pytest.raises(exceptions.FailedPrecondition):
            await control.delete_folder({"name": name, "if_metageneration_not_match": 1})
        with pytest.raises(exceptions.FailedPrecondition):
            await control.rename_folder(
                {"name": name, "destination_folder_id": "x/", "if_metageneration_match": 2}
            )
        await control.delete_folder({"name": name, "if_metageneration_match": 1})

    serve_zonal(served, scenario)


def test_flat_buckets_have_no_folders(served: Path, bucket: Path) -> None:
    (bucket / "a").mkdir()

    async def scenario(clients: Clients) -> None:
        control = control_of(clients)
        with pytest.raises(exceptions.FailedPrecondition):
            await control.get_folder(name=f"{FOLDERS}a/")
        with pytest.raises(exceptions.FailedPrecondition):
            await paths(control)
        layout = await control.get_storage_layout(name=f"{BUCKET}/storageLayout")
        assert not layout.hierarchical_namespace.enabled

    serve(served, scenario)


@pytest.mark.parametrize("request_", [{"delimiter": "x"}, {"prefix": "a"}, {"page_size": -1}])
def test_invalid_folder_listings_end_with_invalid_argument(
    served: Path, request_: dict[str, object]
) -> None:
    async def scenario(_: Clients, control: Any) -> None:
        with pytest.raises(exceptions.InvalidArgument):
            await paths(control, **request_)

    serve_zonal(served, scenario)


def test_a_link_is_not_a_folder(served: Path, bucket: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "in").mkdir(parents=True)
    (tmp_path / "elsewhere" / "in" / "f").touch()
    (bucket / "link").symlink_to(tmp_path / "elsewhere")

    async def scenario(clients: Clients, control: Any) -> None:
        for path in ("link/", "link/in/"):
            with pytest.raises(exceptions.NotFound):
                await control.get_folder(name=FOLDERS + path)
            listed = await clients.generated.list_objects({"parent": BUCKET, "prefix": path})
            assert not listed.objects
        assert await paths(control) == []

    serve_zonal(served, scenario)


def test_an_unknown_operation_is_not_found(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        call = clients.call("GetOperation", pb.Operation, "google.longrunning.Operations")
        await call.write(pb.GetOperationRequest(name=f"{BUCKET}/operations/none"))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call.read()
        assert raised.value.code() == grpc.StatusCode.NOT_FOUND

    serve(served, scenario)


def test_rules_match_the_path_of_a_folder(served: Path, bucket: Path) -> None:
    (bucket / "a").mkdir()
    (bucket / "b").mkdir()

    async def scenario(clients: Clients, control: Any) -> None:
        order(clients, Rule(Status(StatusCode.PERMISSION_DENIED), object="a/", times=-1))
        with pytest.raises(exceptions.PermissionDenied):
            await control.get_folder(name=f"{FOLDERS}a/")
        await control.get_folder(name=f"{FOLDERS}b/")

    serve_zonal(served, scenario)
