"""Tests that each change of an object publishes its events, whatever call has changed it."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any

import grpc.aio
import pytest
from google.cloud.storage.asyncio.async_appendable_object_writer import AsyncAppendableObjectWriter

from gcsmux_fs.emulator.faults import Delete, Overwrite
from gcsmux_fs.emulator.injection import Rule
from gcsmux_fs.storage.pb import pubsub_pb2 as pubsub
from gcsmux_fs.storage.pb import storage_pb2 as pb

from .clients import BUCKET, Clients, order, serve
from .test_folders import FOLDERS, control_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

SUBSCRIPTION = "projects/test-project/subscriptions/changes"
_SUBSCRIBER = "google.pubsub.v1.Subscriber"


class Events:
    """The events of a bucket that have been published since the last call of `take`."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def messages(self) -> list[pubsub.PubsubMessage]:
        request = pubsub.PullRequest(
            subscription=SUBSCRIPTION, return_immediately=True, max_messages=100
        )
        call = self._clients.call("Pull", pubsub.PullResponse, _SUBSCRIBER)
        await call.write(request)
        await call.done_writing()
        response = await call.read()
        assert isinstance(response, pubsub.PullResponse)
        return [received.message for received in response.received_messages]

    async def take(self) -> list[tuple[str, str, int, int, int]]:
        """Return type, name, generation, and the two generations of an overwrite, of each event."""
        return [
            (
                message.attributes["eventType"].removeprefix("OBJECT_"),
                message.attributes["objectId"],
                int(message.attributes["objectGeneration"]),
                int(message.attributes.get("overwroteGeneration", 0)),
                int(message.attributes.get("overwrittenByGeneration", 0)),
            )
            for message in await self.messages()
        ]


def watch(
    served: Path,
    scenario: Callable[[Clients, Events], Awaitable[None]],
    bucket: str = "b",
    **options: Any,
) -> None:
    async def with_events(clients: Clients) -> None:
        await scenario(clients, Events(clients))

    serve(served, with_events, changes=[(SUBSCRIPTION, bucket)], **options)


async def write(
    clients: Clients, name: str, content: bytes = b"data", **spec: Any
) -> pb.Object | None:
    """Write an object; return None if the call fails."""
    metadata = spec.pop("metadata", {})
    resource = pb.Object(bucket=BUCKET, name=name, metadata=metadata)
    request = pb.WriteObjectRequest(
        write_object_spec=pb.WriteObjectSpec(resource=resource, **spec),
        checksummed_data=pb.ChecksummedData(content=content),
        finish_write=True,
    )
    call = clients.call("WriteObject", pb.WriteObjectResponse)
    await call.write(request)
    await call.done_writing()
    try:
        response = await call.read()
    except grpc.aio.AioRpcError:
        return None
    assert isinstance(response, pb.WriteObjectResponse)
    return response.resource


async def generation_of(clients: Clients, name: str) -> int:
    """Write an object and return its generation."""
    stored = await write(clients, name)
    assert stored is not None
    return stored.generation


# The second name cannot be the name of a file, so the object is in the metadata store.
@pytest.mark.parametrize("name", ["f", "d//f"])
def test_writing_overwriting_updating_and_deleting(served: Path, name: str) -> None:
    async def scenario(clients: Clients, events: Events) -> None:
        first = await generation_of(clients, name)
        assert await events.take() == [("FINALIZE", name, first, 0, 0)]
        second = await generation_of(clients, name)
        assert await events.take() == [
            ("FINALIZE", name, second, first, 0),
            ("DELETE", name, first, 0, second),
        ]
        await clients.generated.update_object(
            {
                "object_": {"bucket": BUCKET, "name": name, "content_type": "a/b"},
                "update_mask": {"paths": ["content_type"]},
            }
        )
        assert await events.take() == [("METADATA_UPDATE", name, second, 0, 0)]
        await clients.generated.delete_object({"bucket": BUCKET, "object_": name})
        assert await events.take() == [("DELETE", name, second, 0, 0)]

    watch(served, scenario)


def test_the_payload_is_the_resource_of_the_object(served: Path) -> None:
    async def scenario(clients: Clients, events: Events) -> None:
        stored = await write(clients, "d/ü", b"x" * 100_000, metadata={"key": "value"})
        assert stored is not None
        (message,) = await events.messages()
        payload = json.loads(message.data)
        assert payload["timeCreated"] == payload["updated"] == payload["timeFinalized"]
        assert payload["timeCreated"].endswith("Z")
        assert len(payload["timeCreated"]) == len("2026-11-30T12:00:00.000Z")
        assert payload == payload | {
            "kind": "storage#object",
            "id": f"b/d/ü/{stored.generation}",
            "name": "d/ü",
            "bucket": "b",
            "generation": str(stored.generation),
            "metageneration": "1",
            "contentType": "application/octet-stream",
            "size": "100000",
            "storageClass": "STANDARD",
            "metadata": {"key": "value"},
            "crc32c": base64.b64encode(stored.checksums.crc32c.to_bytes(4, "big")).decode(),
        }
        assert message.attributes["eventTime"] >= payload["timeCreated"][:-1]
        assert message.publish_time.seconds > 0

    watch(served, scenario)


