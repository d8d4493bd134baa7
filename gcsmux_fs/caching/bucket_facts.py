"""What is kept about a bucket, so that a mount can start without the service; sans-IO."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from gcsmux_fs.model.values import BucketInfo

__all__ = ["BucketFacts", "pack_facts", "unpack_facts"]


@dataclass(frozen=True, slots=True)
class BucketFacts:
    """What the check of a bucket found, and with whose credentials."""

    info: BucketInfo
    identity: str


def pack_facts(facts: BucketFacts) -> bytes:
    """Pack facts as JSON."""
    return json.dumps([asdict(facts.info), facts.identity]).encode()


def unpack_facts(body: memoryview) -> BucketFacts:
    """Unpack what `pack_facts` has packed.

    Raises:
        ValueError: the data is malformed.
    """
    match json.loads(bytes(body)):
        case [dict(fields), str(identity)]:
            try:
                return BucketFacts(BucketInfo(**fields), identity)
            except TypeError as error:
                raise ValueError("malformed facts") from error
    raise ValueError("malformed facts")
