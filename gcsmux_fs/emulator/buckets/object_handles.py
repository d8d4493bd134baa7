"""Read and write handles: opaque bytes that name one generation of an object.

A handle holds the generation, a random number that makes each handle different, and a seal, which
shows that an emulator made the handle. The seal is a plain hash, and does not prevent forgery.
Handles stay valid after a restart.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass

from gcsmux_fs.emulator.rpc_error import invalid

__all__ = ["ObjectHandle"]

_SEAL_BYTES = 8


@dataclass(frozen=True, slots=True)
class ObjectHandle:
    """The bucket, object and generation that a handle names."""

    bucket: str
    name: str
    generation: int

    def seal(self) -> bytes:
        """Return the bytes of a new handle that names this generation."""
        fields = [self.bucket, self.name, self.generation, secrets.token_hex(4)]
        body = json.dumps(fields).encode()
        return _seal_of(body) + body

    @classmethod
    def parse(cls, handle: bytes) -> ObjectHandle | None:
        """Return the generation that a handle names; None for bytes that `seal` has not made."""
        seal, body = handle[:_SEAL_BYTES], handle[_SEAL_BYTES:]
        if seal != _seal_of(body):
            return None
        bucket, name, generation, _ = json.loads(body)
        return cls(bucket, name, generation)

    @classmethod
    def unseal(cls, handle: bytes) -> ObjectHandle:
        """Return the generation that a handle names.

        Raises:
            RpcError: `seal` has not made these bytes (INVALID_ARGUMENT).
        """
        parsed = cls.parse(handle)
        if parsed is None:
            raise invalid("The handle was not issued by this server.")
        return parsed


def _seal_of(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_SEAL_BYTES, person=b"gcsmux").digest()
