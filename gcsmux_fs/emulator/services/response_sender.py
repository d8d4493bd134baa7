"""The responses of one stream on their way out, with what faults do to them and between them.

A response that carries content is taken apart, each piece goes through the rules of chunks, and
what comes of it goes on together, as far as nothing has to happen in between: a stream that ends
after N bytes has sent exactly so many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.emulator.faults.catalogue import (
    ChunkEndsEarly,
    Delay,
    Delete,
    EmptyMessage,
    InjectionPoint,
    Malformed,
    Overwrite,
    Padded,
)
from gcsmux_fs.emulator.injection.faulty_call import spoiled
from gcsmux_fs.emulator.injection.tampering import tamper
from gcsmux_fs.emulator.services.range_schedule import MAX_CHUNK_BYTES
from gcsmux_fs.emulator.services.response_codec import BidiCarrier, ReadCarrier

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from gcsmux_fs.emulator.faults.catalogue import Fault
    from gcsmux_fs.emulator.injection.faulty_call import FaultyCall
    from gcsmux_fs.emulator.injection.tampering import Piece
    from gcsmux_fs.emulator.services.response_codec import Carrier
    from gcsmux_fs.emulator.services.rpc import Send

__all__ = ["ResponseSender"]

_CARRIERS: dict[str, type[BidiCarrier | ReadCarrier]] = {
    "BidiReadObject": BidiCarrier,
    "ReadObject": ReadCarrier,
}


class ResponseSender:
    """What goes between a service's messages and `forward`, which puts them on the wire."""

    def __init__(self, call: FaultyCall, forward: Send) -> None:
        # Whether the first response has gone; the border says so of one that it sent by itself.
        self.begun = False
        self._call = call
        self._forward = forward
        kind = _CARRIERS.get(call.method)
        self._carrier: Carrier | None = None if kind is None else kind()
        # Ranges that were ended early, whose rest is not sent.
        self._ended: set[int] = set()
        self._rest: Message | None = None
        self._pieces: list[Piece] = []
        self._spoilers: list[Fault] = []
        # What the service has counted as sent and that is still here.
        self._unsent = 0

    @property
    def engaged(self) -> bool:
        """Whether messages have to come through here."""
        return self._call.control.armed or bool(self._ended)

    async def send(self, message: bytes) -> None:
        """Send a message, or what becomes of it.

        Raises:
            RpcError: the call ends.
            CallEnded: it ends with OK.
        """
        first, self.begun = not self.begun, True
        plan = self._call.plan
        if not self._ended and (plan is None or not plan.sees_content):
            await self._forward(message)
            return
        answering = plan.at(InjectionPoint.ANSWER) if plan is not None and first else []
        if self._carrier is None:
            await self._forward(spoiled(message, answering))
            return
        self._rest, pieces = self._carrier.unpack(message)
        for fault in answering:
            self._call.alter(self._rest, fault)
        self._spoilers = answering
        self._unsent = sum(len(piece.content) for piece in pieces)
        try:
            for piece in pieces:
                await self._pass(piece)
            await self._flush()
            # A call of which nothing was asked has still sent its 0 bytes.
            await self._call.reached(0)
        finally:
            self._call.control.counters.bytes_sent -= self._unsent

    async def _pass(self, piece: Piece) -> None:
        """Send a piece in parts, so that what happens in its midst does."""
        plan = self._call.plan
        while plan is not None and (room := plan.room()) is not None and room < len(piece.content):
            part, piece = piece.split(room)
            if room:
                await self._chunk(part)
            await self._flush()
            self._unsent -= room
            await self._call.reached(room)
            plan = self._call.plan
        await self._chunk(piece)
        size = len(piece.content)
        self._unsent -= size
        if plan is not None and plan.room() == size:
            await self._flush()
        await self._call.reached(size)

    async def _chunk(self, piece: Piece) -> None:
        """Gather what becomes of one chunk."""
        if piece.read_id in self._ended:
            if piece.last:
                self._ended.discard(piece.read_id)
            return
        plan = self._call.plan
        faults = (
            [] if plan is None else plan.chunk(piece.offset, len(piece.content), last=piece.last)
        )
        pieces = [piece]
        spoilers: list[Fault] = []
        for fault in faults:
            match fault:
                case Malformed() | Padded():
                    spoilers.append(fault)
                case EmptyMessage():
                    await self._flush()
                    await self._forward(b"")
                case Delay() | Overwrite() | Delete():
                    await self._flush()
                    await self._call.act([fault])
                case _:
                    pieces = [made for one in pieces for made in tamper(one, fault)]
                    if isinstance(fault, ChunkEndsEarly) and not (fault.rest or piece.last):
                        self._ended.add(piece.read_id)
        if spoilers:
            await self._flush()
            self._spoilers = spoilers
        for one in pieces:
            await self._gather(one)
        if spoilers:
            await self._flush()

    async def _gather(self, piece: Piece) -> None:
        """Add a piece to the next response, which no fault makes longer than clients accept."""
        held = sum(len(one.content) for one in self._pieces)
        if held and held + len(piece.content) > MAX_CHUNK_BYTES:
            await self._flush()
        self._pieces.append(piece)

    async def _flush(self) -> None:
        """Send what has been gathered."""
        rest, pieces, spoilers = self._rest, self._pieces, self._spoilers
        if self._carrier is None or not (pieces or (rest is not None and rest.ByteSize())):
            return
        self._rest, self._pieces, self._spoilers = None, [], []
        for message in self._carrier.pack(rest, pieces):
            await self._forward(spoiled(message, spoilers))
