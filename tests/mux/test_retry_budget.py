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


async def test_lost_streams_of_many_objects_are_not_all_retried_at_once() -> None:
    async with bench(plan=GONE) as b:
        for n in range(READERS):
            b.read(0, 100, name=f"object-{n}")
        await b.settled()
        assert len(b.transport.opened) == READERS + RETRIES_AT_ONCE


@pytest.mark.parametrize("seconds", [2.0, 10.0])
async def test_retries_during_an_outage_are_bounded_for_all_objects_together(
    seconds: float,
) -> None:
    policy = RetryPolicy(max_backoff_seconds=0.2)
    async with bench(plan=GONE, policy=policy) as b:
        for n in range(READERS):
            b.read(0, 100, name=f"object-{n}")
        await trio.sleep(seconds)
        retries = len(b.transport.opened) - READERS
        assert retries <= RETRIES_AT_ONCE + RETRIES_PER_SECOND * seconds + 1
        assert retries >= RETRIES_PER_SECOND * seconds


async def test_all_readers_are_served_within_20_s_after_an_outage() -> None:
    async with bench(plan=GONE) as b:
        readers = [b.read(0, 100, name=f"object-{n}") for n in range(READERS)]
        await trio.sleep(30)
        b.transport.plan = Plan()
        await trio.sleep(20)
        assert all(reader.served for reader in readers)


@pytest.mark.slow
async def test_cancelled_readers_do_not_delay_later_ones() -> None:
    """Hundreds of readers come and are cancelled during an outage, before their retries are due."""
    async with bench(plan=GONE) as b:
        for _ in range(30):
            readers = [b.read(0, 100, name=f"object-{n}") for n in range(READERS)]
            await trio.sleep(1.0)
            for reader in readers:
                reader.ticket.cancel()
        b.transport.plan = Plan()
        b.transport.plans = [GONE]
        reader = b.read(0, 100, name="another")
        await trio.sleep(1.0)
        assert reader.served
