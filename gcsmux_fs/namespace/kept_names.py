"""The interface to a place that keeps names across restarts, as a protocol.

The namespace passes each answer of the service and each invalidation to this place, and reads what
is kept about a directory when it is first used (see `name_recall`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcsmux_fs.model.values import ListingPage
    from gcsmux_fs.namespace.listing_cache import CachedListing
    from gcsmux_fs.namespace.resolution import Resolution

__all__ = ["KeptNames", "NameKeeper"]


@dataclass(frozen=True, slots=True)
class KeptNames:
    """What is kept about one directory.

    Attributes:
        listing: a complete listing; None if none is kept. It does not trust the entries that were
            invalidated later.
        resolutions: the answers about single names, none of which was invalidated later.
    """

    listing: CachedListing | None = None
    resolutions: Sequence[tuple[str, Resolution]] = ()


class NameKeeper(Protocol):
    """Keeps names. Only `read` waits; the other methods return at once.

    All times are times of the mount's clock. `read` converts the age that an answer has by now.
    """

    async def read(self, location: str, max_age_seconds: float) -> KeptNames | None:
        """Return what is kept about a directory.

        A listing that is older than `max_age_seconds` is left out. None means that the place did
        not answer in time, or failed.
        """

    def note_listing(self, location: str, begun_at: float, pages: Sequence[ListingPage]) -> None:
        """Keep all pages of a directory. The first request was sent at `begun_at`."""

    def note_resolution(self, target: str, resolution: Resolution) -> None:
        """Keep the answer about one name."""

    def note_invalidated(self, name: str, now: float) -> None:
        """Drop every earlier answer about the object `name`."""

    def note_invalidated_below(self, prefix: str, now: float) -> None:
        """Drop every earlier answer about the directory `prefix` and everything below it."""
