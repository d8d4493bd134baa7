"""An emulator in the process of the test, Google's client for it, and a channel for raw calls."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import grpc.aio
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage.asyncio.async_grpc_client import AsyncGrpcClient

from gcsmux_fs.emulator.injection import Faults
from gcsmux_fs.emulator.server import Emulator
from gcsmux_fs.storage.pb import storage_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from google.protobuf.message import Message

    from gcsmux_fs.emulator.injection import Rule

__all__ = ["BIDI", "BUCKET", "Clients", "bidi_request", "order", "read_rest", "serve"]

BUCKET = "projects/_/buckets/b"
BIDI = "BidiReadObject"


class Clients:
    """Clients of one emulator.

    - `google`: Google's asynchronous client.
    - `generated`: the generated client that `google` uses.
    - `channel`: a channel for raw calls.
    """

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.google: Any = AsyncGrpcClient(
            credentials=AnonymousCredentials(),
            client_options=ClientOptions(api_endpoint=emulator.address),
        )
        self.generated: Any = self.google.grpc_client
        self.channel = grpc.aio.insecure_channel(emulator.address)

    async def close(self) -> None:
        await self.generated.transport.close()
        await self.channel.close()

    def call(
        self,
        method: str,
        response_type: type[Message],
        service: str = "google.storage.v2.Storage",
        headers: Sequence[tuple[str, str]] = (),
    ) -> grpc.aio.StreamStreamCall[Message, Message]:
        """Start a call. If the method is unary, write one message and read one response."""
        return self.channel.stream_stream(
            f"/{service}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=response_type.FromString,
        )(metadata=tuple(headers))

    async def bidi(
        self, *requests: pb.BidiReadObjectRequest
    ) -> tuple[list[pb.BidiReadObjectResponse], grpc.StatusCode]:
        """Send requests on one BidiReadObject stream and half-close it.

        Return all responses and the status code.
        """
        call = self.call(BIDI, pb.BidiReadObjectResponse)
        # If the server has already ended the call, write() raises InvalidStateError.
        with contextlib.suppress(asyncio.InvalidStateError):
            for request in requests:
                await call.write(request)
            await call.done_writing()
        received: list[pb.BidiReadObjectResponse] = []
        with contextlib.suppress(grpc.aio.AioRpcError):
            await read_rest(call, received)
        return received, await call.code()


def order(clients: Clients, *rules: Rule, seed: int = 0) -> None:
    """Replace the active fault rules of the emulator by `rules`."""
    clients.emulator.control.order(Faults(rules, seed))


async def read_rest(
    call: grpc.aio.StreamStreamCall[Message, Message], received: list[pb.BidiReadObjectResponse]
) -> None:
    """Append all further responses to `received`; raise AioRpcError if an error ends the call."""
    while (response := await call.read()) is not grpc.aio.EOF:
        assert isinstance(response, pb.BidiReadObjectResponse)
        received.append(response)


def bidi_request(
    name: str = "", ranges: Sequence[tuple[int, int, int]] = (), **spec: Any
) -> pb.BidiReadObjectRequest:
    """Return a request for ranges, each given as (offset, length, read_id).

    Only the first message of a stream has the name of the object.
    """
    return pb.BidiReadObjectRequest(
        read_object_spec=pb.BidiReadObjectSpec(bucket=BUCKET, object=name, **spec)
        if name
        else None,
        read_ranges=[
            pb.ReadRange(read_offset=offset, read_length=length, read_id=read_id)
            for offset, length, read_id in ranges
        ],
    )


def serve(folder: Path, scenario: Callable[[Clients], Awaitable[None]], **options: Any) -> None:
    """Start an emulator that serves `folder`, and run the scenario with its clients."""

    async def run() -> None:
        async with Emulator(folder, **options) as emulator:
            clients = Clients(emulator)
            try:
                async with asyncio.timeout(60):
                    await scenario(clients)
            finally:
                await clients.close()

    asyncio.run(run())
