"""Counts ill-formed values in the metadata that other tools stored with objects."""

from __future__ import annotations

import logging

import cachetools

__all__ = ["IllFormedMetadata"]

log = logging.getLogger(__name__)

# Maximum number of files that are remembered as counted, which takes 1 MB. If more files are in
# use, some files are counted again.
_MAX_REMEMBERED_INODES = 16_384


class IllFormedMetadata:
    """Counts ill-formed values of custom metadata, once for each file."""

    def __init__(self) -> None:
        self.values = 0
        self._counted: cachetools.LRUCache[int, None] = cachetools.LRUCache(_MAX_REMEMBERED_INODES)

    def note(self, inode: int, keys: tuple[str, ...]) -> None:
        """Count and log the ill-formed values of a file, unless the file was counted before.

        `keys`: the metadata keys of these values.
        """
        if inode in self._counted:
            return
        self._counted[inode] = None
        self.values += len(keys)
        log.debug("inode %d: ignoring ill-formed metadata: %s", inode, ", ".join(keys))
