"""The interfaces through which other packages use `storage`, as protocols.

There are three interfaces. All are used inside one trio run:

- `ObjectStore`: unary calls, which are awaited.
- `BidiTransport`: BidiReadObject calls. The user of a call calls plain functions, and a listener
  receives the events of the call in the trio thread. No event arrives while one of these functions
  runs, so the user's state is consistent when an event arrives.
- `PullTransport`: StreamingPull calls of Pub/Sub, in the same manner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
    "PullCall",
    "PullListener",
    "PullOrder",
    "PullResponse",
    "PullSpec",
    "PullTransport",
    "PulledMessage",
    "RangeFailure",
    "RangeRequest",
    "StreamEnd",
    "StreamRedirect",
]


@dataclass(frozen=True, slots=True)
class RangeRequest:
    """A requested range. `length` is at least 1. `read_id` is unique within its stream."""

    read_id: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class OpenSpec:
    """How to open a stream.

    Attributes:
        key: the generation of the object to read.
        handle: read handle of an earlier stream; may be empty.
        routing_token: routing token of an earlier redirect; may be empty.
        half_close: whether the opening message is the only message of the user. If so, the server
            ends the call after it has answered.
    """

    key: ObjectKey
    handle: bytes = b""
    routing_token: str = ""
    half_close: bool = False


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive bytes of one range, as one response delivered them.

    Attributes:
        read_id: the read id of the range.
        offset: position of the first byte in the object.
        content: a view of the received message. The view keeps the message in memory.
        range_end: whether the server sends no more bytes for this read id.
        intact: whether the content matches its CRC32C. If not, the receiver discards all bytes of
            the range from `offset` on.
        message_bytes: size of the received message.
    """

    read_id: int
    offset: int
    content: memoryview
    range_end: bool
    intact: bool
    message_bytes: int


@dataclass(frozen=True, slots=True)
class BidiMessage:
    """One decoded BidiReadObjectResponse. A message with no field set is a keep-alive."""

    chunks: tuple[Chunk, ...] = ()
    metadata: ObjectInfo | None = None
    handle: bytes = b""


@dataclass(frozen=True, slots=True)
class RangeFailure:
    """The status with which the server refused one range."""

    read_id: int
    code: StatusCode
    message: str


@dataclass(frozen=True, slots=True)
class StreamRedirect:
    """The server redirects the stream to another server (BidiReadObjectRedirectedError)."""

    routing_token: str
    handle: bytes


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """How a stream ended.

    Attributes:
        code: the gRPC status.
        message: the message of the status.
        failures: the ranges that caused the end, according to the status details.
        redirect: where to reopen the stream, according to the status details; None for no redirect.
        retry_seconds: the pause before a retry that the server asks for in the status details; 0
            for none.
        token_refused: whether the service refused the token of the call. If so, a new call may
            carry another token.
    """

    code: StatusCode
    message: str = ""
    failures: tuple[RangeFailure, ...] = ()
    redirect: StreamRedirect | None = None
    retry_seconds: float = 0.0
    token_refused: bool = False


class BidiListener(Protocol):
    """Receives the events of one call: any number of events, then `on_end` once.

    After the user has cancelled the call, an event that was already queued may still arrive. The
    listener must ignore such late events. In the mux, `StreamCore` discards and counts every event
    that does not belong to its current call.
    """

    def on_sent(self) -> None:
        """The latest message has been sent, and the next message may be passed to `send`.

        For a call with `half_close` this event may come together with the first response.
        """

    def on_message(self, message: BidiMessage) -> None:
        """A response has arrived."""

    def on_end(self, end: StreamEnd) -> None:
        """The call has ended."""


class BidiCall(Protocol):
    """One BidiReadObject call."""

    def send(self, ranges: Sequence[RangeRequest]) -> None:
        """Send a message with 1 to 100 ranges.

        Allowed only after `on_sent` for the previous message, and not on a call with `half_close`.
        """

    def cancel(self) -> None:
        """Cancel the call and release its resources.

        May be called more than once, and after the end of the call.
        """


class BidiTransport(Protocol):
    """Opens BidiReadObject calls."""

    def open(
        self, spec: OpenSpec, ranges: Sequence[RangeRequest], listener: BidiListener
    ) -> BidiCall:
        """Start a call whose first message carries `spec` and 0 to 100 `ranges`."""


