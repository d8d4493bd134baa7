"""Checks at the end of a soak: the mount shows the bucket's content and leaks no resource."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

from tests.support import programs
from tests.support.harness import wait_until

from .samples import holding

if TYPE_CHECKING:
    from tests.support.emulator_process import EmulatorProcess
    from tests.support.harness import MountProcess

    from .samples import Holding

__all__ = ["leaks", "look_at_all", "rest"]

# Maximum number of seconds until the mount must show the right content. gRPC's keepalive needs less
# time to detect half-open connections.
_RECOVERY_SECONDS = 90.0
# Maximum number of connections that the mount may open during the soak: 8 for streams, one for
# lookups, and one for the feed of changes.
_MAX_CONNECTIONS = 10
# Maximum number of threads that may be left over after the soak, because gRPC's thread pool ends
# idle threads late.
_MORE_THREADS = 6
# Maximum number of files of the cache that may be open.
_MAX_CACHED_FILES = 512


def look_at_all(emulator: EmulatorProcess, mounted: MountProcess) -> None:
    """Wait until the mount shows the names and contents of exactly the emulator's objects.

    The mount may show older states until the TTLs of its metadata have expired.
    """
    expected = _digests(programs.tree(os.fspath(emulator.bucket)))
    differing = ""

    def is_the_same() -> bool:
        nonlocal differing
        with mounted.program() as program:
            try:
                found = _digests(program.call(programs.tree, str(mounted.path)))
            except OSError as error:
                differing = str(error)
                return False
        names = {name for name in {*expected, *found} if expected.get(name) != found.get(name)}
        differing = str(sorted(names)[:10])
        return not names

    try:
        wait_until(is_the_same, "the mount shows the content of the bucket", _RECOVERY_SECONDS)
    except AssertionError as error:
        raise AssertionError(f"{error}: {differing}") from None


def _digests(tree: dict[bytes, programs.Entry]) -> dict[bytes, tuple[str, int]]:
    return {name: (entry.digest, entry.size) for name, entry in tree.items()}


def rest(mounted: MountProcess) -> Holding:
    """Wait until the mount is idle; return the resources that the process still holds.

    If the soak runs as root, wait also until the mount has forgotten all inodes except the root.
    """
    mounted.check_at_rest()
    if os.geteuid() == 0:

        def has_forgotten() -> bool:
            mounted.drop_inodes()
            return mounted.statistics()["inodes"] == 1

        wait_until(has_forgotten, "only the root inode is left")
    return holding(mounted.process.pid)


def leaks(before: Holding, after: Holding, disk: str) -> list[str]:
    """Describe each kind of resource of which the mount holds more than it did before the soak.

    A limited number of additional connections and threads is allowed. The mount keeps some files of
    its cache open, which is on the disk `disk`.
    """
    found = []
    left = Counter(after.other_files) - Counter(before.other_files)
    cached = [name for name in left.elements() if name.startswith(disk)]
    left -= Counter(cached)
    if len(cached) > _MAX_CACHED_FILES:
        found.append(f"{len(cached)} files of the cache are open")
    if left:
        found.append(f"files are left open: {dict(left)}")
    if after.sockets > before.sockets + _MAX_CONNECTIONS:
        found.append(f"{after.sockets} sockets are open, {before.sockets} before the soak")
    if after.threads > before.threads + _MORE_THREADS:
        found.append(f"{after.threads} threads are running, {before.threads} before the soak")
    return found
