"""Computes which bytes of an object a requested range selects, and splits ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.emulator.rpc_error import RpcError
from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.model.values import ByteRange

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["resolve_range", "split_range"]


def resolve_range(offset: int, length: int, size: int) -> ByteRange:
    """Return the byte range that a request selects in an object of `size` bytes.

    A length of 0 selects all bytes up to the end of the object. A negative offset counts from the
    end of the object. The part of a range that is beyond the end is cut off.

    Raises:
        RpcError: the length is negative, or the offset is beyond the end (OUT_OF_RANGE).
    """
    if length < 0:
        raise RpcError(StatusCode.OUT_OF_RANGE, f"The length {length} is negative.")
    if offset > size:
        raise RpcError(
            StatusCode.OUT_OF_RANGE,
            f"The offset {offset} is beyond the end of the object, which has {size} bytes.",
        )
    if offset < 0:
        offset = max(0, size + offset)
    rest = size - offset
    return ByteRange(offset, min(length, rest) if length else rest)


def split_range(byte_range: ByteRange, max_bytes: int) -> Iterator[ByteRange]:
    """Yield parts of a range with at most `max_bytes` each. An empty range has one empty part."""
    yield ByteRange(byte_range.offset, min(byte_range.length, max_bytes))
    for offset in range(byte_range.offset + max_bytes, byte_range.end, max_bytes):
        yield ByteRange(offset, min(max_bytes, byte_range.end - offset))
