"""The deadline of one lookup, or of one part of a listing, and the pauses between empty pages.

A lookup may take several requests, each with a deadline of its own. The deadline here bounds them
together, because a server may send pages without end. The service sends some pages without entries
where many objects were deleted. The first ones cost no pause. Before each later one there is a
pause, so that the pages are not requested as fast as they arrive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import trio

from gcsmux_fs.model.errors import DeadlineExceeded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["EMPTY_PAUSE_SECONDS", "FREE_EMPTY_PAGES", "bounded", "pause_after"]

FREE_EMPTY_PAGES = 10
"""Empty pages in a row without a pause: as many requests as a listing of 10,000 names takes."""

EMPTY_PAUSE_SECONDS = 0.1
"""Ten requests a second, where a bucket allows a thousand: 1,200 within the default deadline."""

Answer = TypeVar("Answer")


async def pause_after(empty_pages: int) -> None:
    """Wait before the next page is requested, after `empty_pages` in a row without entries."""
    if empty_pages >= FREE_EMPTY_PAGES:
        await trio.sleep(EMPTY_PAUSE_SECONDS)


async def bounded(
    deadline_seconds: float, location: str, question: Callable[[], Awaitable[Answer]]
) -> Answer:
    """Return the answer to a question about the directory or object `location`.

    Raises:
        DeadlineExceeded: the service did not answer within `deadline_seconds`.
    """
    with trio.move_on_after(deadline_seconds):
        return await question()
    raise DeadlineExceeded(
        f"the service did not answer within {deadline_seconds:g} s", subject=repr(location)
    )
