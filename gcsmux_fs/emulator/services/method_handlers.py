"""gRPC method handlers: the code between gRPC and the services.

The methods of the services are async functions that take and return protobuf messages.
`MethodHandlers` makes gRPC handlers of these functions. The handlers decode requests, count calls,
delay responses, cause faults, and turn each RpcError into a gRPC status. Any other exception is
logged and becomes the status INTERNAL, so that every call ends.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message

from gcsmux_fs.emulator.injection.faulty_call import CallEndedOk, FaultyCall
from gcsmux_fs.emulator.injection.response_sender import ResponseSender
from gcsmux_fs.emulator.rpc_error import RpcError
from gcsmux_fs.emulator.shaping import sleep_until
from gcsmux_fs.model.errors import StatusCode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from gcsmux_fs.emulator.access_tokens import AccessTokens
    from gcsmux_fs.emulator.call_counters import CallCounters
    from gcsmux_fs.emulator.injection.fault_orders import FaultOrders
    from gcsmux_fs.emulator.injection.response_sender import Send
    from gcsmux_fs.emulator.shaping import Shape

    RawContext = grpc.aio.ServicerContext[bytes, bytes]
    _Handler = grpc.RpcMethodHandler[bytes, bytes]

__all__ = ["MethodHandlers"]

log = logging.getLogger(__name__)

_RequestT = TypeVar("_RequestT", bound=Message)
_DETAILS_KEY = "grpc-status-details-bin"
# Name of the gRPC logger that logs a traceback if a call is cancelled while its status is sent.
_GRPC_LOGGER = "grpc._cython.cygrpc"


def _is_not_cancellation(record: logging.LogRecord) -> bool:
    """Return False for a log record which says that a cancelled call's status could not be sent."""
    return record.exc_info is None or not isinstance(record.exc_info[1], grpc.aio.InternalError)


class _CallLost(Exception):
    """No message can be sent or received on the call.

    The call was cancelled, its connection was lost, or the server is stopping.
    """


