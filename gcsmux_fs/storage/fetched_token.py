"""The value type of an access token."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

__all__ = ["FetchedToken"]


@dataclass(frozen=True, slots=True)
class FetchedToken:
    """An access token as the gRPC headers of a call; infinity if its lifetime is unknown."""

    headers: tuple[tuple[str, str], ...] = field(repr=False)
    lifetime_seconds: float = math.inf
