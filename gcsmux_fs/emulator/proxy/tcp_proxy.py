"""A TCP relay in front of the emulator's port: where the faults below gRPC happen.

It has a port of its own and passes everything on, so that the port behind it stays without a
detour, and in reach when this one is gone. New orders are the end of those before: connections
that stand still go on, and a port that was gone is there again.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.faults.catalogue import PortGone
from gcsmux_fs.emulator.proxy.proxied_connection import ProxiedConnection

if TYPE_CHECKING:
    from gcsmux_fs.emulator.control import Control

__all__ = ["TcpProxy", "open_listener"]

log = logging.getLogger(__name__)


def open_listener(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        OSError: the address cannot be listened on.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = found[0]
    return socket.create_server(address[:2], family=family)


class TcpProxy:
    """Relays connections made to `listener` to a port of the same host."""

    def __init__(self, control: Control, host: str, target_port: int) -> None:
        self.control = control
        self.host = host
        self.target_port = target_port
        self.port = 0
        self._listener: socket.socket | None = None
        self._connections: dict[ProxiedConnection, asyncio.Task[None]] = {}
        self._return: asyncio.TimerHandle | None = None

    def start(self, listener: socket.socket) -> None:
        """TcpProxy from now on."""
        self.port = listener.getsockname()[1]
        self._listen(listener)
        self.control.listeners.add(self._ordered)
        self._ordered()

    async def stop(self) -> None:
        """End all connections and listen no more."""
        self.control.listeners.discard(self._ordered)
        self._hide()
        if self._return is not None:
            self._return.cancel()
        tasks = list(self._connections.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def hide(self, seconds: float) -> None:
        """Reset all connections, and refuse new ones for so long."""
        self._hide()
        for connection in tuple(self._connections):
            connection.reset()
        if self._return is not None:
            self._return.cancel()
        self._return = asyncio.get_running_loop().call_later(seconds, self._show)

    def _ordered(self) -> None:
        self._show()
        for connection in tuple(self._connections):
            connection.resume()
        for fault in self.control.book.now():
            if isinstance(fault, PortGone):
                self.hide(fault.seconds)
                continue
            for connection in tuple(self._connections):
                connection.act(fault)

    def _listen(self, listener: socket.socket) -> None:
        listener.setblocking(False)
        self._listener = listener
        asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _hide(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _show(self) -> None:
        if self._return is not None:
            self._return.cancel()
            self._return = None
        if self._listener is None:
            try:
                self._listen(open_listener(self.host, self.port))
            except OSError as error:
                log.error("Cannot listen on port %d again: %s", self.port, error)

    def _accept(self, listener: socket.socket) -> None:
        try:
            accepted, _ = listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        self.control.look()
        connection = ProxiedConnection(self)
        task = asyncio.get_running_loop().create_task(connection.run(accepted))
        self._connections[connection] = task
        task.add_done_callback(lambda _: self._connections.pop(connection))
