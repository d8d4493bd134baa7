from __future__ import annotations

import pytest
import trio

from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.model.retry_budget import RETRIES_AT_ONCE, RETRIES_PER_SECOND
from gcsmux_fs.mux.retry import RetryPolicy
from gcsmux_fs.storage.ports import StreamEnd

from .plans import Plan
from .reading import bench

READERS = 400
GONE = Plan(refuse=StreamEnd(StatusCode.UNAVAILABLE, "gone"))


async def test_streams_of_many_objects_are_not_all_retried_at_once() -> None:
    async with bench(plan=GONE) as made:
        for n in range(READERS):
            made.read(0, 100, name=f"object-{n}")
        await made.settled()
        assert len(made.transport.opened) == READERS + RETRIES_AT_ONCE


@pytest.mark.parametrize("seconds", [2.0, 10.0])
async def test_retries_while_the_service_is_away_are_bounded_for_the_whole_mount(
    seconds: float,
) -> None:
    policy = RetryPolicy(max_backoff_seconds=0.2)
    async with bench(plan=GONE, policy=policy) as made:
        for n in range(READERS):
            made.read(0, 100, name=f"object-{n}")
        await trio.sleep(seconds)
        retries = len(made.transport.opened) - READERS
        assert retries <= RETRIES_AT_ONCE + RETRIES_PER_SECOND * seconds + 1
        assert retries >= RETRIES_PER_SECOND * seconds


async def test_all_readers_are_served_soon_after_the_service_is_back() -> None:
    async with bench(plan=GONE) as made:
        readers = [made.read(0, 100, name=f"object-{n}") for n in range(READERS)]
        await trio.sleep(30)
        made.transport.plan = Plan()
        await trio.sleep(20)
        assert all(reader.served for reader in readers)


async def test_readers_who_have_left_keep_nobody_waiting() -> None:
    """Deadlines shorter than the queue of retries: hundreds of readers come and go in an outage."""
    async with bench(plan=GONE) as made:
        for _ in range(30):
            readers = [made.read(0, 100, name=f"object-{n}") for n in range(READERS)]
            await trio.sleep(1.0)
            for reader in readers:
                reader.ticket.cancel()
        made.transport.plan = Plan()
        made.transport.plans = [GONE]
        reader = made.read(0, 100, name="another")
        await trio.sleep(1.0)
        assert reader.served
