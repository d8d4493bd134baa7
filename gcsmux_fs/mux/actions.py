"""The decisions of the protocol core, as values for its driver, and the counters of all cores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsmux_fs.metrics.registry import counter

if TYPE_CHECKING:
    from gcsmux_fs.model.errors import StorageError
    from gcsmux_fs.mux.range_table import PendingRange
    from gcsmux_fs.mux.stream_states import StreamEvent, StreamState
    from gcsmux_fs.storage.ports import OpenSpec, RangeRequest

__all__ = [
    "Action",
    "Cancel",
    "Deliver",
    "Fail",
    "Moved",
    "Open",
    "Send",
    "StreamCounters",
]


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
    """Cancel the call of the current stream."""


@dataclass(frozen=True, slots=True)
class Deliver:
    """Hand the bytes of a complete range to its reader."""

    range: PendingRange
    content: memoryview


@dataclass(frozen=True, slots=True)
class Fail:
    """Hand the error of a failed range to its reader."""

    range: PendingRange
    error: StorageError


@dataclass(frozen=True, slots=True)
class Moved:
    """Log a transition of the stream's state; `detail` adds to the event and may be empty."""

    before: StreamState
    after: StreamState
    stream: int
    event: StreamEvent
    detail: str


Action = Open | Send | Cancel | Deliver | Fail | Moved


@dataclass(slots=True)
class StreamCounters:
    """Totals of all streams of a mount; `RetryPolicy` and `StreamCore` explain the terms."""

    streams_opened: int = counter("streams", "BidiReadObject streams opened.")
    streams_reopened: int = counter(
        "streams", "Streams opened for an object that had a stream before."
    )
    streams_failed: int = counter("streams", "Streams lost while ranges waited.")
    redirects: int = counter("redirects", "Redirects received from the server.")
    messages_sent: int = counter("messages", "Request messages sent on streams.")
    ranges_sent: int = counter("ranges", "Ranges sent to the server, each resumption included.")
    ranges_resumed: int = counter("ranges", "Ranges requested again for their missing bytes.")
    ranges_delivered: int = counter("ranges", "Ranges delivered to their readers.")
    ranges_failed: int = counter("ranges", "Ranges that ended with an error.")
    ranges_cancelled: int = counter("ranges", "Ranges cancelled by their readers.")
    bytes_received: int = counter("bytes", "Bytes of object content received on streams.")
    chunks_dropped: int = counter(
        "chunks", "Chunks with content received for ranges that had ended."
    )
    checksum_failures: int = counter("chunks", "Chunks that did not match their CRC32C.")
    gaps: int = counter("chunks", "Chunks that began after the first missing byte.")
    ranges_silent: int = counter(
        "ranges", "Ranges requested again because later ranges received bytes and they did not."
    )
    stale_events: int = counter(
        "events", "Events received for a stream that had ended or been cancelled."
    )
