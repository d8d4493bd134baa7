"""A gRPC server that answers every call with the same bytes, which need not be a valid message."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["hostile_server", "message_frame"]

# Constants of HTTP/2, from RFC 9113.
_PREFACE_BYTES = 24
_HEADER_BYTES = 9
_DATA, _HEADERS, _SETTINGS, _PING = 0, 1, 4, 6
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_MAX_FRAME_BYTES = 16384
# The flow control window of a new connection: the server may send this many bytes before the
# client sends a window update.
_WINDOW_BYTES = 65535


def message_frame(content: bytes, *, claimed: int | None = None, compressed: bool = False) -> bytes:
    """Return a gRPC frame with `content` and the length `claimed` (None: the true length)."""
    return struct.pack(">BI", compressed, len(content) if claimed is None else claimed) + content


@contextmanager
def hostile_server(answer: bytes, *, encoding: str = "identity") -> Iterator[str]:
    """Run a server that answers every call with `answer`; yield the HOST:PORT of the server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=_accept, args=(listener, answer, encoding))
        accepting.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()


def _accept(listener: socket.socket, answer: bytes, encoding: str) -> None:
    serving: list[threading.Thread] = []
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            serving.append(threading.Thread(target=_serve, args=(client, answer, encoding)))
            serving[-1].start()
    for thread in serving:
        thread.join()


def _serve(client: socket.socket, answer: bytes, encoding: str) -> None:
    assert len(answer) <= _WINDOW_BYTES
    with client, suppress(OSError, EOFError):
        client.settimeout(20)
        _receive(client, _PREFACE_BYTES)
        client.sendall(_frame(_SETTINGS, 0, 0, b""))
        while True:
            head = _receive(client, _HEADER_BYTES)
            size, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
            stream = int.from_bytes(head[5:], "big")
            payload = _receive(client, size)
            if kind == _SETTINGS and not flags & _ACK:
                client.sendall(_frame(_SETTINGS, _ACK, 0, b""))
            elif kind == _PING and not flags & _ACK:
                client.sendall(_frame(_PING, _ACK, 0, payload))
            elif kind == _HEADERS:
                client.sendall(_answer(stream, answer, encoding))


def _answer(stream: int, answer: bytes, encoding: str) -> bytes:
    headers = _block((":status", "200"), ("content-type", "application/grpc"))
    headers += _block(("grpc-encoding", encoding))
    parts = [answer[at : at + _MAX_FRAME_BYTES] for at in range(0, len(answer), _MAX_FRAME_BYTES)]
    frames = [_frame(_DATA, 0, stream, part) for part in parts]
    trailer = _frame(_HEADERS, _END_HEADERS | _END_STREAM, stream, _block(("grpc-status", "0")))
    return _frame(_HEADERS, _END_HEADERS, stream, headers) + b"".join(frames) + trailer


def _block(*fields: tuple[str, str]) -> bytes:
    """Encode HTTP/2 header fields without compression (RFC 7541, section 6.2.2)."""
    return b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields
    )


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    size = len(payload).to_bytes(3, "big")
    return size + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _receive(client: socket.socket, size: int) -> bytes:
    parts: Sequence[bytes] = ()
    missing = size
    while missing:
        part = client.recv(missing)
        if not part:
            raise EOFError
        parts = (*parts, part)
        missing -= len(part)
    return b"".join(parts)
