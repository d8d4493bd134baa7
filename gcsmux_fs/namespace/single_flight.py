"""Requests in flight; each is sent once for all tasks that wait for its answer.

A request runs in the nursery of its `SingleFlight`, not in the task that asked first. So if one
waiting task is cancelled, the request continues, and the other tasks get its answer.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Generic, TypeVar

import trio

from gcsmux_fs.model.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable
    from types import TracebackType

__all__ = ["Flight", "SingleFlight"]

Key = TypeVar("Key", bound="Hashable")
Answer = TypeVar("Answer")


class Flight(Generic[Answer]):
    """One request in flight; `asked_at` is when it was started."""

    def __init__(self, asked_at: float) -> None:
        self.asked_at = asked_at
        self._landed = trio.Event()
        self._answer: tuple[Answer] | None = None
        self._error: Exception = Unavailable("the request was cancelled: the file system closes")
        self._traceback: TracebackType | None = None

    async def wait(self) -> Answer:
        """Return the answer of the request, or raise its error."""
        await self._landed.wait()
        if self._answer is None:
            # Each waiting task raises this error object again. Without this reset, its traceback
            # would grow.
            raise self._error.with_traceback(self._traceback)
        return self._answer[0]

    async def fly(self, request: Callable[[], Awaitable[Answer]]) -> None:
        """Send the request, store its answer or its error, and wake all waiting tasks."""
        try:
            self._answer = (await request(),)
        except Exception as error:  # raised again in each waiting task
            self._error = error
            self._traceback = error.__traceback__
        finally:
            self._landed.set()


class SingleFlight(Generic[Key, Answer]):
    """The requests of one kind that are in flight, by key."""

    def __init__(self, nursery: trio.Nursery, clock: Callable[[], float]) -> None:
        self._nursery = nursery
        self._clock = clock
        self._joinable: dict[Key, Flight[Answer]] = {}
        self.in_flight = 0

    def __contains__(self, key: Key) -> bool:
        return key in self._joinable

    async def ask(
        self,
        key: Key,
        request: Callable[[], Awaitable[Answer]],
        *,
        joinable_after: float = -math.inf,
    ) -> Answer:
        """Start the request and wait for its answer (see `start`)."""
        return await self.start(key, request, joinable_after=joinable_after).wait()

    def start(
        self,
        key: Key,
        request: Callable[[], Awaitable[Answer]],
        *,
        joinable_after: float = -math.inf,
    ) -> Flight[Answer]:
        """Start the request, or join the latest request in flight for `key`.

        A request that was started at the time `joinable_after` or earlier is not joined, because
        its answer may be older than the caller accepts.
        """
        flight = self._joinable.get(key)
        if flight is None or flight.asked_at <= joinable_after:
            flight = Flight(self._clock())
            self._joinable[key] = flight
            self.in_flight += 1
            self._nursery.start_soon(self._fly, key, flight, request)
        return flight

    async def _fly(
        self, key: Key, flight: Flight[Answer], request: Callable[[], Awaitable[Answer]]
    ) -> None:
        try:
            await flight.fly(request)
        finally:
            self.in_flight -= 1
            if self._joinable.get(key) is flight:
                del self._joinable[key]