class MethodHandlers:
    """Creates gRPC handlers for the methods of the services."""

    def __init__(
        self, shape: Shape, orders: FaultOrders, counters: CallCounters, tokens: AccessTokens
    ) -> None:
        self.shape = shape
        self._tokens = tokens
        self._orders = orders
        self._counters = counters
        self._active: set[asyncio.Task[object]] = set()
        # A second MethodHandlers adds no second filter, because addFilter() ignores a filter that
        # the logger already has.
        logging.getLogger(_GRPC_LOGGER).addFilter(_is_not_cancellation)

    async def wait_for_calls(self, timeout_seconds: float) -> None:
        """Wait for the end of all calls, after the server has stopped and cancelled them."""
        if self._active:
            await asyncio.wait(self._active, timeout=timeout_seconds)

    def unary(
        self,
        name: str,
        request_type: type[_RequestT],
        method: Callable[[_RequestT], Awaitable[Message]],
    ) -> tuple[str, _Handler]:
        """Return the name and the handler of a method with one request and one response."""

        async def handle(raw: bytes, context: RawContext) -> bytes:
            due = self._arrived(name)
            try:
                self._tokens.check(context)
                request = _decode(request_type, raw)
                if self._orders.armed:
                    return await self._answer_with_faults(name, request, context, method)
                response = await method(request)
                await sleep_until(due)
                return response.SerializeToString()
            except CallEndedOk:
                return b""
            except Exception as error:
                await _abort(name, context, due, error)
                return b""

        return name, grpc.unary_unary_rpc_method_handler(handle)

    def raw(self, name: str, method: Callable[[bytes], Awaitable[bytes]]) -> tuple[str, _Handler]:
        """Return the name and the handler of a method whose request and response are plain bytes.

        Calls of this method are not counted or delayed, and no faults happen to them.
        """

        async def handle(raw: bytes, context: RawContext) -> bytes:
            try:
                return await method(raw)
            except Exception as error:
                await _abort(name, context, 0.0, error)
                return b""

        return name, grpc.unary_unary_rpc_method_handler(handle)

    def streaming(
        self,
        name: str,
        request_type: type[_RequestT],
        method: Callable[[AsyncIterator[_RequestT], Send], Awaitable[None]],
        check: Callable[[_RequestT], object] | None = None,
    ) -> tuple[str, _Handler]:
        """Return the name and the handler of a method with streams of requests and responses.

        The handler also serves methods that stream in one direction only, because gRPC transfers a
        single message like a stream of one message. The method itself must delay its responses.

        `check` raises RpcError if the first request is refused. With `check`, the client gets the
        response headers when its first request has been accepted, and not with the first response,
        which may come hours later.
        """

        async def handle(raw: AsyncIterator[bytes], context: RawContext) -> None:
            due = self._arrived(name)
            call = FaultyCall(self._orders, name)

            async def requests() -> AsyncIterator[_RequestT]:
                first = True
                while (message := await _next_message(raw)) is not None:
                    request = _decode(request_type, message)
                    if first:
                        first = False
                        call.enter(request, tuple(context.invocation_metadata() or ()))
                        await call.opened()
                        if check is not None:
                            check(request)
                            await context.send_initial_metadata(())
                    yield request

            async def write(message: bytes) -> None:
                try:
                    await context.write(message)
                except grpc.aio.BaseError as error:
                    raise _CallLost from error

            sender = ResponseSender(call, self._counters, write)
            try:
                self._tokens.check(context)
                await method(requests(), sender.send)
            except CallEndedOk:
                return
            except _CallLost:
                log.debug("%s: the call has ended before its response", name)
                # gRPC would log an error if the handler returned a status for a cancelled call.
                raise asyncio.CancelledError from None
            except Exception as error:
                await _abort(name, context, due, error)

        return name, grpc.stream_stream_rpc_method_handler(handle)

    async def _answer_with_faults(
        self,
        name: str,
        request: _RequestT,
        context: RawContext,
        method: Callable[[_RequestT], Awaitable[Message]],
    ) -> bytes:
        """Answer a unary call, and cause the faults of the active rules."""
        call = FaultyCall(self._orders, name)
        call.enter(request, tuple(context.invocation_metadata() or ()))
        await call.opened()
        # The latency starts after the faults at `open`, so that their delay and the latency add up.
        due = self.shape.due(asyncio.get_running_loop().time())
        response = await method(request)
        await sleep_until(due)
        return call.answered(response)

    def _arrived(self, name: str) -> float:
        """Count the call that the current task serves. Return the time when its response is due."""
        task = asyncio.current_task()
        if task is not None:
            self._active.add(task)
            task.add_done_callback(self._active.discard)
        self._counters.requests[name] += 1
        self._orders.poll_file()
        return self.shape.due(asyncio.get_running_loop().time())


async def _next_message(raw: AsyncIterator[bytes]) -> bytes | None:
    """Return the next message of the client, or None after the last message.

    Raises:
        _CallLost: the call was cancelled, or the server stops.
    """
    try:
        return await anext(raw, None)
    except grpc.aio.BaseError as error:
        raise _CallLost from error


async def _abort(name: str, context: RawContext, due: float, error: Exception) -> None:
    """Wait until `due`, then end the call with the status of `error`. Always raise an exception."""
    if isinstance(error, RpcError):
        rpc_error = error
    else:
        log.error("%s failed: %r", name, error, exc_info=error)
        rpc_error = RpcError(
            StatusCode.INTERNAL, "Internal error of the emulator: see the log of the emulator."
        )
    await sleep_until(due)
    trailer = ((_DETAILS_KEY, rpc_error.details),) if rpc_error.details else ()
    code = grpc.StatusCode[rpc_error.code.name]
    await context.abort(code, rpc_error.message, trailing_metadata=trailer)


def _decode(request_type: type[_RequestT], raw: bytes) -> _RequestT:
    try:
        return request_type.FromString(raw)
    except DecodeError:
        raise RpcError(
            StatusCode.INTERNAL, f"The request is not a valid {request_type.DESCRIPTOR.name}."
        ) from None
