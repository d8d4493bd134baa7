"""Limits of Google Cloud Storage that the emulator enforces as the service does."""

from __future__ import annotations

__all__ = [
    "MAX_CHUNK_BYTES",
    "MAX_COMPOSED_OBJECTS",
    "MAX_PAGE_ENTRIES",
    "MAX_RANGES_PER_MESSAGE",
    "REWRITE_QUANTUM_BYTES",
    "WRITE_QUANTUM_BYTES",
]

# Maximum number of content bytes in one message, for reads and writes. In google.storage.v2, this
# limit is ServiceConstants.MAX_READ_CHUNK_BYTES and ServiceConstants.MAX_WRITE_CHUNK_BYTES.
MAX_CHUNK_BYTES = 2 * 1024 * 1024
# Maximum number of ranges in one BidiReadObjectRequest.
MAX_RANGES_PER_MESSAGE = 100
# Maximum number of objects and prefixes together on one page of a listing.
MAX_PAGE_ENTRIES = 1000
# Maximum number of source objects of one ComposeObject call.
MAX_COMPOSED_OBJECTS = 32
# `max_bytes_rewritten_per_call` of RewriteObject must be a multiple of this number.
REWRITE_QUANTUM_BYTES = 1024 * 1024
# Every WriteObject message except the last must have a multiple of this number of content bytes.
WRITE_QUANTUM_BYTES = 256 * 1024
