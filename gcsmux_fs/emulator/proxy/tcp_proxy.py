"""The TCP proxy in front of the emulator. The proxy causes the faults of connections.

The proxy listens on its own port and forwards all bytes to the emulator. Clients can also connect
to the emulator's port directly, even while the proxy's port is closed. New rules end the faults of
the old rules: stalled connections resume, and the proxy's port opens again.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.faults import PortGone
from gcsmux_fs.emulator.proxy.proxied_connection import ProxiedConnection

if TYPE_CHECKING:
    from gcsmux_fs.emulator.injection.fault_orders import FaultOrders

__all__ = ["TcpProxy", "open_listener"]

log = logging.getLogger(__name__)


def open_listener(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        OSError: the socket cannot listen on this address.
    """
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = addresses[0]
    return socket.create_server(address[:2], family=family)


class TcpProxy:
    """Forwards the connections of a listening socket to `target_port` of the same host."""

    def __init__(self, orders: FaultOrders, host: str, target_port: int) -> None:
        self.port = 0
        self._orders = orders
        self._host = host
        self._target_port = target_port
        self._listener: socket.socket | None = None
        self._connections: dict[ProxiedConnection, asyncio.Task[None]] = {}
        # The timer that ends a PortGone fault.
        self._reopen_timer: asyncio.TimerHandle | None = None

    def start(self, listener: socket.socket) -> None:
        """From now on, accept connections on `listener`."""
        self.port = listener.getsockname()[1]
        self._listen(listener)
        self._orders.listeners.add(self._apply_order)
        self._apply_order()

    async def stop(self) -> None:
        """Close the port and end all connections."""
        self._orders.listeners.discard(self._apply_order)
        self._close_port()
        if self._reopen_timer is not None:
            self._reopen_timer.cancel()
        tasks = list(self._connections.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def hide_port(self, seconds: float) -> None:
        """Reset all connections, and refuse new connections for `seconds`."""
        self._close_port()
        for connection in tuple(self._connections):
            connection.reset()
        if self._reopen_timer is not None:
            self._reopen_timer.cancel()
        self._reopen_timer = asyncio.get_running_loop().call_later(seconds, self._reopen_port)

    def _apply_order(self) -> None:
        """End the faults of the old rules, and cause the faults at the injection point `now`."""
        self._reopen_port()
        for connection in tuple(self._connections):
            connection.resume()
        for fault in self._orders.rules.now():
            if isinstance(fault, PortGone):
                self.hide_port(fault.seconds)
                continue
            for connection in tuple(self._connections):
                connection.act(fault)

    def _listen(self, listener: socket.socket) -> None:
        listener.setblocking(False)
        self._listener = listener
        asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _close_port(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _reopen_port(self) -> None:
        """Listen again, if the port is closed."""
        if self._reopen_timer is not None:
            self._reopen_timer.cancel()
            self._reopen_timer = None
        if self._listener is None:
            try:
                self._listen(open_listener(self._host, self.port))
            except OSError as error:
                log.error(
                    "The TCP proxy cannot listen on port %d again, so this port stays closed: %s",
                    self.port,
                    error,
                )

    def _accept(self, listener: socket.socket) -> None:
        try:
            accepted, _ = listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        self._orders.poll_file()
        server = (self._host, self._target_port)
        connection = ProxiedConnection(self._orders, server, self.hide_port)
        task = asyncio.get_running_loop().create_task(connection.run(accepted))
        self._connections[connection] = task
        task.add_done_callback(lambda _: self._connections.pop(connection))
