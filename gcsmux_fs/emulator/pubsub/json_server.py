"""The HTTP server of the JSON API. Threads receive requests, and the event loop answers them."""

from __future__ import annotations

import asyncio
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.emulator.pubsub.json_api import JsonAnswer

    _Answer = Callable[[str, str, bytes, str], JsonAnswer]

__all__ = ["JsonServer"]

# Maximum time, in seconds, that a request may wait for the event loop.
_ANSWER_SECONDS = 20.0
# How often, in seconds, the server looks whether it has been stopped.
_POLL_SECONDS = 0.05
_MAX_BODY_BYTES = 1024 * 1024


class JsonServer:
    """Serves `answer` at an address. `answer` runs in the event loop that starts the server.

    Raises:
        OSError: the address cannot be used.
    """

    def __init__(self, host: str, port: int, answer: _Answer) -> None:
        loop = asyncio.get_running_loop()

        async def answered(method: str, path: str, body: bytes, token: str) -> JsonAnswer:
            return answer(method, path, body, token)

        class Requests(BaseHTTPRequestHandler):
            # A thread ends with its request, so that stopping need not wait for idle connections.
            protocol_version = "HTTP/1.0"

            def do_any(self) -> None:
                length = min(int(self.headers.get("Content-Length") or 0), _MAX_BODY_BYTES)
                body = self.rfile.read(length)
                authorization = self.headers.get("Authorization") or ""
                given = asyncio.run_coroutine_threadsafe(
                    answered(self.command, urlsplit(self.path).path, body, authorization), loop
                ).result(_ANSWER_SECONDS)
                self.send_response(given.status)
                self.send_header("Content-Type", "application/json; charset=UTF-8")
                self.send_header("Content-Length", str(len(given.body)))
                self.end_headers()
                self.wfile.write(given.body)

            do_GET = do_POST = do_DELETE = do_any  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Log nothing: the emulator logs only warnings and errors."""

        self._server = ThreadingHTTPServer((host, port), Requests)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="json-api"
        )
        self._thread.start()

    async def stop(self) -> None:
        """Stop the server, and wait for its threads."""
        await asyncio.to_thread(self._server.shutdown)
        await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self._server.server_close)
