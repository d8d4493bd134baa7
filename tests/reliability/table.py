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

# Faults in well-formed answers: only a second source could reveal them.
LIMITS: tuple[str, ...] = (
    "An empty message with status OK instead of a listing: an empty folder looks the same.",
    (
        "Content that ReadObject sends in another order, or with a loss as large as a repetition,"
        " or with a loss before the call ends early, if every checksum is right and one call does"
        " not read the whole object. ReadObject states where its content starts and ends, but not"
        " where each message belongs. HTTP/2 neither loses nor reorders messages, and"
        " BidiReadObject states the offset of each chunk."
    ),
    "Content without a CRC32C, which the protocol allows: the mount accepts it unchecked.",
    (
        "A listing that omits names or states wrong sizes and times, if it contradicts neither"
        " itself nor the content."
    ),
)
