"""Finds the boundaries of HTTP/2 frames in a byte stream, and makes GOAWAY and RST_STREAM frames.

This module does no I/O. The layout of frames is in RFC 9113, sections 4.1 (header), 6.4
(RST_STREAM) and 6.8 (GOAWAY).
"""

from __future__ import annotations

__all__ = ["CLIENT_PREFACE_BYTES", "FrameScanner", "goaway", "rst_stream"]

# Length of the preface "PRI * HTTP/2.0...", which a client sends before its first frame. A server
# sends no preface.
CLIENT_PREFACE_BYTES = 24
_HEADER_BYTES = 9
_DATA, _HEADERS, _RST_STREAM, _PUSH_PROMISE, _GOAWAY, _CONTINUATION = 0, 1, 3, 5, 7, 9
_END_HEADERS = 0x4
_MASK_31 = 2**31 - 1
_MASK_32 = 2**32 - 1


class FrameScanner:
    """Finds the frame boundaries in one direction of a connection, from its first byte on.

    - `at_boundary`: whether a frame may be inserted after the bytes fed so far. No frame may be
      inserted into another frame or into a header block.
    - `data_stream`: the stream id of the latest DATA frame; 0 before the first DATA frame.
    """

    def __init__(self, preface_bytes: int = 0) -> None:
        self.at_boundary = preface_bytes == 0
        self.data_stream = 0
        self._header = bytearray()
        self._bytes_left = preface_bytes
        self._in_header_block = False

    def feed(self, data: bytes) -> int | None:
        """Scan the next bytes. Return the position of their first frame boundary, or None."""
        first_boundary: int | None = None
        position = 0
        while position < len(data):
            if self._bytes_left:
                step = min(self._bytes_left, len(data) - position)
                self._bytes_left -= step
            else:
                step = min(_HEADER_BYTES - len(self._header), len(data) - position)
                self._header += data[position : position + step]
                if len(self._header) == _HEADER_BYTES:
                    self._begin_frame()
            position += step
            self.at_boundary = not (self._bytes_left or self._header or self._in_header_block)
            if self.at_boundary and first_boundary is None:
                first_boundary = position
        return first_boundary

    def _begin_frame(self) -> None:
        header = bytes(self._header)
        self._header.clear()
        self._bytes_left = int.from_bytes(header[:3], "big")
        frame_type, flags = header[3], header[4]
        if frame_type == _DATA:
            self.data_stream = int.from_bytes(header[5:], "big") & _MASK_31
        if frame_type in (_HEADERS, _PUSH_PROMISE, _CONTINUATION):
            self._in_header_block = not flags & _END_HEADERS


def goaway(last_stream_id: int, error_code: int, debug: bytes) -> bytes:
    """Return a GOAWAY frame."""
    numbers = _uint32(last_stream_id & _MASK_31) + _uint32(error_code)
    return _frame(_GOAWAY, 0, numbers + debug)


def rst_stream(stream_id: int, error_code: int) -> bytes:
    """Return a RST_STREAM frame."""
    return _frame(_RST_STREAM, stream_id, _uint32(error_code))


def _frame(frame_type: int, stream_id: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((frame_type, 0)) + _uint32(stream_id) + payload


def _uint32(value: int) -> bytes:
    return (value & _MASK_32).to_bytes(4, "big")
