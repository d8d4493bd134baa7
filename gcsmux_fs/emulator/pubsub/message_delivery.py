"""Takes messages from a subscription for one subscriber, with the faults of its call.

Faults happen to a message only when it is taken for the first time: a rule without a limit would
otherwise delay or repeat a message for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.emulator.faults import (
    AckLost,
    Delay,
    EndOk,
    Hang,
    InjectionPoint,
    LeaseExpired,
    MessageDuplicated,
    MessageHeldBack,
    Status,
)
from gcsmux_fs.emulator.injection.faulty_call import CallEndedOk
from gcsmux_fs.emulator.injection.ordered_statuses import ordered_status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gcsmux_fs.emulator.faults import Fault
    from gcsmux_fs.emulator.injection.fault_plan import ActiveRules
    from gcsmux_fs.emulator.injection.faulty_call import FaultyCall
    from gcsmux_fs.emulator.pubsub.subscription_queue import (
        LeaseHolder,
        MessageLease,
        SubscriptionQueue,
    )
    from gcsmux_fs.emulator.rpc_error import RpcError

__all__ = ["MessageDelivery"]


class MessageDelivery:
    """The messages that one call delivers, and the acknowledgements that it receives.

    `failure`: a fault ends the call, after the messages that have been taken before.
    """

    def __init__(self, queue: SubscriptionQueue, call: FaultyCall) -> None:
        self.failure: RpcError | CallEndedOk | None = None
        self._queue = queue
        self._call = call
        self._silent_rules: ActiveRules | None = None

    @property
    def silent(self) -> bool:
        """Whether a fault keeps all messages from this call, until the rules are replaced."""
        return self._silent_rules is self._call.orders.rules

    def take(
        self, now: float, holder: LeaseHolder, ack_seconds: float, messages: int, size: int
    ) -> list[MessageLease]:
        """Lease messages: at most `messages`, and about `size` bytes."""
        taken: list[MessageLease] = []
        taken_size = 0
        while len(taken) < messages and taken_size < size and not self.silent:
            lease = self._queue.take(now, holder, ack_seconds)
            if lease is None:
                break
            first = lease.queued.attempts == 1
            if self._call.orders.armed and first and not self._survives(lease, now):
                if self.failure is not None:
                    break
                continue
            taken.append(lease)
            taken_size += lease.queued.message.size
            self._queue.passed()
        return taken

    def acknowledge(self, ack_ids: Iterable[str], now: float) -> None:
        """End leases, and remove their messages. Unknown ack ids have no effect."""
        plan = self._call.plan if self._call.orders.armed else None
        for ack_id in ack_ids:
            faults = [] if plan is None else plan.at(InjectionPoint.ACK)
            lost = next((fault for fault in faults if isinstance(fault, AckLost)), None)
            if lost is None:
                self._queue.acknowledge(ack_id)
            else:
                self._queue.extend(ack_id, now, lost.seconds)

    def _survives(self, lease: MessageLease, now: float) -> bool:
        """Cause the faults of a message. Return False if it is not delivered now."""
        plan = self._call.plan
        faults = [] if plan is None else plan.at(InjectionPoint.DELIVERY)
        return all(self._apply(fault, lease, now) for fault in faults)

    def _apply(self, fault: Fault, lease: MessageLease, now: float) -> bool:
        match fault:
            case MessageDuplicated():
                self._queue.repeat(lease.queued.message, now + fault.seconds)
            case LeaseExpired():
                self._queue.extend(lease.ack_id, now, 0)
            case Delay():
                self._queue.put_back(lease, now + fault.seconds)
                return False
            case MessageHeldBack():
                self._queue.put_back(lease, now + fault.seconds, fault.messages)
                return False
            case Hang():
                self._queue.put_back(lease)
                self._silent_rules = self._call.orders.rules
                return False
            case Status() | EndOk():
                self._queue.put_back(lease)
                self.failure = ordered_status(fault) if isinstance(fault, Status) else CallEndedOk()
                return False
        return True
