"""One connection that the relay passes on, and what befalls it.

Bytes to the client go through a queue of blocks, each with the instant at which it may leave, so
that a delay costs time and no bandwidth. Injected frames wait for the end of a frame.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.faults.catalogue import (
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
from gcsmux_fs.emulator.shaping import Line, Shape, sleep_until

if TYPE_CHECKING:
    from gcsmux_fs.emulator.faults.catalogue import Fault
    from gcsmux_fs.emulator.injection.plan import FaultBook, Plan
    from gcsmux_fs.emulator.proxy.tcp_proxy import TcpProxy

__all__ = ["ProxiedConnection"]

_BLOCK_BYTES = 64 * 1024
# What may be on its way when a connection is delayed: 16 MiB, 100 ms at 160 MB/s.
_MAX_BLOCKS = 256
# On with a time of 0: closing sends a RST.
_LINGER = struct.pack("ii", 1, 0)


class _Direction:
    """One way of the connection: frames that are to be put in, and where they may be."""

    def __init__(self, preface_bytes: int) -> None:
        self.scanner = FrameScanner(preface_bytes)
        self._injected = b""

    def pass_on(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        boundary = self.scanner.feed(data)
        if self._injected and boundary is not None:
            data = data[:boundary] + self._injected + data[boundary:]
            self._injected = b""
        writer.write(data)

    def inject(self, frame: bytes, writer: asyncio.StreamWriter) -> None:
        if self.scanner.at_boundary:
            writer.write(frame)
        else:
            self._injected += frame


class ProxiedConnection:
    """A client's connection and the one behind it."""

    def __init__(self, relay: TcpProxy) -> None:
        self._relay = relay
        self._book: FaultBook = relay.control.book
        self._plan: Plan = self._book.plan_connection()
        self._client: asyncio.StreamWriter | None = None
        self._server: asyncio.StreamWriter | None = None
        self._to_client = _Direction(0)
        self._to_server = _Direction(CLIENT_PREFACE_BYTES)
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._swallows = False
        self._delay_seconds = 0.0
        self._shape = Shape()
        self._line = Line(self._shape)

    async def run(self, accepted: socket.socket) -> None:
        """Pass on what comes until one side has closed."""
        reader, self._client = await asyncio.open_connection(sock=accepted)
        try:
            for fault in self.plan.at(InjectionPoint.CONNECT):
                self.act(fault)
            with suppress(OSError):
                await self._pass_on(reader)
            # What is still on its way to the client arrives.
            self._client.close()
        except asyncio.CancelledError:
            self._client.transport.abort()
            raise
        finally:
            self._hang_up()

    @property
    def plan(self) -> Plan:
        """What may befall the connection, by the orders in force now."""
        book = self._relay.control.book
        if book is not self._book:
            self._book = book
            self._plan = book.plan_connection()
        return self._plan

    def resume(self) -> None:
        """Let a connection that stands still go on."""
        self._flowing.set()

    def reset(self) -> None:
        """End the connection with a RST."""
        if self._client is not None:
            sock: socket.socket = self._client.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
            self._client.transport.abort()
        self._hang_up()

    def act(self, fault: Fault) -> None:
        """Act out a fault."""
        match fault:
            case Reset():
                self.reset()
            case Close():
                if self._client is not None and self._client.can_write_eof():
                    self._client.write_eof()
                self._swallow()
            case HalfOpen():
                self._swallow()
            case Stall():
                self._flowing.clear()
                asyncio.get_running_loop().call_later(fault.seconds, self._flowing.set)
            case PortGone():
                self._relay.hide(fault.seconds)
            case Delay():
                self._delay_seconds = fault.seconds
            case Bandwidth():
                self._shape = Shape(bandwidth_bytes=fault.bytes_per_second)
                self._line = Line(self._shape)
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
        if writer is not None and not writer.is_closing() and not self._swallows:
            direction.inject(frame, writer)

    def _swallow(self) -> None:
        """Send the client nothing more, and read what it sends for nobody."""
        self._swallows = True
        self._flowing.set()
        self._hang_up()

    def _hang_up(self) -> None:
        if self._server is not None:
            self._server.transport.abort()

    async def _pass_on(self, from_client: asyncio.StreamReader) -> None:
        if self._swallows:
            await self._read_client(from_client)
        if self._client is None or self._client.is_closing():
            return
        relay = self._relay
        from_server, self._server = await asyncio.open_connection(relay.host, relay.target_port)
        blocks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_MAX_BLOCKS)
        reading = asyncio.create_task(self._read_client(from_client))
        writing = asyncio.create_task(self._write_client(blocks, self._client))
        tasks = (reading, writing, asyncio.create_task(self._read_server(from_server, blocks)))
        try:
            await asyncio.wait((reading, writing), return_when=asyncio.FIRST_COMPLETED)
            if self._swallows:
                await reading
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read_client(self, from_client: asyncio.StreamReader) -> None:
        while data := await from_client.read(_BLOCK_BYTES):
            await self._flowing.wait()
            if self._swallows or self._server is None:
                continue
            try:
                self._to_server.pass_on(data, self._server)
                await self._server.drain()
            except ConnectionError:
                # A connection that was left half open has lost its server on purpose.
                if not self._swallows:
                    raise

    async def _read_server(
        self, from_server: asyncio.StreamReader, blocks: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        clock = asyncio.get_running_loop().time
        data = b"-"
        while data:
            # The end comes as no bytes at all, and in its turn.
            data = await from_server.read(_BLOCK_BYTES)
            await blocks.put((clock() + self._delay_seconds, data))

    async def _write_client(
        self, blocks: asyncio.Queue[tuple[float, bytes]], client: asyncio.StreamWriter
    ) -> None:
        while True:
            due, data = await blocks.get()
            if not data:
                return
            await sleep_until(due)
            await self._deliver(data, client)

    async def _deliver(self, data: bytes, client: asyncio.StreamWriter) -> None:
        clock = asyncio.get_running_loop().time
        while data:
            await self._flowing.wait()
            room = self.plan.room()
            if room != 0:
                await sleep_until(self._line.free_at(clock()))
            if self._swallows or client.is_closing():
                return
            size = min(len(data), self._shape.slice_bytes)
            part = data[: size if room is None else min(size, room)]
            data = data[len(part) :]
            self._line.occupy(clock(), len(part))
            self._to_client.pass_on(part, client)
            await client.drain()
            for fault in self.plan.advance(len(part)):
                self.act(fault)
