"""Tests of the calls of the JSON API, against a server of HTTP that gives chosen answers."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from gcsmux_fs.model.errors import (
    InvalidRequest,
    NotFound,
    PermissionDenied,
    StorageError,
    Unauthenticated,
    Unavailable,
)
from gcsmux_fs.storage.notification_configs import BucketNotifications, NotificationConfig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOPIC = "projects/p/topics/t"


@dataclass
class JsonServer:
    """Gives one answer to every request, and keeps what was asked."""

    address: str = ""
    status: int = 200
    answer: bytes = b"{}"
    requests: list[tuple[str, str | None, bytes]] = field(default_factory=list)

    def new_handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                size = int(self.headers.get("content-length") or 0)
                line, token = f"{self.command} {self.path}", self.headers.get("authorization")
                server.requests.append((line, token, self.rfile.read(size)))
                self.send_response(server.status)
                self.send_header("content-length", str(len(server.answer)))
                self.end_headers()
                self.wfile.write(server.answer)

            do_GET = do_POST = do_DELETE = answer  # noqa: N815

            def log_message(self, *_: Any) -> None:
                """Print nothing."""

        return Handler


@pytest.fixture
def server() -> Iterator[JsonServer]:
    answers = JsonServer()
    with HTTPServer(("127.0.0.1", 0), answers.new_handler()) as listener:
        answers.address = f"http://127.0.0.1:{listener.server_port}"
        thread = threading.Thread(target=listener.serve_forever, args=(0.01,))
        thread.start()
        yield answers
        listener.shutdown()
        thread.join()


@pytest.fixture
def calls(server: JsonServer) -> Iterator[BucketNotifications]:
    notifications = BucketNotifications(server.address, (("authorization", "Bearer token"),))
    yield notifications
    notifications.close()


def test_a_configuration_is_sent_and_read_with_all_fields(
    server: JsonServer, calls: BucketNotifications
) -> None:
    config = NotificationConfig(TOPIC, prefix="ä/", attributes={"key": "value"})
    server.answer = b'{"id": "7"}'
    assert calls.create("bucket", config).config_id == "7"
    ((line, _, body),) = server.requests
    assert line == "POST /storage/v1/b/bucket/notificationConfigs"
    server.answer = b'{"items": [' + body + b"]}"
    assert calls.configurations("bucket") == (config,)
    server.answer = b"{}"
    assert calls.configurations("bucket") == ()
    server.status, server.answer = 204, b""
    calls.delete("bucket", "7")
    assert server.requests[-1][0] == "DELETE /storage/v1/b/bucket/notificationConfigs/7"


def test_the_token_is_sent_although_netrc_has_a_password(
    server: JsonServer,
    calls: BucketNotifications,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server.answer = b'{"projectNumber": "5"}'
    assert calls.project_number("bucket") == "5"
    assert server.requests[0][1] == "Bearer token"


@pytest.mark.parametrize(
    ("status", "answer", "kind", "message"),
    [
        (400, b'{"error": {"message": "no topic."}}', InvalidRequest, "no topic"),
        (401, b"{}", Unauthenticated, "HTTP status 401"),
        (403, b'{"error": {"message": "denied"}}', PermissionDenied, "denied"),
        (404, b"<html>", NotFound, "HTTP status 404"),
        (503, b"[]", Unavailable, "HTTP status 503"),
        (418, b'{"error": 1}', StorageError, "HTTP status 418"),
    ],
)
def test_a_refusal_is_the_error_of_its_status(
    server: JsonServer,
    calls: BucketNotifications,
    status: int,
    answer: bytes,
    kind: type[StorageError],
    message: str,
) -> None:
    server.status, server.answer = status, answer
    with pytest.raises(kind) as caught:
        calls.configurations("bucket")
    assert caught.value.message == message
    assert caught.value.subject == "gs://bucket"


def test_a_server_that_is_not_there_is_named_in_one_sentence() -> None:
    calls = BucketNotifications("http://127.0.0.1:1", ())
    with pytest.raises(Unavailable, match=r"cannot be reached \(no connection\)"):
        calls.configurations("bucket")
