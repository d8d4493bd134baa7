"""For how long an answer about names is valid; sans-IO.

Without news of changes, an answer is valid for its TTL, which begins when the request is sent. With
`--changes`, a `NewsPromise` may make it valid for longer: until the mount receives a change.

Some changes are announced by no event, so the answers that depend on them have the TTL in any case:

1. An object that is still being appended to has another size after each append.
2. A directory that is assumed to exist was never seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gcsmux_fs.namespace.child import Child, Directory

if TYPE_CHECKING:
    from gcsmux_fs.model.object_table import Row

__all__ = ["NameValidity", "NewsPromise"]


class NewsPromise(Protocol):
    """What is promised about the news of changes."""

    def valid_until(self, asked_at: float, ttl_seconds: float) -> float:
        """Return until when an answer is valid. Its request was sent at the time `asked_at`."""


class NameValidity:
    """Decides how long answers are valid.

    Args:
        ttl_seconds: how long an answer is valid; 0 to ask always, infinity to ask once.
        negative_ttl_seconds: how long the absence of a name is valid.
        news: what is promised about the news of changes; None if there are no news.
    """

    def __init__(
        self,
        ttl_seconds: float,
        negative_ttl_seconds: float,
        news: NewsPromise | None = None,
    ) -> None:
        self._ttl = ttl_seconds
        self._negative_ttl = negative_ttl_seconds
        self._news = news

    def answer_until(self, child: Child | None, asked_at: float) -> float:
        """Return until when the answer `child` about one name is valid; None means no such name."""
        if child is None:
            return self._until(asked_at, self._negative_ttl)
        if not isinstance(child, Directory):
            return self._until(asked_at, self._ttl) if _is_final(child) else asked_at + self._ttl
        if child.assumed:
            return asked_at + min(self._ttl, self._negative_ttl)
        return self._until(asked_at, self._ttl)

    def listing_until(self, asked_at: float) -> float:
        """Return until when a listing is valid that was begun at the time `asked_at`."""
        return self._until(asked_at, self._ttl)

    def joinable_after(self, now: float) -> float:
        """Return a time: a lookup may join a request in flight that was sent after this time."""
        return now - self._ttl

    def _until(self, asked_at: float, ttl_seconds: float) -> float:
        if self._news is None:
            return asked_at + ttl_seconds
        return self._news.valid_until(asked_at, ttl_seconds)


def _is_final(row: Row) -> bool:
    return row.objects.traits[row.row_index].finalized
