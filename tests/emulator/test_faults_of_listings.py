"""Listings whose pages repeat, loop, are empty, unsorted or fail, as a plain client sees them."""

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
    answer = await call.read()
    assert isinstance(answer, pb.ListObjectsResponse)
    return answer


async def listing(clients: Clients, most: int = 8) -> list[list[str]]:
    """Return the names on each page, of so many pages at most."""
    pages: list[list[str]] = []
    token = ""
    while len(pages) < most:
        answer = await page(clients, token)
        pages.append([one.name for one in answer.objects])
        token = answer.next_page_token
        if not token:
            break
    return pages


ONE, TWO, THREE = ["n0", "n1"], ["n2", "n3"], ["n4"]


@pytest.mark.parametrize(
    ("rule", "wanted"),
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
def test_listings_repeat_loop_and_come_unsorted(
    served: Path, bucket: Path, rule: Rule, wanted: list[list[str]]
) -> None:
    for name in NAMES:
        (bucket / name).touch()

    async def scenario(clients: Clients) -> None:
        order(clients, rule)
        assert wanted == await listing(clients)
        order(clients)
        assert await listing(clients) == [ONE, TWO, THREE]

    serve(served, scenario)


def test_listings_end_in_an_error(served: Path, bucket: Path) -> None:
    for name in NAMES:
        (bucket / name).touch()

    async def scenario(clients: Clients) -> None:
        order(clients, Rule(Status(StatusCode.INTERNAL), method="ListObjects", resumed=True))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await listing(clients)
        assert refused.value.code() == grpc.StatusCode.INTERNAL
        assert await listing(clients) == [ONE, TWO, THREE]

    serve(served, scenario)


def test_an_object_may_go_between_two_pages(served: Path, bucket: Path) -> None:
    for name in NAMES:
        (bucket / name).touch()

    async def scenario(clients: Clients) -> None:
        first = await page(clients, "")
        order(clients, Rule(Delete(), method="GetObject", object="n2"))
        with contextlib.suppress(Exception):
            await clients.google.get_object("b", "n2")
        second = await page(clients, first.next_page_token)
        assert [one.name for one in second.objects] == ["n3", "n4"]

    serve(served, scenario)
