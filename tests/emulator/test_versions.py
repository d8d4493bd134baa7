"""Tests of buckets that keep old generations, with Google's client."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest
from google.api_core import exceptions

from gcsmux_fs.emulator.buckets.object_attributes import ObjectAttributes
from gcsmux_fs.emulator.buckets.object_events import ObjectEventType
from gcsmux_fs.emulator.buckets.placement import REGION, Placement
from gcsmux_fs.emulator.buckets.store import BucketStore
from gcsmux_fs.emulator.buckets.version_pages import versions_of
from gcsmux_fs.emulator.server import Emulator

from .clients import BUCKET, Clients, serve

if TYPE_CHECKING:
    from pathlib import Path

    from gcsmux_fs.emulator.buckets.object_events import ObjectEvent


async def write(clients: Clients, name: str, content: bytes) -> Any:
    async def requests() -> Any:
        yield {
            "write_object_spec": {"resource": {"bucket": BUCKET, "name": name}},
            "checksummed_data": {"content": content},
            "finish_write": True,
        }

    return (await (await clients.generated.write_object(requests=requests()))).resource


async def read(clients: Clients, name: str, generation: int = 0) -> bytes:
    request = {"bucket": BUCKET, "object_": name, "generation": generation}
    stream = await clients.generated.read_object(request)
    return b"".join([response.checksummed_data.content async for response in stream])


async def listed(clients: Clients, **request: Any) -> list[Any]:
    pager = await clients.generated.list_objects({"parent": BUCKET, **request})
    return [each async for each in pager]


async def delete(clients: Clients, name: str, generation: int = 0) -> None:
    await clients.generated.delete_object(
        {"bucket": BUCKET, "object_": name, "generation": generation}
    )


def test_a_bucket_with_versioning_keeps_overwritten_and_deleted_generations(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        first = await write(clients, "a", b"first")
        second = await write(clients, "a", b"second!")
        await delete(clients, "a")
        other = await write(clients, "b/c", b"c")
        found = await listed(clients, versions=True)
        assert [(each.name, each.generation) for each in found] == [
            ("a", first.generation),
            ("a", second.generation),
            ("b/c", other.generation),
        ]
        assert found[0].delete_time == second.create_time
        assert found[1].delete_time >= second.create_time
        assert not found[2].delete_time
        assert found[0].checksums.crc32c == first.checksums.crc32c
        assert [each.name for each in await listed(clients)] == ["b/c"]
        assert await read(clients, "a", first.generation) == b"first"
        assert await read(clients, "a", second.generation) == b"second!"
        with pytest.raises(exceptions.NotFound):
            await read(clients, "a")
        again = await clients.generated.rewrite_object(
            {
                "source_bucket": BUCKET,
                "source_object": "a",
                "source_generation": first.generation,
                "destination_bucket": BUCKET,
                "destination_name": "a",
            }
        )
        assert await read(clients, "a") == b"first"
        async with Emulator(served, versioning=True) as restarted:
            after = Clients(restarted)
            assert len(await listed(after, versions=True)) == 4
            assert await read(after, "a", second.generation) == b"second!"
            await after.close()
        await delete(clients, "a", second.generation)
        await delete(clients, "a", again.resource.generation)
        names = [each.generation for each in await listed(clients, versions=True, prefix="a")]
        assert names == [first.generation], "a delete of one generation keeps no noncurrent one"

    serve(served, scenario, versioning=True)


def test_a_page_may_end_between_two_generations(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        for name in ("a", "b/x", "b/x", "c", "c", "c"):
            await write(clients, name, name.encode())
        await delete(clients, "c")
        found = await listed(clients, versions=True, delimiter="/", page_size=2)
        assert [each.name for each in found] == ["a", "c", "c", "c"]
        pager = await clients.generated.list_objects(
            {"parent": BUCKET, "versions": True, "delimiter": "/", "page_size": 2}
        )
        pages = [page async for page in pager.pages]
        assert [len(page.objects) + len(page.prefixes) for page in pages] == [2, 2, 1]
        assert [prefix for page in pages for prefix in page.prefixes] == ["b/"]

    serve(served, scenario, versioning=True)


def test_a_soft_deleted_generation_can_be_listed_and_restored_but_not_read(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        first = await write(clients, "a", b"first")
        await write(clients, "a", b"second!")
        assert len(await listed(clients, versions=True)) == 1
        (kept,) = await listed(clients, soft_deleted=True)
        assert kept.generation == first.generation
        assert kept.hard_delete_time - kept.soft_delete_time == dt.timedelta(days=7)
        with pytest.raises(exceptions.NotFound):
            await read(clients, "a", first.generation)
        restored = await clients.generated.restore_object(
            {"bucket": BUCKET, "object_": "a", "generation": first.generation}
        )
        assert restored.generation > first.generation
        assert restored.create_time > first.create_time
        assert await read(clients, "a") == b"first"
        with pytest.raises(exceptions.InvalidArgument):
            await listed(clients, soft_deleted=True, versions=True)

    serve(served, scenario, soft_delete_seconds=7 * 86400)


def test_a_bucket_without_a_policy_keeps_nothing(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        first = await write(clients, "a", b"first")
        await write(clients, "a", b"second!")
        assert len(await listed(clients, versions=True)) == 1
        with pytest.raises(exceptions.NotFound):
            await read(clients, "a", first.generation)
        with pytest.raises(exceptions.InvalidArgument):
            await listed(clients, soft_deleted=True)

    serve(served, scenario)


def test_create_bucket_chooses_what_a_bucket_keeps(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        bucket = {
            "project": "projects/p",
            "versioning": {"enabled": True},
            "soft_delete_policy": {"retention_duration": dt.timedelta(days=3)},
        }
        request = {"parent": "projects/_", "bucket_id": "kept", "bucket": bucket}
        await clients.generated.create_bucket(request)
        found = await clients.generated.get_bucket({"name": "projects/_/buckets/kept"})
        assert found.versioning.enabled
        assert found.soft_delete_policy.retention_duration == dt.timedelta(days=3)

    serve(served, scenario)


def test_a_soft_deleted_generation_is_lost_after_its_time(served: Path) -> None:
    placement = Placement.default(REGION, soft_delete_seconds=60)
    bucket = BucketStore(served, placement).bucket("b")
    (served / "b" / "a").write_bytes(b"x")
    old = bucket.find("a")
    assert old is not None
    bucket.delete("a")
    (kept,) = versions_of(bucket, "a", soft_deleted=True)
    bucket.old_versions.expire(kept.hard_delete_ns - 1)
    assert bucket.restore("a", old.generation) is not None
    bucket.old_versions.expire(kept.hard_delete_ns)
    assert versions_of(bucket, "a", soft_deleted=True) == []
    assert bucket.restore("a", old.generation) is None


def test_an_overwrite_and_a_delete_archive_the_generation(served: Path) -> None:
    events: list[ObjectEvent] = []
    store = BucketStore(served, Placement.default(REGION, versioning=True))
    store.listeners.append(events.append)
    bucket = store.bucket("b")
    for content in (b"1", b"22"):
        incoming = bucket.incoming()
        incoming.parent.mkdir(parents=True, exist_ok=True)
        incoming.write_bytes(content)
        stored = bucket.publish("a", incoming, ObjectAttributes())
    bucket.delete("a")
    bucket.delete("a", stored.generation)
    assert [(event.type, event.overwritten_by) for event in events] == [
        (ObjectEventType.FINALIZE, 0),
        (ObjectEventType.FINALIZE, 0),
        (ObjectEventType.ARCHIVE, stored.generation),
        (ObjectEventType.ARCHIVE, 0),
        (ObjectEventType.DELETE, 0),
    ]
