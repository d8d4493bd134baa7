"""Faults of one call, acted out: what the plan says is waited, raised, or done to its messages.

Each call has one of these, made at the border. While no rule is in force it does nothing, and the
border passes it by; orders that come later find it by itself, because it looks for new ones at
every step.
"""

from __future__ import annotations

import asyncio
import math
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.faults.catalogue import (
    Bandwidth,
    Delay,
    Delete,
    EndOk,
    ExpireToken,
    Hang,
    InjectionPoint,
    Overwrite,
    RangeError,
    Redirect,
    Status,
)
from gcsmux_fs.emulator.faults.statuses import expired_token, ordered_status, redirected
from gcsmux_fs.emulator.injection.headers import call_of
from gcsmux_fs.emulator.injection.rewriting import rewrite
from gcsmux_fs.emulator.injection.tampering import alter, spoil
from gcsmux_fs.emulator.rpc_error import RpcError
from gcsmux_fs.emulator.services.handles import Handle
from gcsmux_fs.emulator.services.range_schedule import resolve_range
from gcsmux_fs.storage.pb import storage_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from google.protobuf.message import Message

    from gcsmux_fs.emulator.control import Control
    from gcsmux_fs.emulator.faults.catalogue import Fault
    from gcsmux_fs.emulator.injection.headers import Headers
    from gcsmux_fs.emulator.injection.plan import Call, FaultBook, Plan
    from gcsmux_fs.emulator.shaping import Shape

__all__ = ["CallEnded", "Fate", "FaultyCall", "current_call", "spoiled"]


class CallEnded(Exception):
    """The call ends here, with OK."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one range: it is late, perhaps for ever, or fails."""

    delay_seconds: float = 0.0
    failure: RpcError | None = None


_current: ContextVar[FaultyCall] = ContextVar("current_call")


def current_call(control: Control) -> FaultyCall:
    """Return the call that this task serves; a new one, that nothing befalls, outside of any."""
    return _current.get(None) or FaultyCall(control, "")


class FaultyCall:
    """What befalls one call."""

    def __init__(self, control: Control, method: str) -> None:
        self.control = control
        self.method = method
        self._request: Message | None = None
        self._call: Call | None = None
        self._headers: Headers = ()
        self._book: FaultBook | None = None
        self._plan: Plan | None = None
        self._bandwidth_bytes = 0

    def enter(self, request: Message, headers: Headers) -> None:
        """Take note of the first message."""
        self._request = request
        self._headers = headers
        _current.set(self)

    @property
    def plan(self) -> Plan | None:
        """What may befall the call, by the orders in force now."""
        book = self.control.book
        if book is not self._book and self._request is not None:
            self._book = book
            if book.armed and self._call is None:
                self._call = call_of(self.method, self._request, self._headers)
            self._plan = None if self._call is None else book.plan(self._call)
        return self._plan

    async def opened(self) -> None:
        """Act as the call begins."""
        if self.plan is not None:
            await self.act(self.plan.at(InjectionPoint.OPEN))

    async def reached(self, size: int = 0) -> None:
        """Act after so much more content has been sent."""
        if self.plan is not None:
            await self.act(self.plan.advance(size))

    async def idled(self, seconds: float) -> None:
        """Act on a stream that has been idle for so long."""
        if self.plan is not None:
            await self.act(self.plan.idle(seconds))

    def idle_until(self) -> float | None:
        """Return after how long an idle stream has something happen to it; None: never."""
        plan = self.plan
        return None if plan is None else plan.idle_until()

    def range(self, wanted: pb.ReadRange, size: int) -> Fate:
        """Act on a range that is asked for; return what becomes of it.

        Raises:
            RpcError: the whole call ends.
            CallEnded: the same, with OK.
        """
        if self.plan is None:
            return Fate()
        self.plan.busy()
        try:
            place = resolve_range(wanted.read_offset, wanted.read_length, size)
        except RpcError:
            return Fate()
        fate = Fate()
        for fault in self.plan.range(place.offset, place.length):
            match fault:
                case Delay():
                    fate = replace(fate, delay_seconds=fate.delay_seconds + fault.seconds)
                case Hang():
                    fate = replace(fate, delay_seconds=math.inf)
                case RangeError():
                    fate = replace(fate, failure=RpcError(fault.code, fault.message))
                case _:
                    self._act_at_once(fault)
        return fate

    def answered(self, answer: Message) -> bytes:
        """Return the bytes of a call's only response."""
        faults = [] if self.plan is None else self.plan.at(InjectionPoint.ANSWER)
        for fault in faults:
            self.alter(answer, fault)
        return spoiled(answer.SerializeToString(), faults)

    def alter(self, answer: Message, fault: Fault) -> None:
        """Change what a first response says."""
        if self._request is not None:
            alter(answer, self._request, fault)

    def shaped(self, shape: Shape) -> Shape:
        """Return the call's latency and bandwidth."""
        if not self._bandwidth_bytes:
            return shape
        return replace(shape, bandwidth_bytes=self._bandwidth_bytes)

    async def act(self, faults: Iterable[Fault]) -> None:
        """Act out faults, one after the other.

        Raises:
            RpcError: the call ends.
            CallEnded: it ends with OK.
        """
        for fault in faults:
            match fault:
                case Delay():
                    await asyncio.sleep(fault.seconds)
                case Hang():
                    # Until the client gives up, or the server ends: both cancel this task.
                    await asyncio.Event().wait()
                case _:
                    self._act_at_once(fault)

    def _act_at_once(self, fault: Fault) -> None:
        match fault:
            case Status():
                raise ordered_status(fault)
            case EndOk():
                raise CallEnded
            case ExpireToken():
                raise expired_token()
            case Redirect():
                raise redirected(fault, self._handle() if fault.handle else b"")
            case Bandwidth():
                self._bandwidth_bytes = fault.bytes_per_second
            case Overwrite() | Delete():
                store, call = self.control.store, self._call
                if store is not None and call is not None:
                    rewrite(store.bucket(call.bucket), call.object, fault)

    def _handle(self) -> bytes:
        """Return a read handle of the generation that was asked for, if the object is there."""
        store, call = self.control.store, self._call
        if store is None or call is None:
            return b""
        found = store.bucket(call.bucket).find(call.object)
        if found is None:
            return b""
        asked = 0
        if isinstance(self._request, pb.BidiReadObjectRequest):
            asked = self._request.read_object_spec.generation
        return Handle(found.bucket, found.name, asked or found.generation).seal()


def spoiled(message: bytes, faults: Sequence[Fault]) -> bytes:
    """Return the bytes of a message after all faults of its bytes."""
    for fault in faults:
        message = spoil(message, fault)
    return message
