"""Tests of the HTTP server: its pages, and clients that are slow, many or broken."""

from __future__ import annotations

import contextlib
import socket
import threading
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.exporters import metrics_server
from gcsmux_fs.exporters.http_messages import HttpRequest, HttpResponse
from gcsmux_fs.exporters.metrics_server import MAX_CONNECTIONS, MetricsServer
from gcsmux_fs.model.errors import ConfigError, TransientError
from gcsmux_fs.settings.listen_address import ListenAddress

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECONDS = 20


def hello(request: HttpRequest) -> HttpResponse:
    return HttpResponse(HTTPStatus.OK, f"accept={request.accept}".encode())


def broken(_request: HttpRequest) -> HttpResponse:
    raise ZeroDivisionError


@contextmanager
def serving(host: str = "127.0.0.1") -> Iterator[int]:
    """Serve the pages /hello and /broken; yield the port."""
    server = MetricsServer(ListenAddress(host, 0), {"/hello": hello, "/broken": broken})
    server.start()
    try:
        yield int(server.address.rpartition(":")[2])
    finally:
        server.close()


def connected(port: int, host: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection((host, port), timeout=_SECONDS)


def answer(connection: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(65536):
            parts.append(data)
    return b"".join(parts)


def exchange(port: int, request: bytes, host: str = "127.0.0.1") -> bytes:
    with connected(port, host) as connection:
        connection.sendall(request)
        return answer(connection)


def test_pages_are_served() -> None:
    with serving() as port:
        full = exchange(port, b"GET /hello HTTP/1.1\r\nAccept: text/plain\r\n\r\n")
        assert full.startswith(b"HTTP/1.1 200 OK\r\n")
        assert full.endswith(b"\r\n\r\naccept=text/plain")
        head = exchange(port, b"HEAD /hello HTTP/1.1\r\nAccept: text/plain\r\n\r\n")
        assert full == head + b"accept=text/plain"
        assert exchange(port, b"GET /other HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 404 ")
        refused = exchange(port, b"POST /hello HTTP/1.1\r\n\r\n")
        assert refused.startswith(b"HTTP/1.1 405 ")
        assert b"\r\nAllow: GET, HEAD\r\n" in refused
        assert exchange(port, b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")
        assert b" 200 " not in exchange(port, b"GET /hello HTTP/1.1\r\nX: " + b"x" * 100_000)


def test_an_ipv6_address_is_served() -> None:
    with serving("::1") as port:
        assert b" 200 OK" in exchange(port, b"GET /hello HTTP/1.0\r\n\r\n", "::1")


@pytest.mark.expects_log("a request could not be answered")
def test_a_broken_page_ends_only_its_own_connection() -> None:
    with serving() as port:
        assert exchange(port, b"GET /broken HTTP/1.1\r\n\r\n") == b""
        assert b" 200 OK" in exchange(port, b"GET /hello HTTP/1.1\r\n\r\n")


def test_slow_clients_do_not_delay_others_and_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "CONNECTION_SECONDS", 0.3)
    with serving() as port, connected(port) as slow:
        slow.sendall(b"GET /hel")
        assert b" 200 OK" in exchange(port, b"GET /hello HTTP/1.1\r\n\r\n")
        assert answer(slow) == b""


def test_idle_connections_do_not_lock_out_others() -> None:
    with serving() as port, ExitStack() as stack:
        idle = [stack.enter_context(connected(port)) for _ in range(MAX_CONNECTIONS + 10)]
        assert b" 200 OK" in exchange(port, b"GET /hello HTTP/1.1\r\n\r\n")
        # The oldest connections were ended to make place.
        assert answer(idle[0]) == b""
        idle[-1].sendall(b"GET /hello HTTP/1.1\r\n\r\n")
        assert b" 200 OK" in answer(idle[-1])


def test_a_port_in_use_is_refused_with_one_sentence() -> None:
    with (
        serving() as port,
        pytest.raises(ConfigError, match=r"127.0.0.1:\d+ cannot be used: Addr"),
    ):
        MetricsServer(ListenAddress("127.0.0.1", port), {})


def test_an_address_that_the_machine_gets_later_is_a_transient_error() -> None:
    # 192.0.2.0/24 is for documentation (RFC 5737), so no machine has this address.
    with pytest.raises(TransientError, match=r"192\.0\.2\.1:0 cannot be used"):
        MetricsServer(ListenAddress("192.0.2.1", 0), {})


def test_after_the_close_no_thread_remains() -> None:
    with serving() as port, connected(port):
        pass
    with pytest.raises(ConnectionRefusedError):
        connected(port)
    left = [thread for thread in threading.enumerate() if thread.name.startswith("metrics")]
    for thread in left:
        thread.join(_SECONDS)
        assert not thread.is_alive()
