"""How long a question of a directory may take: a lookup, or a part of a listing.

It may take several requests, each with a deadline of its own; together they have one as well, or a
server that never comes to an end would never be given up. Pages that show nothing are free at first
(the service sends some where much was deleted); then there is a pause before each, or they would be
asked for as fast as they come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import trio

from gcsmux_fs.model.errors import DeadlineExceeded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["EMPTY_PAUSE_SECONDS", "FREE_EMPTY_PAGES", "bounded", "pause_after"]

FREE_EMPTY_PAGES = 10
"""In a row: as many round trips as a listing of 10,000 names takes."""

EMPTY_PAUSE_SECONDS = 0.1
"""Ten requests a second, where a bucket takes a thousand: 1,200 within the default deadline."""

Answer = TypeVar("Answer")


async def pause_after(empty_pages: int) -> None:
    """Wait before the next page, after so many in a row that showed nothing."""
    if empty_pages >= FREE_EMPTY_PAGES:
        await trio.sleep(EMPTY_PAUSE_SECONDS)


async def bounded(
    deadline_seconds: float, location: str, question: Callable[[], Awaitable[Answer]]
) -> Answer:
    """Return the answer to a question of the directory at `location`.

    Raises:
        DeadlineExceeded: there was none in time.
    """
    with trio.move_on_after(deadline_seconds):
        return await question()
    raise DeadlineExceeded(
        f"not answered within {deadline_seconds:g} s", subject=f"directory {location!r}"
    )
