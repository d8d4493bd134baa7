"""One connection of the TCP proxy, and its faults.

Bytes to the client pass through a queue of blocks. The queue stores with each block the time at
which the block may be sent. Several blocks can therefore wait at the same time, and a delay does
not reduce the bandwidth. An injected frame is inserted at the next frame boundary.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.faults import (
    Bandwidth,
    Close,
    Delay,
    Goaway,
    HalfOpen,
    InjectionPoint,
    PortGone,
    Reset,
    RstStream,
    Stall,
)
from gcsmux_fs.emulator.proxy.frames import CLIENT_PREFACE_BYTES, FrameScanner, goaway, rst_stream
from gcsmux_fs.emulator.shaping import BandwidthLimiter, Shape, sleep_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.emulator.faults import Fault
    from gcsmux_fs.emulator.injection.fault_orders import FaultOrders
    from gcsmux_fs.emulator.injection.fault_plan import FaultPlan

__all__ = ["ProxiedConnection"]

_BLOCK_BYTES = 64 * 1024
# Maximum number of blocks in the queue. A delayed connection thus holds back at most 16 MiB, which
# is enough for a delay of 100 ms at 160 MB/s.
_MAX_BLOCKS = 256
# The value of SO_LINGER with which close() sends a RST: on, with a time of 0.
_LINGER = struct.pack("ii", 1, 0)


class _Direction:
    """One direction of the connection, and the frames to insert at its next frame boundary."""

    def __init__(self, preface_bytes: int) -> None:
        self.scanner = FrameScanner(preface_bytes)
        self._frames = b""

    def forward(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        boundary = self.scanner.feed(data)
        if self._frames and boundary is not None:
            data = data[:boundary] + self._frames + data[boundary:]
            self._frames = b""
        writer.write(data)

    def inject(self, frame: bytes, writer: asyncio.StreamWriter) -> None:
        if self.scanner.at_boundary:
            writer.write(frame)
        else:
            self._frames += frame


class ProxiedConnection:
    """A connection from a client, and the connection to the emulator behind it.

    `server` is the host and port of the emulator. `hide_port` closes the proxy's port for a number
    of seconds.
    """

    def __init__(
        self, orders: FaultOrders, server: tuple[str, int], hide_port: Callable[[float], None]
    ) -> None:
        self._orders = orders
        self._server_address = server
        self._hide_port = hide_port
        self._rules = orders.rules
        self._plan: FaultPlan = self._rules.plan_connection()
        self._client: asyncio.StreamWriter | None = None
        self._server: asyncio.StreamWriter | None = None
        self._to_client = _Direction(0)
        self._to_server = _Direction(CLIENT_PREFACE_BYTES)
        # This event is not set while the connection is stalled. All bytes then wait for this event.
        self._flowing = asyncio.Event()
        self._flowing.set()
        # Whether bytes from the client are discarded, and nothing more is sent to the client.
        self._half_open = False
        self._delay_seconds = 0.0
        self._shape = Shape()
        self._limiter = BandwidthLimiter(self._shape)

    async def run(self, accepted: socket.socket) -> None:
        """Forward bytes in both directions until one side closes the connection."""
        reader, self._client = await asyncio.open_connection(sock=accepted)
        try:
            for fault in self.plan.at(InjectionPoint.CONNECT):
                self.act(fault)
            with suppress(OSError):
                await self._forward(reader)
            # close() sends the buffered bytes before it closes the connection.
            self._client.close()
        except asyncio.CancelledError:
            self._client.transport.abort()
            raise
        finally:
            self._abort_server()

    @property
    def plan(self) -> FaultPlan:
        """The fault plan of the connection, from the rules that are active now."""
        rules = self._orders.rules
        if rules is not self._rules:
            self._rules = rules
            self._plan = rules.plan_connection()
        return self._plan

    def resume(self) -> None:
        """End a stall."""
        self._flowing.set()

    def reset(self) -> None:
        """End the connection with a TCP RST."""
        if self._client is not None:
            sock: socket.socket = self._client.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
            self._client.transport.abort()
        self._abort_server()

    def act(self, fault: Fault) -> None:
        """Cause a fault of this connection."""
        match fault:
            case Reset():
                self.reset()
            case Close():
                if self._client is not None and self._client.can_write_eof():
                    self._client.write_eof()
                self._become_half_open()
            case HalfOpen():
                self._become_half_open()
            case Stall():
                self._flowing.clear()
                asyncio.get_running_loop().call_later(fault.seconds, self._flowing.set)
            case PortGone():
                self._hide_port(fault.seconds)
            case Delay():
                self._delay_seconds = fault.seconds
            case Bandwidth():
                self._shape = Shape(bandwidth_bytes=fault.bytes_per_second)
                self._limiter = BandwidthLimiter(self._shape)
            case Goaway():
                frame = goaway(fault.last_stream_id, fault.error_code, fault.debug.encode())
                self._inject(self._to_client, frame, self._client)
            case RstStream():
                if stream := self._to_client.scanner.data_stream:
                    frame = rst_stream(stream, fault.error_code)
                    self._inject(self._to_client, frame, self._client)
                    self._inject(self._to_server, frame, self._server)

    def _inject(
        self, direction: _Direction, frame: bytes, writer: asyncio.StreamWriter | None
    ) -> None:
        if writer is not None and not writer.is_closing() and not self._half_open:
            direction.inject(frame, writer)

    def _become_half_open(self) -> None:
        """From now on, send nothing to the client, and discard the bytes from the client."""
        self._half_open = True
        self._flowing.set()
        self._abort_server()

    def _abort_server(self) -> None:
        if self._server is not None:
            self._server.transport.abort()

    async def _forward(self, from_client: asyncio.StreamReader) -> None:
        if self._half_open:
            await self._read_client(from_client)
        if self._client is None or self._client.is_closing():
            return
        from_server, self._server = await asyncio.open_connection(*self._server_address)
        blocks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_MAX_BLOCKS)
        reading = asyncio.create_task(self._read_client(from_client))
        writing = asyncio.create_task(self._write_client(blocks, self._client))
        tasks = (reading, writing, asyncio.create_task(self._read_server(from_server, blocks)))
        try:
            await asyncio.wait((reading, writing), return_when=asyncio.FIRST_COMPLETED)
            if self._half_open:
                await reading
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read_client(self, from_client: asyncio.StreamReader) -> None:
        while data := await from_client.read(_BLOCK_BYTES):
            await self._flowing.wait()
            if self._half_open or self._server is None:
                continue
            try:
                self._to_server.forward(data, self._server)
                await self._server.drain()
            except ConnectionError:
                # `_become_half_open` has closed the connection to the server.
                if not self._half_open:
                    raise

    async def _read_server(
        self, from_server: asyncio.StreamReader, blocks: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        clock = asyncio.get_running_loop().time
        end = False
        while not end:
            data = await from_server.read(_BLOCK_BYTES)
            # At the end of the stream, read() returns no bytes. The empty block then ends
            # `_write_client`.
            end = not data
            await blocks.put((clock() + self._delay_seconds, data))

    async def _write_client(
        self, blocks: asyncio.Queue[tuple[float, bytes]], client: asyncio.StreamWriter
    ) -> None:
        while True:
            due, data = await blocks.get()
            if not data:
                return
            await sleep_until(due)
            await self._write_block(data, client)

    async def _write_block(self, data: bytes, client: asyncio.StreamWriter) -> None:
        """Write a block in parts. A part ends where a fault is due or after `slice_bytes` bytes."""
        clock = asyncio.get_running_loop().time
        while data:
            await self._flowing.wait()
            room = self.plan.room()
            if room != 0:
                await sleep_until(self._limiter.free_at(clock()))
            if self._half_open or client.is_closing():
                return
            size = min(len(data), self._shape.slice_bytes)
            part = data[: size if room is None else min(size, room)]
            data = data[len(part) :]
            self._limiter.occupy(clock(), len(part))
            self._to_client.forward(part, client)
            await client.drain()
            for fault in self.plan.advance(len(part)):
                self.act(fault)
