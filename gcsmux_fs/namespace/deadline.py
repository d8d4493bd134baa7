"""The deadline of a lookup or of one part of a listing, and the pauses after empty pages.

A lookup may need several requests, and each request has its own deadline. This module limits the
total time of the requests, because a server may send pages without end. The service sends pages
without entries where many objects were deleted. After the first empty pages the next page is
requested at once. After further empty pages there is a pause, so that the pages are not requested
as fast as they arrive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import trio

from gcsmux_fs.model.errors import DeadlineExceeded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["EMPTY_PAUSE_SECONDS", "FREE_EMPTY_PAGES", "bounded", "pause_after"]

FREE_EMPTY_PAGES = 10
"""Number of consecutive empty pages before the first pause: as many pages as 10,000 names fill."""

EMPTY_PAUSE_SECONDS = 0.1
"""Duration of a pause. It allows 10 requests a second, or 1,200 within the default deadline."""

Answer = TypeVar("Answer")


async def pause_after(empty_pages: int) -> None:
    """Wait before the next request if `FREE_EMPTY_PAGES` or more consecutive pages were empty."""
    if empty_pages >= FREE_EMPTY_PAGES:
        await trio.sleep(EMPTY_PAUSE_SECONDS)


async def bounded(
    deadline_seconds: float, location: str, question: Callable[[], Awaitable[Answer]]
) -> Answer:
    """Return the answer of `question`, a request about the directory or object `location`.

    Raises:
        DeadlineExceeded: the service did not answer within `deadline_seconds`.
    """
    with trio.move_on_after(deadline_seconds):
        return await question()
    raise DeadlineExceeded(
        f"the service did not answer within {deadline_seconds:g} s", subject=repr(location)
    )