def test_moving_composing_and_rewriting(served: Path) -> None:
    async def scenario(clients: Clients, events: Events) -> None:
        source = await generation_of(clients, "source")
        old = await generation_of(clients, "target")
        await events.take()
        moved = await clients.generated.move_object(
            {"bucket": BUCKET, "source_object": "source", "destination_object": "target"}
        )
        assert await events.take() == [
            ("FINALIZE", "target", moved.generation, old, 0),
            ("DELETE", "target", old, 0, moved.generation),
            ("DELETE", "source", source, 0, 0),
        ]
        copied = await clients.generated.rewrite_object(
            {
                "destination_bucket": BUCKET,
                "destination_name": "copy",
                "source_bucket": BUCKET,
                "source_object": "target",
            }
        )
        generation = copied.resource.generation
        assert await events.take() == [("FINALIZE", "copy", generation, 0, 0)]
        composed = await clients.generated.compose_object(
            {
                "destination": {"bucket": BUCKET, "name": "composed"},
                "source_objects": [{"name": "copy"}, {"name": "target"}],
                "delete_source_objects": True,
            }
        )
        assert await events.take() == [
            ("FINALIZE", "composed", composed.generation, 0, 0),
            ("DELETE", "copy", generation, 0, 0),
            ("DELETE", "target", moved.generation, 0, 0),
        ]

    watch(served, scenario)


def test_an_appendable_object_has_an_event_when_it_is_finalized(served: Path) -> None:
    async def scenario(clients: Clients, events: Events) -> None:
        old = await generation_of(clients, "f")
        await events.take()
        writer = AsyncAppendableObjectWriter(clients.google, "b", "f")
        await writer.open()
        await writer.append(b"data")
        await writer.flush()
        generation = writer.generation
        assert await events.take() == [("DELETE", "f", old, 0, generation)]
        await writer.finalize()
        (message,) = await events.messages()
        assert message.attributes["eventType"] == "OBJECT_FINALIZE"
        assert message.attributes["objectGeneration"] == str(generation)
        assert json.loads(message.data)["size"] == "4"

    watch(served, scenario)


def test_a_bucket_with_versioning_archives_generations(served: Path) -> None:
    async def scenario(clients: Clients, events: Events) -> None:
        async def delete(generation: int = 0) -> None:
            await clients.generated.delete_object(
                {"bucket": BUCKET, "object_": "f", "generation": generation}
            )

        first = await generation_of(clients, "f")
        second = await generation_of(clients, "f")
        assert (await events.take())[1:] == [
            ("FINALIZE", "f", second, first, 0),
            ("ARCHIVE", "f", first, 0, second),
        ]
        await delete(first)
        assert await events.take() == [("DELETE", "f", first, 0, 0)]
        await delete()
        (archived,) = await events.messages()
        assert archived.attributes["eventType"] == "OBJECT_ARCHIVE"
        assert "overwrittenByGeneration" not in archived.attributes
        assert json.loads(archived.data)["timeDeleted"] >= json.loads(archived.data)["updated"]
        assert await arriving(events, 0) == []

    watch(served, scenario, versioning=True)


def test_restoring_a_soft_deleted_object_finalizes_a_new_generation(served: Path) -> None:
    async def scenario(clients: Clients, events: Events) -> None:
        first = await generation_of(clients, "f")
        await clients.generated.delete_object({"bucket": BUCKET, "object_": "f"})
        restored = await clients.generated.restore_object(
            {"bucket": BUCKET, "object_": "f", "generation": first}
        )
        assert (await events.take())[1:] == [
            ("DELETE", "f", first, 0, 0),
            ("FINALIZE", "f", restored.generation, 0, 0),
        ]

    watch(served, scenario, soft_delete_seconds=1000.0)


def test_removing_a_folder_deletes_its_objects(served: Path) -> None:
    async def scenario(clients: Clients, events: Events) -> None:
        inside = await generation_of(clients, "d/e/f")
        await write(clients, "d2")
        await events.take()
        await control_of(clients).delete_folder_recursive({"name": f"{FOLDERS}d/"})
        assert await events.take() == [("DELETE", "d/e/f", inside, 0, 0)]

    watch(served, scenario, location_type="zone")


