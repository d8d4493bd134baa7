"""What a user sees of one stream: `gcsmux streams` and `gcsmux top` show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gcsmux_fs.mux.core import StreamCore

__all__ = ["StreamSnapshot", "snapshot_of"]


@dataclass(frozen=True, slots=True)
class StreamSnapshot:
    """The state of the stream of one object generation at one moment.

    Attributes:
        state: the name of the `StreamState` in lower case.
        age_seconds: time since the stream was opened.
        ranges_in_flight: ranges that the server has been asked for.
        ranges_unsent: ranges that wait for their message.
        bytes_received: bytes of content that all streams of the object have received.
        reopens: how often a stream of the object was opened again.
        last_error: the last failure, in words; empty if bytes have arrived since then.
    """

    bucket: str
    object: str
    generation: int
    state: str
    age_seconds: float
    ranges_in_flight: int
    ranges_unsent: int
    bytes_received: int
    reopens: int
    last_error: str


def snapshot_of(core: StreamCore, now: float) -> StreamSnapshot:
    """Return the state of the stream of `core` at the time `now`."""
    key = core.key
    return StreamSnapshot(
        bucket=key.bucket,
        object=key.name,
        generation=key.generation,
        state=core.state.name.lower(),
        age_seconds=round(now - core.opened_at, 3) if core.stream else 0.0,
        ranges_in_flight=core.ranges.on_wire,
        ranges_unsent=core.ranges.unsent,
        bytes_received=core.answers.bytes_received,
        reopens=max(0, core.stream - 1),
        last_error=core.last_error,
    )
