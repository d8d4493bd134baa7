"""Drops cached names on request of a user: in the namespace, and in the kernel.

Theory of operation. The namespace drops its answers about the names. The kernel then drops its
names by the strongest notification that is safe and that it supports (see `name_pruning`):

1. Linux 6.16 and newer look up all names again, unless a file system is mounted on a directory of
   this mount, because the kernel would unmount this file system.
2. Otherwise, Linux 6.18 and newer drop the names of the inodes. Absent names, which have no inode,
   stay in the kernel until the time of --negative-ttl is over.
3. An older kernel keeps its names until the time of --metadata-ttl is over, but for at most a
   minute (`UNDROPPABLE_NAME_SECONDS`).

Open files keep their generation. Pages need no notification, because an inode is one generation of
an object at one size.
"""

from __future__ import annotations

import enum
import logging
import os
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.fuse.mountinfo import device_of
from gcsmux_fs.fuse.submounts import all_mount_tables, has_submounts
from gcsmux_fs.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from gcsmux_fs.fuse.name_pruning import NamePruner
    from gcsmux_fs.namespace.tree import Tree

__all__ = ["KernelNames", "NameDropper"]

log = logging.getLogger(__name__)

_EVERYTHING = ("",)


class KernelNames(enum.StrEnum):
    """Which names the kernel has dropped."""

    ALL = "all"  # present and absent names
    PRESENT = "present"  # absent names stay until the time of --negative-ttl is over
    NONE = "none"  # names stay until the time of --metadata-ttl is over, at most a minute


class NameDropper:
    """Drops names of the mount at `mountpoint`.

    `is_mounted_on` returns whether a file system is mounted on a directory of the mount. It may
    read many files, so it runs in a worker thread.
    """

    def __init__(
        self,
        tree: Tree,
        names: NamePruner,
        mountpoint: Path,
        *,
        is_mounted_on: Callable[[], bool] | None = None,
    ) -> None:
        self._tree = tree
        self._names = names
        self._mountpoint = mountpoint
        self._is_mounted_on = is_mounted_on or self._search_submounts

    async def drop(self, names: Collection[str] = _EVERYTHING) -> KernelNames:
        """Drop all cached answers about `names`; an empty name stands for the whole bucket.

        A name that ends with a slash stands for a directory and everything below it (see
        `Tree.invalidate`). Answers about other names stay cached in the namespace, so the kernel
        gets them again without a request to the service.
        """
        at_once = self._names.can_drop_all and not await trio.to_thread.run_sync(
            self._is_mounted_on
        )
        for name in names:
            self._drop(name, at_once=at_once)
            # Each call compares the names of all inodes, so let other tasks run between them.
            await trio.lowlevel.checkpoint()
        if at_once:
            if self._names.drop_all():
                return KernelNames.ALL
            for name in names:
                self._drop(name, at_once=False)
        return KernelNames.PRESENT if self._names.can_drop_single_names else KernelNames.NONE

    def _drop(self, name: str, *, at_once: bool) -> None:
        """Drop answers in the namespace, and, unless `at_once`, the names of their inodes."""
        for inode in self._tree.invalidate(name):
            if not at_once:
                self._names.drop(inode)

    def _search_submounts(self) -> bool:
        try:
            device = os.makedev(*device_of(self._mountpoint))
            return has_submounts(device, all_mount_tables())
        except (ConfigError, OSError) as error:
            # The mount has just been removed, or /proc cannot be read.
            log.debug("the mount tables cannot be searched: %s", error)
            return True
