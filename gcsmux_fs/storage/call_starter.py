"""Starts streaming gRPC calls, and keeps the asyncio tasks that serve these calls."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gcsmux_fs.storage.asyncio_bridge import await_asyncio, current
from gcsmux_fs.storage.request_outcomes import RequestOutcomes

if TYPE_CHECKING:
    from collections.abc import Coroutine

    import grpc.aio

    from gcsmux_fs.storage.channels import Metadata
    from gcsmux_fs.storage.connections import Connection, Connections
    from gcsmux_fs.storage.tokens import Token, Tokens

    GrpcConnection = Connection[grpc.aio.Channel]

__all__ = ["CallStarter", "now"]


class CallStarter:
    """Starts gRPC calls on connections, and keeps the asyncio tasks that serve these calls.

    Create a `CallStarter` in the trio run that made the channels of `connections`. All methods
    except `drain` run in the asyncio thread.

    Args:
        connections: the connections that carry the calls.
        tokens: adds an access token to each call; None if calls need no token.
        outcomes: counts the calls by their status.
    """

    def __init__(
        self,
        connections: Connections[grpc.aio.Channel],
        tokens: Tokens | None = None,
        outcomes: RequestOutcomes | None = None,
    ) -> None:
        self.bridge = current()
        self.tokens = tokens
        self._connections = connections
        self.outcomes = outcomes or RequestOutcomes()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def open_tasks(self) -> int:
        """Number of asyncio tasks that have not ended."""
        return len(self._tasks)

    @property
    def token(self) -> Token | None:
        """The access token that the next call uses; None if calls need no token."""
        return None if self.tokens is None else self.tokens.current

    async def drain(self) -> None:
        """Wait until the tasks of all calls have ended. The caller cancels the calls first."""

        async def wait_for_tasks() -> None:
            while self._tasks:
                await asyncio.wait(self._tasks)

        await await_asyncio(wait_for_tasks())

    def start_stream(
        self, method: str, headers: Metadata
    ) -> tuple[grpc.aio.StreamStreamCall[bytes, bytes], GrpcConnection]:
        """Start a call with any number of requests; return the call and its connection."""
        connection = self._connections.pick(now())
        start: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = connection.channel.stream_stream(
            method, request_serializer=None, response_deserializer=None
        )
        call = start(metadata=headers)
        _count(call, connection)
        return call, connection

    def start_single(
        self, method: str, headers: Metadata, request: bytes
    ) -> tuple[grpc.aio.UnaryStreamCall[bytes, bytes], GrpcConnection]:
        """Start a call with a single request; return the call and its connection."""
        connection = self._connections.pick(now())
        start: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = connection.channel.unary_stream(
            method, request_serializer=None, response_deserializer=None
        )
        connection.note_sent(now())
        call = start(request, metadata=headers)
        _count(call, connection)
        return call, connection

    def start_task(self, coroutine: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Start a task, and keep a reference to the task until it ends.

        The reference is needed because asyncio keeps only a weak reference to a task.
        """
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def now() -> float:
    """Return the time of the asyncio loop in seconds."""
    return asyncio.get_running_loop().time()


def _count(call: grpc.aio.Call, connection: GrpcConnection) -> None:
    clock = asyncio.get_running_loop().time
    connection.note_begin()
    call.add_done_callback(lambda _call: connection.note_end(clock()))
