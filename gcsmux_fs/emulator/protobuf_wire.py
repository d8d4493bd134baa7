"""The parts of the protobuf wire format that the emulator encodes by hand."""

from __future__ import annotations

__all__ = ["length_delimited", "varint"]

_MASK_64 = (1 << 64) - 1
_MASK_7 = 0x7F
_CONTINUES = 0x80
_LENGTH_DELIMITED = 2


def varint(number: int) -> bytes:
    """Return `number` as a varint. A negative number takes ten bytes, as in an int64 field."""
    number &= _MASK_64
    encoded = bytearray()
    while number > _MASK_7:
        encoded.append(number & _MASK_7 | _CONTINUES)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def length_delimited(field_number: int, value: bytes) -> bytes:
    """Return an encoded field whose value is bytes, a string or a message."""
    return varint(field_number << 3 | _LENGTH_DELIMITED) + varint(len(value)) + value
