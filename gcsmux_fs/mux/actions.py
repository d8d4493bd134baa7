"""The actions that a `StreamCore` asks its driver to carry out, and the counters of all cores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsmux_fs.metrics.registry import counter, labelled_counter

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
    """Open the stream with the number `stream`; its first message requests `ranges`."""

    stream: int
    spec: OpenSpec
    ranges: tuple[RangeRequest, ...]


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message on the current stream that requests `ranges`."""

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
    """Log that `event` changed the state of the stream from `before` to `after`.

    `detail` says more about the event, and may be empty.
    """

    before: StreamState
    after: StreamState
    stream: int
    event: StreamEvent
    detail: str


Action = Open | Send | Cancel | Deliver | Fail | Moved


@dataclass(slots=True)
class StreamCounters:
    """Counters over all streams of a mount; `RetryPolicy` and `StreamCore` explain the terms."""

    streams_opened: int = counter("streams", "BidiReadObject streams opened.")
    streams_reopened: int = counter(
        "streams", "Streams opened for an object that had a stream before."
    )
    streams_failed: int = counter("streams", "Streams that failed while ranges waited.")
    streams_lost: dict[tuple[str, ...], int] = labelled_counter(
        "streams",
        "Streams that failed while ranges waited, by reason: a status code in lower case, redirect,"
        " range_failed, handle_refused, token_refused, or given_up (not opened again).",
        "reason",
    )
    redirects: int = counter("redirects", "Redirects received from the server.")
    messages_sent: int = counter("messages", "Request messages sent on streams.")
    ranges_sent: int = counter(
        "ranges", "Ranges sent to the server; a range that is requested again counts again."
    )
    ranges_resumed: int = counter("ranges", "Ranges requested again for their missing bytes.")
    ranges_delivered: int = counter("ranges", "Ranges delivered to their readers.")
    ranges_failed: int = counter("ranges", "Ranges that ended with an error.")
    ranges_cancelled: int = counter("ranges", "Ranges cancelled by their readers.")
    bytes_received: int = counter("bytes", "Bytes of object content received on streams.")
    chunks_dropped: int = counter(
        "chunks", "Chunks with content that arrived after their range had ended."
    )
    checksum_failures: int = counter("chunks", "Chunks that did not match their CRC32C.")
    gaps: int = counter("chunks", "Chunks that began after the first missing byte.")
    ranges_silent: int = counter(
        "ranges",
        "Ranges requested again because they received nothing while later ranges received bytes.",
    )
    stale_events: int = counter(
        "events", "Events received for a stream that had ended or been cancelled."
    )

    def note_loss(self, reason: str) -> None:
        """Count a stream that failed while ranges waited."""
        key = (reason,)
        self.streams_lost[key] = self.streams_lost.get(key, 0) + 1
