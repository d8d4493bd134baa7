"""Objects made of objects, and other things said of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import crc32c
import pytest
from google.api_core import exceptions
from google.cloud.storage.asyncio.async_appendable_object_writer import AsyncAppendableObjectWriter

from gcsmux_fs.emulator.server import Emulator

from .clients import BUCKET, Clients, bidi_request, serve

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1024 * 1024

SOURCE_CONDITIONS = [
    {"if_source_generation_match": 5},
    {"if_source_generation_not_match": "own"},
    {"if_source_metageneration_match": 2},
    {"if_source_metageneration_not_match": 1},
]
TARGET_CONDITIONS = [
    {"if_generation_match": 0},
    {"if_generation_match": 5},
    {"if_metageneration_match": 2},
]


def with_own(conditions: dict[str, Any], generation: int) -> dict[str, Any]:
    return {key: generation if value == "own" else value for key, value in conditions.items()}


async def update(clients: Clients, mask: list[str], fields: dict[str, Any], **request: Any) -> Any:
    object_ = {"bucket": BUCKET, "name": "f", **fields}
    return await clients.generated.update_object(
        {"object_": object_, "update_mask": {"paths": mask}, **request}
    )


async def content(clients: Clients, name: str) -> bytes:
    stream = await clients.generated.read_object({"bucket": BUCKET, "object_": name})
    return b"".join([response.checksummed_data.content async for response in stream])


async def grow(clients: Clients, name: str) -> AsyncAppendableObjectWriter:
    writer = AsyncAppendableObjectWriter(clients.google, "b", name)
    await writer.open()
    await writer.append(b"data")
    await writer.flush()
    return writer


# -- UpdateObject


def test_an_update_is_a_metageneration_and_survives_a_restart(served: Path, bucket: Path) -> None:
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


def test_a_growing_object_is_updated_and_stays_so_when_it_is_finished(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        writer = await grow(clients, "f")
        await update(clients, ["metadata"], {"metadata": {"k": "v"}})
        await writer.append(b"more")
        await writer.finalize()
        found = await clients.google.get_object("b", "f")
        assert (found.size, found.metageneration, found.metadata) == (8, 2, {"k": "v"})

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
def test_updates_that_cannot_be_made_change_nothing(
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
def test_a_moved_object_keeps_what_it_is(
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


def test_a_growing_object_is_moved_and_its_writer_told(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        writer = await grow(clients, "f")
        moved = await move(clients, "f", "d/g")
        assert (moved.size, bool(moved.finalize_time)) == (4, False)
        await writer.append(b"more")
        with pytest.raises(exceptions.NotFound):
            await writer.flush()
        again = AsyncAppendableObjectWriter(clients.google, "b", "d/g", moved.generation)
        await again.open()
        await again.append(b"more")
        assert (await again.finalize()).size == 8

    serve(served, scenario, location_type="zone")


@pytest.mark.parametrize("conditions", SOURCE_CONDITIONS + TARGET_CONDITIONS)
def test_a_move_whose_conditions_do_not_hold_changes_nothing(
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
def test_moves_that_cannot_be_made_say_why(
    served: Path, bucket: Path, source: str, name: str, error: type[Exception]
) -> None:
    (bucket / "f").write_bytes(b"x")

    async def scenario(clients: Clients) -> None:
        with pytest.raises(error):
            await move(clients, source, name)

    serve(served, scenario)


# -- RewriteObject


async def rewrite(clients: Clients, name: str = "g", **request: Any) -> Any:
    return await clients.generated.rewrite_object(
        {
            "source_bucket": BUCKET,
            "source_object": "f.html",
            "destination_bucket": BUCKET,
            "destination_name": name,
            **request,
        }
    )


def test_a_rewritten_object_is_a_copy(served: Path, bucket: Path) -> None:
    data = bytes(range(256)) * 20_000
    (bucket / "f.html").write_bytes(data)
    (served / "other").mkdir()

    async def scenario(clients: Clients) -> None:
        source = await clients.google.get_object("b", "f.html")
        answer = await rewrite(clients, source_generation=source.generation)
        size = len(data)
        assert (answer.done, answer.total_bytes_rewritten, answer.object_size) == (True, size, size)
        assert (answer.resource.name, answer.resource.content_type) == ("g", "text/html")
        assert answer.resource.checksums.crc32c == crc32c.crc32c(data)
        assert await content(clients, "g") == data
        answer = await rewrite(
            clients,
            destination_bucket="projects/_/buckets/other",
            destination={"metadata": {"k": "v"}},
        )
        assert (answer.resource.content_type, answer.resource.metadata) == (
            "application/octet-stream",
            {"k": "v"},
        )
        assert (served / "other" / "g").read_bytes() == data
        again = await rewrite(clients, "f.html", destination={"storage_class": "NEARLINE"})
        assert again.resource.generation > source.generation
        assert again.resource.storage_class == "NEARLINE"
        assert again.resource.content_type == "text/html"

    serve(served, scenario)


def test_a_limited_rewrite_takes_several_calls(served: Path, bucket: Path) -> None:
    (bucket / "f.html").write_bytes(bytes(2 * MIB + 1))

    async def scenario(clients: Clients) -> None:
        limit: dict[str, Any] = {"max_bytes_rewritten_per_call": MIB}
        answers = [await rewrite(clients, **limit)]
        first = answers[0].rewrite_token
        while not answers[-1].done:
            assert not (bucket / "g").exists()
            token = answers[-1].rewrite_token
            answers.append(await rewrite(clients, rewrite_token=token, **limit))
        sizes = [answer.total_bytes_rewritten for answer in answers]
        assert sizes == [MIB, 2 * MIB, 2 * MIB + 1]
        assert (bucket / "g").stat().st_size == 2 * MIB + 1
        for name, token in (("h", first), ("g", "foreign")):
            with pytest.raises(exceptions.InvalidArgument):
                await rewrite(clients, name, rewrite_token=token, **limit)
        with pytest.raises(exceptions.InvalidArgument):
            await rewrite(clients, max_bytes_rewritten_per_call=5)

    serve(served, scenario)


@pytest.mark.parametrize("conditions", SOURCE_CONDITIONS + TARGET_CONDITIONS)
def test_a_rewrite_whose_conditions_do_not_hold_changes_nothing(
    served: Path, bucket: Path, conditions: dict[str, Any]
) -> None:
    (bucket / "f.html").write_bytes(b"x")
    (bucket / "g").write_bytes(b"old")

    async def scenario(clients: Clients) -> None:
        own = (await clients.google.get_object("b", "f.html")).generation
        with pytest.raises(exceptions.FailedPrecondition):
            await rewrite(clients, **with_own(conditions, own))
        with pytest.raises(exceptions.NotFound):
            await rewrite(clients, source_generation=5)
        with pytest.raises(exceptions.InvalidArgument):
            await rewrite(clients, object_checksums={"crc32c": 5})
        assert (bucket / "g").read_bytes() == b"old"

    serve(served, scenario)


# -- ComposeObject


async def compose(clients: Clients, sources: list[dict[str, Any]], **request: Any) -> Any:
    return await clients.generated.compose_object(
        {
            "destination": {"bucket": BUCKET, "name": "all.html"},
            "source_objects": sources,
            **request,
        }
    )


def test_an_object_is_composed_of_others(served: Path, bucket: Path) -> None:
    for name in ("a", "b", "c"):
        (bucket / name).write_bytes(name.encode() * 3)

    async def scenario(clients: Clients) -> None:
        made = await compose(clients, [{"name": "b"}, {"name": "a"}, {"name": "b"}])
        assert (made.name, made.size, made.component_count) == ("all.html", 9, 3)
        assert made.content_type == "text/html"
        assert made.checksums.crc32c == crc32c.crc32c(b"bbbaaabbb")
        assert (bucket / "all.html").read_bytes() == b"bbbaaabbb"
        own = (await clients.google.get_object("b", "c")).generation
        source = {
            "name": "c",
            "generation": own,
            "object_preconditions": {"if_generation_match": own},
        }
        made = await compose(
            clients,
            [{"name": "all.html"}, source],
            if_generation_match=made.generation,
            delete_source_objects=True,
        )
        assert (made.size, made.component_count) == (12, 4)
        assert await clients.google.get_object("b", "all.html") == made
        listed = (await clients.generated.list_objects(parent=BUCKET)).objects
        assert [found.name for found in listed] == ["a", "all.html", "b"]

    serve(served, scenario)


@pytest.mark.parametrize(
    ("sources", "request_", "error"),
    [
        ([], {}, exceptions.InvalidArgument),
        ([{"name": "a"}] * 33, {}, exceptions.InvalidArgument),
        ([{"name": "a"}, {"name": "none"}], {}, exceptions.NotFound),
        ([{"name": "a", "generation": 5}], {}, exceptions.NotFound),
        (
            [{"name": "a", "object_preconditions": {"if_generation_match": 5}}],
            {},
            exceptions.FailedPrecondition,
        ),
        ([{"name": "growing"}], {}, exceptions.FailedPrecondition),
        ([{"name": "a"}], {"if_generation_match": 0}, exceptions.FailedPrecondition),
        ([{"name": "a"}], {"if_metageneration_match": 5}, exceptions.FailedPrecondition),
        ([{"name": "a"}], {"object_checksums": {"crc32c": 5}}, exceptions.InvalidArgument),
    ],
)
def test_compositions_that_cannot_be_made_change_nothing(
    served: Path,
    bucket: Path,
    sources: list[dict[str, Any]],
    request_: dict[str, Any],
    error: type[Exception],
) -> None:
    (bucket / "a").write_bytes(b"x")
    (bucket / "all.html").write_bytes(b"old")

    async def scenario(clients: Clients) -> None:
        await grow(clients, "growing")
        with pytest.raises(error):
            await compose(clients, sources, **request_)
        assert (bucket / "all.html").read_bytes() == b"old"
        assert not list((served / ".gcsmux-emulator" / "b").glob("incoming-*"))

    serve(served, scenario)


def test_zonal_buckets_neither_compose_nor_rewrite(served: Path, bucket: Path) -> None:
    (bucket / "f.html").write_bytes(b"x")

    async def scenario(clients: Clients) -> None:
        with pytest.raises(exceptions.FailedPrecondition):
            await compose(clients, [{"name": "f.html"}])
        with pytest.raises(exceptions.FailedPrecondition):
            await rewrite(clients)

    serve(served, scenario, location_type="zone")


def test_the_stream_of_a_replaced_object_goes_on(served: Path, bucket: Path) -> None:
    old = b"o" * 8 * MIB
    (bucket / "f").write_bytes(old)
    (bucket / "g").write_bytes(b"new")

    async def scenario(clients: Clients) -> None:
        found = await clients.google.get_object("b", "f")
        stream = await clients.generated.read_object({"bucket": BUCKET, "object_": "f"})
        parts = [(await anext(aiter(stream))).checksummed_data.content]
        await move(clients, "g", "f")
        parts += [response.checksummed_data.content async for response in stream]
        assert b"".join(parts) == old
        _, code = await clients.bidi(bidi_request("f", [(0, 0, 1)], generation=found.generation))
        assert code.name == "NOT_FOUND"
        assert await content(clients, "f") == b"new"

    serve(served, scenario)
