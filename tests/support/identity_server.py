"""A local server with the HTTP interfaces from which google-auth fetches access tokens."""

from __future__ import annotations

import datetime as dt
import http.server
import json
import ssl
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.tls import Certificate

__all__ = ["MACHINE_EMAIL", "IdentityServer", "identity_server", "private_key"]

MACHINE_EMAIL = "machine@test.iam.gserviceaccount.com"

_METADATA = "/computeMetadata/v1/"
_PEM: dict[bool, str] = {}


def private_key(*, elliptic: bool = False) -> str:
    """Return a private key in PEM format; always the same key, because RSA keys take long."""
    if elliptic not in _PEM:
        key = ec.generate_private_key(ec.SECP256R1()) if elliptic else _rsa()
        _PEM[elliptic] = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()
    return _PEM[elliptic]


def _rsa() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@dataclass
class IdentityServer:
    """Issues the tokens `token-1`, `token-2`, and so on, by all interfaces.

    - OAuth 2.0 and STS: every POST, unless another line applies;
    - the IAM API: POST to a path that ends with `:generateAccessToken`;
    - the metadata server: GET below `/computeMetadata/v1/`;
    - a subject token of a workload: GET of every other path.

    Attributes:
        address: HOST:PORT.
        asked: method, path and body of all requests so far.
        refusals: statuses and answers of the next requests, instead of a token.
        lifetime_seconds: lifetime of the tokens.
    """

    address: str = ""
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    refusals: list[tuple[int, object]] = field(default_factory=list)
    lifetime_seconds: int = 3600
    issued: int = 0

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def answer(self, method: str, path: str, body: str) -> tuple[int, Any]:
        self.asked.append((method, path, body))
        if self.refusals:
            return self.refusals.pop(0)
        if path.startswith(_METADATA):
            return 200, self._metadata(path)
        if method == "GET":
            return 200, "subject-token"
        return 200, self._issued(path)

    def _metadata(self, path: str) -> Any:
        if "/token" in path:
            return self._issued(path)
        if "recursive" in path:
            return {"email": MACHINE_EMAIL, "scopes": ["scope"], "aliases": ["default"]}
        return "test-project"

    def _issued(self, path: str) -> dict[str, Any]:
        self.issued += 1
        token = f"token-{self.issued}"
        if path.endswith(":generateAccessToken"):
            end = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=self.lifetime_seconds)
            return {"accessToken": token, "expireTime": end.strftime("%Y-%m-%dT%H:%M:%SZ")}
        return {
            "access_token": token,
            "expires_in": self.lifetime_seconds,
            "token_type": "Bearer",
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        }


@contextmanager
def identity_server(tls: Certificate | None = None) -> Iterator[IdentityServer]:
    """Run an identity server, with TLS if there is a certificate."""
    server = IdentityServer()

    class Handler(http.server.BaseHTTPRequestHandler):
        def _handle(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(size).decode()
            status, answer = server.answer(self.command, self.path, body)
            is_text = isinstance(answer, str)
            data = (answer if is_text else json.dumps(answer)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain" if is_text else "application/json")
            self.send_header("Metadata-Flavor", "Google")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            self._handle()

        def do_POST(self) -> None:
            self._handle()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        server.address = f"127.0.0.1:{listener.server_port}"
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.path, tls.key_path)
            listener.socket = context.wrap_socket(listener.socket, server_side=True)
        serving = threading.Thread(target=listener.serve_forever)
        serving.start()
        try:
            yield server
        finally:
            listener.shutdown()
            serving.join()
