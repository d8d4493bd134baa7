"""The control service: reads the counters of a running emulator and orders faults.

Two unary gRPC methods, with JSON as plain bytes instead of protobuf messages. Neither is counted,
delayed or subject to faults.

- `/gcsmux.emulator.Control/Stats` returns the counters (see `CallCounters`). With the request
  `{"reset": true}` it resets them afterwards. The request may be empty.
- `/gcsmux.emulator.Control/Faults` replaces the faults in force by those of the request (see
  `gcsmux_fs.emulator.injection.rules`) and returns the faults now in force. `{}` removes all
  faults. An empty request changes nothing.
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
    """The control service. Code in the same process may use `counters` and `order` directly."""

    def __init__(self, counters: CallCounters, orders: FaultOrders) -> None:
        self.counters = counters
        self._orders = orders

    def order(self, faults: Faults) -> None:
        """Replace the faults in force.

        Raises:
            RpcError: this emulator cannot make these faults happen (INVALID_ARGUMENT).
        """
        self._orders.order(faults)

    async def stats(self, request: bytes) -> bytes:
        """Answer Stats.

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
        """Answer Faults.

        Raises:
            RpcError: the request is no valid order (INVALID_ARGUMENT).
        """
        if request:
            self.order(Faults.parse(request))
        return self._orders.rules.faults.to_json()
