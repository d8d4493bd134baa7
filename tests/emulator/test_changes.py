"""Tests of UpdateObject and MoveObject, which change an object's attributes or its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.api_core import exceptions
from google.cloud.storage.asyncio.async_appendable_object_writer import AsyncAppendableObjectWriter

from gcsmux_fs.emulator.server import Emulator
from tests.support.sizes import MIB

from .change_helpers import (
    SOURCE_CONDITIONS,
    TARGET_CONDITIONS,
    begin_appendable,
    content,
    with_own,
)
from .clients import BUCKET, Clients, bidi_request, serve

if TYPE_CHECKING:
    from pathlib import Path


async def update(clients: Clients, mask: list[str], fields: dict[str, Any], **request: Any) -> Any:
    object_ = {"bucket": BUCKET, "name": "f", **fields}
    return await clients.generated.update_object(
        {"object_": object_, "update_mask": {"paths": mask}, **request}
    )


# -- UpdateObject


def test_an_update_increases_the_metageneration_and_survives_a_restart(
    served: Path, bucket: Path
) -> None:
    (bucket / "f").write_bytes(b"x")

    async def scenario(clients: Clients) -> None:
        before = await clients.google.get_object("b", "f")
        fields = {"content_type": "a/b", "metadata": {"k": "v", "l": "w"}, "cache_control": "no"}
        after = await update(clients, ["content_type", "metadata"], fields)
        assert (after.generation, after.metageneration) == (before.generation, 2)
        assert (after.content_type, after.metadata) == ("a/b", {"k": "v", "l": "w"})
        assert after.cache_control == ""
        assert after.update_time > before.update_time
        assert after.create_time == before.create_time
        assert after.etag != before.etag
        after = await update(clients, ["metadata.k", "metadata.m"], {"metadata": {"m": "x"}})
        assert (after.metageneration, after.metadata) == (3, {"l": "w", "m": "x"})
        await clients.google.get_object("b", "f", if_metageneration_match=3)
        async with Emulator(served) as restarted:
            other = Clients(restarted)
            assert await other.google.get_object("b", "f") == await clients.google.get_object(
                "b", "f"
            )
            await other.close()
        after = await update(clients, ["*"], {"cache_control": "no"})
        assert (after.content_type, after.metadata, after.cache_control) == ("", {}, "no")
        (bucket / "f").write_bytes(b"yy")
        assert (await clients.google.get_object("b", "f")).metageneration == 1

    serve(served, scenario)


def test_an_update_of_an_unfinalized_object_survives_its_finalization(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        writer = await begin_appendable(clients, "f")
        await update(clients, ["metadata"], {"metadata": {"k": "v"}})
        await writer.append(b"more")
        await writer.finalize()
        resource = await clients.google.get_object("b", "f")
        assert (resource.size, resource.metageneration, resource.metadata) == (8, 2, {"k": "v"})

    serve(served, scenario)


@pytest.mark.parametrize(
    ("mask", "request_", "error"),
    [
        ([], {}, exceptions.InvalidArgument),
        (["size"], {}, exceptions.InvalidArgument),
        (["storage_class"], {}, exceptions.InvalidArgument),
        (["temporary_hold"], {}, exceptions.MethodNotImplemented),
        (["metadata"], {"if_generation_match": 5}, exceptions.FailedPrecondition),
        (["metadata"], {"if_generation_not_match": "own"}, exceptions.FailedPrecondition),
        (["metadata"], {"if_metageneration_match": 2}, exceptions.FailedPrecondition),
        (["metadata"], {"if_metageneration_not_match": 1}, exceptions.FailedPrecondition),
    ],
)
def test_an_invalid_update_changes_nothing(
    served: Path,
    bucket: Path,
    mask: list[str],
    request_: dict[str, Any],
    error: type[Exception],
) -> None:
    (bucket / "f").write_bytes(b"x")

    async def scenario(clients: Clients) -> None:
        before = await clients.google.get_object("b", "f")
        with pytest.raises(error):
            await update(
                clients, mask, {"metadata": {"k": "v"}}, **with_own(request_, before.generation)
            )
        with pytest.raises(exceptions.NotFound):
            await update(clients, ["metadata"], {"generation": 5})
        with pytest.raises(exceptions.NotFound):
            await update(clients, ["metadata"], {"name": "none"})
        assert await clients.google.get_object("b", "f") == before

    serve(served, scenario)


# -- MoveObject


async def move(clients: Clients, source: str, name: str, **conditions: int) -> Any:
    return await clients.generated.move_object(
        {"bucket": BUCKET, "source_object": source, "destination_object": name, **conditions}
    )


@pytest.mark.parametrize("source", ["f.html", "d//f"])
@pytest.mark.parametrize("name", ["new/g", "a//b", "taken", "folder"])
def test_a_moved_object_keeps_its_content_and_attributes(
    served: Path, bucket: Path, source: str, name: str
) -> None:
    (bucket / "taken").write_bytes(b"old")
    (bucket / "folder").mkdir()
    (bucket / "f.html").write_bytes(b"<p>")

    async def scenario(clients: Clients) -> None:
        if source != "f.html":
            await move(clients, "f.html", source)
        before = await clients.google.get_object("b", source)
        moved = await move(clients, source, name, if_source_generation_match=before.generation)
        assert moved.generation > before.generation
        assert (moved.name, moved.size, moved.content_type) == (name, 3, "text/html")
        assert moved.checksums == before.checksums
        assert await clients.google.get_object("b", name) == moved
        assert await content(clients, name) == b"<p>"
        with pytest.raises(exceptions.NotFound):
            await clients.google.get_object("b", source)

    serve(served, scenario)


def test_moving_an_unfinalized_object_ends_its_writer(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        writer = await begin_appendable(clients, "f")
        moved = await move(clients, "f", "d/g")
        assert (moved.size, bool(moved.finalize_time)) == (4, False)
        await writer.append(b"more")
        with pytest.raises(exceptions.NotFound):
            await writer.flush()
        resumed = AsyncAppendableObjectWriter(clients.google, "b", "d/g", moved.generation)
        await resumed.open()
        await resumed.append(b"more")
        assert (await resumed.finalize()).size == 8

    serve(served, scenario, location_type="zone")


@pytest.mark.parametrize("conditions", SOURCE_CONDITIONS + TARGET_CONDITIONS)
def test_a_move_with_a_failed_condition_changes_nothing(
    served: Path, bucket: Path, conditions: dict[str, Any]
) -> None:
    (bucket / "f").write_bytes(b"x")
    (bucket / "g").write_bytes(b"old")

    async def scenario(clients: Clients) -> None:
        own = (await clients.google.get_object("b", "f")).generation
        with pytest.raises(exceptions.FailedPrecondition):
            await move(clients, "f", "g", **with_own(conditions, own))
        assert (await content(clients, "f"), await content(clients, "g")) == (b"x", b"old")

    serve(served, scenario)


@pytest.mark.parametrize(
    ("source", "name", "error"),
    [
        ("none", "g", exceptions.NotFound),
        ("f", "f", exceptions.InvalidArgument),
        ("f", "", exceptions.InvalidArgument),
        ("", "g", exceptions.InvalidArgument),
    ],
)
def test_invalid_moves_end_with_the_right_status(
    served: Path, bucket: Path, source: str, name: str, error: type[Exception]
) -> None:
    (bucket / "f").write_bytes(b"x")

    async def scenario(clients: Clients) -> None:
        with pytest.raises(error):
            await move(clients, source, name)

    serve(served, scenario)


def test_a_stream_continues_after_a_move_replaces_its_object(served: Path, bucket: Path) -> None:
    old = b"o" * 8 * MIB
    (bucket / "f").write_bytes(old)
    (bucket / "g").write_bytes(b"new")

    async def scenario(clients: Clients) -> None:
        resource = await clients.google.get_object("b", "f")
        stream = await clients.generated.read_object({"bucket": BUCKET, "object_": "f"})
        parts = [(await anext(aiter(stream))).checksummed_data.content]
        await move(clients, "g", "f")
        parts += [response.checksummed_data.content async for response in stream]
        assert b"".join(parts) == old
        _, code = await clients.bidi(bidi_request("f", [(0, 0, 1)], generation=resource.generation))
        assert code.name == "NOT_FOUND"
        assert await content(clients, "f") == b"new"

    serve(served, scenario)
