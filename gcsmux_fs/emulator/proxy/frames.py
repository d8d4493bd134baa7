"""HTTP/2 frames as far as the relay needs them: where they end, and the two that it injects.

Sans-IO. Layout: RFC 9113, sections 4.1 (frame header), 6.4 (RST_STREAM) and 6.8 (GOAWAY).
"""

from __future__ import annotations

__all__ = ["CLIENT_PREFACE_BYTES", "FrameScanner", "goaway", "rst_stream"]

# "PRI * HTTP/2.0..." comes before a client's first frame; a server's begins at once.
CLIENT_PREFACE_BYTES = 24
_HEADER_BYTES = 9
_DATA, _HEADERS, _RST_STREAM, _PUSH_PROMISE, _GOAWAY, _CONTINUATION = 0, 1, 3, 5, 7, 9
_END_HEADERS = 0x4
_MASK_31 = 2**31 - 1
_MASK_32 = 2**32 - 1


class FrameScanner:
    """Follows one direction of a connection from its first byte on.

    `at_boundary` says whether a frame may be put in here: not within another one, and not between
    the parts of a block of headers.
    """

    def __init__(self, preface_bytes: int = 0) -> None:
        self.at_boundary = preface_bytes == 0
        # The stream of the latest DATA frame; 0 before the first.
        self.data_stream = 0
        self._header = bytearray()
        self._rest = preface_bytes
        self._in_block = False

    def feed(self, data: bytes) -> int | None:
        """Take the next bytes in; return behind how many of them the first boundary is."""
        first: int | None = None
        position = 0
        while position < len(data):
            if self._rest:
                step = min(self._rest, len(data) - position)
                self._rest -= step
            else:
                step = min(_HEADER_BYTES - len(self._header), len(data) - position)
                self._header += data[position : position + step]
                if len(self._header) == _HEADER_BYTES:
                    self._begin_frame()
            position += step
            self.at_boundary = not (self._rest or self._header or self._in_block)
            if self.at_boundary and first is None:
                first = position
        return first

    def _begin_frame(self) -> None:
        header = bytes(self._header)
        self._header.clear()
        self._rest = int.from_bytes(header[:3], "big")
        kind, flags = header[3], header[4]
        if kind == _DATA:
            self.data_stream = int.from_bytes(header[5:], "big") & _MASK_31
        if kind in (_HEADERS, _PUSH_PROMISE, _CONTINUATION):
            self._in_block = not flags & _END_HEADERS


def goaway(last_stream_id: int, error_code: int, debug: bytes) -> bytes:
    """Return a GOAWAY frame."""
    numbers = _number(last_stream_id & _MASK_31) + _number(error_code)
    return _frame(_GOAWAY, 0, numbers + debug)


def rst_stream(stream_id: int, error_code: int) -> bytes:
    """Return a RST_STREAM frame."""
    return _frame(_RST_STREAM, stream_id, _number(error_code))


def _frame(kind: int, stream_id: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, 0)) + _number(stream_id) + payload


def _number(value: int) -> bytes:
    return (value & _MASK_32).to_bytes(4, "big")
