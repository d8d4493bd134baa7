"""Handles: opaque bytes that name one generation of one object, for a quicker reopen.

A handle is made of what it names, a number that makes each one different, and a seal that tells
our handles from others' (it is no secret: the emulator has none). Handles outlive a restart.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass

from gcsmux_fs.emulator.rpc_error import invalid

__all__ = ["Handle"]

_SEAL_BYTES = 8


@dataclass(frozen=True, slots=True)
class Handle:
    """What a handle stands for."""

    bucket: str
    name: str
    generation: int

    def seal(self) -> bytes:
        """Return new handle bytes."""
        fields = [self.bucket, self.name, self.generation, secrets.token_hex(4)]
        body = json.dumps(fields).encode()
        return _seal_of(body) + body

    @classmethod
    def known(cls, handle: bytes) -> Handle | None:
        """Return what `seal` has made; None if these bytes are not a handle of this server."""
        seal, body = handle[:_SEAL_BYTES], handle[_SEAL_BYTES:]
        if seal != _seal_of(body):
            return None
        bucket, name, generation, _ = json.loads(body)
        return cls(bucket, name, generation)

    @classmethod
    def unseal(cls, handle: bytes) -> Handle:
        """Return what `seal` has made.

        Raises:
            RpcError: these bytes are not a handle of this server (INVALID_ARGUMENT).
        """
        known = cls.known(handle)
        if known is None:
            raise invalid("The handle is not one of this server")
        return known


def _seal_of(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_SEAL_BYTES, person=b"gcsmux").digest()
