"""A small HTTP server in threads of its own, for monitoring systems.

One thread accepts connections, and each connection has a thread. So a request is answered while the
event loops are busy or blocked. A thread waits only for its own client.

Invariants:
1. A connection ends within `CONNECTION_SECONDS`, however slowly its client sends or reads.
2. At most `MAX_CONNECTIONS` connections are open. A further connection ends the oldest one, so
   that clients which open many connections and send nothing do not lock out others.
3. An error in a page or a connection ends this connection only.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import threading
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

from gcsmux_fs.exporters.http_messages import (
    MAX_HEAD_BYTES,
    HttpRequest,
    HttpResponse,
    encode_response,
    is_complete,
    parse_head,
)
from gcsmux_fs.model.errors import ConfigError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gcsmux_fs.settings.listen_address import ListenAddress

__all__ = ["CONNECTION_SECONDS", "MAX_CONNECTIONS", "MetricsServer", "respond"]

log = logging.getLogger(__name__)

CONNECTION_SECONDS = 10.0
"""Longest duration of a connection in seconds. Prometheus also ends a scrape after 10 s."""

MAX_CONNECTIONS = 32
"""Largest number of connections at the same time. A monitoring system uses one or two."""

# Number of connections that the kernel keeps while the thread that accepts is busy.
_BACKLOG = 64

_METHODS = ("GET", "HEAD")

# Errors that end by themselves when a machine boots: a network interface does not have its address
# yet, or the name server does not answer yet. A port in use is an error of the settings, because
# usually another mount has the same --metrics-listen.
_TRANSIENT_ERRNOS = frozenset({errno.EADDRNOTAVAIL, socket.EAI_AGAIN})

# Pause in seconds after an error of accept(), such as too many open files, which may last.
_ERROR_PAUSE_SECONDS = 1.0


class MetricsServer:
    """Serves `pages`, functions by path, at `address`.

    Raises:
        TransientError: the address cannot be used now.
        ConfigError: the address cannot be used.
    """

    def __init__(
        self, address: ListenAddress, pages: Mapping[str, Callable[[HttpRequest], HttpResponse]]
    ) -> None:
        self._pages = pages
        self._listener = _listen(address)
        self._lock = threading.Lock()
        # The open connections. The first is the oldest.
        self._connections: dict[socket.socket, None] = {}
        self._closed = False
        self._thread = threading.Thread(target=self._accept, name="metrics", daemon=True)

    @property
    def address(self) -> str:
        """The address with the port that the kernel has chosen, such as `127.0.0.1:9105`."""
        host, port = self._listener.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def start(self) -> None:
        """Start to answer requests."""
        self._thread.start()

    def close(self) -> None:
        """Stop to answer requests, and end all connections."""
        self._closed = True
        with contextlib.suppress(OSError):
            # This wakes the thread that waits in accept().
            self._listener.shutdown(socket.SHUT_RDWR)
        with self._lock:
            for connection in self._connections:
                _shut_down(connection)
        if self._thread.is_alive():
            self._thread.join(_ERROR_PAUSE_SECONDS)
        self._listener.close()

    def _accept(self) -> None:
        has_failed = False
        while not self._closed:
            try:
                connection, _ = self._listener.accept()
            except OSError as error:
                if self._closed:
                    return
                if not has_failed:
                    has_failed = True
                    log.warning("metrics: no connection can be accepted: %s", error.strerror)
                time.sleep(_ERROR_PAUSE_SECONDS)
                continue
            with self._lock:
                self._connections[connection] = None
                if len(self._connections) > MAX_CONNECTIONS:
                    oldest = next(iter(self._connections))
                    del self._connections[oldest]
                    _shut_down(oldest)
            try:
                threading.Thread(
                    target=self._serve, args=(connection,), name="metrics-request", daemon=True
                ).start()
            except RuntimeError:  # the limit of threads is reached
                self._end(connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            deadline = time.monotonic() + CONNECTION_SECONDS
            head = _read_head(connection, deadline)
            if head:
                request = parse_head(head) if is_complete(head) else None
                response = respond(self._pages, request)
                with_body = request is None or request.method != "HEAD"
                connection.settimeout(max(0.1, deadline - time.monotonic()))
                connection.sendall(encode_response(response, with_body=with_body))
        except OSError:
            pass  # The client has gone, or is too slow.
        except Exception:
            log.exception("metrics: a request could not be answered")
        finally:
            self._end(connection)

    def _end(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.pop(connection, None)
        connection.close()


def respond(
    pages: Mapping[str, Callable[[HttpRequest], HttpResponse]], request: HttpRequest | None
) -> HttpResponse:
    """Return the response to a request; None stands for a malformed request."""
    if request is None:
        return HttpResponse(HTTPStatus.BAD_REQUEST, b"the request is malformed\n")
    page = pages.get(request.path)
    if page is None:
        paths = ", ".join(pages)
        return HttpResponse(HTTPStatus.NOT_FOUND, f"no such page; there are {paths}\n".encode())
    if request.method not in _METHODS:
        allow = ", ".join(_METHODS)
        return HttpResponse(HTTPStatus.METHOD_NOT_ALLOWED, f"use {allow}\n".encode(), allow=allow)
    return page(request)


def _read_head(connection: socket.socket, deadline: float) -> bytes:
    """Return the head of a request, or the bytes that came before the client's end or the limit.

    Raises:
        TimeoutError: the head was not complete at the deadline.
    """
    head = b""
    while not is_complete(head) and len(head) < MAX_HEAD_BYTES:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        connection.settimeout(remaining)
        data = connection.recv(MAX_HEAD_BYTES - len(head))
        if not data:
            break
        head += data
    return head


def _listen(address: ListenAddress) -> socket.socket:
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, target = found[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(target)
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        kind = TransientError if error.errno in _TRANSIENT_ERRNOS else ConfigError
        raise kind(
            f"--metrics-listen {address} cannot be used: {error.strerror or error}: choose another"
            " address or port, or end the program that uses it."
        ) from None
    return listener


def _shut_down(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
