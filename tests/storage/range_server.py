"""Two real servers: a gRPC server that may lack BidiReadObject, and a front end without gRPC."""

from __future__ import annotations

import asyncio
import struct
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.pb import storage_pb2 as pb
from tests.mux.plans import CONTENT, GENERATION

from .range_plans import Answer, answers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    Context = grpc.aio.ServicerContext[bytes, bytes]

__all__ = ["RangeServer", "range_server", "refusing_front_end"]

_SERVICE = "google.storage.v2.Storage"
_CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclass
class RangeServer:
    """A server. ReadObject calls follow `plans` in order; all further calls follow `plan`.

    Attributes:
        with_streams: whether BidiReadObject is served. If not, its calls end with UNIMPLEMENTED.
        silent: whether BidiReadObject never responds, as behind a proxy that first waits for the
            complete request.
    """

    plan: Answer = field(default_factory=Answer)
    plans: list[Answer] = field(default_factory=list)
    with_streams: bool = False
    silent: bool = False
    streams: int = 0
    active_reads: int = 0
    requests: list[pb.ReadObjectRequest] = field(default_factory=list)
    headers: list[dict[str, str | bytes]] = field(default_factory=list)
    port: int = 0

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def read_object(self, data: bytes, context: Context) -> None:
        request = pb.ReadObjectRequest.FromString(data)
        self.requests.append(request)
        self.headers.append(dict(context.invocation_metadata() or ()))
        plan = self.plans.pop(0) if self.plans else self.plan
        self.active_reads += 1
        try:
            for response in answers(plan, request):
                await context.write(response)
            if plan.hang:
                await asyncio.Event().wait()
            if plan.end.code is not StatusCode.OK:
                await context.abort(_CODES[int(plan.end.code)], plan.end.message)
        except (asyncio.CancelledError, grpc.aio.InternalError):
            pass  # the connection has been closed; gRPC would log this as an error
        finally:
            self.active_reads -= 1

    async def bidi_read_object(self, requests: AsyncIterator[bytes], context: Context) -> None:
        self.streams += 1
        try:
            if self.silent:
                async for _ in requests:
                    """Wait for the end of the request, which does not come."""
                return
            if not self.with_streams:
                await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
            opening = pb.BidiReadObjectResponse()
            opening.metadata.generation = GENERATION
            opening.metadata.size = len(CONTENT)
            await context.write(opening.SerializeToString())
            async for data in requests:
                for read_range in pb.BidiReadObjectRequest.FromString(data).read_ranges:
                    await context.write(_content(read_range).SerializeToString())
        except (asyncio.CancelledError, grpc.aio.InternalError):
            pass


def _content(read_range: pb.ReadRange) -> pb.BidiReadObjectResponse:
    response = pb.BidiReadObjectResponse()
    data = response.object_data_ranges.add(range_end=True)
    data.read_range.CopyFrom(read_range)
    stop = read_range.read_offset + read_range.read_length
    data.checksummed_data.content = CONTENT[read_range.read_offset : stop]
    return response


@contextmanager
def range_server(server: RangeServer | None = None) -> Iterator[RangeServer]:
    """Run a RangeServer in a thread during the `with` block."""
    scripted = server or RangeServer()

    async def serve(ready: Callable[[], None], stopping: asyncio.Event) -> None:
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        read: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_stream_rpc_method_handler(
            scripted.read_object
        )
        stream: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(
            scripted.bidi_read_object
        )
        methods = {"ReadObject": read, "BidiReadObject": stream}
        handlers = grpc.method_handlers_generic_handler(_SERVICE, methods)
        server.add_generic_rpc_handlers([handlers])
        scripted.port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        ready()
        await stopping.wait()
        # Calls that the client has cancelled need a moment to end.
        await server.stop(1.0)
        # gRPC completes cancelled operations a little later, and needs this event loop until then.
        await asyncio.sleep(0.05)

    with _in_thread(serve):
        yield scripted


_SETTINGS, _HEADERS, _DATA, _PING = 4, 1, 0, 6
_ACK = _END_STREAM = 1
_END_HEADERS = 4
_PREFACE_BYTES, _FRAME_HEADER_BYTES = 24, 9


@contextmanager
def refusing_front_end(status: int, *, page: bytes = b"") -> Iterator[str]:
    """Yield the endpoint of a server that answers every HTTP/2 request with `status`."""
    ports: list[int] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readexactly(_PREFACE_BYTES)
            writer.write(_frame(_SETTINGS, 0, 0))
            while True:
                head = await reader.readexactly(_FRAME_HEADER_BYTES)
                kind, flags = head[3], head[4]
                stream = int.from_bytes(head[5:], "big")
                payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
                if kind in (_SETTINGS, _PING) and not flags & _ACK:
                    writer.write(_frame(kind, _ACK, 0, payload if kind == _PING else b""))
                elif kind == _HEADERS:
                    fields = b"\x08\x03" + str(status).encode()  # the header `:status` in HPACK
                    flags = _END_HEADERS if page else _END_HEADERS | _END_STREAM
                    writer.write(_frame(_HEADERS, flags, stream, fields))
                    if page:
                        writer.write(_frame(_DATA, _END_STREAM, stream, page))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client has closed the connection, or the loop is ending
        finally:
            writer.close()

    async def serve(ready: Callable[[], None], stopping: asyncio.Event) -> None:
        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
        ready()
        await stopping.wait()
        server.close()

    with _in_thread(serve):
        yield f"127.0.0.1:{ports[0]}"


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return (
        len(payload).to_bytes(3, "big") + bytes([kind, flags]) + struct.pack(">I", stream) + payload
    )


@contextmanager
def _in_thread(
    serve: Callable[[Callable[[], None], asyncio.Event], Awaitable[None]],
) -> Iterator[None]:
    ready = threading.Event()
    stop: list[Callable[[], object]] = []

    async def main() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(stopping.set))
        await serve(ready.set, stopping)

    thread = threading.Thread(target=asyncio.run, args=[main()])
    thread.start()
    try:
        assert ready.wait(10)
        yield
    finally:
        stop[0]()
        thread.join()
