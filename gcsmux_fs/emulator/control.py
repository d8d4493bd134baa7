"""The control service: returns the counters of a running emulator and replaces its fault rules.

It has two unary gRPC methods. Requests and responses are JSON as plain bytes, not protobuf
messages. The emulator does not count or delay these calls, and no faults happen to them.

- `/gcsmux.emulator.Control/Stats` returns the counters (see `CallCounters`). The request may be
  empty. The request `{"reset": true}` also resets the counters after they are read.
- `/gcsmux.emulator.Control/Faults` replaces the active rules by the rules in the request (see
  `gcsmux_fs.emulator.injection.rules`) and returns the rules that are then active. `{}` removes all
  rules. An empty request changes nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.injection.rules import Faults
from gcsmux_fs.emulator.rpc_error import invalid

if TYPE_CHECKING:
    from gcsmux_fs.emulator.call_counters import CallCounters
    from gcsmux_fs.emulator.injection.fault_orders import FaultOrders

__all__ = ["CONTROL_SERVICE", "Control"]

CONTROL_SERVICE = "gcsmux.emulator.Control"


class Control:
    """The control service.

    Code in the emulator's process may use the attribute `counters` and the method `order` instead
    of gRPC calls.
    """

    def __init__(self, counters: CallCounters, orders: FaultOrders) -> None:
        self.counters = counters
        self._orders = orders

    def order(self, faults: Faults) -> None:
        """Replace the active rules by the rules in `faults`.

        Raises:
            RpcError: this emulator cannot cause one of the faults (INVALID_ARGUMENT).
        """
        self._orders.order(faults)

    async def stats(self, request: bytes) -> bytes:
        """Answer the method Stats: return the counters as JSON, and reset the counters on request.

        Raises:
            RpcError: the request is malformed (INVALID_ARGUMENT).
        """
        try:
            options = json.loads(request or b"{}")
        except ValueError:
            options = None
        if not isinstance(options, dict) or options not in ({}, {"reset": True}, {"reset": False}):
            raise invalid('The request of Stats must be empty or {"reset": true}.')
        response = self.counters.to_json()
        if options.get("reset"):
            self.counters.reset()
        return response

    async def faults(self, request: bytes) -> bytes:
        """Answer the method Faults: return the active rules.

        If the request is not empty, its rules first replace the active rules.

        Raises:
            RpcError: the request does not hold valid rules, or this emulator cannot cause one of
                the faults (INVALID_ARGUMENT).
        """
        if request:
            self.order(Faults.parse(request))
        return self._orders.rules.faults.to_json()
