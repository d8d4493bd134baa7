"""Asks a mount for snapshots in a thread, so that the screen answers keys while the mount hangs."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

from gcsmux_fs.commands.top_figures import MountSnapshot
from gcsmux_fs.control.client import control_client
from gcsmux_fs.fuse.mountinfo import mount_table
from gcsmux_fs.model.errors import GcsmuxError

if TYPE_CHECKING:
    from gcsmux_fs.fuse.mountinfo import MountEntry

__all__ = ["MountEnded", "SnapshotFeed", "take_snapshot"]


class MountEnded(GcsmuxError):
    """The mount does not exist any longer; the message is one sentence."""


def take_snapshot(mount: MountEntry) -> MountSnapshot:
    """Ask a mount for its metrics and its streams.

    Raises:
        MountEnded: the mount has been removed.
        GcsmuxError: the mount does not answer.
    """
    try:
        with control_client(mount) as client:
            stats = client.ask("stats")
        with control_client(mount) as client:
            return MountSnapshot(stats, client.ask("streams")["streams"])
    except GcsmuxError:
        # The kernel uses the ID of a removed mount again, so the other fields are compared too.
        if mount not in mount_table():
            raise MountEnded(f"the mount at {mount.path} has ended.") from None
        raise


class SnapshotFeed:
    """Takes one snapshot at a time in a thread."""

    def __init__(self, mount: MountEntry) -> None:
        self._mount = mount
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="snapshots")
        self._pending: Future[MountSnapshot] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def request(self) -> None:
        """Start to take a snapshot, unless one is being taken."""
        if self._pending is None:
            self._pending = self._pool.submit(take_snapshot, self._mount)

    def poll(self, seconds: float = 0.0) -> MountSnapshot | None:
        """Return the requested snapshot; None if it does not arrive within `seconds`.

        Raises:
            MountEnded: the mount has been removed.
            GcsmuxError: the mount does not answer.
        """
        pending = self._pending
        if pending is None:
            return None
        try:
            snapshot = pending.result(seconds)
        except TimeoutError:
            if not pending.done():
                return None
            self._pending = None
            raise
        except GcsmuxError:
            self._pending = None
            raise
        self._pending = None
        return snapshot
