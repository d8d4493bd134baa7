"""The whole table."""

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

# What is well-formed, and hence no fault that anybody but a second source could see.
LIMITS: tuple[str, ...] = (
    (
        "A listing that is answered by an empty message with OK: that is what an empty folder"
        " looks like on the wire."
    ),
    (
        "Content that ReadObject brings in another order, or of which it loses as much as it"
        " repeats, or loses some before the call breaks off, in messages whose checksums are right,"
        " of an object that is not read whole by one call. It tells where its content begins and"
        " ends, and of no message where it belongs. (HTTP/2 loses, repeats and reorders nothing;"
        " BidiReadObject tells the place of each chunk.)"
    ),
    "Content that comes without a CRC32C, which the protocol allows: it is taken as it is.",
    (
        "A listing that leaves names out, or tells sizes and times that are not so, as long as it"
        " contradicts neither itself nor what is read."
    ),
)
