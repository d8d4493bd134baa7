"""Connects the control socket of a mount with the parts of the mount."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from gcsmux_fs.control.control_server import ControlServer
from gcsmux_fs.control.loop_calls import LoopCalls
from gcsmux_fs.control.mount_commands import MountCommands, MountFacts
from gcsmux_fs.control.socket_places import runtime_directory, socket_name
from gcsmux_fs.fuse.name_dropping import KernelNames
from gcsmux_fs.process.heartbeats import TRIO_LOOP

if TYPE_CHECKING:
    from collections.abc import Callable

    import trio

    from gcsmux_fs.control.protocol import Json
    from gcsmux_fs.fuse.name_dropping import NameDropper
    from gcsmux_fs.metrics.registry import Registry
    from gcsmux_fs.mux.stream_registry import StreamRegistry
    from gcsmux_fs.process.heartbeats import Heartbeats
    from gcsmux_fs.settings.settings import Settings

__all__ = ["MountControl"]

_KERNEL_NAMES = {
    KernelNames.ALL: "the next use of each name asks the service",
    KernelNames.PRESENT: "names that were absent stay absent for up to --negative-ttl, because this"
    " kernel cannot drop them, or because a file system is mounted on a directory of this mount",
    KernelNames.NONE: "this kernel (older than Linux 6.16) keeps its own names for up to"
    " --metadata-ttl, and drops them at once if root runs `sysctl vm.drop_caches=2`",
}


class MountControl:
    """The control socket of one mount, from `start` to `close`. `tasks` runs its commands."""

    def __init__(
        self,
        settings: Settings,
        metrics: Registry,
        tasks: trio.Nursery,
        heartbeats: Heartbeats,
        streams: StreamRegistry,
        names: NameDropper,
        config: Callable[[], Json],
    ) -> None:
        self._names = names
        commands = MountCommands(
            MountFacts(settings.source, str(settings.mountpoint), time.time(), time.monotonic()),
            metrics,
            LoopCalls(tasks, lambda: heartbeats.ages_seconds()[TRIO_LOOP]),
            heartbeats,
            streams=streams.snapshot,
            config=config,
            reload=self._reload,
        )
        self._server = ControlServer(commands.table())

    def start(self, device: tuple[int, int]) -> None:
        """Make the socket of the mount with this device number (major, minor)."""
        directory = runtime_directory(os.environ, os.geteuid())
        self._server.start(directory, socket_name(device))

    def close(self) -> None:
        """Remove the socket."""
        self._server.close()

    async def _reload(self) -> str:
        dropped = await self._names.drop()
        return f"all cached names were dropped: {_KERNEL_NAMES[dropped]}."
