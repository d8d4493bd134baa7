"""Resolves names, connects and makes TLS handshakes, to find out where the way to a service ends.

All functions block, have a deadline, and return the failure instead of raising it. They run in
threads. Python's own TLS is used instead of gRPC's, because gRPC shows neither the certificate nor
the step that failed.
"""

from __future__ import annotations

import base64
import contextlib
import email.utils
import socket
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from gcsmux_fs.doctor.proxy_rules import HttpProxy

__all__ = [
    "Address",
    "ConnectionAttempt",
    "TlsFacts",
    "connect",
    "resolve",
    "server_date",
    "shake_hands",
]

Address = tuple[int, str, int]
"""Address family, address and port."""

_MAX_HEAD_BYTES = 16 * 1024


def resolve(host: str, port: int) -> list[Address] | str:
    """Return all addresses of `host`, or why it has none."""
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return getattr(error, "strerror", None) or str(error)
    return list(dict.fromkeys((int(family), str(end[0]), port) for family, *_, end in answers))


@dataclass(frozen=True, slots=True)
class ConnectionAttempt:
    """An attempt to connect to one address; `error` is empty if it succeeded."""

    address: Address
    seconds: float
    error: str = ""


def connect(addresses: Sequence[Address], *, timeout: float) -> list[ConnectionAttempt]:
    """Connect once to each address, one after the other, and close the connections."""
    attempts = []
    end = time.monotonic() + timeout
    for address in addresses:
        begin = time.monotonic()
        error = ""
        if begin >= end:
            break
        try:
            with _connected(address, end):
                pass
        except TimeoutError:
            error = "no answer"
        except OSError as failed:
            error = failed.strerror or str(failed)
        attempts.append(ConnectionAttempt(address, time.monotonic() - begin, error))
    return attempts


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """The result of a TLS handshake.

    Attributes:
        error: the error message; empty if the handshake succeeded.
        verify_code: OpenSSL's code of the reason why the certificate was refused; 0 for none.
        reason: OpenSSL's name of the error, such as `WRONG_VERSION_NUMBER`; may be empty.
        version: such as `TLSv1.3`; empty after an error.
        protocol: the application protocol that the server chose; `h2` is what gRPC needs.
        certificate: the certificate of the server, in DER; None if the server sent none.
    """

    error: str = ""
    verify_code: int = 0
    reason: str = ""
    version: str = ""
    protocol: str = ""
    certificate: bytes | None = None


def shake_hands(
    address: Address, host: str, roots: Path, proxy: HttpProxy | None, *, timeout: float
) -> TlsFacts:
    """Make a TLS handshake as gRPC does, with the root certificates in `roots`.

    If the certificate is refused, a second handshake without verification fetches the certificate.
    """
    end = time.monotonic() + timeout
    try:
        context = ssl.create_default_context(cafile=str(roots))
        with _tls(context, address, host, proxy, end, "h2") as channel:
            return TlsFacts(
                version=channel.version() or "",
                protocol=channel.selected_alpn_protocol() or "",
                certificate=channel.getpeercert(binary_form=True),
            )
    except ssl.SSLCertVerificationError as error:
        return TlsFacts(
            error.verify_message,
            error.verify_code,
            certificate=_unverified_certificate(address, host, proxy, end),
        )
    except ssl.SSLError as error:
        return TlsFacts(str(error), reason=error.reason or "")
    except TimeoutError:
        return TlsFacts("no answer to the TLS handshake")
    except OSError as error:
        return TlsFacts(error.strerror or str(error))


def server_date(
    address: Address, host: str, roots: Path, proxy: HttpProxy | None, *, timeout: float
) -> tuple[datetime, float] | None:
    """Return the time that the server sends in an HTTP header, and the local time in seconds.

    Returns:
        None if the server sends no time. A server that speaks only HTTP/2 sends none.
    """
    end = time.monotonic() + timeout
    request = f"HEAD / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    try:
        context = ssl.create_default_context(cafile=str(roots))
        with _tls(context, address, host, proxy, end, "http/1.1") as channel:
            begin = time.time()
            channel.sendall(request.encode())
            head = _head(channel)
            middle = (begin + time.time()) / 2
    except (OSError, ValueError):
        return None
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"date":
            try:
                return email.utils.parsedate_to_datetime(value.decode().strip()), middle
            except ValueError:
                return None
    return None


@contextlib.contextmanager
def _connected(address: Address, end: float) -> Iterator[socket.socket]:
    family, host, port = address
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(max(0.001, end - time.monotonic()))
        connection.connect((host, port))
        yield connection


@contextlib.contextmanager
def _tls(
    context: ssl.SSLContext,
    address: Address,
    host: str,
    proxy: HttpProxy | None,
    end: float,
    protocol: str,
) -> Iterator[ssl.SSLSocket]:
    context.set_alpn_protocols([protocol])
    with _connected(address, end) as connection:
        if proxy is not None:
            _open_tunnel(connection, host, proxy)
        name = host.rpartition(":")[0].strip("[]")
        with context.wrap_socket(connection, server_hostname=name) as channel:
            yield channel


def _open_tunnel(connection: socket.socket, host: str, proxy: HttpProxy) -> None:
    """Ask the proxy to connect to `host`, which includes the port.

    Raises:
        ConnectionError: the proxy refuses.
    """
    lines = [f"CONNECT {host} HTTP/1.1", f"Host: {host}"]
    if proxy.user_info:
        encoded = base64.b64encode(proxy.user_info.encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {encoded}")
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    status = _head(connection).partition(b"\r\n")[0].decode("latin-1")
    if status.split(" ")[1:2] != ["200"]:
        raise ConnectionError(f"the proxy answers {status!r}")


def _head(connection: socket.socket) -> bytes:
    """Receive the head of an HTTP answer."""
    received = b""
    while b"\r\n\r\n" not in received and len(received) < _MAX_HEAD_BYTES:
        data = connection.recv(4096)
        if not data:
            break
        received += data
    return received


def _unverified_certificate(
    address: Address, host: str, proxy: HttpProxy | None, end: float
) -> bytes | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with _tls(context, address, host, proxy, end, "h2") as channel:
            return channel.getpeercert(binary_form=True)
    except OSError:
        return None
