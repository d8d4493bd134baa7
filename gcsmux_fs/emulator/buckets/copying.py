"""Copies of content within the emulator, and the tokens of copies made in several calls."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import json
from typing import TYPE_CHECKING

import crc32c

from gcsmux_fs.emulator.rpc_error import invalid

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from gcsmux_fs.emulator.buckets.objects import Content

__all__ = ["concatenate", "parse_rewrite_token", "rewrite_token"]

# A millisecond's work: other calls get their turn between two pieces.
_PIECE_BYTES = 1024 * 1024


async def concatenate(contents: Iterable[Content], target: Path) -> int:
    """Write the contents, one after the other, to a new file; return the CRC32C of it all.

    Raises:
        RpcError: one of them was changed meanwhile (NOT_FOUND).
    """
    crc = 0
    buffer = memoryview(bytearray(_PIECE_BYTES))
    with target.open("wb") as file:
        for content in contents:
            size = content.object.size
            for offset in range(0, size, _PIECE_BYTES):
                piece = buffer[: size - offset]
                content.read_into(piece, offset)
                file.write(piece)
                crc = crc32c.crc32c(piece, crc)
                await asyncio.sleep(0)
    return crc


def rewrite_token(rewritten: int, what: str) -> str:
    """Return a token that says how many bytes of `what` have been rewritten so far."""
    text = json.dumps([rewritten, _digest(what)])
    return base64.urlsafe_b64encode(text.encode()).decode()


def parse_rewrite_token(token: str, what: str) -> int:
    """Return the bytes that a token of `rewrite_token` says; 0 without a token.

    Raises:
        RpcError: it is no such token, or one of another rewrite (INVALID_ARGUMENT).
    """
    if not token:
        return 0
    try:
        rewritten, digest = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, TypeError, binascii.Error):
        raise invalid("Not a rewrite token of this server") from None
    if digest != _digest(what) or not isinstance(rewritten, int):
        raise invalid("The rewrite token belongs to another rewrite")
    return rewritten


def _digest(what: str) -> str:
    return hashlib.blake2b(what.encode(), digest_size=8).hexdigest()