@dataclass(frozen=True, slots=True)
class PullSpec:
    """How to open a StreamingPull call.

    Attributes:
        ack_deadline_seconds: time after which the service delivers a message again, if the message
            is not acknowledged and its deadline is not extended; 10 to 600.
        max_messages: maximum number of delivered messages that are not acknowledged.
        max_bytes: maximum size of delivered messages that are not acknowledged.
        client_id: names this subscriber, the same for all its calls.
    """

    ack_deadline_seconds: int
    max_messages: int
    max_bytes: int
    client_id: str


class PulledMessage(NamedTuple):
    """One message of a subscription. It is a tuple, because thousands are made per second.

    Attributes:
        ack_id: names this delivery of the message in acknowledgements.
        data: the payload.
        attributes: the attributes that the publisher has set.
        publish_time: when the service received the message, in seconds since 1970.
    """

    ack_id: str
    data: bytes
    attributes: Mapping[str, str]
    publish_time: float


@dataclass(frozen=True, slots=True)
class PullResponse:
    """One decoded StreamingPullResponse. A response without messages answers a keep-alive."""

    messages: tuple[PulledMessage, ...] = ()


@dataclass(frozen=True, slots=True)
class PullOrder:
    """One message to the service. Without any ids, it is a keep-alive, which the service answers.

    Attributes:
        ack_ids: the deliveries to acknowledge.
        extended_ack_ids: the deliveries whose deadline is extended.
        extension_seconds: the new deadline of `extended_ack_ids`, from now.
    """

    ack_ids: tuple[str, ...] = ()
    extended_ack_ids: tuple[str, ...] = ()
    extension_seconds: int = 0

    @property
    def is_keep_alive(self) -> bool:
        """Whether the service answers this message."""
        return not self.ack_ids and not self.extended_ack_ids


class PullListener(Protocol):
    """Receives the events of one StreamingPull call: any number of events, then `on_end` once.

    After the user has cancelled the call, an event that was already queued may still arrive. The
    listener must ignore such late events.
    """

    def on_sent(self) -> None:
        """The latest message has been sent, and the next message may be passed to `send`."""

    def on_message(self, message: PullResponse) -> None:
        """A response has arrived."""

    def on_end(self, end: StreamEnd) -> None:
        """The call has ended."""


class PullCall(Protocol):
    """One StreamingPull call."""

    def send(self, order: PullOrder) -> None:
        """Send a message. Allowed only after `on_sent` for the previous message."""

    def cancel(self) -> None:
        """Cancel the call and release its resources.

        May be called more than once, and after the end of the call.
        """


class PullTransport(Protocol):
    """Opens StreamingPull calls on one subscription."""

    def open(self, spec: PullSpec, listener: PullListener) -> PullCall:
        """Start a call, and send its opening message."""

    async def seek(self, publish_time: float) -> None:
        """Acknowledge all messages that were published before `publish_time` (seconds since 1970).

        The effect may come with a delay of up to a minute.

        Raises:
            StorageError: the service refused the call or did not answer.
        """


class ObjectStore(Protocol):
    """The unary calls. Until its deadline, a call is retried after temporary failures.

    Raises:
        NotFound: the bucket, object or generation does not exist.
        PermissionDenied: the service refuses the caller.
        Unavailable: the service did not answer in time, or failed until the deadline.
    """

    async def get_bucket(self, prefix: str = "") -> BucketInfo:
        """Return the layout of the bucket.

        With `prefix`, a caller who may list only the objects under this prefix gets the layout too.
        """

    async def get_object(self, name: str, generation: int = 0) -> ObjectInfo:
        """Return the metadata of one object; generation 0 means the newest generation."""

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
        """Return one page of a listing.

        The page may hold an object whose name equals one of its prefixes. The object whose name
        equals `prefix` is listed too.

        Args:
            prefix: only names that begin with this text are listed.
            delimiter: names that contain the delimiter after `prefix` are grouped into prefixes.
                The folders of a bucket with a hierarchical namespace appear among the prefixes.
            page_token: `next_page_token` of the previous page.
            page_size: maximum number of objects and prefixes of the page.
            start_at: names before this full name are left out.
            end_before: this full name and all names after it are left out.
        """
