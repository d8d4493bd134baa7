"""A real gRPC server in its own thread and event loop. Its BidiReadObject calls follow plans."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc
import grpc.aio
from crc32c import crc32c

from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.pb import storage_pb2 as pb
from gcsmux_fs.storage.ports import RangeFailure, RangeRequest, StreamEnd
from tests.support.threaded_server import threaded_server

from .plans import CONTENT, Piece, Plan, pieces

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    Context = grpc.aio.ServicerContext[bytes, bytes]
    Behaviour = Callable[[Context], Awaitable[None]]

__all__ = ["ScriptedServer", "end_call", "scripted_server"]

_SERVICE = "google.storage.v2.Storage"
_TYPE = "type.googleapis.com/google.storage.v2."
_CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclass
class ScriptedServer:
    """Serves calls. A call takes the next of `plans`, or `plan` if none is left.

    If the function `raw` is set, it serves all calls, and the plans are not used. `requests` holds
    the received messages.
    """

    plan: Plan = field(default_factory=Plan)
    plans: list[Plan] = field(default_factory=list)
    raw: Behaviour | None = None
    requests: list[pb.BidiReadObjectRequest] = field(default_factory=list)
    headers: list[dict[str, str | bytes]] = field(default_factory=list)
    port: int = 0
    active: int = 0

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def serve(self, _: object, context: Context) -> None:
        self.headers.append(dict(context.invocation_metadata() or ()))
        self.active += 1
        try:
            if self.raw is not None:
                await self.raw(context)
            else:
                plan = self.plans.pop(0) if self.plans else self.plan
                await self._follow(plan, context)
        except (asyncio.CancelledError, grpc.aio.InternalError):
            # The client ended the call, or the server stops. If this exception went on, gRPC would
            # log it as an error.
            pass
        finally:
            self.active -= 1

    async def _follow(self, plan: Plan, context: Context) -> None:
        request = await self._next_request(context)
        if request is None:
            return
        if plan.hang:
            await asyncio.Event().wait()
        await asyncio.sleep(plan.latency)
        if plan.refuse is not None:
            await end_call(context, plan.refuse)
            return
        await context.write(_opening(plan, request).SerializeToString())
        call = _Call(plan)
        while request is not None:
            for read_range in request.read_ranges:
                pending = RangeRequest(
                    read_range.read_id, read_range.read_offset, read_range.read_length
                )
                end = await call.answer(pending, context)
                if end is not None:
                    await end_call(context, end)
                    return
            request = await self._next_request(context)
            await asyncio.sleep(plan.latency)

    async def _next_request(self, context: Context) -> pb.BidiReadObjectRequest | None:
        data = await context.read()
        if not isinstance(data, bytes):
            return None
        self.requests.append(pb.BidiReadObjectRequest.FromString(data))
        return self.requests[-1]


class _Call:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._sent_bytes = 0
        self._corrupt = plan.corrupt_chunks

    async def answer(self, request: RangeRequest, context: Context) -> StreamEnd | None:
        plan = self._plan
        refused = plan.refused_ranges.get(request.offset)
        if request.offset >= len(CONTENT):
            refused = StatusCode.OUT_OF_RANGE
        if refused is not None:
            return StreamEnd(refused, "a range", (RangeFailure(request.read_id, refused, "no"),))
        for piece in pieces(request, plan.chunk_bytes):
            if plan.cut_after is not None and self._sent_bytes >= plan.cut_after:
                if plan.cut_with is None:
                    await asyncio.Event().wait()
                    return None
                return plan.cut_with
            self._sent_bytes += len(piece.content)
            self._corrupt -= 1
            await context.write(_chunk(piece, intact=self._corrupt < 0).SerializeToString())
        return None


def _opening(plan: Plan, request: pb.BidiReadObjectRequest) -> pb.BidiReadObjectResponse:
    response = pb.BidiReadObjectResponse()
    response.read_handle.handle = plan.handle
    if plan.generation:
        response.metadata.name = request.read_object_spec.object
        response.metadata.generation = plan.generation
        response.metadata.size = len(CONTENT)
    return response


def _chunk(piece: Piece, *, intact: bool) -> pb.BidiReadObjectResponse:
    response = pb.BidiReadObjectResponse()
    data = response.object_data_ranges.add(range_end=piece.range_end)
    data.read_range.read_id = piece.read_id
    data.read_range.read_offset = piece.offset
    data.read_range.read_length = len(piece.content)
    data.checksummed_data.content = piece.content
    data.checksummed_data.crc32c = crc32c(piece.content) ^ (not intact)
    return response


async def end_call(context: Context, end: StreamEnd) -> None:
    """End a call with a status, and with details in the format of the service."""
    status = pb.RpcStatus(code=int(end.code), message=end.message)
    if end.failures:
        failed = pb.BidiReadObjectError()
        for failure in end.failures:
            entry = failed.read_range_errors.add(read_id=failure.read_id)
            entry.status.code = int(failure.code)
            entry.status.message = failure.message
        status.details.add(type_url=f"{_TYPE}BidiReadObjectError", value=failed.SerializeToString())
    if end.redirect is not None:
        redirected = pb.BidiReadObjectRedirectedError(routing_token=end.redirect.routing_token)
        if end.redirect.handle:
            redirected.read_handle.handle = end.redirect.handle
        status.details.add(
            type_url=f"{_TYPE}BidiReadObjectRedirectedError", value=redirected.SerializeToString()
        )
    if end.code is StatusCode.OK:
        return
    trailing = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(_CODES[int(end.code)], end.message, trailing)


@contextmanager
def scripted_server(
    *plans: Plan, plan: Plan | None = None, port: int = 0
) -> Iterator[ScriptedServer]:
    """Run a server until the `with` block ends."""
    scripted = ScriptedServer(plan or Plan(), list(plans))
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(
        scripted.serve
    )
    with threaded_server(_SERVICE, {"BidiReadObject": handler}, port=port) as scripted.port:
        yield scripted
