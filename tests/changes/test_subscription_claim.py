"""Tests that mounts of one machine learn that they have the same subscription; in virtual time."""

from __future__ import annotations

import time
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.changes.subscription_claim import FREE_SECONDS, SubscriptionClaim

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


_BINDING_SECONDS = 0.2


class Subscription:
    """A subscription that no other test claims."""

    def __init__(self) -> None:
        self.name = f"projects/p/subscriptions/{uuid.uuid4()}"

    @asynccontextmanager
    async def claimed(self, endpoint: str = "localhost:1") -> AsyncIterator[list[bool]]:
        """Claim the subscription, and yield what the mount is told."""
        told: list[bool] = []
        async with trio.open_nursery() as tasks:
            tasks.start_soon(SubscriptionClaim(self.name, endpoint, told.append).run)
            # A thread binds the socket, and the virtual clock does not wait for threads.
            await trio.to_thread.run_sync(time.sleep, _BINDING_SECONDS)
            yield told
            tasks.cancel_scope.cancel()


async def test_a_mount_that_is_alone_is_told_nothing() -> None:
    subscription = Subscription()
    async with (
        subscription.claimed() as told,
        Subscription().claimed() as other,
        subscription.claimed("localhost:2") as elsewhere,
    ):
        await trio.sleep(1000)
        assert told == other == elsewhere == []


async def test_all_mounts_of_a_subscription_know_until_the_others_have_ended() -> None:
    subscription = Subscription()
    async with subscription.claimed() as first:
        async with subscription.claimed() as second, subscription.claimed() as third:
            await trio.sleep(1000)
            assert first == second == third == [True]
        await trio.sleep(0.5 * FREE_SECONDS)
        assert first == [True]
        await trio.sleep(3 * FREE_SECONDS)
        assert first[-1] is False


async def test_the_second_mount_takes_over() -> None:
    subscription = Subscription()
    async with trio.open_nursery() as tasks:
        ended = trio.Event()

        async def hold() -> None:
            async with subscription.claimed():
                await ended.wait()

        tasks.start_soon(hold)
        await trio.sleep(2.0)
        async with subscription.claimed() as second:
            assert second == [True]
            ended.set()
            await trio.sleep(FREE_SECONDS + 1)
            assert second == [True, False]
            async with subscription.claimed() as third:
                assert second[-1] is True
                assert third == [True]
