"""A streaming call over grpc.aio, in two halves: one for each event loop.

Theory of operation. The user of a call holds the half on trio's side (`TrioHalf`). The gRPC call
belongs to the half on asyncio's side (`AsyncioHalf`). There, one task reads responses until the
call ends, and then reports the end. The asyncio thread decodes the responses and verifies their
checksums, while the trio thread serves requests of the kernel.

The module `writable_call` adds the writing of messages. The modules `bidi`, `streaming_pull` and
`read_object` have subclasses for BidiReadObject, StreamingPull and ReadObject.

Cancelling a task that awaits `read()` cancels the whole call (grpcio 1.85). So the reading task
never runs under a timeout.

Invariants:
1. `on_end` is called once, as the last callback. After `cancel`, no callback is called.
2. When a call has ended or was cancelled, its asyncio tasks end by themselves.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import grpc
import grpc.aio

from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.call_starter import now
from gcsmux_fs.storage.codec import MalformedMessage
from gcsmux_fs.storage.ports import StreamEnd
from gcsmux_fs.storage.status_details import decode_stream_end, details_of

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from gcsmux_fs.storage.call_starter import CallStarter, GrpcConnection
    from gcsmux_fs.storage.channels import Metadata
    from gcsmux_fs.storage.tokens import Token

    AnyCall = grpc.aio.StreamStreamCall[bytes, bytes] | grpc.aio.UnaryStreamCall[bytes, bytes]

__all__ = ["AsyncioHalf", "CallListener", "TrioHalf"]

log = logging.getLogger(__name__)


Message = TypeVar("Message")
Message_contra = TypeVar("Message_contra", contravariant=True)


class CallListener(Protocol[Message_contra]):
    """Receives the messages of a call, then its end."""

    def on_message(self, message: Message_contra) -> None:
        """A response has arrived."""

    def on_end(self, end: StreamEnd) -> None:
        """The call has ended. No further callback follows."""


class TrioHalf(Generic[Message]):
    """The half that the user of a call holds. A subclass sets `_asyncio_half` and `_method`.

    After `cancel` no callback reaches the listener. The module `unary_stream` relies on this
    guarantee. The interface `BidiListener` does not give the guarantee, because the mux ignores
    late callbacks.
    """

    _asyncio_half: AsyncioHalf[Message]
    _listener: CallListener[Message] | None
    _method: str
    """The full name of the gRPC method, `/package.Service/Method`."""

    def __init__(self, starter: CallStarter, listener: CallListener[Message]) -> None:
        self._bridge = starter.bridge
        self._outcomes = starter.outcomes
        self._listener = listener

    def start_single(self, headers: Metadata, request: bytes) -> None:
        """Start the call with its only request."""
        method = self._method
        self._bridge.to_asyncio(lambda: self._asyncio_half.start_single(method, headers, request))

    def cancel(self) -> None:
        """Cancel the call, if it has not ended. May be called more than once."""
        if self._listener is not None:
            self._listener = None
            self._bridge.to_asyncio(self._asyncio_half.cancel)

    def on_message(self, message: Message) -> None:
        """Pass a response to the listener."""
        if self._listener is not None:
            self._listener.on_message(message)

    def on_end(self, end: StreamEnd) -> None:
        """Count the end, and pass it to the listener."""
        self._outcomes.note(self._method.rpartition("/")[2], end.code)
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.on_end(end)


class AsyncioHalf(ABC, Generic[Message]):
    """The half that owns the gRPC call and reports to `trio_half`."""

    def __init__(self, starter: CallStarter, trio_half: CallListener[Message]) -> None:
        self._starter = starter
        self._to_trio = starter.bridge.to_trio
        self._to_trio_unhurried = starter.bridge.to_trio_unhurried
        self._trio_half = trio_half
        self._call: AnyCall | None = None
        self._connection: GrpcConnection | None = None
        self._token: Token | None = None

    def start_single(self, method: str, headers: Metadata, request: bytes) -> None:
        """Start the call with its only request."""
        self._token = self._starter.token
        try:
            call, connection = self._starter.start_single(method, headers, request)
        except Exception as error:
            self._report_not_started(error)
            return
        self._serve(call, connection)

    def cancel(self) -> None:
        """Cancel the call, if it has not ended."""
        call, connection = self._call, self._connection
        if call is not None and connection is not None and not call.done():
            connection.note_abandoned(now())
            call.cancel()

    # -- for subclasses

    @abstractmethod
    def _receive(self, data: bytes) -> bool:
        """Report one response. Return whether to read further responses before the end."""

    def _close(self, end: StreamEnd) -> StreamEnd:
        """Report remaining messages after the call ended with `end`. Return the end to report."""
        return end

    def _report_message(self, message: Message, *, unhurried: bool = False) -> None:
        report = self._to_trio_unhurried if unhurried else self._to_trio
        report(lambda: self._trio_half.on_message(message))

    def _report_end(self, end: StreamEnd) -> None:
        self._to_trio(lambda: self._trio_half.on_end(end))

    def _report_not_started(self, error: Exception) -> None:
        # Usually the channel has been closed. Report an end, because the user of the call waits for
        # `on_end`.
        log.debug("a gRPC call could not be started: ending it as UNAVAILABLE", exc_info=error)
        self._report_end(StreamEnd(StatusCode.UNAVAILABLE, str(error)))

    def _serve(self, call: AnyCall, connection: GrpcConnection) -> None:
        self._call, self._connection = call, connection
        self._starter.start_task(self._run(call, connection))

    # -- the reading task

    async def _run(self, call: AnyCall, connection: GrpcConnection) -> None:
        end = await _end_of(call, connection, self._read(call, connection))
        # The two halves refer to each other. Without this line, the call would live until Python's
        # cycle collector runs, and would keep its connection open after the channel was closed.
        self._call = self._connection = None
        self._report_end(self._close(self._without_token(end) or _mark_token(end, self._token)))

    def _without_token(self, end: StreamEnd) -> StreamEnd | None:
        """Return the end of a call for which there was no token; None for every other call."""
        tokens = self._starter.tokens
        if tokens is None or not tokens.is_missing(end.message):
            return None
        code, message = tokens.classify(end.code, end.message)
        return replace(end, code=code, message=message)

    async def _read(self, call: AnyCall, connection: GrpcConnection) -> None:
        answered = False
        while (data := await call.read()) is not grpc.aio.EOF:
            connection.note_received()
            if not answered:
                answered = True
                # Read the current token again, because the token may have been replaced after the
                # start of the call and before gRPC sent the headers.
                self._token = self._starter.token
            if not self._receive(data):  # type: ignore[arg-type]
                return


async def _end_of(
    call: grpc.aio.Call, connection: GrpcConnection, reading: Coroutine[object, object, None]
) -> StreamEnd:
    """Await `reading`, which reads `call`. Return how the call ended, also after an error."""
    try:
        end = await _await_end(call, reading)
    except MalformedMessage as error:
        call.cancel()
        return StreamEnd(StatusCode.INTERNAL, f"malformed message: {error}")
    except asyncio.CancelledError:
        # The user cancelled the call, the channel was closed, or the asyncio loop is ending.
        call.cancel()
        return StreamEnd(StatusCode.CANCELLED, "cancelled by this client")
    except Exception as error:
        log.exception("a response could not be processed: ending the call as INTERNAL")
        call.cancel()
        return StreamEnd(StatusCode.INTERNAL, f"reading failed: {error}")
    # gRPC also reports a status if this side cancelled the call. Only a status from the server
    # shows that the connection is alive.
    if not call.cancelled():
        connection.note_received()
    return end


async def _await_end(call: grpc.aio.Call, reading: Coroutine[object, object, None]) -> StreamEnd:
    with suppress(grpc.RpcError):  # the status below reports the same error
        await reading
    details = details_of(await call.trailing_metadata())
    code = StatusCode((await call.code()).value[0])
    return decode_stream_end(code, await call.details() or "", details)


def _mark_token(end: StreamEnd, token: Token | None) -> StreamEnd:
    """If the service refused the token, set `token.refused`, and `token_refused` in the result."""
    if token is None or end.code is not StatusCode.UNAUTHENTICATED:
        return end
    token.refused = True
    return replace(end, token_refused=True)