def test_faults_that_change_objects_publish_events(served: Path) -> None:
    async def scenario(clients: Clients, events: Events) -> None:
        first = await generation_of(clients, "f")
        await events.take()
        for fault in (Overwrite(), Overwrite(in_place=True)):
            order(clients, Rule(fault, method="GetObject"))
            second = (await clients.google.get_object("b", "f")).generation
            assert await events.take() == [
                ("FINALIZE", "f", second, first, 0),
                ("DELETE", "f", first, 0, second),
            ]
            first = second
        order(clients, Rule(Delete(), method="ListObjects", object="f"))
        await clients.generated.list_objects({"parent": BUCKET, "prefix": "f"})
        assert await events.take() == [("DELETE", "f", first, 0, 0)]

    watch(served, scenario)


def test_a_failed_write_publishes_nothing(served: Path) -> None:
    async def scenario(clients: Clients, events: Events) -> None:
        assert await write(clients, "f", if_generation_match=5) is None
        assert await events.take() == []

    watch(served, scenario)


def test_a_subscription_of_another_bucket_gets_no_event(served: Path) -> None:
    async def scenario(clients: Clients, events: Events) -> None:
        await write(clients, "f")
        assert await events.take() == []

    watch(served, scenario, bucket="another")


def test_a_subscription_without_a_bucket_gets_the_events_of_all_buckets(served: Path) -> None:
    async def scenario(clients: Clients, events: Events) -> None:
        generation = await generation_of(clients, "f")
        assert await events.take() == [("FINALIZE", "f", generation, 0, 0)]

    watch(served, scenario, bucket="")


async def arriving(events: Events, count: int) -> list[tuple[str, str, int, int, int]]:
    """Return the next `count` events, and check that no further event follows."""
    found: list[tuple[str, str, int, int, int]] = []
    for _ in range(1000):
        found += await events.take()
        if len(found) >= count:
            break
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    return found + await events.take()


def test_changes_of_files_by_other_programs_are_published(served: Path, bucket: Path) -> None:
    (bucket / "old").write_text("old")
    (bucket / "unknown").write_text("unknown")
    (bucket / "d").mkdir()
    (bucket / "d" / "f").write_text("f")

    async def scenario(clients: Clients, events: Events) -> None:
        async def generation(name: str) -> int:
            return int((await clients.google.get_object("b", name)).generation)

        old, inside = await generation("old"), await generation("d/f")
        (bucket / "new" / "deep").mkdir(parents=True)
        (bucket / "new" / "deep" / "f").write_text("new")
        ((kind, name, *_),) = await arriving(events, 1)
        assert (kind, name) == ("FINALIZE", "new/deep/f")
        replacement = bucket / "replacement"
        replacement.write_text("replacement")
        (_, _, moved, _, _) = (await arriving(events, 1))[0]
        replacement.rename(bucket / "old")
        found = await arriving(events, 3)
        new = await generation("old")
        assert sorted(found) == sorted(
            [
                ("DELETE", "replacement", moved, 0, 0),
                ("FINALIZE", "old", new, old, 0),
                ("DELETE", "old", old, 0, new),
            ]
        )
        (bucket / "unknown").unlink()
        (bucket / "d").rename(served / ".elsewhere")
        assert await arriving(events, 1) == [("DELETE", "d/f", inside, 0, 0)]
        written = await generation_of(clients, "old")
        assert len(await arriving(events, 2)) == 2
        with (bucket / "old").open("a") as file:
            file.write("more")
        assert (await arriving(events, 2))[0] == (
            *("FINALIZE", "old"),
            await generation("old"),
            *(written, 0),
        )
        await clients.generated.delete_object({"bucket": BUCKET, "object_": "old"})
        assert len(await arriving(events, 1)) == 1

    watch(served, scenario)


def test_buckets_made_by_other_programs_are_watched(served: Path) -> None:
    async def scenario(clients: Clients, events: Events) -> None:
        (served / "new").mkdir()
        await asyncio.sleep(0.05)
        (served / "new" / "f").write_text("f")
        ((kind, name, *_),) = await arriving(events, 1)
        assert (kind, name) == ("FINALIZE", "f")

    watch(served, scenario, bucket="")


def test_renaming_a_folder_publishes_nothing(served: Path) -> None:
    async def scenario(clients: Clients, events: Events) -> None:
        await write(clients, "d/f")
        await events.take()
        await control_of(clients).rename_folder(
            {"name": f"{FOLDERS}d/", "destination_folder_id": "e/"}
        )
        assert await arriving(events, 0) == []

    watch(served, scenario, location_type="zone")
