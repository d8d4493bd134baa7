"""The border to gRPC: where requests come in, and where every answer is shaped and leaves.

Services are plain async functions on messages; a `Border` makes handlers of them. It decodes,
counts, waits until an answer is due, and turns each `RpcError` into a status. Any other exception
becomes INTERNAL and one log line: no call is left without an end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message

from gcsmux_fs.emulator.injection.faulty_call import CallEnded, FaultyCall
from gcsmux_fs.emulator.rpc_error import RpcError
from gcsmux_fs.emulator.services.response_sender import ResponseSender
from gcsmux_fs.emulator.shaping import sleep_until
from gcsmux_fs.model.errors import StatusCode

if TYPE_CHECKING:
    from gcsmux_fs.emulator.control import Control
    from gcsmux_fs.emulator.shaping import Shape

    RawContext = grpc.aio.ServicerContext[bytes, bytes]
    _Handler = grpc.RpcMethodHandler[bytes, bytes]

__all__ = ["Border", "Send"]

log = logging.getLogger(__name__)

Send = Callable[[bytes], Awaitable[None]]
_RequestT = TypeVar("_RequestT", bound=Message)
_DETAILS_KEY = "grpc-status-details-bin"
# Where gRPC's server reports, with a traceback, that a call was cancelled as its end was sent.
_GRPC_LOGGER = "grpc._cython.cygrpc"


def _client_is_there(record: logging.LogRecord) -> bool:
    """Return False for gRPC's report that a cancelled call could not be told its end."""
    return record.exc_info is None or not isinstance(record.exc_info[1], grpc.aio.InternalError)


class _ClientGone(Exception):
    """A message could not be sent: the call was cancelled, or the connection is lost."""


class Border:
    """Makes gRPC handlers of service functions."""

    def __init__(self, shape: Shape, control: Control) -> None:
        self.shape = shape
        self._control = control
        self._active: set[asyncio.Task[object]] = set()
        # A filter that is there is not added again.
        logging.getLogger(_GRPC_LOGGER).addFilter(_client_is_there)

    async def all_ended(self, patience_seconds: float) -> None:
        """Wait for the calls under way, which a server that stops has cancelled."""
        if self._active:
            await asyncio.wait(self._active, timeout=patience_seconds)

    def unary(
        self,
        name: str,
        request_type: type[_RequestT],
        method: Callable[[_RequestT], Awaitable[Message]],
    ) -> tuple[str, _Handler]:
        """Return the handler of a method with one request and one response."""

        async def handle(raw: bytes, context: RawContext) -> bytes:
            due = self._arrived(name)
            try:
                request = _decode(request_type, raw)
                if self._control.armed:
                    return await self._unlucky(name, request, context, method)
                answer = await method(request)
                await sleep_until(due)
                return answer.SerializeToString()
            except CallEnded:
                return b""
            except Exception as error:
                await _fail(name, context, due, error)
                return b""

        return name, grpc.unary_unary_rpc_method_handler(handle)

    def raw(self, name: str, method: Callable[[bytes], Awaitable[bytes]]) -> tuple[str, _Handler]:
        """Return the handler of a method on bytes that is neither counted nor delayed."""

        async def handle(raw: bytes, context: RawContext) -> bytes:
            try:
                return await method(raw)
            except Exception as error:
                await _fail(name, context, 0.0, error)
                return b""

        return name, grpc.unary_unary_rpc_method_handler(handle)

    def streaming(
        self,
        name: str,
        request_type: type[_RequestT],
        method: Callable[[AsyncIterator[_RequestT], Send], Awaitable[None]],
    ) -> tuple[str, _Handler]:
        """Return the handler of a method with streams on either side.

        On the wire a stream of one message is the same as a single one, so that this also serves
        methods that stream on one side only. What the method sends is its own to delay.
        """

        async def handle(raw: AsyncIterator[bytes], context: RawContext) -> None:
            due = self._arrived(name)
            call = FaultyCall(self._control, name)

            async def requests() -> AsyncIterator[_RequestT]:
                first = True
                async for message in raw:
                    request = _decode(request_type, message)
                    if first:
                        first = False
                        call.enter(request, tuple(context.invocation_metadata() or ()))
                        await call.opened()
                    yield request

            async def write(message: bytes) -> None:
                try:
                    await context.write(message)
                except grpc.aio.BaseError as error:
                    raise _ClientGone from error

            sending = ResponseSender(call, write)

            async def send(message: bytes) -> None:
                if sending.engaged:
                    await sending.send(message)
                else:
                    sending.begun = True
                    await write(message)

            try:
                await method(requests(), send)
            except CallEnded:
                return
            except _ClientGone:
                log.debug("%s: the client has gone", name)
                # Nobody is there to be told a status, and gRPC complains where it cannot tell one.
                raise asyncio.CancelledError from None
            except Exception as error:
                await _fail(name, context, due, error)

        return name, grpc.stream_stream_rpc_method_handler(handle)

    async def _unlucky(
        self,
        name: str,
        request: _RequestT,
        context: RawContext,
        method: Callable[[_RequestT], Awaitable[Message]],
    ) -> bytes:
        """Return a unary call's answer while faults are in force."""
        call = FaultyCall(self._control, name)
        call.enter(request, tuple(context.invocation_metadata() or ()))
        await call.opened()
        # A delay that was ordered comes before the latency that every answer has.
        due = self.shape.due(asyncio.get_running_loop().time())
        answer = await method(request)
        await sleep_until(due)
        return call.answered(answer)

    def _arrived(self, name: str) -> float:
        """Count a call that arrives now, in the current task; return when its answer is due."""
        task = asyncio.current_task()
        if task is not None:
            self._active.add(task)
            task.add_done_callback(self._active.discard)
        self._control.counters.requests[name] += 1
        self._control.look()
        return self.shape.due(asyncio.get_running_loop().time())


async def _fail(name: str, context: RawContext, due: float, error: Exception) -> None:
    """End a call with the status that `error` stands for, when its answer is due.

    This raises, as `abort` does.
    """
    if isinstance(error, RpcError):
        refusal = error
    else:
        log.error("%s failed: %r", name, error, exc_info=error)
        refusal = RpcError(StatusCode.INTERNAL, "Internal error of the emulator; see its log")
    await sleep_until(due)
    trailer = ((_DETAILS_KEY, refusal.details),) if refusal.details else ()
    code = grpc.StatusCode[refusal.code.name]
    await context.abort(code, refusal.message, trailing_metadata=trailer)


def _decode(request_type: type[_RequestT], raw: bytes) -> _RequestT:
    try:
        return request_type.FromString(raw)
    except DecodeError:
        raise RpcError(
            StatusCode.INTERNAL, f"Cannot decode a {request_type.DESCRIPTOR.name}"
        ) from None
