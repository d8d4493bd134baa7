"""What the rooms above ask of storage, as protocols.

Two ports, both for use inside one trio run:

- `ObjectStore`: unary calls, awaited.
- `BidiTransport`: one BidiReadObject call, driven by plain function calls and answered by
  callbacks that run on trio's thread between two scheduler ticks. Callbacks never run inside the
  call that caused them, so a caller's state is consistent whenever one arrives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcsmux_fs.model.errors import StatusCode
    from gcsmux_fs.model.values import BucketInfo, ListingPage, ObjectInfo, ObjectKey

__all__ = [
    "BidiCall",
    "BidiListener",
    "BidiMessage",
    "BidiTransport",
    "Chunk",
    "ObjectStore",
    "OpenSpec",
    "RangeFailure",
    "RangeRequest",
    "StreamEnd",
    "StreamRedirect",
]


@dataclass(frozen=True, slots=True)
class RangeRequest:
    """One range asked for: `length` is at least 1, `read_id` is unique within its stream."""

    read_id: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class OpenSpec:
    """How a stream is opened: `handle` and `routing_token` come from earlier answers.

    `half_close`: the opening message is the only one, and the server ends the call by itself when
    it has answered.
    """

    key: ObjectKey
    handle: bytes = b""
    routing_token: str = ""
    half_close: bool = False


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of bytes for one range; `intact` tells whether it matched its CRC32C.

    `content` is a view into the received message: holding it holds `message_bytes` of memory.
    """

    read_id: int
    offset: int
    content: memoryview
    range_end: bool
    intact: bool
    message_bytes: int


@dataclass(frozen=True, slots=True)
class BidiMessage:
    """One decoded BidiReadObjectResponse; an empty one is a keep-alive."""

    chunks: tuple[Chunk, ...] = ()
    metadata: ObjectInfo | None = None
    handle: bytes = b""


@dataclass(frozen=True, slots=True)
class RangeFailure:
    """One range that the server refused, with the status of its own."""

    read_id: int
    code: StatusCode
    message: str


@dataclass(frozen=True, slots=True)
class StreamRedirect:
    """The server asks for a reopen elsewhere (BidiReadObjectRedirectedError)."""

    routing_token: str
    handle: bytes


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """How a stream ended; `failures` to `retry_seconds` come from the status details.

    `retry_seconds` is how long the server wants to be left alone; `token_refused` says that the
    stream brought a token along that is not taken: a new stream may bring another.
    """

    code: StatusCode
    message: str = ""
    failures: tuple[RangeFailure, ...] = ()
    redirect: StreamRedirect | None = None
    retry_seconds: float = 0.0
    token_refused: bool = False


class BidiListener(Protocol):
    """Receives what happens on one call: any number of events, then `on_end` once, last."""

    def on_sent(self) -> None:
        """The last message handed to `send` (or the opening one) has gone; the next may be.

        Of a call that was opened with `half_close` it may be told as late as with its first answer.
        """

    def on_message(self, message: BidiMessage) -> None:
        """A response has arrived."""

    def on_end(self, end: StreamEnd) -> None:
        """The call is over; nothing follows."""


class BidiCall(Protocol):
    """One BidiReadObject call."""

    def send(self, ranges: Sequence[RangeRequest]) -> None:
        """Send one message of 1 to 100 ranges; only after `on_sent` for the one before.

        Not on a call that was opened with `half_close`.
        """

    def cancel(self) -> None:
        """Give the call up: no callback follows, its resources are released. Idempotent."""


class BidiTransport(Protocol):
    """Opens BidiReadObject calls."""

    def open(
        self, spec: OpenSpec, ranges: Sequence[RangeRequest], listener: BidiListener
    ) -> BidiCall:
        """Start a call whose first message carries `spec` and 0 to 100 `ranges`."""


class ObjectStore(Protocol):
    """The unary calls; each retries what may be retried, within a deadline of its own.

    Raises:
        NotFound: no such bucket, object or generation.
        PermissionDenied: refused.
        Unavailable: not answered in time, or failing for too long.
    """

    async def get_bucket(self, prefix: str = "") -> BucketInfo:
        """Return what is known of the bucket."""

    async def get_object(self, name: str, generation: int = 0) -> ObjectInfo:
        """Return one object; generation 0 is the newest."""

    async def list_objects(
        self,
        prefix: str,
        *,
        delimiter: str = "",
        page_token: str = "",
        page_size: int = 1000,
        start_at: str = "",
        end_before: str = "",
    ) -> ListingPage:
        """Return one page of a listing; `start_at` is inclusive, both bounds are whole names.

        With `delimiter`, folders of hierarchical buckets appear among the prefixes. An object
        whose name is one of the prefixes may be listed among the objects as well, and the object
        named exactly `prefix` is.
        """
