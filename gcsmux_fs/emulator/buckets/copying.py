"""Copies content between objects, and makes tokens for rewrites that need several calls."""

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

# Size, in bytes, of the blocks in which content is copied. Copying a block takes a millisecond, and
# other calls can run after each block.
_BLOCK_BYTES = 1024 * 1024


async def concatenate(contents: Iterable[Content], target: Path) -> int:
    """Write the contents, one after another, to a new file. Return the CRC32C of the file.

    Raises:
        RpcError: one of the contents changed during the copy (NOT_FOUND).
    """
    crc = 0
    buffer = memoryview(bytearray(_BLOCK_BYTES))
    with target.open("wb") as file:
        for content in contents:
            size = content.object.size
            for offset in range(0, size, _BLOCK_BYTES):
                block = buffer[: size - offset]
                content.read_into(block, offset)
                file.write(block)
                crc = crc32c.crc32c(block, crc)
                await asyncio.sleep(0)
    return crc


def rewrite_token(rewritten: int, rewrite: str) -> str:
    """Return a token that holds the number of bytes rewritten so far.

    `rewrite` identifies the rewrite to which the token belongs.
    """
    text = json.dumps([rewritten, _digest(rewrite)])
    return base64.urlsafe_b64encode(text.encode()).decode()


def parse_rewrite_token(token: str, rewrite: str) -> int:
    """Return the number of bytes rewritten so far; 0 for an empty token.

    Raises:
        RpcError: the token is malformed or belongs to another rewrite (INVALID_ARGUMENT).
    """
    if not token:
        return 0
    try:
        rewritten, digest = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, TypeError, binascii.Error):
        raise invalid("The rewrite token was not issued by this server.") from None
    if digest != _digest(rewrite) or not isinstance(rewritten, int):
        raise invalid("The rewrite token belongs to another rewrite.")
    return rewritten


def _digest(rewrite: str) -> str:
    return hashlib.blake2b(rewrite.encode(), digest_size=8).hexdigest()
