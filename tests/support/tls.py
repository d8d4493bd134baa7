"""A TLS proxy in front of an emulator, and a server that issues access tokens."""

from __future__ import annotations

import datetime as dt
import http.server
import ipaddress
import json
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

__all__ = [
    "Certificate",
    "Service",
    "TokenServer",
    "access_token",
    "certificate",
    "key_file",
    "tls_relay",
    "token_server",
]

_RECEIVE_BYTES = 1 << 16


@dataclass(frozen=True)
class Certificate:
    """The files of a self-signed certificate and of its private key."""

    path: Path
    key_path: Path


@dataclass(frozen=True)
class Service:
    """An emulator that a mount reaches through a TLS proxy."""

    endpoint: str
    certificate: Certificate

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that make a mount trust the certificate."""
        return {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(self.certificate.path)}


def certificate(
    folder: Path,
    *,
    name: str = "certificate",
    host: str = "127.0.0.1",
    valid_hours: tuple[int, int] = (-1, 1),
) -> Certificate:
    """Make a self-signed certificate for the IP address `host`.

    `valid_hours` has the start and the end of the validity, relative to now.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gcsmux test")])
    now = dt.datetime.now(tz=dt.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now + dt.timedelta(hours=valid_hours[0]))
        .not_valid_after(now + dt.timedelta(hours=valid_hours[1]))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = Certificate(folder / f"{name}.pem", folder / f"{name}.key")
    files.path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    files.key_path.write_bytes(_pem(key))
    return files


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


@contextmanager
def tls_relay(port: int, of: Certificate) -> Iterator[str]:
    """Accept TLS connections, and forward their bytes to a plaintext port; yield host:port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(of.path, of.key_path)
    context.set_alpn_protocols(["h2"])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=_accept, args=(listener, context, port))
        accepting.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()


def _accept(listener: socket.socket, context: ssl.SSLContext, port: int) -> None:
    served: list[threading.Thread] = []
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            break
        served.append(threading.Thread(target=_serve, args=(client, context, port)))
        served[-1].start()
    for thread in served:
        thread.join()


def _serve(raw: socket.socket, context: ssl.SSLContext, port: int) -> None:
    """Forward bytes in both directions until one side closes its connection.

    One thread forwards both directions, because only one thread may use a TLS socket of Python.
    """
    with raw, suppress(OSError, ssl.SSLError):
        raw.settimeout(10)
        with (
            context.wrap_socket(raw, server_side=True) as client,
            socket.create_connection(("127.0.0.1", port)) as server,
        ):
            client.settimeout(0.01)
            server.settimeout(0.01)
            while _carry(client, server) and _carry(server, client):
                pass


def _carry(source: socket.socket, target: socket.socket) -> bool:
    try:
        data = source.recv(_RECEIVE_BYTES)
    except (TimeoutError, ssl.SSLWantReadError):
        return True
    target.settimeout(10)
    target.sendall(data)
    target.settimeout(0.01)
    return bool(data)


@dataclass
class TokenServer:
    """A server that issues access tokens.

    `asked` holds the bodies of the requests so far. If `refusing` is true, the server refuses all
    requests. The next `outages` requests get no answer: the server closes their connections.
    """

    address: str = ""
    refusing: bool = False
    outages: int = 0
    asked: list[str] = field(default_factory=list)


def access_token(token: str) -> dict[str, object]:
    """Return the answer with which a token server issues `token` for an hour."""
    return {"access_token": token, "expires_in": 3600, "token_type": "Bearer"}


@contextmanager
def token_server(answer: Callable[[int], Mapping[str, object]]) -> Iterator[TokenServer]:
    """Run a token server; `answer` maps the number of a request (1, 2, ...) to the answer."""
    tokens = TokenServer()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers["Content-Length"])
            tokens.asked.append(self.rfile.read(size).decode())
            if tokens.outages:
                tokens.outages -= 1
                self.close_connection = True
                return
            reply = {"error": "invalid_grant"} if tokens.refusing else answer(len(tokens.asked))
            body = json.dumps(reply).encode()
            self.send_response(400 if "error" in reply else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        tokens.address = f"http://127.0.0.1:{server.server_port}/token"
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield tokens
        finally:
            server.shutdown()
            serving.join()


def key_file(path: Path, token_uri: str) -> list[str]:
    """Write a service account's key file; return the lines of the private key as secrets."""
    private = _pem(rsa.generate_private_key(65537, 2048)).decode()
    content = {
        "type": "service_account",
        "project_id": "test",
        "private_key_id": "0123456789abcdef",
        "private_key": private,
        "client_email": "reader@test.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": token_uri,
    }
    path.write_text(json.dumps(content))
    path.chmod(0o600)
    return [line for line in private.splitlines() if not line.startswith("-")]
