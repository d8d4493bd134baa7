"""Causes the faults of one call: delays, errors, and changes of its responses.

`MethodHandlers` creates one FaultyCall per call. While no rule is active, the FaultyCall does
nothing. The FaultyCall reads the active rules again at every step, so that new rules also apply to
calls that are already open.
"""

from __future__ import annotations

import asyncio
import math
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.buckets.byte_ranges import resolve_range
from gcsmux_fs.emulator.buckets.object_handles import ObjectHandle
from gcsmux_fs.emulator.faults import (
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
from gcsmux_fs.emulator.injection.call_attributes import call_attributes_of
from gcsmux_fs.emulator.injection.object_changes import change_object
from gcsmux_fs.emulator.injection.ordered_statuses import (
    expired_token,
    ordered_status,
    redirected,
)
from gcsmux_fs.emulator.injection.response_faults import apply_to_bytes, apply_to_response
from gcsmux_fs.emulator.rpc_error import RpcError
from gcsmux_fs.storage.pb import storage_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.message import Message

    from gcsmux_fs.emulator.faults import Fault
    from gcsmux_fs.emulator.injection.call_attributes import Headers
    from gcsmux_fs.emulator.injection.fault_orders import FaultOrders
    from gcsmux_fs.emulator.injection.fault_plan import ActiveRules, CallAttributes, FaultPlan
    from gcsmux_fs.emulator.shaping import Shape

__all__ = ["CallEndedOk", "FaultyCall", "RangeOutcome", "current_call"]


class CallEndedOk(Exception):
    """A fault ends the call with status OK."""


@dataclass(frozen=True, slots=True)
class RangeOutcome:
    """The effect of faults on one range. If the range is never answered, the delay is infinite."""

    delay_seconds: float = 0.0
    failure: RpcError | None = None


_current: ContextVar[FaultyCall] = ContextVar("current_call")


def current_call(orders: FaultOrders) -> FaultyCall:
    """Return the call that the current task serves; if there is none, a call without faults."""
    return _current.get(None) or FaultyCall(orders, "")


class FaultyCall:
    """The faults of one call."""

    def __init__(self, orders: FaultOrders, method: str) -> None:
        self.orders = orders
        self.method = method
        self._request: Message | None = None
        self._attributes: CallAttributes | None = None
        self._headers: Headers = ()
        self._rules: ActiveRules | None = None
        self._plan: FaultPlan | None = None
        self._bandwidth_bytes = 0

    def enter(self, request: Message, headers: Headers) -> None:
        """Store the call's first message and headers. The call becomes the task's current call."""
        self._request = request
        self._headers = headers
        _current.set(self)

    @property
    def plan(self) -> FaultPlan | None:
        """The fault plan of the call, from the rules active now; None if no rule matches."""
        rules = self.orders.rules
        if rules is not self._rules and self._request is not None:
            self._rules = rules
            if rules.armed and self._attributes is None:
                self._attributes = call_attributes_of(self.method, self._request, self._headers)
            self._plan = None if self._attributes is None else rules.plan(self._attributes)
        return self._plan

    async def opened(self) -> None:
        """Cause the faults at the injection point `open`."""
        if self.plan is not None:
            await self.act(self.plan.at(InjectionPoint.OPEN))

    async def reached(self, size: int = 0) -> None:
        """Count `size` more sent bytes of content, and cause the faults that are now due."""
        if self.plan is not None:
            await self.act(self.plan.advance(size))

    async def idled(self, seconds: float) -> None:
        """Cause the faults that are due after an idle time of `seconds`."""
        if self.plan is not None:
            await self.act(self.plan.idle(seconds))

    def idle_until(self) -> float | None:
        """Return after how many idle seconds the next fault is due; None without such a fault."""
        plan = self.plan
        return None if plan is None else plan.idle_until()

    def range(self, requested: pb.ReadRange, size: int) -> RangeOutcome:
        """Return the effect of faults on a requested range of an object of `size` bytes.

        Raises:
            RpcError: a fault ends the whole call with an error.
            CallEndedOk: a fault ends the whole call with OK.
        """
        if self.plan is None:
            return RangeOutcome()
        self.plan.busy()
        try:
            byte_range = resolve_range(requested.read_offset, requested.read_length, size)
        except RpcError:
            return RangeOutcome()
        outcome = RangeOutcome()
        for fault in self.plan.range(byte_range.offset, byte_range.length):
            match fault:
                case Delay():
                    outcome = replace(outcome, delay_seconds=outcome.delay_seconds + fault.seconds)
                case Hang():
                    outcome = replace(outcome, delay_seconds=math.inf)
                case RangeError():
                    outcome = replace(outcome, failure=RpcError(fault.code, fault.message))
                case _:
                    self._act_at_once(fault)
        return outcome

    def answered(self, response: Message) -> bytes:
        """Apply the faults at the injection point `answer` to a unary response, and encode it."""
        faults = [] if self.plan is None else self.plan.at(InjectionPoint.ANSWER)
        for fault in faults:
            self.change_response(response, fault)
        return apply_to_bytes(response.SerializeToString(), faults)

    def change_response(self, response: Message, fault: Fault) -> None:
        """Apply a fault to the decoded first response of the call."""
        if self._request is not None:
            apply_to_response(response, self._request, fault)

    def shaped(self, shape: Shape) -> Shape:
        """Return `shape` with the bandwidth that a fault has set for this call, if any."""
        if not self._bandwidth_bytes:
            return shape
        return replace(shape, bandwidth_bytes=self._bandwidth_bytes)

    async def act(self, faults: Iterable[Fault]) -> None:
        """Cause faults, one after another.

        Raises:
            RpcError: a fault ends the call with an error.
            CallEndedOk: a fault ends the call with OK.
        """
        for fault in faults:
            match fault:
                case Delay():
                    await asyncio.sleep(fault.seconds)
                case Hang():
                    # Wait for ever. The task ends when the client cancels the call or the server
                    # stops.
                    await asyncio.Event().wait()
                case _:
                    self._act_at_once(fault)

    def _act_at_once(self, fault: Fault) -> None:
        match fault:
            case Status():
                raise ordered_status(fault)
            case EndOk():
                raise CallEndedOk
            case ExpireToken():
                raise expired_token()
            case Redirect():
                raise redirected(fault, self._read_handle() if fault.handle else b"")
            case Bandwidth():
                self._bandwidth_bytes = fault.bytes_per_second
            case Overwrite() | Delete():
                call = self._attributes
                if call is not None:
                    change_object(self.orders.store.bucket(call.bucket), call.object, fault)

    def _read_handle(self) -> bytes:
        """Return a read handle of the requested generation; empty if there is no such object."""
        call = self._attributes
        if call is None:
            return b""
        stored = self.orders.store.bucket(call.bucket).find(call.object)
        if stored is None:
            return b""
        generation = 0
        if isinstance(self._request, pb.BidiReadObjectRequest):
            generation = self._request.read_object_spec.generation
        return ObjectHandle(stored.bucket, stored.name, generation or stored.generation).seal()
