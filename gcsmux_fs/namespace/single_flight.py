"""Requests under way, each asked once however many wait for it.

A request runs in the nursery of whoever owns it, not in the task that asked first: a waiter that
is cancelled leaves the others, and the answer, alone.
"""

from __future__ import annotations

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
    """One request under way."""

    def __init__(self) -> None:
        self._landed = trio.Event()
        self._answer: tuple[Answer] | None = None
        self._error: Exception = Unavailable("given up: the file system is closing")
        self._traceback: TracebackType | None = None

    async def wait(self) -> Answer:
        """Return the answer, or raise the error, that the request ended with."""
        await self._landed.wait()
        if self._answer is None:
            # The traceback would grow with each waiter that raises it.
            raise self._error.with_traceback(self._traceback)
        return self._answer[0]

    async def fly(self, request: Callable[[], Awaitable[Answer]]) -> None:
        """Carry the request out."""
        try:
            self._answer = (await request(),)
        except Exception as error:  # handed to those who wait
            self._error = error
            self._traceback = error.__traceback__
        finally:
            self._landed.set()


class SingleFlight(Generic[Key, Answer]):
    """The requests of one kind that are under way, by what they ask for."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._joinable: dict[Key, Flight[Answer]] = {}
        self.under_way = 0

    async def ask(
        self, key: Key, request: Callable[[], Awaitable[Answer]], *, join: bool = True
    ) -> Answer:
        """Start the request and wait for it (see `start`)."""
        return await self.start(key, request, join=join).wait()

    def start(
        self, key: Key, request: Callable[[], Awaitable[Answer]], *, join: bool = True
    ) -> Flight[Answer]:
        """Start the request, or join one for `key` that is under way.

        Without `join` the answer is not older than the question: a request under way may have
        been answered before the change that the caller needs to see.
        """
        flight = self._joinable.get(key)
        if flight is None or not join:
            flight = Flight()
            self._joinable[key] = flight
            self.under_way += 1
            self._nursery.start_soon(self._fly, key, flight, request)
        return flight

    async def _fly(
        self, key: Key, flight: Flight[Answer], request: Callable[[], Awaitable[Answer]]
    ) -> None:
        try:
            await flight.fly(request)
        finally:
            self.under_way -= 1
            if self._joinable.get(key) is flight:
                del self._joinable[key]
