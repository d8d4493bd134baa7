"""How long the questions of a directory may take, and what a failure leaves for the ones behind it.

A question is a lookup or a part of a listing. It may take several requests, each with a deadline of
its own; together they have one as well, or a server that never comes to an end would never be given
up. Pages that show nothing are free at first (the service sends some where much was deleted); then
there is a pause before each, or they would be asked for as fast as they come.

The kernel hands over the questions of one directory one after the other (without
FUSE_PARALLEL_DIROPS, which libfuse 3.14 does not ask for): eight programs that want one name of a
silent service would be told after one deadline, two, three, ... eight. So when a question has
failed late, those that come right behind it are refused at once, with its error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import trio

from gcsmux_fs.errors import DeadlineExceeded, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = [
    "BEHIND_SECONDS",
    "EMPTY_PAUSE_SECONDS",
    "FREE_EMPTY_PAGES",
    "MOST_BEHIND_SECONDS",
    "Patience",
    "pause_after",
]

BEHIND_SECONDS = 0.01
"""The kernel hands over a question within microseconds of the answer before, unless the machine is
busy. Who asks later than this has not waited meanwhile: a program takes longer to try again."""

MOST_BEHIND_SECONDS = 1.0
"""However many follow: a program that asks again and again without a pause is asked for anew."""

FREE_EMPTY_PAGES = 10
EMPTY_PAUSE_SECONDS = 0.1

Answer = TypeVar("Answer")


async def pause_after(empty_pages: int) -> None:
    """Wait before the next page, after so many in a row that showed nothing."""
    if empty_pages >= FREE_EMPTY_PAGES:
        await trio.sleep(EMPTY_PAUSE_SECONDS)


class _LateFailure:
    """A question that failed late, and until when others count as having waited behind it."""

    def __init__(self, error: Unavailable, now: float) -> None:
        self.error = error
        self._until = now + BEHIND_SECONDS
        self._at_most = now + MOST_BEHIND_SECONDS

    def is_over(self, now: float) -> bool:
        """Tell whether a question that is asked now has not waited behind the one that failed."""
        return now >= min(self._until, self._at_most)

    def refuse(self, now: float) -> Unavailable:
        """Return the error for a question asked now; the next may come right behind this one."""
        self._until = now + BEHIND_SECONDS
        return self.error


class Patience:
    """The deadline of all questions, in seconds, and the late failures of each directory."""

    def __init__(self, deadline_seconds: float, clock: Callable[[], float]) -> None:
        self._deadline = deadline_seconds
        self._clock = clock
        self._failures: dict[str, _LateFailure] = {}

    async def ask(self, location: str, question: Callable[[], Awaitable[Answer]]) -> Answer:
        """Return the answer to a question of the directory at `location`.

        Raises:
            DeadlineExceeded: there was none in time.
            StorageError: what the question ended in, or the one before it.
        """
        began = self._clock()
        failure = self._failures.get(location)
        if failure is not None and not failure.is_over(began):
            await trio.lowlevel.checkpoint()
            raise failure.refuse(began).with_traceback(None)
        try:
            return await self.bound(location, question)
        except Unavailable as error:
            now = self._clock()
            if now - began >= self._deadline / 2:
                self._failures = {
                    place: old for place, old in self._failures.items() if not old.is_over(now)
                }
                self._failures[location] = _LateFailure(error, now)
            raise

    async def bound(self, location: str, question: Callable[[], Awaitable[Answer]]) -> Answer:
        """Return the answer to a question, unless its time is up before.

        Raises:
            DeadlineExceeded: it was.
        """
        with trio.move_on_after(self._deadline):
            return await question()
        raise DeadlineExceeded(
            f"not answered within {self._deadline:g} s", subject=f"directory {location!r}"
        )
