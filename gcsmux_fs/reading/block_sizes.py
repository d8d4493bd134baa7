"""Sizes to which blocks and requested ranges are aligned."""

from __future__ import annotations

__all__ = ["GRANULE_BYTES", "PAGE_BYTES"]

GRANULE_BYTES = 16 * 1024
"""Requested ranges are aligned to multiples of this size. The size is four kernel pages, because
READs of the neighbouring pages often follow a random READ of 4 KiB. A READ of 4 KiB across a
boundary loads 32 KiB, which is less than the promised maximum of 64 KiB for a random READ."""

PAGE_BYTES = 2 * 1024 * 1024
"""Length in bytes of a page, and maximum length of a block. The service sends at most 2 MiB in one
message, so a block of 2 MiB can use the memory of one message without a copy. Of the measured
sizes (0.25 to 2 MiB), 2 MiB was the fastest."""
