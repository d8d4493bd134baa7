"""Tests of faults in listings, as a plain gRPC client receives them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest

from gcsmux_fs.emulator.faults import (
    Delete,
    PageAgain,
    PageEmpty,
    PageTokenTarget,
    PageUnsorted,
    Status,
)
from gcsmux_fs.emulator.injection import FOR_EVER, Rule
from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.pb import storage_pb2 as pb

from .clients import BUCKET, Clients, order, serve

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [f"n{number}" for number in range(5)]


async def page(clients: Clients, token: str) -> pb.ListObjectsResponse:
    call = clients.call("ListObjects", pb.ListObjectsResponse)
    await call.write(
        pb.ListObjectsRequest(parent=BUCKET, prefix="n", page_size=2, page_token=token)
    )
    await call.done_writing()
    response = await call.read()
    assert isinstance(response, pb.ListObjectsResponse)
    return response


async def listing(clients: Clients, max_pages: int = 8) -> list[list[str]]:
    """List objects, at most `max_pages` pages; return the names on each page."""
    pages: list[list[str]] = []
    token = ""
    while len(pages) < max_pages:
        response = await page(clients, token)
        pages.append([resource.name for resource in response.objects])
        token = response.next_page_token
        if not token:
            break
    return pages


ONE, TWO, THREE = ["n0", "n1"], ["n2", "n3"], ["n4"]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule(PageAgain()), [ONE, ONE, TWO, THREE]),
        (Rule(PageAgain(), skip=1, times=2), [ONE, TWO, TWO, TWO, THREE]),
        (Rule(PageAgain(), skip=2), [ONE, TWO, THREE, THREE]),
        (Rule(PageAgain(PageTokenTarget.START), skip=1), [ONE, TWO, ONE, TWO, THREE]),
        (Rule(PageAgain(), times=FOR_EVER), [ONE] * 8),
        (
            Rule(PageAgain(PageTokenTarget.START), resumed=True, times=FOR_EVER),
            [ONE, TWO, *[ONE] * 6],
        ),
        (Rule(PageEmpty(), times=2), [[], [], ONE, TWO, THREE]),
        (Rule(PageEmpty(), resumed=True), [ONE, [], TWO, THREE]),
        (Rule(PageUnsorted(), skip=1), [ONE, TWO[::-1], THREE]),
        (Rule(PageUnsorted(), object="other*"), [ONE, TWO, THREE]),
    ],
    ids=lambda value: repr(value.fault) if isinstance(value, Rule) else "",
)
def test_page_faults_repeat_empty_or_reverse_pages(
    served: Path, bucket: Path, rule: Rule, expected: list[list[str]]
) -> None:
    for name in NAMES:
        (bucket / name).touch()

    async def scenario(clients: Clients) -> None:
        order(clients, rule)
        assert expected == await listing(clients)
        order(clients)
        assert await listing(clients) == [ONE, TWO, THREE]

    serve(served, scenario)


def test_a_status_fault_ends_a_listing_at_its_second_page(served: Path, bucket: Path) -> None:
    for name in NAMES:
        (bucket / name).touch()

    async def scenario(clients: Clients) -> None:
        order(clients, Rule(Status(StatusCode.INTERNAL), method="ListObjects", resumed=True))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await listing(clients)
        assert raised.value.code() == grpc.StatusCode.INTERNAL
        assert await listing(clients) == [ONE, TWO, THREE]

    serve(served, scenario)


def test_a_delete_fault_removes_an_object_between_two_pages(served: Path, bucket: Path) -> None:
    for name in NAMES:
        (bucket / name).touch()

    async def scenario(clients: Clients) -> None:
        first = await page(clients, "")
        order(clients, Rule(Delete(), method="GetObject", object="n2"))
        with contextlib.suppress(Exception):
            await clients.google.get_object("b", "n2")
        second = await page(clients, first.next_page_token)
        assert [resource.name for resource in second.objects] == ["n3", "n4"]

    serve(served, scenario)
