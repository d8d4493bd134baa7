"""Tests of RewriteObject and ComposeObject, which copy objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import crc32c
import pytest
from google.api_core import exceptions

from tests.support.sizes import MIB

from .change_helpers import (
    SOURCE_CONDITIONS,
    TARGET_CONDITIONS,
    begin_appendable,
    content,
    with_own,
)
from .clients import BUCKET, Clients, serve

if TYPE_CHECKING:
    from pathlib import Path


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


def test_rewrite_copies_content_and_attributes(served: Path, bucket: Path) -> None:
    data = bytes(range(256)) * 20_000
    (bucket / "f.html").write_bytes(data)
    (served / "other").mkdir()

    async def scenario(clients: Clients) -> None:
        source = await clients.google.get_object("b", "f.html")
        response = await rewrite(clients, source_generation=source.generation)
        size = len(data)
        assert (response.done, response.total_bytes_rewritten, response.object_size) == (
            True,
            size,
            size,
        )
        assert (response.resource.name, response.resource.content_type) == ("g", "text/html")
        assert response.resource.checksums.crc32c == crc32c.crc32c(data)
        assert await content(clients, "g") == data
        response = await rewrite(
            clients,
            destination_bucket="projects/_/buckets/other",
            destination={"metadata": {"k": "v"}},
        )
        assert (response.resource.content_type, response.resource.metadata) == (
            "application/octet-stream",
            {"k": "v"},
        )
        assert (served / "other" / "g").read_bytes() == data
        again = await rewrite(clients, "f.html", destination={"storage_class": "NEARLINE"})
        assert again.resource.generation > source.generation
        assert again.resource.storage_class == "NEARLINE"
        assert again.resource.content_type == "text/html"

    serve(served, scenario)


def test_a_rewrite_with_a_limit_takes_several_calls(served: Path, bucket: Path) -> None:
    (bucket / "f.html").write_bytes(bytes(2 * MIB + 1))

    async def scenario(clients: Clients) -> None:
        limit: dict[str, Any] = {"max_bytes_rewritten_per_call": MIB}
        responses = [await rewrite(clients, **limit)]
        first = responses[0].rewrite_token
        while not responses[-1].done:
            assert not (bucket / "g").exists()
            token = responses[-1].rewrite_token
            responses.append(await rewrite(clients, rewrite_token=token, **limit))
        sizes = [response.total_bytes_rewritten for response in responses]
        assert sizes == [MIB, 2 * MIB, 2 * MIB + 1]
        assert (bucket / "g").stat().st_size == 2 * MIB + 1
        for name, token in (("h", first), ("g", "foreign")):
            with pytest.raises(exceptions.InvalidArgument):
                await rewrite(clients, name, rewrite_token=token, **limit)
        with pytest.raises(exceptions.InvalidArgument):
            await rewrite(clients, max_bytes_rewritten_per_call=5)

    serve(served, scenario)


@pytest.mark.parametrize("conditions", SOURCE_CONDITIONS + TARGET_CONDITIONS)
def test_a_rewrite_with_a_failed_condition_changes_nothing(
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


def test_compose_concatenates_objects(served: Path, bucket: Path) -> None:
    for name in ("a", "b", "c"):
        (bucket / name).write_bytes(name.encode() * 3)

    async def scenario(clients: Clients) -> None:
        composed = await compose(clients, [{"name": "b"}, {"name": "a"}, {"name": "b"}])
        assert (composed.name, composed.size, composed.component_count) == ("all.html", 9, 3)
        assert composed.content_type == "text/html"
        assert composed.checksums.crc32c == crc32c.crc32c(b"bbbaaabbb")
        assert (bucket / "all.html").read_bytes() == b"bbbaaabbb"
        own = (await clients.google.get_object("b", "c")).generation
        source = {
            "name": "c",
            "generation": own,
            "object_preconditions": {"if_generation_match": own},
        }
        composed = await compose(
            clients,
            [{"name": "all.html"}, source],
            if_generation_match=composed.generation,
            delete_source_objects=True,
        )
        assert (composed.size, composed.component_count) == (12, 4)
        assert await clients.google.get_object("b", "all.html") == composed
        listed = (await clients.generated.list_objects(parent=BUCKET)).objects
        assert [resource.name for resource in listed] == ["a", "all.html", "b"]

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
def test_an_invalid_compose_changes_nothing(
    served: Path,
    bucket: Path,
    sources: list[dict[str, Any]],
    request_: dict[str, Any],
    error: type[Exception],
) -> None:
    (bucket / "a").write_bytes(b"x")
    (bucket / "all.html").write_bytes(b"old")

    async def scenario(clients: Clients) -> None:
        await begin_appendable(clients, "growing")
        with pytest.raises(error):
            await compose(clients, sources, **request_)
        assert (bucket / "all.html").read_bytes() == b"old"
        assert not list((served / ".gcsmux-emulator" / "b").glob("incoming-*"))

    serve(served, scenario)


def test_objects_in_zonal_buckets_cannot_be_composed_or_rewritten(
    served: Path, bucket: Path
) -> None:
    (bucket / "f.html").write_bytes(b"x")

    async def scenario(clients: Clients) -> None:
        with pytest.raises(exceptions.FailedPrecondition):
            await compose(clients, [{"name": "f.html"}])
        with pytest.raises(exceptions.FailedPrecondition):
            await rewrite(clients)

    serve(served, scenario, location_type="zone")
