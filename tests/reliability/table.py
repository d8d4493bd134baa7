"""All rows of the fault table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.reliability import (
    faults_of_chunks,
    faults_of_connections,
    faults_of_objects,
    faults_of_statuses,
    faults_of_streams,
    faults_together,
)

if TYPE_CHECKING:
    from tests.reliability.rows import Group

__all__ = ["GROUPS", "LIMITS"]

GROUPS: tuple[Group, ...] = (
    *faults_of_connections.GROUPS,
    *faults_of_streams.GROUPS,
    *faults_of_statuses.GROUPS,
    *faults_of_chunks.GROUPS,
    *faults_of_objects.GROUPS,
    *faults_together.GROUPS,
)

# Faults that the mount cannot detect, because the wrong answers are well-formed.
LIMITS: tuple[str, ...] = (
    (
        "An empty message with status OK instead of a listing, because the listing of an empty"
        " folder is the same message."
    ),
    (
        "Messages of ReadObject in another order, a lost message together with a repeated message"
        " of the same size, or a lost message before an early end of the call. The mount"
        " detects these faults only if a checksum is wrong or one call reads the whole object,"
        " because ReadObject states where its content starts and ends, but not the offset of each"
        " message. HTTP/2, which carries the messages, neither loses nor reorders messages."
        " BidiReadObject states the offset of each chunk, so the mount detects these faults there."
    ),
    (
        "Wrong bytes in content without a CRC32C. The protocol allows such content, so the mount"
        " accepts it unchecked."
    ),
    (
        "A listing that omits names or states wrong sizes or times, if neither the listing itself"
        " nor the content of the objects contradicts it."
    ),
)
