"""What the protocol core decides, as values for its driver, and what it counts."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gcsmux_fs.model.errors import StorageError
    from gcsmux_fs.mux.range_table import PendingRange
    from gcsmux_fs.storage.ports import OpenSpec, RangeRequest

__all__ = [
    "Action",
    "Cancel",
    "Deliver",
    "Fail",
    "Moved",
    "Open",
    "Send",
    "State",
    "StreamCounters",
]


class State(enum.Enum):
    """Where the stream of an object is."""

    CLOSED = enum.auto()
    OPENING = enum.auto()
    OPEN = enum.auto()
    BACKOFF = enum.auto()


@dataclass(frozen=True, slots=True)
class Open:
    """Open stream generation `stream` with `ranges` in its first message."""

    stream: int
    spec: OpenSpec
    ranges: tuple[RangeRequest, ...]


@dataclass(frozen=True, slots=True)
class Send:
    """Send one more message on the current stream."""

    ranges: tuple[RangeRequest, ...]


@dataclass(frozen=True, slots=True)
class Cancel:
    """Give the current stream up; nothing of it is wanted any more."""


@dataclass(frozen=True, slots=True)
class Deliver:
    """A range is whole."""

    range: PendingRange
    content: memoryview


@dataclass(frozen=True, slots=True)
class Fail:
    """A range has failed for good."""

    range: PendingRange
    error: StorageError


@dataclass(frozen=True, slots=True)
class Moved:
    """The state has changed (for the log)."""

    before: State
    after: State
    stream: int
    cause: str


Action = Open | Send | Cancel | Deliver | Fail | Moved


@dataclass(slots=True)
class StreamCounters:
    """What has happened on all streams that share it."""

    streams_opened: int = 0
    streams_reopened: int = 0
    streams_failed: int = 0
    redirects: int = 0
    messages_sent: int = 0
    ranges_sent: int = 0
    ranges_resumed: int = 0
    ranges_delivered: int = 0
    ranges_failed: int = 0
    ranges_cancelled: int = 0
    bytes_received: int = 0
    chunks_dropped: int = 0
    checksum_failures: int = 0
    gaps: int = 0
    ranges_silent: int = 0
    stale_events: int = 0
